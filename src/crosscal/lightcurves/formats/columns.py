"""The one reader behind all formats: from a table and a layout to light curves by telescope."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.lightcurves.formats.curves import Curves
from crosscal.lightcurves.formats.layout import Layout
from crosscal.lightcurves.formats.named import photometry_by_names
from crosscal.lightcurves.formats.photometry import MAGNITUDE, NO_MAGNITUDE, Photometry, position_of
from crosscal.lightcurves.formats.plausible import checked_dates
from crosscal.lightcurves.formats.raw import RawTable
from crosscal.lightcurves.formats.selection import AB_ZERO, PER_WAVELENGTH, WAVELENGTHS, Selection
from crosscal.lightcurves.formats.vocabulary import TIMES


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
    found = _by_layout(table, layout, selection) if layout else photometry_by_names(table, selection, label)
    if not len(found.time):
        raise DataFileError("no rows", where=table.source, expected="rows of numbers")
    found = _with_errors(found, selection, table.source)
    good, notes = _usable(found, table.source)
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
    notes += _look_alikes(list(groups), Path(table.source).name)
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
        system = replace(system, format=TIMES[time].format, frame=system.frame or TIMES[time].frame)
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
        telescope, band, joined, table.is_limit(value), refused, notes, position_of(table), layout.difference,
    )  # fmt: skip


def _with_errors(found: Photometry, selection: Selection, source: str) -> Photometry:
    """Fill in the error that the user gives, where there is none."""
    error = found.error.copy()
    if found.is_magnitude:
        error[error >= NO_MAGNITUDE] = np.nan
    none = ~np.isfinite(error)
    if none.all() and selection.error is None:
        raise DataFileError("no errors", where=source, expected="a column of errors, or error = ... for all points")
    if selection.error is not None and none.any():
        error[none] = selection.error
        found.notes.append(f"{int(none.sum())} points without an error get {selection.error:g}")
    return replace(found, error=error)


def _usable(found: Photometry, source: str) -> tuple[NDArray[np.bool_], list[str]]:
    """Which rows are used, and how many are not for which reason.

    Raises
    ------
    DataFileError
        If none is.
    """
    good = np.ones(len(found.time), dtype=bool)
    counted: Counter[str] = Counter()
    value = found.value
    no_value = ~np.isfinite(value) | (found.is_magnitude & (np.abs(value) >= NO_MAGNITUDE))
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
    if not good.any():
        raise DataFileError(
            f"no points are left ({', '.join(told)})",
            where=source,
            expected="rows with a time, a value and an error > 0",
        )
    if not told:
        return good, []
    return good, [f"{int((~good).sum())} of {len(good)} rows are excluded ({', '.join(told)})"]


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
            f"{source}: {name} has {len(values)} objects, fields or observers, and each has its own factors "
            "(merge_objects joins them)"
        )
    return base.astype(str)


def _look_alikes(names: list[str], source: str) -> list[str]:
    """Tell telescopes or filters whose names differ by case, blanks or marks only."""
    seen: dict[str, str] = {}
    told = []
    for name in names:
        other = seen.setdefault(re.sub(r"[\W_]+", "", name).casefold(), name)
        if other != name:
            told.append(f"{source}: {other!r} and {name!r} are treated as different telescopes")
    return told


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
        notes.append(f"{Path(source).name}: magnitudes {name}are assumed to be AB and converted to mJy")
    flux = zero * 10 ** (-0.4 * value)
    return flux, flux * error / MAGNITUDE, unit


def _per_wavelength(value: NDArray, error: NDArray, band: str, source: str) -> tuple[NDArray, NDArray, str]:
    """Turn fluxes in mJy of a survey that also gives magnitudes into the unit that those give."""
    from crosscal.core.errors import UnknownNameError

    plain = band.split(":")[-1]
    if plain not in WAVELENGTHS:
        raise UnknownNameError("filter", plain, WAVELENGTHS, where=f"{source}, column 'Filter'")
    factor = 1e-26 * 2.99792458e10 / (WAVELENGTHS[plain] * 1e-8) ** 2 * 1e-8
    return value * factor, error * factor, PER_WAVELENGTH
