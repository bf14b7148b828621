"""Reading tables of measurements, of tau and of area draws."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.priors import TauTable
from crosscal.concordance.table_columns import Column, conversion, joined, load_columns, named, numeric, selected
from crosscal.concordance.types import Comparison
from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing, read_text


def read_table(
    path: str | os.PathLike[str],
    *,
    instrument: Column = "instrument",
    source: Column = "source",
    flux: str | None = None,
    counts: str | None = None,
    log_flux: str | None = None,
    error: str | None = None,
    log_error: str | None = None,
    exposure: str | None = None,
    band: Column | None = None,
    time: str | None = None,
    campaign: Column | None = None,
    select: Mapping[str, Any] | None = None,
    rename: Mapping[str, str] | None = None,
    flux_unit: str = "",
    time_unit: str = "",
) -> Comparison:
    """Read a long table: one row per measurement.

    Parameters
    ----------
    instrument, source, band, campaign : str or list of str
        Columns that name things; several columns are joined by a blank.
    flux, counts, log_flux : str
        The measured column, exactly one; by default whichever of these names the table has.
    error, log_error : str, optional
        Standard error of flux or counts, or of the natural logarithm.
    exposure : str, optional
        Column of the exposure factor T: c / T is compared.
    time : str, optional
        Column of times, for drift and variability.
    select : mapping, optional
        Rows to keep: column to a value, a list of values, or {"min": x, "max": y} (inclusive).
    rename : mapping, optional
        Instrument names as read to names as wished.
    flux_unit, time_unit : str, optional
        As astropy spells them; the table's own units are used where it has some. A flux unit different from the
        table's is converted to.

    Raises
    ------
    InputError
        Naming file, row and column of what is wrong.
    """
    table = load_columns(path)
    where = str(path)
    if len(table) == 0:
        raise DataFileError("the table has no rows", where=where, expected="one row per measurement")
    rows = np.arange(1, len(table) + 1)
    keep = selected(table, select or {}, where)
    table, rows = table[keep], rows[keep]
    if len(table) == 0:
        raise DataFileError("no row is selected", where=where, expected="a selection that keeps rows")
    if not any((flux, counts, log_flux)):
        flux, counts, log_flux = (name if name in table.colnames else None for name in ("flux", "counts", "log_flux"))
    numbers = {
        "flux": flux, "counts": counts, "log_rate": log_flux, "error": error, "log_error": log_error,
        "exposure": exposure, "time": time,
    }  # fmt: skip
    values: dict[str, Any] = {}
    units: dict[str, str] = {}
    for key, name in numbers.items():
        if name is not None:
            values[key], units[key] = numeric(table, name, where, rows)
    scale, unit = conversion(units.get("flux", ""), flux_unit, where)
    for key, name in (("flux", flux), ("error", error)):
        if key in values and flux is not None and name is not None:
            values[key] = values[key] * scale
    names = joined(table, instrument, where)
    if rename:
        for old in rename:
            if old not in set(names):
                raise UnknownNameError("instrument", old, set(names), where=where)
        names = np.array([rename.get(n, n) for n in names])
    try:
        return Comparison.from_cells(
            names,
            joined(table, source, where),
            band=None if band is None else joined(table, band, where),
            campaign=None if campaign is None else joined(table, campaign, where),
            where=where,
            flux_unit=unit,
            time_unit=time_unit or units.get("time", ""),
            **values,
        )
    except InputError as problem:
        raise _at_file_row(problem, rows, numbers) from None


def _at_file_row(problem: InputError, rows: NDArray, columns: Mapping[str, str | None]) -> InputError:
    """Translate row numbers and keys of the selection into those of the file."""
    import re

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
    if expected and found and found[1] in columns.values():
        # Limits are inclusive; what is no number lies in no range, and what is infinite above every limit.
        low = "1e-300" if "positive" in expected else "0" if ">= 0" in expected else "-1e300"
        expected += f"; select = {{{found[1]!r}: {{'min': {low}, 'max': 1e300}}}} leaves such rows out"
    elif what.startswith("rows "):
        expected = (
            f"{expected}: keep one by select = {{COLUMN: VALUE}}, or tell them apart by more columns, as in "
            "instrument = ['instrument', COLUMN]"
        )
    return InputError(what, where=where, expected=expected)


def read_matrix(
    path: str | os.PathLike[str],
    *,
    orientation: str = "sources",
    names: str | None = None,
    instruments: Sequence[str] | None = None,
    logarithmic: bool = True,
    error: float | None = None,
) -> Comparison:
    """Read a matrix of log fluxes (or fluxes, with ``logarithmic=False``); empty fields are missing cells.

    Parameters
    ----------
    orientation : "sources" or "instruments"
        What the rows are. The header names the columns.
    names : str, optional
        Column that names the rows.
    instruments : sequence of str, optional
        Names of the instruments, where the file does not hold them (rows are instruments and have no names).
    error : float, optional
        One fractional error for all cells.

    Raises
    ------
    InputError
        Naming file, row and column of what is wrong.
    """
    if orientation not in ("sources", "instruments"):
        raise UnknownNameError("orientation", orientation, ("sources", "instruments"), where=str(path))
    table = load_columns(path)
    where = str(path)
    labels = None if names is None else [str(v) for v in named(table, names, where)]
    columns = [c for c in table.colnames if c != names]
    if not columns:
        raise DataFileError("no column of numbers", where=where, expected="one column for each name in the header")
    y = np.column_stack([numeric(table, c, where, np.arange(1, len(table) + 1))[0] for c in columns])
    if not logarithmic:
        bad = np.argwhere(y <= 0)
        if len(bad):
            j, i = bad[0]
            raise DataFileError(
                f"flux {y[j, i]:g}", where=f"{where}, row {j + 1}, column {columns[i]!r}", expected="a positive number"
            )
        y = np.log(y)
    rows_are_sources = orientation == "sources"
    if not rows_are_sources:
        y = y.T
    row_names, column_names = labels, columns
    found_instruments = column_names if rows_are_sources else row_names
    variance = None if error is None else np.full(y.shape, np.log1p(error**2))
    return Comparison.from_matrix(
        y,
        instruments=instruments if instruments is not None else found_instruments,
        sources=row_names if rows_are_sources else column_names,
        variance=variance,
        label=where,
    )


def read_tau_matrix(path: str | os.PathLike[str], *, keep_ambiguous: bool = False) -> TauTable:
    """Read fractional uncertainties in percent: rows are instruments, columns are energy ranges "lo-hi" in keV.

    Rows whose last column ("parse_note") is not "ok" are left out unless ``keep_ambiguous``.

    Raises
    ------
    DataFileError
        If no column is an energy range or an entry is not a number.
    """
    source = existing_file(path, what="tau table")
    with parsing("the table cannot be read", where=source, expected="CSV in UTF-8"):
        rows = [row for row in csv.reader(read_text(source).splitlines()) if row]
    header = rows[0] if rows else []
    ranges = {k: tuple(float(x) for x in text.split("-")) for k, text in enumerate(header) if _is_range(text)}
    if not ranges:
        raise DataFileError("no column is an energy range", where=str(path), expected="columns such as '0.5-2.0' (keV)")
    note = header.index("parse_note") if "parse_note" in header else None
    entries: dict[str, list[tuple[float, float, float]]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DataFileError(f"{len(row)} fields", where=f"{path}, line {number}", expected=f"{len(header)}")
        if note is not None and row[note].strip() != "ok" and not keep_ambiguous:
            continue
        found = []
        for k, (low, high) in ranges.items():
            if row[k].strip():
                try:
                    found.append((low, high, float(row[k]) / 100))
                except ValueError:
                    raise DataFileError(
                        f"{row[k]!r} is not a number",
                        where=f"{path}, line {number}, column {header[k]!r}",
                        expected="percent",
                    ) from None
        entries[row[0]] = found
    return TauTable(entries)


def _is_range(text: str) -> bool:
    try:
        low, high = (float(x) for x in text.split("-"))
    except ValueError:
        return False
    return low < high


def iachec_tau(
    names: Mapping[str, str] | None = None,
    bands: Mapping[str, tuple[float, float]] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> TauTable:
    """Return the IACHEC default uncertainties by instrument and energy, from the data search path.

    Parameters
    ----------
    names : mapping, optional
        The data's instrument names to the matrix's ("pn" to "XMM pn"); similar names are found without.
    bands : mapping, optional
        The data's band names to (lo, hi) in keV.

    Raises
    ------
    DataFileError
        If the matrix is not found; the sentence says where it is looked for.
    """
    from crosscal.datasets import find

    table = read_tau_matrix(path if path is not None else find("concordance/iachec_tau_matrix.csv"))
    return table.with_names(names, bands)


def read_area_draws(path: str | os.PathLike[str], instrument: str = "instrument") -> dict[str, NDArray[np.float64]]:
    """Read Monte Carlo draws of band-averaged areas: one row per draw, a column of instrument names, one per band.

    Raises
    ------
    DataFileError
        If an area is not a number.
    """
    table, where = load_columns(path), str(path)
    names = joined(table, instrument, where)
    numbers = np.arange(1, len(table) + 1)
    bands = [c for c in table.colnames if c != instrument]
    if not bands:
        raise DataFileError("no column of areas", where=where, expected="one column a band")
    areas = np.column_stack([numeric(table, c, where, numbers)[0] for c in bands])
    # A band that an instrument lacks is empty in all its rows.
    return {str(n): areas[names == n][:, ~np.isnan(areas[names == n]).all(axis=0)] for n in dict.fromkeys(names)}
