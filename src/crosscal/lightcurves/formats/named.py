"""Tables whose columns are found by their names: which hold times, values and errors, and in which units."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, InputError
from crosscal.lightcurves.formats.inverse import maggies, with_errors
from crosscal.lightcurves.formats.photometry import MAGNITUDE, NO_MAGNITUDE, Photometry, position_of
from crosscal.lightcurves.formats.plausible import (
    calendar_dates,
    checked_dates,
    may_be_magnitudes,
    no_logarithm,
    stated_level,
    unused_words,
)
from crosscal.lightcurves.formats.raw import RawTable, override
from crosscal.lightcurves.formats.rows import (
    UNITS,
    ZERO_POINTS,
    ZERO_SYSTEMS,
    limit_flags,
    missing_values,
    refuse_several_sources,
    refuse_signs_and_exposures,
    unit_of_rows,
    zero_points,
)
from crosscal.lightcurves.formats.selection import Selection
from crosscal.lightcurves.formats.vocabulary import TIMES, Roles, find_roles, time_system, unit_in
from crosscal.lightcurves.timesystem import TimeSystem

Floats = NDArray[np.float64]
#: Errors outside this range of fractions of the values are told.
_ODD = (1e-6, 30.0)
#: Errors in magnitudes above this are told.
_LARGE = 2.0


def photometry_by_names(table: RawTable, selection: Selection, label: str) -> Photometry:
    """Return the rows of a table whose columns are found by their names, or named by the user.

    Raises
    ------
    DataFileError, InputError
        If a column is missing, in a unit that does not fit, or what the table says cannot be used.
    """
    chosen = override(table, selection.columns)
    table, renamed = with_errors(table)
    chosen = {role: renamed.get(key, key) for role, key in chosen.items()}
    roles = find_roles(table.columns, table.source, chosen, table.units)
    notes = list(table.notes)
    n = len(table)
    used = {roles.time, roles.value, *roles.errors, *roles.unused, roles.telescope or "", roles.filter or ""}
    if table.headed and not selection.merge_objects:
        refuse_several_sources(table, used)
    if not table.headed:
        notes.append("the columns have no names: time, flux and error are assumed")
    time, system = _times(table, roles.time, selection, notes)
    value, error, unit, is_magnitude = _values(table, roles, notes)
    telescope = table.words(roles.telescope) if roles.telescope else np.full(n, label or Path(table.source).stem)
    band = table.words(roles.filter) if roles.filter else np.full(n, "")
    flagged, flag = limit_flags(table, roles.value)
    notes += _told(table, roles, {*used, flag or ""}, flag)
    refused = []
    if (missing := missing_values(value, error, is_magnitude)).any():
        marks = ", ".join(f"{v:.10g}" for v in np.unique(value[missing])[:3])
        refused.append((missing, f"with {marks}, which mark{'s' if ',' not in marks else ''} missing values"))
    return Photometry(
        time, value, error, is_magnitude, system, unit, telescope, band, np.full(n, ""),
        table.is_limit(roles.value) | flagged, refused, notes, position_of(table),
    )  # fmt: skip


def _values(table: RawTable, roles: Roles, notes: list[str]) -> tuple[Floats, Floats, str, bool]:
    """Values and errors in one unit, that unit, and whether they are magnitudes."""
    unit = table.units.get(roles.value, "") or unit_in(roles.value)
    if not table.headed and table.meta.get("unit"):
        unit = str(table.meta["unit"])
    factor: Floats | None = None
    if not unit:
        unit, factor = unit_of_rows(table, notes)
    is_magnitude = roles.is_magnitude or "mag" in unit.lower().replace("magg", "")
    no_logarithm(table, roles.value, unit)
    if is_magnitude and (other := re.search(r"vega|\bst\b|stmag", f"{roles.value} {unit}".lower())):
        kind = "Vega" if other[0] == "vega" else "ST"
        notes.append(f"{kind} magnitudes: fluxes are right up to a factor of each filter")
    refuse_signs_and_exposures(table, roles.value, is_magnitude)
    value = table.numbers(roles.value) * (1e-3 if unit == "mmag" else 1.0)
    errors = [_error_column(table, key, roles.value, value, unit, is_magnitude, notes) for key in roles.errors]
    error = _joined(errors, " and ".join(table.names[key] for key in roles.errors), roles.added, notes)
    error = np.full(len(table), np.nan) if error is None else error
    _tell_odd_errors(value, error, is_magnitude, notes)
    if not table.headed and not is_magnitude and may_be_magnitudes(value, error):
        notes.append('the values may be magnitudes: columns = {magnitude = "flux"} reads them as such')
    if not unit and not is_magnitude:
        unit, factor = zero_points(table, notes)
    if factor is not None:
        value, error = value * factor, error * factor
    if (size := maggies(unit)) is not None:
        notes.append(f"fluxes are converted from {'nano' if unit[0] == 'n' else ''}maggies to uJy (AB)")
        value, error, unit = value * size, error * size, "uJy"
    # A relative flux has no unit, and its errors are those of any flux.
    return value, error, "" if is_magnitude or unit == "relative" else unit, is_magnitude


def _tell_odd_errors(value: Floats, error: Floats, is_magnitude: bool, notes: list[str]) -> None:
    """Tell errors whose size does not fit that of the values."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = error / (1.0 if is_magnitude else np.abs(value))
    share = share[np.isfinite(share) & (share > 0) & (error < NO_MAGNITUDE if is_magnitude else True)]
    middle = float(np.median(share)) if len(share) else 1.0
    if is_magnitude and middle > _LARGE:
        notes.append(f"the errors are about {middle:.2g} mag: are they in magnitudes?")
    if not is_magnitude and not _ODD[0] < middle < _ODD[1]:
        notes.append(f"the errors are about {middle:.2g} times the fluxes: are they in the same unit?")


def _joined(errors: list[Floats], names: str, added: bool, notes: list[str]) -> Floats | None:
    """One error of each value from the upper and the lower one, or from a random and a systematic one."""
    if len(errors) < 2:
        return errors[0] if errors else None
    if added:
        notes.append(f"the errors {names} are added in quadrature")
        return np.sqrt(np.sum(np.square(errors), axis=0))
    notes.append(f"of the two errors {names} the root mean square is used")
    # Lower errors may be given as negative numbers.
    return np.sqrt(np.mean(np.square(errors), axis=0))


def _told(table: RawTable, roles: Roles, used: set[str], flag: str | None) -> list[str]:
    """What is said of columns that are not used."""
    notes = [f"column {table.names[flag]} flags limits"] if flag else []
    used = used | {*UNITS, *ZERO_POINTS, *ZERO_SYSTEMS}
    told = [table.names[k] for k in roles.unused if k not in (flag, *UNITS, *ZERO_POINTS)]
    if told:
        notes.append(f"unused columns: {', '.join(told)}")
    if len(table.columns) > 3 and not table.headed:
        notes.append(f"columns after the third are not used ({len(table.columns)} columns)")
    return notes + unused_words(table, used)


def _times(table: RawTable, key: str, selection: Selection, notes: list[str]) -> tuple[NDArray[np.float64], TimeSystem]:
    system = table.systems.get(key) or time_system(key, table.names[key])
    days = calendar_dates(table, key)
    if days is not None:
        if selection.time_format:
            raise InputError(
                f"time_format {selection.time_format!r}", where=f"{table.source}, column {table.names[key]!r}",
                expected="none: the column holds calendar dates",
            )  # fmt: skip
        notes.append(f"calendar dates in {table.names[key]} are read as UTC")
        return days, TimeSystem("mjd", scale="utc")
    time = table.numbers(key)
    unit = table.units.get(key, "")
    named = unit.split(",")[0].strip()
    if (named and named.lower().replace(" ", "") in TIMES) or "jd" in named.lower():
        system = time_system(named.lower(), named) if not system.format else system
    elif unit and unit.lower() not in ("d", "day", "days"):
        factor = _factor(unit, "d", f"{table.source}, column {table.names[key]!r}")
        notes.append(f"times are converted from {unit} to days")
        time = time * factor
    if selection.time_format:
        asked = TIMES[selection.time_format]
        if system.format and (system.format, system.zero) != (asked.format, asked.zero):
            raise InputError(
                f"time_format {selection.time_format!r}", where=table.source, expected=f"none: the file says {system}"
            )
        system = asked
    return time, checked_dates(time, system, table.source, notes, key)


def _error_column(
    table: RawTable, key: str, key_of_value: str, value: Floats, unit: str, is_magnitude: bool, notes: list[str]
) -> Floats:
    """Standard errors in the unit of the values; those given in per cent or magnitudes are converted."""
    error = table.numbers(key)
    level = stated_level(key, key_of_value, str(table.meta.get("comments", "")))
    if level is not None:
        error = error / level[0]
        notes.append(f"errors in {table.names[key]} ({level[1]}) are divided by {level[0]:.4g}")
    own = table.units.get(key, "") or unit_in(key)
    if not own and re.search("mag(?!g)", key) and not is_magnitude:
        own = "mag"
    if is_magnitude and re.search(r"flux|rate|counts", key):
        raise DataFileError(
            "errors of fluxes beside magnitudes", where=f"{table.source}, column {table.names[key]!r}",
            expected='errors in magnitudes, named by columns = {error = "..."}',
        )  # fmt: skip
    if not own or (own == unit and own != "mmag"):
        return error
    where = f"{table.source}, column {table.names[key]!r}"
    if own.lower() in ("%", "percent", "pct", "relative"):
        share = error if own.lower() == "relative" else error / 100.0
        notes.append(f"errors in {table.names[key]} are relative and are converted")
        return share * (MAGNITUDE if is_magnitude else np.abs(value))
    if is_magnitude:
        if "mag" not in own.lower():
            raise DataFileError(f"errors in {own} of magnitudes", where=where, expected="errors in magnitudes")
        return error * (1e-3 if own == "mmag" else 1.0)
    if "mag" in own.lower():
        notes.append("errors in magnitudes are converted to errors of the fluxes")
        return error * (1e-3 if own == "mmag" else 1.0) * np.abs(value) / MAGNITUDE
    if not unit:
        notes.append(f"fluxes are taken to be in {own}, as their errors are")
        return error
    factor = _factor(own, unit, where)
    if factor != 1:
        notes.append(f"errors are converted from {own} to {unit}")
    return error * factor


def _factor(unit: str, target: str, where: str) -> float:
    from astropy import units

    try:
        with warnings.catch_warnings():
            # "erg/s/cm2" is read as everybody means it.
            warnings.simplefilter("ignore", units.UnitsWarning)
            return float(units.Unit(unit).to(units.Unit(target)))
    except (ValueError, TypeError, units.UnitConversionError):
        raise DataFileError(f"values in {unit!r}", where=where, expected=f"values that convert to {target}") from None
