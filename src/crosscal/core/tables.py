"""Tables of results: all digits in files and in arithmetic, as many as one can read on a screen."""

from __future__ import annotations

from astropy.table import QTable

#: How numbers without a format of their own are shown.
SHOWN = ".5g"


class ResultTable(QTable):
    """An astropy QTable that is printed, and shown in notebooks, with five significant digits.

    Its numbers are not rounded; a column's own ``info.format`` is respected.
    """

    def _readable(self) -> QTable:
        shown = QTable(self, copy=True)
        for column in shown.itercols():
            if column.dtype.kind == "f" and not column.info.format:
                column.info.format = SHOWN
        return shown

    def __repr__(self) -> str:
        return repr(self._readable())

    def __str__(self) -> str:
        return str(self._readable())

    def _repr_html_(self) -> str:
        return self._readable()._repr_html_()
