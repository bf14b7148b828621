"""Cells of a comparison from tables with a row per measurement, one table or many batches of one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.coding import Coded, Coder
from crosscal.concordance.dates import times
from crosscal.concordance.error_columns import (
    errors_from,
    limit_column,
    limits_from,
    log_errors_from,
    logs_per,
)
from crosscal.concordance.error_names import looks_like_errors, twin_of
from crosscal.concordance.pairs import ratio_of_column, reciprocals
from crosscal.concordance.parquet import USUAL
from crosscal.concordance.statements import (
    left_aside,
    refuse_averages,
    refuse_logarithms,
    refuse_stated_levels,
    refuse_unused,
    scale_of,
)
from crosscal.concordance.table_columns import (
    Column,
    Measured,
    conversion,
    joined,
    measured,
    numeric,
    refuse_high_markers,
    selected,
    texts,
)
from crosscal.concordance.types import Comparison
from crosscal.core.errors import DataFileError, InputError, UnknownNameError

Floats = NDArray[np.float64]
Missing = Sequence[float | str]


@dataclass(frozen=True)
class Request:
    """Which columns of a table are read, and how; the fields are the arguments of `read_table`."""

    instrument: Column
    source: Column
    flux: str | None
    counts: str | None
    log_flux: str | None
    error: str | Sequence[str] | None
    log_error: str | None
    scale: str | None
    confidence: float | None
    limit: str | None
    limit_confidence: float | None
    missing: Missing | None
    repeats: bool
    exposure: str | None
    band: Column | None
    time: str | None
    campaign: Column | None
    select: Mapping[str, Any] | None
    rename: Mapping[str, str] | None
    unit: str | None
    flux_unit: str
    time_unit: str
    to: Column | None = None
    bounds: bool | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that are asked for by name."""
        given = (
            self.instrument, self.source, self.flux, self.counts, self.log_flux, self.error, self.log_error, self.limit,
            self.exposure, self.band, self.time, self.campaign, self.unit, tuple(self.select or ()), self.to,
        )  # fmt: skip
        listed = ([x] if isinstance(x, str) else list(x or ()) for x in given)
        return tuple(dict.fromkeys(name for names in listed for name in names))

    @property
    def error_names(self) -> list[str]:
        """Columns of errors of the values."""
        given = self.error if self.error is not None else ()
        return [given] if isinstance(given, str) else list(given)

    def assembled(
        self,
        tables: Iterable[Any],
        where: str,
        told: tuple[str, ...] = (),
        columns: Sequence[str] = (),
        part: bool = False,
    ) -> Comparison:
        """Return the comparison of a table, or of batches of one; ``columns`` are all that the file has, and ``part``
        says that this is a part of a table, which need not hold all instruments that are renamed.

        Raises
        ------
        InputError
            Naming file, row and column of what is wrong.
        """
        coders = {name: Coder(name, where) for name in ("instrument", "source", "band", "campaign", "to")}
        parts: list[dict[str, Any]] = []
        counts = {"rows": 0, "selected": 0, "measured": 0}
        facts: dict[str, Any] = {}
        for table in tables:
            batch = self._part(table, where, coders, counts, facts)
            if batch is not None:
                parts.append(batch)
        if not parts:
            _refuse_nothing(counts, where, facts.get("value", ""))
        told = (*told, *facts["told"], *left_aside(columns, self.columns, facts["key"] == "counts", facts["scale"]))
        told = (*told, *self.unused(columns, told))
        if left := counts["selected"] - counts["measured"]:
            told = (*told, f"Rows without a measurement are excluded ({left} of {counts['selected']}).")
        # Field by field, so that little is held twice.
        joint = {k: np.concatenate([p.pop(k) for p in parts], axis=-1) for k in list(parts[0])}
        rows, key = joint.pop("rows"), facts["key"]
        flags = joint.pop("flags")
        names = {k: Coded(coders[k].names, joint.pop(k)) for k in coders if k in joint}
        names["instrument"] = _renamed(names["instrument"], self.rename, where, part)
        for which in ("instrument", "source"):
            if which in names:
                refuse_averages(names[which].names, which, where)
        if "to" in names:
            return self._ratios(names["instrument"], names["to"], joint, flags, facts, where, told)
        keys = {
            "log_error": self.log_error, "exposure": self.exposure, "time": self.time, key: facts["value"],
            "error": self.error if isinstance(self.error, str) else None,
        }  # fmt: skip
        try:
            return Comparison.from_cells(
                names.pop("instrument"),  # type: ignore[arg-type]
                names.pop("source"),  # type: ignore[arg-type]
                scale=facts["scale"] if key == "flux" else "linear",
                confidence=self.confidence,
                limit=flags if np.any(flags != 0) else None,
                limit_confidence=self.limit_confidence,
                repeats=self.repeats,
                where=where,
                flux_unit=facts["flux_unit"],
                time_unit=facts["time_unit"],
                assumed=told,
                **names,  # type: ignore[arg-type]
                **joint,
            )
        except InputError as problem:
            raise _at_file_row(problem, rows, keys) from None

    def _part(
        self, table: Any, where: str, coders: Mapping[str, Coder], counts: dict[str, int], facts: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Arrays of one batch, with one entry a measurement; None if it has none. ``counts`` and ``facts`` go on."""
        keep = selected(table, self.select or {}, where)
        rows = np.arange(counts["rows"] + 1, counts["rows"] + len(table) + 1)[keep]
        counts["rows"] += len(table)
        counts["selected"] += len(rows)
        if not len(rows):
            return None
        table = table[keep] if len(rows) < len(keep) else table
        name, key = self._value(table, where)
        self._refuse_unused(table, name, key, where)
        found = measured(table, name, where, rows, self.missing)
        scale = scale_of(name, found.unit, self.scale, key == "log_rate", where)
        if key == "flux" and scale == "linear":
            _refuse_infinite(found.value, where)
        facts |= {"value": name, "key": key, "scale": scale}
        table, rows, found = _with_measurements(table, rows, found)
        counts["measured"] += len(rows)
        if not len(rows):
            return None
        part: dict[str, Any] = {"rows": rows}
        time_unit, of_time = self.time_unit, ()
        if self.exposure is not None:
            part["exposure"] = numeric(table, self.exposure, where, rows, self.missing)[0]
        if self.time is not None:
            part["time"], time_unit, of_time = times(table, self.time, where, rows, self.missing, self.time_unit)
        errors, told = self._errors(table, found, scale, where, rows)
        told = (*told, *of_time)
        if self.scale is None and key == "flux" and self.to is None:
            refuse_logarithms(table, name, found.value, errors, where)
        if self.scale is None and key == "log_rate" and not name.lower().startswith("ln"):
            told = (*told, f"Column {name!r} is read as natural logarithms.")
        if self.log_error is not None:
            part["log_error"] = log_errors_from(table, self.log_error, where, rows, self.missing)
        if self.missing is None:
            refuse_high_markers(found, errors, scale == "magnitude", f"{where}, column {name!r}", rows)
        flags: NDArray[Any] = found.limit
        if (column := self.limit or limit_column(table, name)) is not None:
            flags = np.where(flags != 0, flags, limits_from(table, column, where, rows, self.missing))
            told = told if self.limit is not None else (*told, f"Column {column!r} flags limits.")
        wanted = facts.get("flux_unit") or self.flux_unit
        factor, flux_unit, of_units = _units(table, found.unit, self.unit, wanted, where, len(rows))
        told = (*told, *of_units)
        converted = key == "flux" and scale in ("linear", "additive")
        part |= {key: found.value * (factor if converted else logs_per(found.unit, scale)), "flags": flags}
        if errors is not None:
            # Those of logarithms are on the scale already.
            part["error"] = errors * factor if converted else errors
        for which, coder in coders.items():
            # Ratios need no name of a source.
            if (columns := getattr(self, which)) is not None and not (which == "source" and self.to is not None):
                part[which] = coder.codes(joined(table, columns, where))
        # What one batch tells, others need not.
        facts["told"] = tuple(dict.fromkeys((*facts.get("told", ()), *told)))
        facts |= {"flux_unit": flux_unit, "time_unit": time_unit}
        return part

    def _refuse_unused(self, table: Any, name: str, key: str, where: str) -> None:
        """Refuse what changes the meaning of the measured column and is not used."""
        refuse_unused(
            table, (*self.columns, name), where, counts=key == "counts", band=self.band is not None,
            exposure=self.exposure is not None, limit=self.limit is not None,
        )  # fmt: skip
        if self.confidence is None:
            listed = [*self.error_names, *([self.log_error] if self.log_error else [])]
            refuse_stated_levels(table, name, listed, where)

    def _errors(
        self, table: Any, found: Measured, scale: str, where: str, rows: NDArray
    ) -> tuple[Floats | None, tuple[str, ...]]:  # fmt: skip
        """Errors of the measurements, (n,) or (2, n), from their column or columns or from the cells."""
        if self.log_flux is not None and self.error is not None:
            raise InputError("log_flux is given with error", where=where, expected="log_error, or flux and scale")
        if self.error is not None:
            if found.has_errors:
                raise DataFileError(
                    "the cells contain errors and an error column is named too", where=where, expected="one of the two"
                )
            if isinstance(self.error, str) and (sides := twin_of(self.error, table.colnames)):
                other = next(c for c in sides if c != self.error)
                raise DataFileError(
                    f"error = {self.error!r}, but there is a column {other!r} too", where=where,
                    expected=f"error = {sides} (below and above), or [{self.error!r}] for one alone",
                )  # fmt: skip
            return errors_from(table, self.error_names, found, where, rows, self.missing, self.bounds, scale)
        if found.has_errors:
            return np.stack([found.low, found.high]), ()
        if self.log_error is not None:
            return None, ()
        looks = [c for c in table.colnames if looks_like_errors(c) and table[c].ndim == 1]
        if not looks:
            return None, ()
        return None, (f"Column {looks[0]!r} looks like errors but is not used: set error = {looks[0]!r} to use it.",)

    def unused(self, names: Sequence[str], told: tuple[str, ...]) -> tuple[str, ...]:
        """The sentence that names columns which are not used and not told otherwise."""
        used = {name.casefold().strip() for name in (*self.columns, *USUAL)}
        left = [n for n in names if n.casefold().strip() not in used and not any(repr(n) in line for line in told)]
        if not left:
            return ()
        return (f"Unused columns: {', '.join(left[:8])}{', ...' if len(left) > 8 else ''}.",)

    def _ratios(
        self, first: Coded, second: Coded, joint: Mapping[str, Floats], flags: NDArray, facts: Mapping[str, Any],
        where: str, told: tuple[str, ...],
    ) -> Comparison:  # fmt: skip
        """The comparison of a table of ratios."""
        odd = [name for name in ("exposure", "time", "limit", "band", "campaign", "counts") if getattr(self, name)]
        odd += ["limits"] * bool(np.any(flags != 0))
        if odd or facts["scale"] not in ("linear", "ln"):
            raise InputError(
                f"ratios with {odd[0] if odd else facts['scale']}", where=where,
                expected="ratios with errors, or ln ratios (log_flux) with log_error",
            )  # fmt: skip
        logs = facts["key"] == "log_rate" or facts["scale"] == "ln"
        part, more = (1.0, ()) if logs else ratio_of_column(facts["value"], facts["flux_unit"], where)
        value = joint[facts["key"]] * part
        told = (*told, *more, *reciprocals(first, second, value if logs else np.log(np.maximum(value, 1e-300))))
        error = joint["error"] * part if "error" in joint else None
        if error is not None and error.ndim == 2 and np.any(np.abs(error[0] - error[1]) > 0.1 * error.sum(axis=0)):
            told = (*told, "Errors below and above differ; their root mean square is used.")
        error = None if error is None else np.sqrt(np.mean(np.atleast_2d(error) ** 2, axis=0))
        log_error = joint.get("log_error", error if logs else None)
        return Comparison.from_ratios(
            first.names[first.code], second.names[second.code], np.exp(value) if logs else value,
            error=None if logs else error, log_error=log_error, confidence=self.confidence, where=where, assumed=told,
        )  # fmt: skip

    def _value(self, table: Any, where: str) -> tuple[str, str]:
        """Return the measured column, and what it is: "flux", "counts" or "log_rate"."""
        given = {"flux": self.flux, "counts": self.counts, "log_rate": self.log_flux}
        if not any(given.values()):
            usual = {"flux": "flux", "counts": "counts", "log_rate": "log_flux"}
            there = {name.strip().casefold(): name for name in table.colnames}
            given = {k: name if name in table.colnames else there.get(name) for k, name in usual.items()}
        chosen = [(name, key) for key, name in given.items() if name is not None]
        if len(chosen) != 1:
            raise DataFileError(
                f"{len(chosen)} of flux, counts and log_flux are given", where=where,
                expected=f"exactly one of them, as flux = COLUMN (columns: {', '.join(table.colnames[:12])})",
            )  # fmt: skip
        return chosen[0]


def _refuse_nothing(counts: Mapping[str, int], where: str, value: str) -> None:
    if not counts["rows"]:
        raise DataFileError("the table has no rows", where=where, expected="one row per measurement")
    if not counts["selected"]:
        raise DataFileError("no row is selected", where=where, expected="a selection that keeps rows")
    raise DataFileError("no row has a measurement", where=f"{where}, column {value!r}", expected="numbers")


def _with_measurements(table: Any, rows: NDArray[np.int64], found: Measured) -> tuple[Any, NDArray, Measured]:
    """Leave out rows without a measurement."""
    there = np.isfinite(found.value)
    if there.all():
        return table, rows, found
    kept = {name: getattr(found, name)[there] for name in ("value", "low", "high", "limit")}
    found = found._replace(**kept)
    return table[there], rows[there], found


def _refuse_infinite(values: Floats, where: str) -> None:
    if np.any(np.isinf(values)):
        k = int(np.argmax(np.isinf(values)))
        raise DataFileError(f"flux is {values[k]:g}", where=where, expected="a finite number")


def _units(
    table: Any, own: str, column: str | None, wanted: str, where: str, n: int
) -> tuple[Floats, str, tuple[str, ...]]:  # fmt: skip
    """Factor of each row to one unit, the unit, and what was taken for granted."""
    if column is None:
        factor, unit = conversion(own, wanted, where)
        return np.full(n, factor), unit, ()
    named_units = texts(table, column, where)
    wanted = wanted or next((str(u) for u in named_units if u), "")
    factors = {u: conversion(str(u), wanted, f"{where}, column {column!r}")[0] for u in np.unique(named_units)}
    without = int(np.sum(named_units == ""))
    told = (f"Rows without a unit ({without}) are assumed to be in {wanted}.",) if without else ()
    return np.array([factors[u] for u in named_units]), wanted, told


def _renamed(names: Coded, rename: Mapping[str, str] | None, where: str, part: bool) -> Coded:
    if not rename:
        return names
    for old in rename:
        if not part and old not in names.names:
            raise UnknownNameError("instrument", old, {str(n) for n in names.names}, where=where)
    coder = Coder("instrument", where)
    number = coder.codes([rename.get(str(n), str(n)) for n in names.names])
    return Coded(coder.names, number[names.code])


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
