"""Whether columns hold what their names say: dates of this age, fluxes and not their logarithms, one telescope."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.lightcurves.formats.raw import RawTable
from crosscal.lightcurves.formats.words import MISSING, is_number
from crosscal.lightcurves.timesystem import JD_RANGE, MJD_RANGE, TimeSystem

_ISO = re.compile(r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d*)?)?)?Z?$")
_LOGARITHM = re.compile(r"^(log|ln|lg)(10)?_?(f|flux|fl|fnu|flam|rate|counts)(_|$)|_log(10)?$")


def checked_dates(time: NDArray[np.float64], system: TimeSystem, where: str, notes: list[str]) -> TimeSystem:
    """Return what times count, where their size contradicts their name, and tell it.

    Raises
    ------
    DataFileError
        If some are Julian Dates and some are modified ones.
    """
    finite = time[np.isfinite(time)] + system.zero
    if not len(finite) or (system.format and system.zero):
        return system
    long, short = (np.logical_and(finite > low, finite < high) for low, high in (JD_RANGE, MJD_RANGE))
    if long.any() and short.any():
        raise DataFileError(
            f"{int(long.sum())} times are Julian Dates and {int(short.sum())} are modified Julian Dates",
            where=where, expected="one kind of dates: subtract 2400000.5 from the Julian Dates",
        )  # fmt: skip
    if system.format == "mjd" and long.all():
        notes.append("times called MJD are taken as Julian Dates, by their size")
        return replace(system, format="jd")
    if system.format == "jd" and short.all():
        notes.append("times called JD are taken as JD - 2400000, by their size; MJD would be half a day off")
        return replace(system, zero=2400000.0)
    if system.format and not (long.any() or short.any()):
        low, high = float(finite.min()), float(finite.max())
        notes.append(f"times called {system.format.upper()} are no dates of 1900 to 2100 ({low:.7g} to {high:.7g})")
    return system


def calendar_dates(table: RawTable, key: str) -> NDArray[np.float64] | None:
    """Return a column of dates such as 2018-03-01T04:05:06 as MJD, NaN where one is missing; None for other columns.

    Raises
    ------
    DataFileError
        If there is no such date.
    """
    words = table.words(key) if table.columns[key].dtype.kind in "OUS" else np.zeros(0, dtype=str)
    given = np.array([word.lower() not in MISSING for word in words], dtype=bool)
    if not given.any() or not all(_ISO.match(word) for word in words[given]):
        return None
    from astropy.time import Time

    days = np.full(len(words), np.nan)
    try:
        days[given] = Time([word.rstrip("Z").replace(" ", "T") for word in words[given]], scale="utc").mjd
    except ValueError as error:
        raise DataFileError(
            f"a date does not exist ({error})", where=f"{table.source}, column {table.names[key]!r}",
            expected="dates such as 2018-03-01T04:05:06",
        ) from None  # fmt: skip
    return days


def no_logarithm(table: RawTable, key: str, unit: str) -> None:
    """Refuse logarithms of fluxes.

    Raises
    ------
    DataFileError
        If the name or the unit of a column says that it holds logarithms.
    """
    if _LOGARITHM.search(key) or re.match(r"(dex|log)\b", unit.lower()):
        raise DataFileError(
            f"column {table.names[key]!r} holds logarithms", where=table.source,
            expected="fluxes with their errors: f = 10^x, error = ln(10) f times the error of x",
        )  # fmt: skip


def unused_words(table: RawTable, used: set[str]) -> list[str]:
    """Tell columns of a few words that are not used: they may name telescopes or filters that are pooled."""
    told = []
    for key, column in table.columns.items():
        if key in used or column.dtype.kind not in "OUS":
            continue
        words = list(dict.fromkeys(word for word in table.words(key).tolist() if word.lower() not in MISSING))
        if 2 <= len(words) <= max(2, len(table) // 3) and not any(is_number(word) for word in words):
            shown = ", ".join(words[:4]) + (", ..." if len(words) > 4 else "")
            told.append(
                f"column {table.names[key]!r} ({shown}) is not used; if it names telescopes, give columns = "
                f'{{telescope = "{table.names[key]}"}}'
            )
    return told
