"""Values and errors of sources in telescopes, gathered from the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from crosscal.core.cells import HIGH_MARKERS
from crosscal.core.errors import DataFileError, closest
from crosscal.xray.correction.fit_logs import read_fit_log
from crosscal.xray.correction.pairs import POSITIVE, QUANTITIES, Floats
from crosscal.xray.correction.pairs_columns import AVERAGE, CONSTANTS, Column, column_of, stated_levels
from crosscal.xray.correction.pairs_responses import Named, check_telescopes, named_files, role_of, telescope_column
from crosscal.xray.correction.pairs_table import Sheet

LOGS = ("log", "xspec_log", "fit")
#: Values of nH above this are in 1 / cm2, not in 1e22 / cm2.
_PLAIN_NH = 1e15
#: An nH without a unit above this, in 1e22 / cm2, may be in 1e20 / cm2.
_LARGE_NH = 0.5


@dataclass
class Entry:
    """Values of one quantity in one telescope, with 1-sigma errors below and above; NaN where there is none."""

    value: Floats
    below: Floats
    above: Floats
    limit: NDArray[np.bool_]


@dataclass
class Cells:
    """What a table holds: entries by (telescope, quantity), in the order of ``names``; responses by telescope."""

    names: list[str]
    values: dict[tuple[str, str], Entry] = field(default_factory=dict)
    constants: dict[str, Floats] = field(default_factory=dict)
    files: dict[str, dict[str, Named]] = field(default_factory=dict)

    @property
    def telescopes(self) -> tuple[str, ...]:
        """Telescopes with a temperature, in the order of the columns."""
        return tuple(dict.fromkeys(telescope for telescope, quantity in self.values if quantity == "kT"))


def cells_of(sheet: Sheet, names: list[str], source: str, directory: Path, confidence: float | None) -> Cells:
    """Gather values and errors; tell in ``sheet.notes`` what was assumed.

    Raises
    ------
    DataFileError
        Naming column and row of a cell that is not a number, or of an error that is not positive.
    """
    if (average := next((n for n in names if AVERAGE.fullmatch(n)), None)) is not None:
        raise DataFileError(
            f"the source {average!r} may be an average of the others", where=sheet.where,
            expected="sources only: leave it out, or give it another name",
        )  # fmt: skip
    columns = [column_of(name) for name in sheet.table.colnames if name != source]
    known = [column for column in columns if column is not None]
    by_row = telescope_column(sheet.table.colnames)
    logs = next((n for n in sheet.table.colnames if n.lower() in LOGS), None) if by_row else None
    level = _level(sheet, known, confidence)
    cells = _long(sheet, known, names, by_row, logs, directory, level) if by_row else _wide(sheet, known, names, level)
    used = {source, by_row, logs, *(c.name for c in known)}
    rest = [n for n in sheet.table.colnames if n not in used and "_corr_" not in n and role_of(n) is None]
    check_telescopes(sheet, cells.telescopes)
    cells.files = named_files(sheet, names)
    if source != "source":
        sheet.notes.append(f"column {source} names the sources")
    if rest:
        sheet.notes.append(f"unused columns: {', '.join(rest)}")
    return cells


def _level(sheet: Sheet, known: Sequence[Column], confidence: float | None) -> float | None:
    """Return the level of all errors that have none of their own, and tell where it comes from."""
    if (
        confidence is None
        and (stated := sheet.table.meta.get("confidence", sheet.table.meta.get("CONFIDEN"))) is not None
    ):
        try:
            confidence = float(stated)
        except (TypeError, ValueError):
            confidence = np.nan
        if not 0 < confidence < 1:
            raise DataFileError(f"confidence is {stated!r}", where=sheet.where, expected="between 0 and 1, such as 0.9")
    if confidence is None:
        stated_in_words = sorted(stated_levels(sheet.comments))
        own = [c.level for c in known if c.part not in ("value", "limit")]
        if len(stated_in_words) > 1 and not (own and all(own)):
            levels = " and ".join(f"{100 * one:g} %" for one in stated_in_words)
            raise DataFileError(
                f"the comments of the table mention errors at {levels}", where=sheet.where,
                expected="confidence = 0.9 or another level, or the level in names of columns, such as kT_err90_pn",
            )  # fmt: skip
        confidence = stated_in_words[0] if len(stated_in_words) == 1 else None
    used = {c.level for c in known if c.level} or ({confidence} if confidence else set())
    for one in sorted(used):
        if abs(one - 0.6827) > 0.003:
            sheet.notes.append(f"errors are taken at {100 * one:g} % confidence and divided by {_sigmas(one):.3f}")
    return confidence


def _sigmas(level: float | None) -> float:
    """Return how many standard deviations an interval of this confidence reaches; 1 for 68.27 % and None."""
    return 1.0 if level is None or abs(level - 0.6827) < 0.003 else float(ndtri(0.5 * (1 + level)))


def _wide(sheet: Sheet, known: Sequence[Column], names: list[str], level: float | None) -> Cells:
    """One row a source, columns for each telescope."""
    cells = Cells(names)
    values = [c for c in known if c.part == "value" and c.quantity in QUANTITIES and c.telescope]
    keys = [(c.telescope, c.quantity) for c in values]
    for column, key in zip(values, keys, strict=True):
        if keys.count(key) > 1:
            what = f"two columns of {column.quantity} of {column.telescope!r}"
            raise DataFileError(what, where=f"{sheet.where}, column {column.name}", expected="one")
        same = [c for c in known if (c.telescope, c.quantity) == key]
        cells.values[key] = _entry(sheet, column, same, level)
    cells.constants = _constants(sheet, known)
    return cells


def _constants(sheet: Sheet, known: Sequence[Column]) -> dict[str, Floats]:
    return {c.quantity: _constant(sheet, c) for c in known if c.quantity in CONSTANTS}


def beside_samples(sheet: Sheet, names: list[str], source: str, telescopes: Sequence[str]) -> Cells:
    """Return what a table of posterior samples says beside them: constants of the sources, and their responses.

    Raises
    ------
    DataFileError
        Naming a column that belongs to no telescope, or the row of a cell that is not a number.
    """
    columns = {name: column_of(name) for name in sheet.table.colnames if name != source and "_samples_" not in name}
    known = [column for column in columns.values() if column is not None]
    rest = [n for n, c in columns.items() if c is None and "_corr_" not in n and role_of(n) is None]
    check_telescopes(sheet, telescopes)
    if rest:
        sheet.notes.append(f"columns that are not used: {', '.join(rest)}")
    return Cells(names, constants=_constants(sheet, known), files=named_files(sheet, names))


def _long(
    sheet: Sheet,
    known: Sequence[Column],
    rows: list[str],
    by_row: str,
    logs: str | None,
    directory: Path,
    level: float | None,
) -> Cells:
    """One row for each source and telescope."""
    telescopes = [str(t).strip() for t in sheet.table[by_row]]
    cells = Cells(list(dict.fromkeys(rows)))
    entries = {
        c.quantity: _entry(sheet, c, [k for k in known if k.quantity == c.quantity], level)
        for c in known
        if c.part == "value" and c.quantity in QUANTITIES
    }
    if logs is not None:
        entries = _from_logs([str(value).strip() for value in sheet.table[logs]], directory, sheet, logs, entries)
    if not entries:
        raise DataFileError("no column 'kT'", where=sheet.where, expected=closest("kT", sheet.table.colnames))
    index = {name: k for k, name in enumerate(cells.names)}
    for telescope in dict.fromkeys(telescopes):
        own = [k for k, t in enumerate(telescopes) if t == telescope]
        at = [index[rows[k]] for k in own]
        if len(set(at)) != len(at):
            twice = next(rows[k] for k in own if [rows[j] for j in own].count(rows[k]) > 1)
            raise DataFileError(
                f"the source {twice!r} appears twice with {telescope}", where=sheet.where, expected="once"
            )
        for quantity, entry in entries.items():
            full = _empty(len(cells.names))
            full.value[at], full.below[at], full.above[at] = entry.value[own], entry.below[own], entry.above[own]
            full.limit[at] = entry.limit[own]
            cells.values[telescope, quantity] = full
    for column in (c for c in known if c.quantity in CONSTANTS):
        values, kept = _constant(sheet, column), np.full(len(cells.names), np.nan)
        for row, name in enumerate(rows):
            kept[index[name]] = values[row]
        cells.constants[column.quantity] = kept
    return cells


def _from_logs(
    paths: list[str], directory: Path, sheet: Sheet, column: str, entries: dict[str, Entry]
) -> dict[str, Entry]:
    """Read values and errors from logs of XSPEC; an empty cell keeps the row's own values."""
    n = len(paths)
    found = {quantity: _empty(n) for quantity in QUANTITIES}
    found.update(entries)
    for row, text in enumerate(paths):
        if not text or text == "--":
            continue
        log = read_fit_log(directory / text)
        for quantity, entry in found.items():
            if quantity in log and log[quantity].below != 0:
                entry.value[row], entry.below[row], entry.above[row] = (
                    log[quantity].value, log[quantity].below, log[quantity].above,
                )  # fmt: skip
    sheet.notes.append(f"values and errors come from the logs in column {column}")
    return {q: e for q, e in found.items() if np.isfinite(e.value).any()}


def _empty(n: int) -> Entry:
    return Entry(np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, dtype=bool))


def _entry(sheet: Sheet, column: Column, same: Sequence[Column], level: float | None) -> Entry:
    """Return a value with its errors from the columns of the same quantity and telescope."""
    value, low, high, limit = sheet.cells(column.name, QUANTITIES[column.quantity])
    _check_markers(sheet, column, value)
    parts = {c.part: c for c in same if c.part not in ("value", "limit")}
    for flag in (c for c in same if c.part == "limit"):
        limit |= np.array([str(cell).strip() in ("<", ">", "1", "True", "U", "L") for cell in sheet.table[flag.name]])
    if np.isfinite(low).any():
        below, above = _in_cells(sheet, column, low, high, parts)
        parts = {}
    else:
        below, above = _sides(sheet, column, value, parts)
    for side, name in ((below, "lo"), (above, "hi")):
        own = parts.get(f"err{name}") or parts.get("err") or parts.get(name)
        side /= _sigmas(own.level if own is not None and own.level else level)
    value = np.where(limit, np.nan, value)
    if column.quantity in POSITIVE:
        _check_sizes(sheet, column, value, 0.5 * (below + above))
    return Entry(value, below, above, limit)


def _check_sizes(sheet: Sheet, column: Column, value: Floats, sd: Floats) -> None:
    """Refuse errors that are all larger than their values: they are in another unit, or percentages."""
    some = np.isfinite(value + sd)
    if np.any(some) and np.all(sd[some] > value[some]):
        row = int(np.argmax(some))
        raise DataFileError(
            f"every error of {column.name} is larger than its value, such as {sd[row]:.3g} of {value[row]:.3g}",
            where=f"{sheet.where}, column {column.name}", expected="errors in the unit of the values, not percentages",
        )  # fmt: skip


def _check_markers(sheet: Sheet, column: Column, value: Floats) -> None:
    """Refuse numbers such as 99.99, which mark missing values."""
    if np.any(marked := np.isin(value, HIGH_MARKERS) & (column.quantity == "kT")):
        row = int(np.argmax(marked))
        raise DataFileError(
            f"kT = {value[row]:g} marks a missing value", where=f"{sheet.where}, column {column.name}, row {row + 1}",
            expected="an empty cell, or the temperature",
        )  # fmt: skip


def _in_cells(
    sheet: Sheet, column: Column, low: Floats, high: Floats, parts: Mapping[str, Column]
) -> tuple[Floats, Floats]:
    """Return the errors that stand beside the values, where no other column holds them too."""
    if parts:
        other = next(iter(parts.values())).name
        raise DataFileError(
            f"errors of {column.name} are given in its cells and in column {other}", where=sheet.where,
            expected="one of the two: remove the other",
        )  # fmt: skip
    wrong = np.isfinite(low) & ~((low > 0) & (high > 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        place = f"{sheet.where}, column {column.name}, row {row + 1}"
        raise DataFileError(f"error {min(low[row], high[row]):g}", where=place, expected="a positive error")
    sheet.notes.append(f"the errors of {column.name} are read from its cells")
    return low, high


def _sides(sheet: Sheet, column: Column, value: Floats, parts: dict[str, Column]) -> tuple[Floats, Floats]:
    unit = QUANTITIES[column.quantity]

    def numbers(part: str) -> Floats:
        return sheet.numbers(parts[part].name, unit, like=column.name)[0]

    if "lo" in parts and "hi" in parts and "errlo" not in parts:
        low, high = numbers("lo"), numbers("hi")
        some = np.isfinite(low) & np.isfinite(high) & np.isfinite(value)
        if np.all((low <= value)[some] & (value <= high)[some]) and not np.all((low <= 0)[some]):
            names = f"{parts['lo'].name} and {parts['hi'].name}"
            sheet.notes.append(f"columns {names} are bounds of {column.name}")
            return value - low, high - value
        parts = {**parts, "errlo": parts["lo"], "errhi": parts["hi"]}
    sides = []
    for side in ("errlo", "errhi"):
        part = side if side in parts else "err"
        if part not in parts:
            telescope = f"_{column.telescope}" if column.telescope else ""
            missing = f"{column.quantity}_err{'_' + side[3:] if len(parts) else ''}{telescope}"
            raise DataFileError(
                f"no column {missing!r}", where=sheet.where, expected=closest(missing, sheet.table.colnames)
            )
        errors = numbers(part)
        finite = np.isfinite(errors)
        if side == "errlo" and finite.any() and np.all(errors[finite] < 0):
            errors = -errors
            sheet.notes.append(f"column {parts[part].name} is negative throughout; its size is used")
        wrong = finite & ~(errors > 0)
        if wrong.any():
            row = int(np.argmax(wrong))
            place = f"{sheet.where}, column {parts[part].name}, row {row + 1}"
            raise DataFileError(f"error {errors[row]:g}", where=place, expected="a positive 1-sigma error")
        sides.append(errors)
    return sides[0], sides[1]


def _constant(sheet: Sheet, column: Column) -> Floats:
    """Return nH (1e22 / cm2) or redshift of each source."""
    values, _ = sheet.numbers(column.name, "1e22 / cm2" if column.quantity == "nH" else "")
    if column.quantity == "nH" and np.nanmax(values, initial=0.0) > _PLAIN_NH:
        sheet.notes.append(f"column {column.name} is assumed to be in 1 / cm2")
        return values / 1e22
    if column.quantity == "nH" and sheet.table[column.name].unit is None and np.nanmax(values, initial=0.0) > _LARGE_NH:
        most = np.nanmax(values)
        sheet.notes.append(f"column {column.name}, up to {most:g}, is assumed to be in 1e22 / cm2, as in XSPEC")
    return values


def assembled(
    cells: Cells, telescopes: tuple[str, str], quantities: Sequence[str]
) -> tuple[Floats, Floats, NDArray[np.bool_], list[str]]:
    """Return values and errors (2, N, q), which sources are complete, and what is said of the others."""
    entries = [[cells.values[t, q] for q in quantities] for t in telescopes]
    values = np.stack([np.stack([e.value for e in row], axis=1) for row in entries])
    sd = np.stack([np.stack([0.5 * (e.below + e.above) for e in row], axis=1) for row in entries])
    complete = np.asarray(np.isfinite(values + sd).all(axis=(0, 2)))
    notes = []
    for i in np.flatnonzero(~complete):
        why = []
        for t, telescope in enumerate(telescopes):
            for k, quantity in enumerate(quantities):
                if entries[t][k].limit[i]:
                    why.append(f"{quantity} of {telescope} is a limit")
                elif not np.isfinite(values[t, i, k]):
                    why.append(f"no {quantity} of {telescope}")
                elif not np.isfinite(sd[t, i, k]):
                    why.append(f"no error of {quantity} of {telescope}")
        notes.append(f"the source {cells.names[i]!r} is excluded: {', '.join(why)}")
    return values, sd, complete, notes
