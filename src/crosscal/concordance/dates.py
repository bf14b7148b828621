"""Columns of times: numbers with a unit, or dates of any kind, which become modified Julian dates."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.table_columns import conversion, named, numeric, texts
from crosscal.core.cells import is_empty
from crosscal.core.errors import DataFileError

Floats = NDArray[np.float64]
_DATE = re.compile(r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?$")
_LIKE_DATE = re.compile(r"^\d{4}-\d\d|^\d{1,2}/\d{1,2}/\d{4}")
#: The modified Julian date of 1 January 1970.
_UNIX = 40587.0


def times(
    table: Any, name: str, where: str, rows: NDArray, missing: Any, unit: str = ""
) -> tuple[Floats, str, tuple[str, ...]]:
    """Return times, NaN where there is none, their unit, and what was recognised.

    Astropy's Time, NumPy's and pandas' datetimes, and text such as 2018-03-01T04:05:06 become modified Julian dates in
    days; ``unit`` is what all are converted to, where their own is known.

    Raises
    ------
    DataFileError
        If a date does not exist, or numbers may be dates such as 20180301.
    """
    column = named(table, name, where)
    place = f"{where}, column {name!r}"
    days = _dates(column, table, name, where, rows)
    if days is not None:
        dated = hasattr(column, "mjd") or getattr(getattr(column, "dtype", None), "kind", "m") != "m"
        what = "Dates" if dated else "Differences of times"
        told = (f"{what} in column {name!r} are read as {'modified Julian dates (days)' if dated else 'days'}.",)
        return days * conversion("d", unit, place, "time")[0], unit or "d", told
    values, own = numeric(table, name, where, rows, missing)
    _refuse_packed_dates(values, place)
    factor, result = conversion(own, unit, place, "time")
    return values * factor, result, ()


def _dates(column: Any, table: Any, name: str, where: str, rows: NDArray) -> Floats | None:
    """Days of a column of dates (modified Julian ones) or differences of times; None for other columns."""
    if hasattr(column, "jd"):
        # A TimeDelta has no date.
        numbers = column.mjd if hasattr(column, "mjd") else column.jd
        return np.asarray(np.ma.filled(np.ma.masked_invalid(numbers), np.nan), dtype=float)
    kind = getattr(getattr(column, "dtype", None), "kind", "")
    if kind == "m":
        return np.asarray(column) / np.timedelta64(1, "D")
    if kind == "M":
        content = np.asarray(column).astype("datetime64[us]")
        days = (content - np.datetime64(0, "us")) / np.timedelta64(1, "D") + _UNIX
        return np.where(np.isnat(content), np.nan, days)
    if kind not in "OUS":
        return None
    words = texts(table, name, where)
    given = np.array([not is_empty(word) and word != "NaT" for word in words], dtype=bool)
    if not any(_LIKE_DATE.match(word) for word in words[given]):
        return None
    days = np.full(len(words), np.nan)
    for k in np.flatnonzero(given):
        days[k] = _day(words[k], f"{where}, row {rows[k]}, column {name!r}")
    return days


def _day(word: str, where: str) -> float:
    """A date in UTC as modified Julian date."""
    plain = word.removesuffix("Z")
    try:
        if not _DATE.match(plain):
            raise ValueError
        moment = datetime.fromisoformat(plain)
    except ValueError:
        raise DataFileError(
            f"{word[:40]!r} is no date", where=where, expected="dates such as 2018-03-01T04:05:06 in UTC, in all rows"
        ) from None
    since = moment - datetime(1970, 1, 1)
    return _UNIX + since.days + (since.seconds + 1e-6 * since.microseconds) / 86400


def _refuse_packed_dates(values: Floats, where: str) -> None:
    """Refuse whole numbers that are all dates such as 20180301."""
    there = values[np.isfinite(values)]
    if not len(there) or np.any((there < 1.85e7) | (there > 2.2e7) | (there % 1 != 0)):
        return
    month, day = there // 100 % 100, there % 100
    if np.all((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)):
        raise DataFileError(
            f"times such as {there[0]:.0f} may be calendar dates", where=where,
            expected=f"dates such as {there[0] // 1e4:.0f}-{month[0]:02.0f}-{day[0]:02.0f}, or modified Julian dates",
        )  # fmt: skip
