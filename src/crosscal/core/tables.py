"""Tables of results: all digits in files and in arithmetic, as many as one can read on a screen."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from astropy.table import QTable

from crosscal.core.rounding import error_formats

#: Significant digits of the range of a column, by which its numbers are shown.
DIGITS = 5


def format_of(values: Any) -> str:
    """The format in which numbers are told apart: five digits, and more where they differ by little (dates)."""
    numbers = np.asarray(getattr(values, "value", values), dtype=float)
    numbers = numbers[np.isfinite(numbers)]
    largest, spread = (float(np.abs(numbers).max()), float(np.ptp(numbers))) if numbers.size else (0.0, 0.0)
    # Differences by rounding alone are no differences.
    more = int(np.ceil(np.log10(largest / spread))) if spread > 1e-10 * largest > 0 else 0
    return f".{DIGITS + max(0, more - 1)}g"


class ResultTable(QTable):
    """An astropy QTable that is printed, and shown in notebooks, with as many digits as its numbers need.

    Values with a column of errors are shown with two digits of the error. The table itself keeps all digits; a column's
    own ``info.format`` is respected.
    """

    def _readable(self) -> QTable:
        shown = QTable(self, copy=True)
        rounded = error_formats({column.info.name: column for column in shown.itercols()})
        for column in shown.itercols():
            if getattr(getattr(column, "dtype", None), "kind", "") == "f" and not column.info.format:
                column.info.format = rounded.get(column.info.name) or format_of(column)
        return shown

    def __repr__(self) -> str:
        return repr(self._readable())

    def __str__(self) -> str:
        return str(self._readable())

    def _repr_html_(self) -> str:
        return self._readable()._repr_html_()


def describe(table: Any, meanings: Mapping[str, str]) -> Any:
    """Say what the columns of an astropy table mean (``info.description``, kept in files) and return it.

    Parameters
    ----------
    table : Table
    meanings : mapping of str to str
        By column, or by a pattern as file names have it ("offset_*"); the first that fits counts.
    """
    for column in table.itercols():
        for pattern, meaning in meanings.items():
            if fnmatchcase(column.info.name, pattern):
                column.info.description = meaning
                break
    return table
