"""Whether columns hold what their names say: dates of this age, fluxes and not their logarithms, one telescope."""

from __future__ import annotations

import re
from dataclasses import replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from crosscal.core.dates import UNIX_EPOCH, dates_as_mjd, refuse_packed_dates
from crosscal.core.errors import DataFileError
from crosscal.core.levels import level_in_comments, level_in_name
from crosscal.lightcurves.formats.raw import RawTable
from crosscal.lightcurves.formats.vocabulary import YEARS
from crosscal.lightcurves.formats.words import MISSING, is_number
from crosscal.lightcurves.timesystem import JD_RANGE, MJD_RANGE, TimeSystem

#: Julian or calendar years.
_YEARS = (1850.0, 2150.0)
#: Light curves do not span more days than these two centuries: larger numbers count seconds.
_LONGEST = 73050.0
#: Columns of whole numbers that may tell what should be kept apart.
_APART = re.compile(
    r"(ccd|chip|amp|quad(rant)?|q|field|fib(re|er)|detector|det|sector|quarter|wave(length)?|lambda|energy|order|aper(ture)?|"
    r"channel|version|image|component|freq(uency)?)(_?(id|no|num|band|[mg]?hz))?"
)
_LOGARITHM = re.compile(r"^(log|ln|lg)(10)?_?(f|flux|fl|fnu|flam|rate|counts)(_|$)|_log(10)?$")


def checked_dates(
    time: NDArray[np.float64], system: TimeSystem, where: str, notes: list[str], key: str = ""
) -> TimeSystem:
    """Return what times count, where their size contradicts their name, and tell it.

    Raises
    ------
    DataFileError
        If some are Julian Dates and some are modified ones, or times without a system are years, packed dates or
        seconds.
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
    if not system.format:
        _refuse_other_counts(finite, key, where, notes)
    if system.format == "mjd" and long.all():
        notes.append("times labelled MJD are read as Julian Dates, because their values are Julian Dates")
        return replace(system, format="jd")
    if system.format == "jd" and short.all():
        notes.append("times labelled JD are read as JD - 2400000; if they are MJD, they are wrong by half a day")
        return replace(system, zero=2400000.0)
    if system.format and not (long.any() or short.any()):
        low, high = float(finite.min()), float(finite.max())
        notes.append(f"times labelled {system.format.upper()} are outside 1900 to 2100 A.D. ({low:.7g} to {high:.7g})")
    return system


def _refuse_other_counts(time: NDArray[np.float64], key: str, where: str, notes: list[str]) -> None:
    """Refuse times that count no days."""
    low, high = float(time.min()), float(time.max())
    spelled = f"{low:.10g} to {high:.10g}"
    refuse_packed_dates(time, where)
    if low > _YEARS[0] and high < _YEARS[1] and key in (*YEARS, "date", "epoch"):
        raise DataFileError(
            f"the times ({spelled}) may be years", where=where,
            expected="days; Julian years are MJD = 51544.5 + 365.25 (year - 2000)",
        )  # fmt: skip
    if low > _YEARS[0] and high < _YEARS[1] and high - low < 100 and np.any(time % 1 != 0):
        notes.append(f"times from {spelled} are read as days; if they are years, convert them")
    if high - low > _LONGEST:
        raise DataFileError(
            f"the times ({spelled}) span more than two centuries of days", where=where,
            expected="days, or a column named with its unit, as 'time [s]'",
        )  # fmt: skip


def stated_level(key: str, value: str, comments: str) -> tuple[float, str] | None:
    """Return how many standard errors an error is by its name or by a comment of the file, and the words for it."""
    found = level_in_name(key, value) or level_in_comments(comments.splitlines())
    return None if found is None else (NormalDist().inv_cdf(0.5 + found[1] / 2), found[0])


def may_be_magnitudes(value: NDArray[np.float64], error: NDArray[np.float64]) -> bool:
    """Whether fluxes without a name look like magnitudes: 8 to 25 with a range below 3 and errors below 0.5."""
    good = np.isfinite(value) & np.isfinite(error)
    if not good.any():
        return False
    low, high = float(value[good].min()), float(value[good].max())
    return low > 8 and high < 25 and high - low < 3 and float(error[good].max()) < 0.5


def calendar_dates(table: RawTable, key: str) -> NDArray[np.float64] | None:
    """Return a column of dates, or of NumPy's or pandas' datetimes, as MJD, NaN where one is missing; None for others.

    Raises
    ------
    DataFileError
        As `crosscal.core.dates.dates_as_mjd`.
    """
    column = table.columns[key]
    if column.dtype.kind == "M":
        dates = np.asarray(column).astype("datetime64[us]")
        days = (dates - np.datetime64(0, "us")) / np.timedelta64(1, "D") + UNIX_EPOCH
        return np.where(np.isnat(dates), np.nan, days)
    if column.dtype.kind not in "OUS":
        return None
    words = table.words(key)
    given = np.array([word.lower() not in MISSING for word in words], dtype=bool)
    return dates_as_mjd(
        words, given, lambda k: f"{table.source}, row {table.first_row + k}, column {table.names[key]!r}"
    )


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
    """Tell columns of a few words or numbers that are not used: they may name telescopes or filters that are pooled."""
    told = []
    for key, column in table.columns.items():
        if key in used or (column.dtype.kind not in "OUS" and not _APART.fullmatch(key)):
            continue
        words = list(dict.fromkeys(word for word in table.words(key).tolist() if word.lower() not in MISSING))
        numbers = any(is_number(word) for word in words)
        if 2 <= len(words) <= max(2, len(table) // 3) and (_APART.fullmatch(key) or not numbers):
            shown = ", ".join(words[:4]) + (", ..." if len(words) > 4 else "")
            told.append(
                f"column {table.names[key]!r} ({shown}) is not used; if it names telescopes, give columns = "
                f'{{telescope = "{table.names[key]}"}}'
            )
    return told
