"""Dates such as 2018-03-01T04:05:06 in columns of text, as modified Julian dates."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError

_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d*)?)?)?Z?")
#: How dates begin, also those that cannot be read.
_LIKE_DATE = re.compile(r"\d{4}-\d\d|\d{1,2}/\d{1,2}/\d{4}")
#: The modified Julian date of 1 January 1970.
UNIX_EPOCH = 40587.0
_EPOCH = datetime(1970, 1, 1)


def dates_as_mjd(
    words: NDArray[np.str_], given: NDArray[np.bool_], where: Callable[[int], str]
) -> NDArray[np.float64] | None:
    """Return the modified Julian dates (UTC) of a column of text (n,), NaN for empty cells; None if it holds none.

    A column in which a word begins like a date is one of dates. Days are those of the calendar: a leap second has no
    date.

    Parameters
    ----------
    words : array of str, shape (n,)
    given : array of bool, shape (n,)
        Which cells are not empty.
    where : callable
        The place of cell k, for the message.

    Raises
    ------
    DataFileError
        Naming the first cell that holds no date, or one that does not exist.
    """
    if not any(_LIKE_DATE.match(word) for word in words[given].tolist()):
        return None
    days = np.full(len(words), np.nan)
    for k in np.flatnonzero(given):
        day = _day(str(words[k]))
        if day is None:
            raise DataFileError(
                f"{str(words[k])[:40]!r} is not a date", where=where(int(k)),
                expected="dates in UTC such as 2018-03-01T04:05:06 or 2018-03-01, in all rows",
            )  # fmt: skip
        days[k] = day
    return days


def _day(word: str) -> float | None:
    """The modified Julian date of a date; None if it is none, or does not exist."""
    if not _DATE.fullmatch(word):
        return None
    try:
        since = datetime.fromisoformat(word.removesuffix("Z").rstrip(".")) - _EPOCH
    except ValueError:
        return None
    return UNIX_EPOCH + since.days + (since.seconds + 1e-6 * since.microseconds) / 86400


def refuse_packed_dates(values: NDArray[np.float64], where: str) -> None:
    """Refuse whole numbers that may all be dates such as 20180301: their differences are not days.

    Raises
    ------
    DataFileError
        Naming the first as a date.
    """
    there = values[np.isfinite(values)]
    if not len(there) or np.any((there < 1.85e7) | (there > 2.2e7) | (there % 1 != 0)):
        return
    month, day = there // 100 % 100, there % 100
    if np.all((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)):
        raise DataFileError(
            f"times such as {there[0]:.0f} may be calendar dates", where=where,
            expected=f"dates such as {there[0] // 1e4:.0f}-{month[0]:02.0f}-{day[0]:02.0f}, or modified Julian dates",
        )  # fmt: skip
