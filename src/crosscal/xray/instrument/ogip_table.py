"""FITS tables read with suspicion: every complaint names file, HDU, column and row."""

from __future__ import annotations

import os
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, closest
from crosscal.core.files import existing_file

# What astropy raises on truncated or scrambled FITS and gzip streams.
BROKEN = (
    OSError, EOFError, zlib.error, ValueError, TypeError, IndexError, KeyError, ArithmeticError, AttributeError,
    AssertionError, MemoryError, fits.VerifyError,
)  # fmt: skip

# Spellings in public files that astropy does not know, in lower case.
_SPELLINGS = MappingProxyType({
    "ev": "eV", "kev": "keV", "mev": "MeV", "gev": "GeV", "tev": "TeV", "cm2": "cm2", "sqcm": "cm2", "sq cm": "cm2",
    "cm sq": "cm2", "cmsq": "cm2", "cm squared": "cm2", "square cm": "cm2", "cm**2.0": "cm2", "sqm": "m2", "m2": "m2",
})  # fmt: skip
# Negative values that are smaller than this share of the largest one are rounding of what made the file.
ROUNDING = 1e-6


@contextmanager
def opened(path: str | os.PathLike[str], what: str) -> Iterator[fits.HDUList]:
    """Open a FITS file (plain or .gz) for reading; ``file.fits[2]`` or ``file.fits[NAME,2]`` chooses among tables.

    Raises
    ------
    DataFileError
        If it is absent, empty, not FITS, or cut short, or has no such extension.
    """
    bracket = None if Path(path).is_file() else re.fullmatch(r"(.+?)\[([^\[\]]+)\]", str(path))
    target = existing_file(path if bracket is None else bracket.group(1), what=what)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            hdus = fits.open(target, memmap=False)
            # Cards are parsed on first use: provoke that here, where it can be told which file is broken.
            for hdu in hdus:
                list(hdu.header.items())
        except BROKEN as error:
            raise _unreadable(target, error) from error
        with hdus:
            if bracket is not None:
                _keep_one(hdus, bracket.group(2), str(target))
            yield hdus


def _keep_one(hdus: fits.HDUList, extension: str, path: str) -> None:
    """Remove the tables beside the chosen one that have its name: a number, a name, or a name and EXTVER."""
    name, _, version = (part.strip() for part in extension.partition(","))
    if name.isdecimal():
        chosen = [k for k in range(len(hdus)) if k == int(name)]
    else:
        alike = [k for k, hdu in enumerate(hdus) if hdu.name.upper() == name.upper()]
        chosen = alike if not version else [k for k in alike if str(hdus[k].ver) == version]
    if not chosen:
        present = ", ".join(f"{k} {hdu.name}" for k, hdu in enumerate(hdus))
        raise DataFileError(f"there is no HDU [{extension}]", where=path, expected=f"one of {present}")
    if len(chosen) > 1 and not version:
        return
    one = hdus[chosen[0]]
    for k in reversed(range(len(hdus))):
        other = hdus[k]
        alike = other.name == one.name or (_kind(one)[0] and _kind(one) == _kind(other))
        if other is not one and isinstance(other, fits.BinTableHDU) and alike:
            del hdus[k]


def _kind(hdu: Any) -> tuple[str, str]:
    """Return the classes of an HDU; the one for all spectra, be they of a source or of its background."""
    classes = (_text(hdu, "HDUCLAS1"), _text(hdu, "HDUCLAS2"))
    columns = {str(name).upper() for name in getattr(getattr(hdu, "columns", None), "names", ())}
    return ("SPECTRUM", "") if classes[0] == "SPECTRUM" or columns & {"COUNTS", "RATE"} else classes


def _unreadable(where: Path | str, error: BaseException) -> DataFileError:
    reason = " ".join(str(error).split()).rstrip(".;") or type(error).__name__
    return DataFileError(f"this cannot be read as FITS ({reason})", where=str(where), expected="a complete FITS file")


@dataclass
class Table:
    """One binary table of a file."""

    path: str
    hdu: Any
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            self.data = self.hdu.data
            self.columns = {name.upper(): name for name in self.hdu.columns.names}
            self.rows = len(self.data)
        except BROKEN as error:
            raise _unreadable(self.label, error) from error
        if self.rows == 0:
            raise self.error("the table has no rows", expected="at least one row")

    @property
    def header(self) -> Any:
        """The FITS header."""
        return self.hdu.header

    @property
    def label(self) -> str:
        """File and HDU, as messages name them."""
        return f"{self.path}[{self.hdu.name}]"

    def error(
        self, what: str, *, column: str = "", row: int | None = None, expected: str | None = None
    ) -> DataFileError:
        """Make the error that names this table; rows count from 1 as in FITS viewers."""
        where = self.label
        if column:
            where += f", column {column}"
        if row is not None:
            where += f", row {row + 1}"
        return DataFileError(what, where=where, expected=expected)

    def note(self, text: str) -> None:
        """Remember something that had to be mended."""
        self.notes.append(f"{self.label}: {text}")

    def has(self, column: str) -> bool:
        """Whether there is such a column (case does not matter)."""
        return column.upper() in self.columns

    def raw(self, column: str) -> Any:
        """Return a column as the file stores it."""
        if not self.has(column):
            raise self.error(f"there is no column {column}", expected=closest(column, self.columns.values()))
        try:
            return self.data[self.columns[column.upper()]]
        except BROKEN as error:
            raise _unreadable(f"{self.label}, column {column}", error) from error

    def number(self, column: str) -> int:
        """Return the position of a column, counted from 1 as in TLMINn."""
        names = [name.upper() for name in self.hdu.columns.names]
        return names.index(column.upper()) + 1

    def limit(self, key: str, column: str) -> int | None:
        """Return the keyword ``key``n ("TLMIN", "TLMAX") of a column as an integer, if there is one."""
        value = self.header.get(f"{key}{self.number(column)}")
        if value is None:
            return None
        try:
            return int(value)
        except (TypeError, ValueError):
            raise self.error(f"{key} is {value!r}", column=column, expected="a channel number") from None

    @property
    def declared_channels(self) -> int | None:
        """DETCHANS, or None where the header does not have it as a whole number."""
        try:
            return int(self.header["DETCHANS"])
        except (KeyError, TypeError, ValueError):
            return None

    def check_channels(self, n: int, rows: str, *others: Table) -> None:
        """Check DETCHANS against ``n``, the number of ``rows``; one wrong among several tables is told only.

        Raises
        ------
        DataFileError
            If the header has DETCHANS and none of the tables has the right one.
        """
        tables = [table for table in (self, *others) if table.header.get("DETCHANS") is not None]
        wrong = [table for table in tables if table.declared_channels != n]
        if wrong and len(wrong) == len(tables):
            raise wrong[0].error(f"there are {n} {rows}", expected=f"DETCHANS = {wrong[0].header['DETCHANS']}")
        for table in wrong:
            table.note(f"DETCHANS is {table.header['DETCHANS']} for {n} channels; it is not used")

    def values(
        self,
        column: str,
        *,
        unit: str = "",
        low: float | None = None,
        ndim: int = 1,
        boolean: bool = False,
        finite: bool = True,
    ) -> NDArray[np.float64]:
        """Return a numeric column as float64, in ``unit``.

        ``boolean`` also takes true as 1 and false as 0; without ``finite`` NaN and infinity may occur.

        Raises
        ------
        DataFileError
            If it is missing, not numeric, of wrong shape, not finite, below ``low``, or of another dimension.
        """
        raw = np.asarray(self.raw(column))
        if raw.dtype == object or not (np.issubdtype(raw.dtype, np.number) or (boolean and raw.dtype == bool)):
            raise self.error(f"the values are of type {raw.dtype}", column=column, expected="numbers")
        array = raw.astype(float)
        if array.ndim != ndim:
            raise self.error(
                f"each row holds an array of shape {array.shape[1:]}",
                column=column,
                expected="one number a row" if ndim == 1 else "one vector a row",
            )
        if finite:
            self._check(array, column, low)
        return array * self._scale(column, unit) if unit else array

    def _check(self, array: NDArray[np.float64], column: str, low: float | None) -> None:
        bad = ~np.isfinite(array)
        if bad.any():
            row = int(np.argwhere(bad)[0][0])
            raise self.error(f"the value is {array[bad][0]}", column=column, row=row, expected="a finite number")
        if low == 0 and np.any(array < 0) and -array.min() <= ROUNDING * array.max():
            self.note(f"column {column} has {np.sum(array < 0)} values of {array.min():.2g} or more; 0 is used")
            array[array < 0] = 0.0
        if low is not None and np.any(array < low):
            row = int(np.argwhere(array < low)[0][0])
            value = array[array < low][0]
            raise self.error(f"the value is {value:g}", column=column, row=row, expected=f"at least {low:g}")

    def _scale(self, column: str, unit: str) -> float:
        text = str(self.hdu.columns[self.columns[column.upper()]].unit or "").strip()
        if not text:
            self.note(f"column {column} has no unit; {unit} is assumed")
            return 1.0
        if text.lower() == unit.lower():
            return 1.0
        plain = text.lower().replace("^", "").replace("**", "")
        # An area per photon that makes one count.
        plain = re.sub(r"[ .*]*(counts?|cts?)\s*/\s*(photons?|ph)$", "", plain)
        known = _SPELLINGS.get(" ".join(plain.split()), text)
        try:
            return float(units.Unit(known).to(units.Unit(unit)))
        except (ValueError, TypeError, units.UnitConversionError):
            raise self.error(
                f"the unit {text!r} cannot be used", column=column, expected=f"{unit} or a unit that converts to it"
            ) from None

    def integers(self, column: str) -> NDArray[np.int64]:
        """Return a numeric column of whole numbers."""
        array = self.values(column)
        whole = np.rint(array)
        if np.any(whole != array):
            row = int(np.flatnonzero(whole != array)[0])
            raise self.error(f"the value is {array[row]:g}", column=column, row=row, expected="a whole number")
        return whole.astype(np.int64)


def find_table(
    hdus: fits.HDUList, path: str, *, names: Sequence[str], hduclas1: str, hduclas2: Sequence[str], hint: str = ""
) -> Table:
    """Return the first of :func:`find_tables`; that there are others, with other content, is told."""
    found = find_tables(hdus, path, names=names, hduclas1=hduclas1, hduclas2=hduclas2, hint=hint)
    first, others = found[0], found[1:]
    if any(not _same_content(first, other) for other in others):
        name = Path(path).name
        first.note(
            f"the first of {len(found)} {first.hdu.name} tables is used; choose another as {name}[NUMBER of the HDU]"
        )
    return first


def _same_content(one: Table, other: Table) -> bool:
    if one.rows != other.rows or set(one.columns) != set(other.columns):
        return False
    return all(np.array_equal(one.raw(name), other.raw(name)) for name in one.columns if one.raw(name).dtype != object)


def find_tables(
    hdus: fits.HDUList, path: str, *, names: Sequence[str], hduclas1: str, hduclas2: Sequence[str], hint: str = ""
) -> list[Table]:
    """Return the tables called one of ``names``, or else those classified as ``hduclas1`` / ``hduclas2``.

    Raises
    ------
    DataFileError
        If there is none, or one has the name but contradicts it in HDUCLAS1 or HDUCLAS2.
    """
    tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
    named = [hdu for hdu in tables if hdu.name.upper() in names]
    classed = [
        hdu
        for hdu in tables
        if _text(hdu, "HDUCLAS1") == hduclas1 and (not hduclas2 or _text(hdu, "HDUCLAS2") in hduclas2)
    ]
    if not named and not classed:
        present = ", ".join(hdu.name or "(unnamed)" for hdu in hdus)
        raise DataFileError(f"there is no {names[0]} table{hint}", where=path, expected=f"one among the HDUs {present}")
    found = [Table(path, hdu) for hdu in named or classed]
    expected = {"HDUCLAS1": (hduclas1,), "HDUCLAS2": tuple(hduclas2)}
    for table in found:
        for key, allowed in expected.items():
            text = _text(table.hdu, key)
            if text and allowed and text not in allowed:
                raise table.error(f"{key} is {text!r}", expected=" or ".join(repr(a) for a in allowed))
    return found


def _text(hdu: Any, key: str) -> str:
    return str(hdu.header.get(key) or "").strip().upper()
