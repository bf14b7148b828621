"""Columns of catalogues: numbers with missing values, angles, fluxes as magnitudes, their errors."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.cells import read_cell
from crosscal.core.errors import CrossCalError, DataFileError, UnknownNameError
from crosscal.core.reading import parsing
from crosscal.core.text_tables import decoded, from_text

Floats = NDArray[np.float64]
#: Readers by suffix; astropy recognises the others.
_FORMATS = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "txt": "ascii"}
#: Error in magnitudes of a flux with signal-to-noise ratio 1: 2.5 / ln 10.
PER_SNR = 2.5 / np.log(10)
_FLUX = re.compile(r"(?i)flux|magg(y|ies)|(^|_)n?mgy(_|$)|(^|_)[numk]?jy(_|$)|f_?(nu|lam(bda)?)(_|$)")
_NANOMAGGIES = re.compile(r"(?i)(n|nano)_?(mgy|magg(y|ies))")
_INVERSE = re.compile(r"(?i)(ivar|invvar|inverse_?variance)")
_RATIO = re.compile(r"(?i)flux_over_error|(^|_)(snr|s_?n)(_|$)")
#: A star's magnitudes of two bands, and the medians of two columns, differ by less.
_COLOUR = 10.0
_HOURS = ("h", "hr", "hour", "hours", "hourangle")


def table_in_file(target: Path, format: str | None) -> Any:
    """The table in a file, by its suffix where no format is named; text with a byte-order mark, semicolons, comments
    or decimal commas too.
    """
    from astropy.table import Table

    suffix = target.name.removesuffix(".gz").rsplit(".", 1)[-1].lower()
    chosen = format or _FORMATS.get(suffix)
    plain = format is None and suffix in ("csv", "txt") and not target.name.endswith(".gz")
    try:
        with parsing("not a readable table", where=target, expected="CSV, ECSV, FITS or VOTable"):
            table = Table.read(target, format=chosen) if chosen else Table.read(target)
            if not plain or (len(table.colnames) > 1 and not table.colnames[0].startswith("\ufeff")):
                return table
    except CrossCalError:
        if not plain:
            raise
    with parsing("not a readable table", where=target, expected="CSV, ECSV, FITS or VOTable"):
        return from_text(decoded(target.read_bytes(), str(target)), str(target))[0]


def _column(table: Any, column: str, where: str) -> Any:
    if column not in table.colnames:
        raise UnknownNameError("column", column, table.colnames, where=where)
    return table[column]


def unit_of(table: Any, column: str, where: str) -> str:
    """The unit of a column as its file or table spells it; empty if none."""
    return str(getattr(_column(table, column, where), "unit", None) or "").strip()


def numbers(table: Any, column: str, where: str) -> Floats:
    """A column as numbers, NaN where a value is masked, missing ("null", "--", "N/A") or a limit (">21").

    Raises
    ------
    DataFileError
        If a value is not a number, or there are several in a row.
    UnknownNameError
        If there is no such column.
    """
    given = _column(table, column, where)
    given = given.value if hasattr(given, "to_value") else given
    if given.dtype.kind in "OUS":
        return _from_words(given, column, where)
    values = np.ma.filled(np.ma.asarray(given), np.nan) if given.dtype.kind == "f" else given
    with parsing("a value is not a number", where=f"{where}, column {column}", expected="numbers"):
        found = np.ma.filled(np.ma.asarray(values).astype(float), np.nan)
    if found.ndim != 1:
        raise DataFileError("an array in each row", where=f"{where}, column {column}", expected="one number a row")
    return found


def _from_words(given: Any, column: str, where: str) -> Floats:
    values = np.full(len(given), np.nan)
    hidden = np.broadcast_to(np.asarray(getattr(given, "mask", False)), (len(given),))
    for k, word in enumerate(given.tolist()):
        if hidden[k] or word is None:
            continue
        text = word.decode("latin-1") if isinstance(word, bytes) else str(word)
        cell = read_cell(text)
        if cell is None:
            raise DataFileError(
                f"{text[:40]!r} is not a number", where=f"{where}, column {column}, row {k + 1}", expected="a number"
            )
        values[k] = np.nan if cell.limit else cell.value
    return values


def angle(table: Any, column: str, where: str, hours: bool, notes: list[str]) -> Floats:
    """A coordinate in degrees: from its unit, or from sexagesimal text (``hours`` for right ascensions).

    Raises
    ------
    DataFileError
        If it is not an angle.
    """
    given, unit = _column(table, column, where), unit_of(table, column, where)
    if given.dtype.kind in "OUS" and any(re.search(r"\d[\s:hd°]\s*\d", str(word)) for word in given):
        from astropy import units
        from astropy.coordinates import Angle

        with parsing(
            "positions that are not angles", where=f"{where}, column {column}", expected="degrees, or 10:20:30"
        ):
            found = Angle([str(word) for word in given], unit=units.hourangle if hours else units.deg).deg
        notes.append(f"{column} is read as {'hours' if hours else 'degrees'}, minutes and seconds")
        return np.asarray(found, dtype=float)
    values = numbers(table, column, where)
    return values * _scale(unit, "deg", f"{where}, column {column}") if unit.lower() not in _HOURS else values * 15.0


def rate(table: Any, column: str, where: str) -> Floats:
    """Proper motions in mas/yr, from their unit."""
    unit = unit_of(table, column, where)
    return numbers(table, column, where) * _scale(unit, "mas/yr", f"{where}, column {column}")


def _scale(unit: str, target: str, where: str) -> float:
    """The factor from a unit to another; 1 where there is none."""
    from astropy import units

    try:
        return float(units.Unit(unit).to(units.Unit(target))) if unit else 1.0
    except (ValueError, TypeError, units.UnitConversionError):
        raise DataFileError(f"values in {unit!r}", where=where, expected=f"values in {target}") from None


def photometry(
    table: Any, column: str, error: str | None, where: str, notes: list[str]
) -> tuple[Floats, Floats | None, bool]:
    """Magnitudes (n,), their errors where there is a column, and whether they came from fluxes (AB then).

    Raises
    ------
    DataFileError
        If the name of a column tells of fluxes whose unit is not known, or errors are in another kind of unit.
    """
    values, unit = numbers(table, column, where), unit_of(table, column, where)
    place = f"{where}, column {column}"
    size = _janskys(unit, place)
    if size is None and _FLUX.search(column) and "mag" not in (unit + column).lower().replace("magg", ""):
        size = _janskys("nmgy" if _NANOMAGGIES.search(column) else "", place)
        if size is None:
            raise DataFileError(
                "fluxes in an unknown unit",
                where=place,
                expected="magnitudes, or a column with a unit such as nJy or nmgy",
            )
    if size is None:
        values = values * (1e-3 if unit == "mmag" else 1.0)
        return values, None if error is None else _errors(table, error, where), False
    notes.append(f"{column}: fluxes in {unit or 'nanomaggies'} are turned into AB magnitudes")
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitudes = np.where(values > 0, -2.5 * np.log10(values * size / 3631.0), np.nan)
    if error is None:
        return magnitudes, None, True
    return magnitudes, _errors_of_fluxes(table, error, where, values, size), True


def _janskys(unit: str, where: str) -> float | None:
    """The size of a unit of flux densities in Jy; None for magnitudes and where there is no unit."""
    if _NANOMAGGIES.fullmatch(unit):
        return 3631e-9
    if not unit or "mag" in unit.lower():
        return None
    return _scale(unit, "Jy", where)


def _errors(table: Any, column: str, where: str) -> Floats:
    """Errors in magnitudes; NaN where none is quoted."""
    values, unit = numbers(table, column, where), unit_of(table, column, where)
    with np.errstate(divide="ignore", invalid="ignore"):
        if _RATIO.search(column):
            return np.where(values > 0, PER_SNR / values, np.nan)
        if _INVERSE.search(column):
            return np.where(values > 0, values**-0.5, np.nan)
    if unit and "mag" not in unit.lower():
        raise DataFileError(
            f"errors in {unit} of magnitudes", where=f"{where}, column {column}", expected="errors in magnitudes"
        )
    return values * (1e-3 if unit == "mmag" else 1.0)


def _errors_of_fluxes(table: Any, column: str, where: str, flux: Floats, size: float) -> Floats:
    """Errors in magnitudes of fluxes, from their errors in the same or another unit, inverse variances or ratios."""
    values, unit = numbers(table, column, where), unit_of(table, column, where)
    with np.errstate(divide="ignore", invalid="ignore"):
        if _RATIO.search(column):
            return np.where(values > 0, PER_SNR / values, np.nan)
        if _INVERSE.search(column):
            return np.where(values > 0, PER_SNR * values**-0.5 / flux, np.nan)
        if "mag" in unit.lower() and not _NANOMAGGIES.fullmatch(unit):
            return values * (1e-3 if unit == "mmag" else 1.0)
        own = _janskys(unit, f"{where}, column {column}") or size
        return PER_SNR * values * own / (flux * size)


def refuse_other_quantities(magnitude: NDArray[np.float64], bands: Mapping[str, str], where: str) -> None:
    """Refuse a column whose values are far from the magnitudes of the other bands, such as redshifts in "z".

    Raises
    ------
    DataFileError
        Naming the column.
    """
    there = np.isfinite(magnitude).any(axis=0)
    if there.sum() < 2:
        return
    names = np.array(list(bands))[there]
    level = np.nanmedian(magnitude[:, there], axis=0)
    away = np.abs(level - np.median(level))
    if len(level) == 2 and away.max() > 0.5 * _COLOUR:
        away[int(np.argmax(level))] = 0.0  # the brighter of two is the odd one
        away *= 2.0
    worst = int(np.argmax(away))
    if away[worst] > _COLOUR:
        raise DataFileError(
            f"values of {names[worst]} (median {level[worst]:.3g}) are {away[worst]:.0f} mag from those of other bands",
            where=f"{where}, column {bands[str(names[worst])]}",
            expected="magnitudes: leave out this band, or name its column",
        )  # fmt: skip


def leave_out_marks(magnitude: NDArray[np.float64], notes: list[str]) -> None:
    """Take single magnitudes far from those of the star's other bands (-1, 9.999) as missing, in place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        middle = np.nanmedian(magnitude, axis=1, keepdims=True)
    several = np.isfinite(magnitude).sum(axis=1, keepdims=True) > 2
    odd = several & (np.abs(magnitude - middle) > _COLOUR)
    if odd.any():
        marks = ", ".join(f"{v:g}" for v in np.unique(magnitude[odd])[:3])
        notes.append(
            f"{odd.sum()} magnitudes far from those of the star's other bands are treated as missing ({marks})"
        )
        magnitude[odd] = np.nan
