"""What single rows of a table say beside their numbers: limits, sources, units and zero points, missing values."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from crosscal.core.cells import HIGH_MARKERS, MARKERS
from crosscal.core.errors import DataFileError
from crosscal.lightcurves.formats.raw import RawTable
from crosscal.lightcurves.formats.words import MISSING

Floats = NDArray[np.float64]
#: Names of columns that flag limits, and that flag detections.
_LIMIT = re.compile(
    r"(is_?|flag_?)?(ul|up?_?lim|upper_?lim(it)?|lim(it)?|non_?det(ection|ected)?|fainter_?than)s?(_?flag)?"
)
_DETECTED = re.compile(r"(is_?)?det(ected|ection)?(_?flag)?")
_TRUE = {"1", "1.0", "true", "t", "y", "yes", "<", ">", "u", "ul", "-1", "-1.0"}
_FALSE = {"0", "0.0", "false", "f", "n", "no", "=", *MISSING}
#: Names of columns that name sources.
_SOURCES = re.compile(
    r"(dia|asas_?sn_?|ztf_?|gaia_?|ps1_?|unique_?)?(o|obj|object|src|source|star|target|master)_?(id|name|no|num(ber)?)?|"
    r"id|name|designation"
)
#: Names of columns of units, zero points and their systems.
UNITS = ("unit", "units", "flux_unit", "flux_units", "fluxunit", "fluxunits")
ZERO_POINTS = ("zp", "zeropoint", "zero_point", "zpt", "zp_ab", "magzp", "flux_zp", "zpdiff")
ZERO_SYSTEMS = ("zpsys", "zp_sys", "magsys", "zpsystem")
#: AB magnitude of a flux of one uJy.
_MICROJANSKY = 23.9
#: A value that often marks a missing one is taken as such where it is so many times larger than all others.
_FAR = 10.0


def limit_flags(table: RawTable, value: str) -> tuple[NDArray[np.bool_], str | None]:
    """Return which rows are limits by a column of flags (``l_X`` beside X as CDS writes it, "ul", "detected"), and it.

    A column of such a name that holds other things, such as limiting magnitudes, is none.
    """
    none = np.zeros(len(table), dtype=bool)
    for key in table.columns:
        inverse = bool(_DETECTED.fullmatch(key))
        if key != f"l_{value}" and not inverse and not _LIMIT.fullmatch(key):
            continue
        words = np.char.lower(table.words(key))
        if not set(words.tolist()) <= _TRUE | _FALSE:
            continue
        flagged = np.isin(words, list(_TRUE)) != inverse
        if flagged.any():
            return flagged, key
    return none, None


def refuse_several_sources(table: RawTable, used: set[str]) -> None:
    """Refuse a table whose column of names holds several sources, each with several rows.

    Raises
    ------
    DataFileError
        Naming the column and the first sources.
    """
    for key in table.columns:
        if key in used or not _SOURCES.fullmatch(key):
            continue
        names = [word for word in table.words(key).tolist() if word.lower() not in MISSING]
        different = list(dict.fromkeys(names))
        # A name of its own in every row numbers the rows.
        if len(different) > 1 and 2 * len(different) <= len(names):
            spelled = table.names[key]
            shown = ", ".join(different[:3]) + (", ..." if len(different) > 3 else "")
            raise DataFileError(
                f"column {spelled!r} holds several sources ({shown})", where=table.source,
                expected='one source a file, or job = "lightcurves-survey" for many sources; if they are one source, '
                f'columns = {{telescope = "{spelled}"}} keeps them apart and merge_objects = true joins them',
            )  # fmt: skip


def unit_of_rows(table: RawTable, notes: list[str]) -> tuple[str, Floats | None]:
    """Return the unit that a column of units gives, and what turns each row into it (None where all have one).

    Raises
    ------
    DataFileError
        If the rows' units do not convert into each other.
    """
    key = table.first(UNITS)
    if key is None or table.columns[key].dtype.kind not in "OUS":
        return "", None
    words = [word if word.lower() not in MISSING else "" for word in table.words(key).tolist()]
    given = list(dict.fromkeys(words))
    if len(given) == 1:
        return given[0], None
    where = f"{table.source}, column {table.names[key]!r}"
    if "" in given:
        raise DataFileError("rows without a unit", where=where, expected="a unit in each row, or in none")
    from astropy import units

    try:
        factors = {word: float(units.Unit(word).to(units.Unit(given[0]))) for word in given}
    except (ValueError, TypeError, units.UnitConversionError):
        raise DataFileError(
            f"units that do not convert into each other ({', '.join(given[:3])})", where=where, expected="one unit"
        ) from None
    notes.append(f"fluxes are converted to {given[0]}, row by row, by column {table.names[key]}")
    return given[0], np.array([factors[word] for word in words])


def zero_points(table: RawTable, notes: list[str]) -> tuple[str, Floats | None]:
    """Return the unit of fluxes with a zero point in each row (m = zp - 2.5 log10 f), and what converts them.

    With zero points of the AB system fluxes become uJy; else those of the first row's zero point.

    Raises
    ------
    DataFileError
        If zero points differ in system, or one is missing.
    """
    key = table.first(ZERO_POINTS)
    if key is None:
        return "", None
    values, where = table.numbers(key), f"{table.source}, column {table.names[key]!r}"
    if not np.isfinite(values).any():
        return "", None
    system = table.first(ZERO_SYSTEMS)
    names = set(np.char.lower(table.words(system)).tolist()) - MISSING if system else set()
    if len(names) > 1:
        raise DataFileError(
            f"zero points of several systems ({', '.join(sorted(names))})", where=where, expected="one system"
        )
    ab = names == {"ab"} or key == "zp_ab"
    first = _MICROJANSKY if ab else float(values[np.isfinite(values)][0])
    if not ab and np.ptp(values[np.isfinite(values)]) == 0:
        return "", None
    notes.append(
        f"fluxes are converted to {'uJy (AB)' if ab else f'the zero point {first:g}'} by column {table.names[key]}"
    )
    return ("uJy" if ab else ""), 10 ** (-0.4 * (values - first))


def missing_values(value: Floats, error: Floats, magnitudes: bool) -> NDArray[np.bool_]:
    """Return which rows hold a number that marks a missing value: -999 with the error -999, or far from all others."""
    if magnitudes:
        # A magnitude of exactly zero among those of faint sources.
        faint = np.isfinite(value) & (value != 0)
        return (value == 0) & bool(faint.any() and np.median(value[faint]) > 5)
    marked = np.isin(value, (*MARKERS, *HIGH_MARKERS))
    others = np.abs(value[np.isfinite(value) & ~marked])
    if not marked.any() or not len(others):
        return np.zeros(len(value), dtype=bool)
    far = np.abs(value) > _FAR * others.max()
    return marked & (far | (error == value) | np.isin(error, (*MARKERS, *HIGH_MARKERS)))


def refuse_signs_and_exposures(table: RawTable, value: str, is_magnitude: bool) -> None:
    """Refuse magnitudes of differences, and counts of different exposures.

    Raises
    ------
    DataFileError
        Naming the column that tells of it.
    """
    if is_magnitude and (sign := table.first(("isdiffpos", "is_diff_pos"))):
        raise DataFileError(
            f"magnitudes of differences, with signs in column {table.names[sign]!r}", where=table.source,
            expected="total magnitudes, or fluxes of differences",
        )  # fmt: skip
    exposure = table.first(("exposure", "exptime", "exp_time", "exposure_time", "livetime", "ontime"))
    if re.fullmatch(r"(net_?)?(counts?|cts)", value) and exposure:
        times = table.numbers(exposure)
        if len(np.unique(times[np.isfinite(times)])) > 1:
            raise DataFileError(
                f"counts of different exposures (column {table.names[exposure]!r})", where=table.source,
                expected="count rates with their errors",
            )  # fmt: skip
