"""The one reader behind all formats: from a table and a layout to light curves by telescope."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, InputError
from crosscal.lightcurves.formats.curves import Curves
from crosscal.lightcurves.formats.inverse import maggies, with_errors
from crosscal.lightcurves.formats.layout import Layout
from crosscal.lightcurves.formats.plausible import calendar_dates, checked_dates, no_logarithm, unused_words
from crosscal.lightcurves.formats.raw import RawTable, override
from crosscal.lightcurves.formats.selection import AB_ZERO, PER_WAVELENGTH, WAVELENGTHS, Selection
from crosscal.lightcurves.formats.vocabulary import TIMES, find_roles, time_system, unit_in
from crosscal.lightcurves.timesystem import TimeSystem

_MAGNITUDE = 2.5 / np.log(10)
#: Values and errors of magnitudes that stand for no measurement.
_NO_MAGNITUDE = 90.0


@dataclass(frozen=True, eq=False)
class Photometry:
    """The rows of a table in order: what has been found before telescopes are told apart.

    Attributes
    ----------
    time, value, error : arrays (n,)
        ``error`` is NaN where the table gives none.
    is_magnitude : bool
    system : TimeSystem
    unit : str
        Of fluxes.
    telescope, band : arrays of str (n,)
    apart : arrays of str (n,)
        What is kept apart within one telescope and filter.
    limit : bool array (n,)
        Rows that are upper or lower limits.
    refused : list of (bool array (n,), str)
        Rows that a rule of quality drops, with the reason.
    notes : list of str
    """

    time: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    is_magnitude: bool
    system: TimeSystem
    unit: str
    telescope: NDArray[np.str_]
    band: NDArray[np.str_]
    apart: NDArray[np.str_]
    limit: NDArray[np.bool_]
    refused: list[tuple[NDArray[np.bool_], str]]
    notes: list[str]
    position: tuple[float, float] | None = None
    difference: bool = False


def curves_of(table: RawTable, layout: Layout | None, selection: Selection, *, label: str = "") -> Curves:
    """Turn a table into light curves by telescope.

    Parameters
    ----------
    table : RawTable
    layout : Layout or None
        That of a survey, or none: columns are then found by their names.
    selection : Selection
    label : str
        Name of the telescope, where the table does not name it; the name of the file by default.

    Raises
    ------
    DataFileError, InputError
        If columns are missing, no number, in units that do not fit, or no row is left.
    """
    found = _by_layout(table, layout, selection) if layout else _by_names(table, selection, label)
    if not len(found.time):
        raise DataFileError("no rows", where=table.source, expected="rows of numbers")
    found = _with_errors(found, selection, table.source)
    good, notes = _usable(found)
    notes = [f"{Path(table.source).name}: {text}" for text in [*found.notes, *notes]]
    groups = Curves(
        source=table.source, system=found.system, position=selection.position or found.position,
        difference=found.difference,
    )  # fmt: skip
    labels = _labels(found, good, selection, notes, Path(table.source).name)
    mixed = 0
    for name in dict.fromkeys(labels[good].tolist()):
        mine = good & (labels == name)
        first = int(np.flatnonzero(mine)[0])
        band = str(found.band[first]).split(":")[-1]
        repeats = _repeats(found, mine)
        mixed += int(repeats.sum())
        mine &= ~repeats
        value, error, unit = found.value[mine], found.error[mine], found.unit
        if found.is_magnitude:
            value, error, unit = _linear(value, error, band, layout, selection, notes, table.source)
        elif unit == "mJy" and layout is not None and layout.magnitude:
            value, error, unit = _per_wavelength(value, error, band, table.source)
        groups.put(name, (found.time[mine], value, error), unit, band)
    if mixed:
        notes.append(f"{Path(table.source).name}: {mixed} rows that repeat others exactly are used once")
    if layout is not None:
        notes += [f"{Path(table.source).name}: {text}" for text in layout.notes]
    if found.difference:
        notes.append(f"{Path(table.source).name}: difference fluxes; normalisation = 'spread' suits them")
    groups.notes = list(dict.fromkeys(notes))
    return selection.finish(groups, errlimit=layout.errlimit if layout else None)


def _by_layout(table: RawTable, layout: Layout, selection: Selection) -> Photometry:
    missing = layout.missing(table)
    if missing is not None:
        known = ", ".join(table.names.get(keys[0], keys[0]) for keys in layout.needs)
        raise DataFileError(
            f"no column {missing!r}", where=table.source, expected=f"the columns {known} of {layout.source}"
        )
    if layout.prepare is not None:
        table = layout.prepare(table)
    n = len(table)
    magnitude = bool(layout.magnitude) and not (selection.use_flux and layout.flux)
    value_keys, error_keys = (
        (layout.magnitude, layout.magnitude_error) if magnitude else (layout.flux, layout.flux_error)
    )
    value, error = table.first(value_keys) or value_keys[0], table.first(error_keys)
    errors = table.numbers(error) if error else np.full(n, np.nan)
    time = table.first(layout.time) or layout.time[0]
    system = layout.system
    if time in TIMES and TIMES[time].format:  # a layout that may count in either way
        system = replace(system, format=TIMES[time].format)
    dates, notes = table.numbers(time), list(table.notes)
    system = checked_dates(dates, system, table.source, notes)
    band = table.words(key) if (key := table.first(layout.band)) else np.full(n, "")
    band = np.array([layout.bands.get(b.lower(), b) for b in band], dtype=str)
    refused = []
    for rule in layout.keep:
        holds = rule.holds(table)
        if not holds.all():
            refused.append((~holds, str(rule)))
    keys = [k for k in layout.apart if k in table] if not selection.merge_objects else []
    apart = [table.words(k) for k in keys] or [np.full(n, "")]
    joined = np.array(["_".join(parts) for parts in zip(*apart, strict=True)], dtype=str)
    telescope = np.full(n, layout.name)
    if selection.by_camera and (camera := table.first(layout.camera)):
        band = np.char.add(table.words(camera), np.char.add(":", band))
    return Photometry(
        dates, table.numbers(value), errors, magnitude, system, "" if magnitude else layout.flux_unit,
        telescope, band, joined, table.is_limit(value), refused, notes, _position(table), layout.difference,
    )  # fmt: skip


def _by_names(table: RawTable, selection: Selection, label: str) -> Photometry:
    chosen = override(table, selection.columns)
    table, renamed = with_errors(table)
    chosen = {role: renamed.get(key, key) for role, key in chosen.items()}
    roles = find_roles(table.columns, table.source, chosen, table.units)
    notes = list(table.notes)
    n = len(table)
    if not table.headed:
        notes.append("the columns have no names: time, flux and error are assumed")
    time, system = _times(table, roles.time, selection, notes)
    unit = table.units.get(roles.value, "") or unit_in(roles.value)
    if not table.headed and table.meta.get("unit"):
        unit = str(table.meta["unit"])
    is_magnitude = roles.is_magnitude or "mag" in unit.lower()
    no_logarithm(table, roles.value, unit)
    value = table.numbers(roles.value) * (1e-3 if unit == "mmag" else 1.0)
    errors = [_error_column(table, key, value, unit, is_magnitude, notes) for key in roles.errors]
    if len(errors) == 2:
        both = " and ".join(table.names[key] for key in roles.errors)
        notes.append(f"of the two errors {both} the root mean square is used")
    error = errors[0] if len(errors) == 1 else np.full(n, np.nan)
    if len(errors) == 2:  # lower errors may be given as negative numbers
        error = np.sqrt(np.mean(np.square(errors), axis=0))
    telescope = table.words(roles.telescope) if roles.telescope else np.full(n, label or Path(table.source).stem)
    band = table.words(roles.filter) if roles.filter else np.full(n, "")
    told = [table.names[k] for k in roles.unused]
    if told:
        notes.append(f"columns that are not used: {', '.join(told)}")
    used = {roles.time, roles.value, *roles.errors, *roles.unused, roles.telescope or "", roles.filter or ""}
    if table.headed:
        notes += unused_words(table, used)
    if len(table.columns) > 3 and not table.headed:
        notes.append(f"columns after the third are not used ({len(table.columns)} columns)")
    limit = table.is_limit(roles.value)
    if (size := maggies(unit)) is not None:
        notes.append(f"fluxes are converted from {'nano' if unit[0] == 'n' else ''}maggies to uJy (AB)")
        value, error, unit = value * size, error * size, "uJy"
    # A relative flux has no unit, and its errors are those of any flux.
    unit = "" if is_magnitude or unit == "relative" else unit
    return Photometry(
        time, value, error, is_magnitude, system, unit, telescope, band, np.full(n, ""), limit,
        [], notes, _position(table),
    )  # fmt: skip


def _times(table: RawTable, key: str, selection: Selection, notes: list[str]) -> tuple[NDArray[np.float64], TimeSystem]:
    system = table.systems.get(key) or time_system(key, table.names[key])
    days = calendar_dates(table, key)
    if days is not None:
        if selection.time_format:
            raise InputError(
                f"time_format {selection.time_format!r}", where=f"{table.source}, column {table.names[key]!r}",
                expected="none: the column holds calendar dates",
            )  # fmt: skip
        notes.append(f"calendar dates in {table.names[key]} are taken as UTC")
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
    return time, checked_dates(time, system, table.source, notes)


def _error_column(
    table: RawTable, key: str, value: NDArray[np.float64], unit: str, is_magnitude: bool, notes: list[str]
) -> NDArray[np.float64]:
    """The errors in the unit of the values; those given in per cent or magnitudes are converted."""
    error = table.numbers(key)
    own = table.units.get(key, "") or unit_in(key)
    if not own or (own == unit and own != "mmag"):
        return error
    where = f"{table.source}, column {table.names[key]!r}"
    if own.lower() in ("%", "percent", "pct", "relative"):
        share = error if own.lower() == "relative" else error / 100.0
        notes.append(f"errors in {table.names[key]} are relative and are converted")
        return share * (_MAGNITUDE if is_magnitude else np.abs(value))
    if is_magnitude:
        if "mag" not in own.lower():
            raise DataFileError(f"errors in {own} of magnitudes", where=where, expected="errors in magnitudes")
        return error * (1e-3 if own == "mmag" else 1.0)
    if "mag" in own.lower():
        notes.append("errors in magnitudes are converted to errors of the fluxes")
        return error * (1e-3 if own == "mmag" else 1.0) * np.abs(value) / _MAGNITUDE
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
        return float(units.Unit(unit).to(units.Unit(target)))
    except (ValueError, TypeError, units.UnitConversionError):
        raise DataFileError(f"values in {unit!r}", where=where, expected=f"values that convert to {target}") from None


def _position(table: RawTable) -> tuple[float, float] | None:
    """Median position of the rows, or that of the header, in degrees."""
    for ra, dec in (("ra", "dec"), ("raj2000", "dej2000"), ("ra_deg", "dec_deg"), ("ra_obj", "dec_obj")):
        try:
            if ra in table and dec in table:
                values = np.nanmedian(table.numbers(ra)), np.nanmedian(table.numbers(dec))
            elif ra in table.meta and dec in table.meta:
                values = float(table.meta[ra]), float(table.meta[dec])
            else:
                continue
        except (DataFileError, ValueError, TypeError):
            continue  # sexagesimal, or no position at all
        if 0 <= values[0] <= 360 and -90 <= values[1] <= 90:
            return float(values[0]), float(values[1])
    return None


def _with_errors(found: Photometry, selection: Selection, source: str) -> Photometry:
    """Fill in the error that the user gives, where there is none."""
    error = found.error.copy()
    if found.is_magnitude:
        error[error >= _NO_MAGNITUDE] = np.nan
    none = ~np.isfinite(error)
    if none.all() and selection.error is None:
        raise DataFileError("no errors", where=source, expected="a column of errors, or error = ... for all points")
    if selection.error is not None and none.any():
        error[none] = selection.error
        found.notes.append(f"{int(none.sum())} points without an error get {selection.error:g}")
    return replace(found, error=error)


def _usable(found: Photometry) -> tuple[NDArray[np.bool_], list[str]]:
    """Which rows are used, and how many are not for which reason."""
    good = np.ones(len(found.time), dtype=bool)
    counted: Counter[str] = Counter()
    value = found.value
    no_value = ~np.isfinite(value) | (found.is_magnitude & (np.abs(value) >= _NO_MAGNITUDE))
    reasons = [
        *found.refused,
        (found.limit, "limits"),
        (~np.isfinite(found.time), "without a time"),
        (no_value, "without a value"),
        (~np.isfinite(found.error), "without an error"),
        (found.error <= 0, "with an error that is not positive"),
    ]
    for bad, why in reasons:
        counted[why] += int(np.sum(good & bad))
        good &= ~bad
    told = [f"{count} {why}" for why, count in counted.items() if count]
    if not told:
        return good, []
    return good, [f"{int((~good).sum())} of {len(good)} rows are not used ({', '.join(told)})"]


def _labels(
    found: Photometry, good: NDArray[np.bool_], selection: Selection, notes: list[str], source: str
) -> NDArray[np.str_]:
    """The telescope of each row: survey or telescope, filter, and what is kept apart where there are several."""
    parts = np.stack([found.telescope, np.char.replace(found.band, ":", "")], axis=1)
    base = np.array(["_".join(word for word in row if word) for row in parts], dtype=object)
    split: dict[str, list[str]] = {}
    for name in dict.fromkeys(base[good].tolist()):
        values = list(dict.fromkeys(found.apart[good & (base == name)].tolist()))
        if len(values) > 1:
            split[name] = values
    for name, values in split.items():
        mine = base == name
        base[mine] = np.array([f"{name}_{value}" for value in found.apart[mine]], dtype=object)
        notes.append(
            f"{source}: {name} has {len(values)} objects, fields or observers, each of which gets factors of its own "
            "(merge_objects joins them)"
        )
    return base.astype(str)


def _repeats(found: Photometry, mine: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows of one telescope that repeat an earlier one exactly."""
    places = np.flatnonzero(mine)
    rows = np.stack([found.time[places], found.value[places], found.error[places]], axis=1)
    _, first = np.unique(rows, axis=0, return_index=True)
    again = np.ones(len(places), dtype=bool)
    again[first] = False
    repeated = np.zeros(len(mine), dtype=bool)
    repeated[places[again]] = True
    return repeated


def _linear(
    value: NDArray,
    error: NDArray,
    band: str,
    layout: Layout | None,
    selection: Selection,
    notes: list[str],
    source: str,
) -> tuple[NDArray, NDArray, str]:
    """Turn magnitudes into fluxes: per wavelength where the zero point is known, else as AB magnitudes in mJy."""
    plain = band.split(":")[-1]
    zero, unit = selection.zero_or_none(plain), PER_WAVELENGTH
    if zero is None and layout is not None and layout.own_zeropoint:
        zero = selection.zero(plain)
    if zero is None:
        zero, unit = AB_ZERO, "mJy"
        name = f"of filter {plain} " if plain else ""
        notes.append(f"{Path(source).name}: magnitudes {name}are taken as AB magnitudes and turned into mJy")
    flux = zero * 10 ** (-0.4 * value)
    return flux, flux * error / _MAGNITUDE, unit


def _per_wavelength(value: NDArray, error: NDArray, band: str, source: str) -> tuple[NDArray, NDArray, str]:
    """Turn fluxes in mJy of a survey that also gives magnitudes into the unit that those give."""
    from crosscal.core.errors import UnknownNameError

    plain = band.split(":")[-1]
    if plain not in WAVELENGTHS:
        raise UnknownNameError("filter", plain, WAVELENGTHS, where=f"{source}, column 'Filter'")
    factor = 1e-26 * 2.99792458e10 / (WAVELENGTHS[plain] * 1e-8) ** 2 * 1e-8
    return value * factor, error * factor, PER_WAVELENGTH
