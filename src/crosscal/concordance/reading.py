"""Reading tables of measurements: long ones with a row per measurement, and wide ones with a row per source."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.table_columns import (
    ERROR_NAME,
    Column,
    Measured,
    conversion,
    joined,
    load_columns,
    measured,
    numeric,
    selected,
    texts,
)
from crosscal.concordance.types import Comparison
from crosscal.core.errors import DataFileError, InputError, UnknownNameError

Floats = NDArray[np.float64]
Missing = Sequence[float | str]
#: Names of columns that hold magnitudes or decimal logarithms, which must be said.
_MAGNITUDE = re.compile(r"(?i)(^|[_ ])(ab)?mag(nitude)?s?($|[_ \d])|^m_?(ab|vega)$|mag$")
_DECIMAL = re.compile(r"(?i)^(log10|lg)|log10|^logf|dex")


def read_table(
    path: str | os.PathLike[str] | Any,
    *,
    instrument: Column = "instrument",
    source: Column = "source",
    flux: str | None = None,
    counts: str | None = None,
    log_flux: str | None = None,
    error: str | Sequence[str] | None = None,
    log_error: str | None = None,
    scale: str | None = None,
    confidence: float | None = None,
    limit: str | None = None,
    limit_confidence: float | None = None,
    missing: Missing | None = None,
    repeats: bool = False,
    exposure: str | None = None,
    band: Column | None = None,
    time: str | None = None,
    campaign: Column | None = None,
    select: Mapping[str, Any] | None = None,
    rename: Mapping[str, str] | None = None,
    unit: str | None = None,
    flux_unit: str = "",
    time_unit: str = "",
) -> Comparison:
    """Read a long table: one row per measurement.

    Parameters
    ----------
    path : path or table
        A file (CSV, text, ECSV, FITS, Parquet, LaTeX, machine-readable), or an astropy Table, pandas or xarray object
        or mapping of columns in memory.
    instrument, source, band, campaign : str or list of str
        Columns that name things; several columns are joined by a blank.
    flux, counts, log_flux : str
        The measured column, exactly one; by default whichever of these names the table has. Cells may hold errors and
        limits (``1.05 +/- 0.02``, ``1.05(2)``, ``<0.3``); rows without a measurement are left out, and counted.
    error, log_error : str, optional
        Standard error of flux or counts, or of the natural logarithm; two columns for errors below and above.
    scale : str, optional
        What ``flux`` and its errors are: "linear", "ln", "log10", "magnitude" or "additive" (see
        `Comparison.from_cells`). It must be said where the column's name or unit tells of magnitudes or decimal
        logarithms.
    confidence : float, optional
        Level of the intervals that errors stand for, such as 0.9; standard errors by default.
    limit : str, optional
        Column of flags: 1 for an upper limit, -1 for a lower one, 0 for a measurement.
    limit_confidence : float, optional
        One-sided level of limits without errors.
    missing : sequence, optional
        Numbers or words that mark a missing cell besides the usual words. Numbers such as -99 are refused until they
        are named, or ``missing=[]`` says that they are measurements.
    repeats : bool
        Admit several measurements of one source by one instrument.
    exposure : str, optional
        Column of the exposure factor T: c / T is compared.
    time : str, optional
        Column of times, for drift and variability.
    select : mapping, optional
        Rows to keep: column to a value, a list of values, or {"min": x, "max": y} (inclusive).
    rename : mapping, optional
        Instrument names as read to names as wished; equal names are merged.
    unit : str, optional
        Column with the unit of each row; all are converted to ``flux_unit``, or to that of the first row.
    flux_unit, time_unit : str, optional
        As astropy spells them; the table's own units are used where it has some. A flux unit different from the
        table's is converted to.

    Raises
    ------
    InputError
        Naming file, row and column of what is wrong.
    """
    table, where, told = load_columns(path)
    table, rows = _selection(table, select, where)
    if not any((flux, counts, log_flux)):
        flux, counts, log_flux = (name if name in table.colnames else None for name in ("flux", "counts", "log_flux"))
    chosen = [name for name in (flux, counts, log_flux) if name is not None]
    if len(chosen) != 1:
        raise DataFileError(
            f"{len(chosen)} of flux, counts and log_flux are given", where=where, expected="exactly one of them"
        )
    found = measured(table, chosen[0], where, rows, missing)
    scale = _scale(chosen[0], found.unit, scale, log_flux is not None, where)
    if flux is not None and scale == "linear":
        _refuse_infinite(found.value, where)
    table, rows, found, told = _with_measurements(table, rows, found, f"{where}, column {chosen[0]!r}", told)
    numbers = {"log_error": log_error, "exposure": exposure, "time": time}
    values: dict[str, Any] = {}
    units: dict[str, str] = {}
    for key, name in numbers.items():
        if name is not None:
            values[key], units[key] = numeric(table, name, where, rows, missing)
    key = "flux" if flux is not None else "counts" if counts is not None else "log_rate"
    if log_flux is not None and error is not None:
        raise InputError("log_flux is given with error", where=where, expected="log_error, or flux and scale")
    errors, told = _errors(table, found, error, log_error, where, rows, missing, told)
    flags = found.limit.astype(float)
    if limit is not None:
        flags = np.where(flags != 0, flags, np.nan_to_num(numeric(table, limit, where, rows, missing)[0]))
    factor, flux_unit = _units(table, found.unit, unit, flux_unit, where, len(rows))
    linear = scale in ("linear", "additive")
    values[key] = found.value * factor if key == "flux" and linear else found.value
    if errors is not None:
        values["error"] = errors * factor if key == "flux" and linear else errors
    names = _renamed(joined(table, instrument, where), rename, where)
    columns = {**numbers, key: chosen[0], "error": error if isinstance(error, str) else None}
    try:
        return Comparison.from_cells(
            names,
            joined(table, source, where),
            scale=scale if key == "flux" else "linear",
            confidence=confidence,
            limit=flags if np.any(flags != 0) else None,
            limit_confidence=limit_confidence,
            repeats=repeats,
            band=None if band is None else joined(table, band, where),
            campaign=None if campaign is None else joined(table, campaign, where),
            where=where,
            flux_unit=flux_unit,
            time_unit=time_unit or units.get("time", ""),
            assumed=told,
            **values,
        )
    except InputError as problem:
        raise _at_file_row(problem, rows, columns) from None


def _selection(table: Any, select: Mapping[str, Any] | None, where: str) -> tuple[Any, NDArray[np.int64]]:
    """Return the rows that are kept, and their numbers in the file."""
    if len(table) == 0:
        raise DataFileError("the table has no rows", where=where, expected="one row per measurement")
    keep = selected(table, select or {}, where)
    if not keep.any():
        raise DataFileError("no row is selected", where=where, expected="a selection that keeps rows")
    return table[keep], np.arange(1, len(table) + 1)[keep]


def _with_measurements(
    table: Any, rows: NDArray[np.int64], found: Measured, where: str, told: tuple[str, ...]
) -> tuple[Any, NDArray[np.int64], Measured, tuple[str, ...]]:
    """Leave out rows without a measurement, and say how many they are."""
    there = np.isfinite(found.value)
    if there.all():
        return table, rows, found, told
    if not there.any():
        raise DataFileError("no row has a measurement", where=where, expected="numbers")
    told = (*told, f"{np.sum(~there)} of {len(there)} rows without a measurement are left out.")
    found = Measured(found.value[there], found.low[there], found.high[there], found.limit[there], found.unit)
    return table[there], rows[there], found, told


def _scale(name: str, unit: str, scale: str | None, logarithm: bool, where: str) -> str:
    """Return the scale of the measured column; what its name or unit says must not be contradicted silently."""
    place = f"{where}, column {name!r}"
    if scale is not None:
        return scale
    if _MAGNITUDE.search(name) or unit.lower().startswith("mag"):
        raise DataFileError(
            "the values may be magnitudes", where=place, expected="scale = 'magnitude', or 'linear' if not"
        )
    if (logarithm and _DECIMAL.search(name)) or unit.lower().startswith("dex"):
        raise DataFileError(
            "the values may be decimal logarithms", where=place,
            expected="flux = this column with scale = 'log10', or 'ln' for natural logarithms",
        )  # fmt: skip
    return "linear"


def _refuse_infinite(values: Floats, where: str) -> None:
    if np.any(np.isinf(values)):
        k = int(np.argmax(np.isinf(values)))
        raise DataFileError(f"flux is {values[k]:g}", where=where, expected="a finite number")


def _errors(
    table: Any, found: Measured, error: Any, log_error: str | None, where: str, rows: NDArray, missing: Any,
    told: tuple[str, ...],
) -> tuple[Floats | None, tuple[str, ...]]:  # fmt: skip
    """Errors of the measurements, (n,) or (2, n), from their column or columns or from the cells."""
    if error is not None:
        if found.has_errors:
            raise DataFileError("cells hold errors and an error column is named", where=where, expected="one of them")
        names = [error] if isinstance(error, str) else list(error)
        if len(names) not in (1, 2):
            raise DataFileError(f"{len(names)} error columns", where=where, expected="one, or two: below and above")
        # A limit needs no error, so that markers there mean nothing.
        sides = [measured(table, name, where, rows, missing if missing is not None else ()) for name in names]
        return (sides[0].value if len(sides) == 1 else np.stack([side.value for side in sides])), told
    if found.has_errors:
        return np.stack([found.low, found.high]), told
    looks = [c for c in table.colnames if ERROR_NAME.search(c) and table[c].ndim == 1] if log_error is None else []
    if looks:
        told = (*told, f"Column {looks[0]!r} looks like errors and is not used: error = {looks[0]!r} would use it.")
    return None, told


def _units(table: Any, own: str, column: str | None, wanted: str, where: str, n: int) -> tuple[Floats, str]:
    """Factor of each row to one unit, and the unit."""
    if column is None:
        factor, unit = conversion(own, wanted, where)
        return np.full(n, factor), unit
    named_units = texts(table, column, where)
    wanted = wanted or str(named_units[0])
    factors = {u: conversion(str(u), wanted, f"{where}, column {column!r}")[0] for u in np.unique(named_units)}
    return np.array([factors[u] for u in named_units]), wanted


def _renamed(names: NDArray, rename: Mapping[str, str] | None, where: str) -> NDArray:
    if not rename:
        return names
    for old in rename:
        if old not in set(names):
            raise UnknownNameError("instrument", old, set(names), where=where)
    return np.array([rename.get(n, n) for n in names])


def _at_file_row(problem: InputError, rows: NDArray, columns: Mapping[str, str | None]) -> InputError:
    """Translate row numbers and keys of the selection into those of the file."""

    def row(match: re.Match) -> str:
        return f"{match[1]}{rows[int(match[2]) - 1]}"

    def column(match: re.Match) -> str:
        return f"column {(columns.get(match[1]) or match[1])!r}"

    where = re.sub(r"(, row )(\d+)", row, problem.where or "")
    where = re.sub(r"column '(\w+)'", column, where)
    what = re.sub(r"^(rows )(\d+)", row, problem.what)
    what = re.sub(r"^(rows \d+ and )(\d+)", row, what)
    expected = problem.expected
    found = re.search(r", row \d+, column '(.+)'$", where)
    if expected and found and found[1] in columns.values() and found[1] != columns.get("flux"):
        # Limits are inclusive; what is no number lies in no range, and what is infinite above every limit.
        low = "1e-300" if "positive" in expected else "0" if ">= 0" in expected else "-1e300"
        expected += f"; select = {{{found[1]!r}: {{'min': {low}, 'max': 1e300}}}} leaves such rows out"
    elif what.startswith("rows "):
        expected = (
            f"{expected}; or keep one by select = {{COLUMN: VALUE}}, or tell them apart by more columns, as in "
            "instrument = ['instrument', COLUMN]"
        )
    return InputError(what, where=where, expected=expected)
