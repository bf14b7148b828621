"""Columns of times: numbers with a unit, or dates of any kind, which become modified Julian dates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.table_columns import conversion, named, numeric, texts
from crosscal.core.cells import is_empty
from crosscal.core.dates import UNIX_EPOCH, dates_as_mjd, refuse_packed_dates

Floats = NDArray[np.float64]


def times(
    table: Any, name: str, where: str, rows: NDArray, missing: Any, unit: str = ""
) -> tuple[Floats, str, tuple[str, ...]]:
    """Return times, NaN where there is none, their unit, and what was recognised.

    Astropy's Time, NumPy's and pandas' datetimes, and text such as 2018-03-01T04:05:06 become modified Julian dates in
    days; ``unit`` is what all are converted to, where their own is known.

    Raises
    ------
    DataFileError
        If a cell of a column of dates is not a date, or numbers may be dates such as 20180301.
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
    refuse_packed_dates(values, place)
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
        days = (content - np.datetime64(0, "us")) / np.timedelta64(1, "D") + UNIX_EPOCH
        return np.where(np.isnat(content), np.nan, days)
    if kind not in "OUS":
        return None
    words = texts(table, name, where)
    given = np.array([not is_empty(word) and word != "NaT" for word in words], dtype=bool)
    return dates_as_mjd(words, given, lambda k: f"{where}, row {rows[k]}, column {name!r}")
