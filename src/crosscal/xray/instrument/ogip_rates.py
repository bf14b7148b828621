"""Units of the columns of a spectrum: what turns their values into counts, and exposures into seconds."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from crosscal.xray.instrument.ogip_table import Table

#: Seconds in units of time, as files spell them.
SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("ks", "ksec"), 1e3),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
#: COUNTS and RATE times EXPOSURE that differ by more than this part in their sums are told of.
APART = 0.01


def unit_of(table: Table, column: str) -> str:
    """Return the unit of a column as the file spells it."""
    return str(table.hdu.columns[table.columns[column]].unit or "").strip()


def per_time(unit: str) -> float | None:
    """Return the seconds of a unit's "per time" (1000 for counts/ks or ct ks**-1), or None where it has none."""
    found = re.search(r"/\s*\(?\s*([a-z]+)|([a-z]+)\s*(?:\*\*|\^)?\s*\(?-1", unit.lower())
    name = "" if found is None else found.group(1) or found.group(2)
    return SECONDS.get(name)


def count_scale(table: Table, column: str, exposure: float, *, rate: bool) -> float:
    """Return the factor from the values of a column to counts; ``rate`` says what they are without a unit.

    Raises
    ------
    DataFileError
        If a column of counts is in counts per time and its values are not whole numbers.
    """
    unit = unit_of(table, column)
    seconds = per_time(unit)
    if column == "COUNTS" and seconds is not None:
        values = np.asarray(table.raw(column), dtype=float)
        if not np.array_equal(values, np.rint(values)):
            raise table.error(f"the unit is {unit!r}", column=column, expected="count, or a column RATE")
        table.note(f"the unit {unit!r} of column COUNTS is not used: its values are whole numbers of counts")
        return 1.0
    if seconds is not None:
        if seconds != 1.0:
            table.note(f"column {column} is in {unit!r}, which is converted to count/s")
        return exposure / seconds
    return 1.0 if column == "STAT_ERR" and re.fullmatch(r"(counts?|cts?)", unit.lower()) else exposure if rate else 1.0


def seconds_of(table: Table, row: int | None, header: Any) -> float:
    """Return the seconds of the unit of EXPOSURE: of the column in a file of several spectra, or "[ks]" in the comment.

    Raises
    ------
    DataFileError
        If the unit of the column is none of time.
    """
    if row is not None and table.has("EXPOSURE"):
        unit = unit_of(table, "EXPOSURE")
        if unit and unit.lower() not in SECONDS:
            raise table.error(f"the unit is {unit!r}", column="EXPOSURE", expected="s, or another unit of time")
    else:
        comment = header.comments["EXPOSURE"] if "EXPOSURE" in header else ""
        stated = re.match(r"\s*\[(\w+)\]", comment)
        unit = stated.group(1) if stated is not None and stated.group(1).lower() in SECONDS else ""
    seconds = SECONDS[unit.lower()] if unit else 1.0
    if seconds != 1.0:
        table.note(f"EXPOSURE is in {unit}, which is converted to s")
    return seconds


def tell_disagreement(table: Table, counts: Any, rates: Any) -> None:
    """Tell where RATE times EXPOSURE, which is not used, is not COUNTS."""
    ours, theirs = float(np.sum(counts)), float(np.sum(rates))
    if ours > 0 and abs(theirs / ours - 1.0) > APART:
        table.note(f"column COUNTS is used; RATE times EXPOSURE is {theirs / ours:.3g} times as much")


def tell_fractions(table: Table, counts: Any) -> None:
    """Tell of counts that are not whole numbers, whose errors are not those of Poisson."""
    # Files in float32 that were divided by an exposure and multiplied again.
    part = np.abs(counts - np.rint(counts)) > 1e-3 * np.maximum(np.rint(counts), 1.0)
    if np.any(part):
        table.note(
            f"{int(np.sum(part))} values of COUNTS are not whole numbers: if they were weighted, corrected or net, "
            "their errors are not Poisson's, and the file lacks STAT_ERR"
        )
