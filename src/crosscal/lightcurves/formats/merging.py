"""Joining what the readers gave: one system of times, one unit of fluxes, one set of telescopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.keywords import keywords
from crosscal.lightcurves.formats.curves import Columns, Curves
from crosscal.lightcurves.formats.selection import WAVELENGTHS
from crosscal.lightcurves.timesystem import LIGHT_TIME, TimeSystem, moved
from crosscal.lightcurves.types import LightCurves, curve_from_arrays

#: Positions of one source agree within this, degrees.
_SAME_SOURCE = 10.0 / 3600.0

Group = Mapping[str, Columns] | LightCurves


@keywords
def merge(
    *groups: Group | Sequence[Group],
    name: str = "continuum",
    unit: str = "",
    time_format: str = "",
    position: tuple[float, float] | None = None,
) -> LightCurves:
    """Join what the readers gave into one set of light curves; the first code is the reference.

    Times are converted to the system of the first group that has one (light travel time included), fluxes to the unit
    of the first, or to ``unit``, where they convert: densities per frequency and per wavelength do at the wavelength of
    a known filter. What was converted and what was assumed is in the ``notes`` of the result.

    Parameters
    ----------
    *groups : mapping of code to (time, flux, error[, flag]), or LightCurves
        What the readers return; a list of them does as well.
    name : str
        Of the light curve.
    unit : str
        Of the fluxes.
    time_format : str
        What times count that do not say so: "jd" or "mjd"; empty if unknown.
    position : (ra, dec), optional
        Of the source, ICRS degrees; that in the tables by default.

    Raises
    ------
    InputError
        If two groups hold the same code, or times cannot be brought into one system.

    Examples
    --------
    >>> groups = [lightcurves.read_ztf("ztf.csv"), lightcurves.read_asassn("asassn.csv")]  # doctest: +SKIP
    >>> curves = lightcurves.merge(groups)  # doctest: +SKIP
    """
    every: list[Any] = [group for one in groups for group in (one if _is_list(one) else [one])]  # type: ignore[union-attr]
    found = [_as_curves(group) for group in every]
    notes: list[str] = [note for group in found for note in group.notes]
    if len(found) > 1 and position is None:
        position = _position(found, notes)
    elif position is None and found:
        position = found[0].position
    system = _common_system(found, time_format)
    joined: dict[str, Columns] = {}
    units: dict[str, str] = {}
    bands: dict[str, str] = {}
    for group in found:
        shifted = _moved(group, system, position, notes)
        for code, columns in group.items():
            if code in joined:
                expected = "a keylabel for one, which is put before its codes"
                raise InputError(f"the code {code!r} is in two files", where="merge", expected=expected)
            joined[code] = (shifted[code], *columns[1:])
            units[code], bands[code] = group.units.get(code, ""), group.bands.get(code, "")
    _tell_shared(joined, notes)
    common = _common_unit(joined, units, bands, unit, notes)
    curve = curve_from_arrays(joined, name=name, unit=common)
    return LightCurves(
        curve, time_format=system.format, time_zero=system.zero, time_scale=system.scale, time_frame=system.frame,
        notes=tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _is_list(group: Any) -> bool:
    return not isinstance(group, Mapping | LightCurves | str) and isinstance(group, Sequence)


def _as_curves(group: Any) -> Curves:
    """One group as Curves; plain mappings and light curves get what is known about them."""
    if isinstance(group, Curves):
        return group
    if isinstance(group, LightCurves):
        if group.lines:
            names = ", ".join(line.name for line in group.lines)
            raise InputError(f"the lines {names}", where="merge", expected="light curves of one quantity")
        curve = group.continuum
        found = Curves(source=curve.name, system=group.system)
        found.notes = list(group.notes)
        flags = any(len(labels) > 1 for labels in curve.flag_labels)
        for i, code in enumerate(curve.codes):
            mine = curve.code == i
            columns: Columns = (curve.time[mine], curve.flux[mine], curve.error[mine])
            if flags:
                columns = (*columns, np.array(curve.flag_labels[i], dtype=np.int64)[curve.flag[mine]])
            found.put(code, columns, curve.unit, "")
        return found
    if isinstance(group, Mapping):
        curves = LightCurves(curve_from_arrays(group, name="arrays")) if _has_times(group) else None
        return _as_curves(LightCurves.from_arrays(group)) if curves is not None else Curves(group, source="arrays")
    raise InputError(
        f"a group of type {type(group).__name__}",
        where="merge",
        expected="what read_ztf, read_asassn, read_atlas, read_columns return, or LightCurves",
    )


def _has_times(group: Mapping[str, Any]) -> bool:
    return any(hasattr(columns[0], "jd1") for columns in group.values() if len(columns))


def _common_system(groups: Sequence[Curves], time_format: str) -> TimeSystem:
    known = [group.system for group in groups if group.system.format]
    first = known[0] if known else TimeSystem(time_format)
    # An earlier table that leaves scale or frame open takes those of a later one.
    for other in known[1:]:
        first = replace(first, scale=first.scale or other.scale)
    return first


def _moved(group: Curves, system: TimeSystem, position: tuple[float, float] | None, notes: list[str]) -> dict[str, Any]:
    """The times of a group in the common system."""
    name = Path(group.source).name or "a table"
    if not group:
        return {}
    every = np.concatenate([np.asarray(columns[0], dtype=float) for columns in group.values()])
    own = group.system
    if not own.format and system.format:
        guess = own.guessed(every)
        if not guess.format:
            low, high = float(every.min()), float(every.max())
            raise InputError(
                f"it is not known what its times count ({low:.10g} to {high:.10g}), while others are {system}",
                where=name,
                expected="time_format = 'mjd' or 'jd', ... for it",
            )
        own = guess
        notes.append(f"{name}: times are assumed to be {guess.format.upper()}, judging by their values")
    if not system.format or own == system:
        return {code: columns[0] for code, columns in group.items()}
    shifted = {
        code: moved(np.asarray(columns[0], dtype=float), own, system, position, name) for code, columns in group.items()
    }
    if (own.format, own.zero) != (system.format, system.zero) or (own.frame and own.frame != system.frame):
        delay = own.frame and system.frame and own.frame != system.frame
        notes.append(
            f"{name}: times are converted from {own} to {system}{', with the light travel time' if delay else ''}"
        )
    if bool(own.frame) != bool(system.frame):
        seconds = 86400 * LIGHT_TIME
        notes.append(
            f"{name}: {own if not own.frame else system} does not say from where it is counted; light travel time "
            f"(up to {seconds:.0f} s) is not corrected"
        )
    return shifted


def _tell_shared(joined: Mapping[str, Columns], notes: list[str]) -> None:
    """Tell telescopes that hold the same measurements: they would count twice."""
    seen: dict[bytes, str] = {}
    for code, columns in joined.items():
        for row in np.stack([np.asarray(getattr(c, "value", c), dtype=float).ravel() for c in columns[:3]], axis=1):
            seen.setdefault(row.tobytes(), code)
    repeats: dict[tuple[str, str], int] = {}
    for code, columns in joined.items():
        for row in np.stack([np.asarray(getattr(c, "value", c), dtype=float).ravel() for c in columns[:3]], axis=1):
            other = seen[row.tobytes()]
            if other != code:
                repeats[other, code] = repeats.get((other, code), 0) + 1
    for (one, other), count in repeats.items():
        notes.append(
            f"{count} points of {other} are exactly those of {one} and count twice: is it the same light curve?"
        )


def _position(groups: Sequence[Curves], notes: list[str]) -> tuple[float, float] | None:
    """The position of the first table that has one; told where another is elsewhere."""
    known = [group for group in groups if group.position is not None]
    if not known:
        return None
    ra, dec = known[0].position or (0.0, 0.0)
    for other in known[1:]:
        away = other.position or (0.0, 0.0)
        gap = float(np.hypot(((away[0] - ra + 180) % 360 - 180) * np.cos(np.radians(dec)), away[1] - dec))
        if gap > _SAME_SOURCE:
            notes.append(
                f"{Path(other.source).name}: its position is {gap:.3g} deg from that in {Path(known[0].source).name}; "
                "are they of one source?"
            )
    return ra, dec


def _common_unit(
    joined: dict[str, Columns], units: Mapping[str, str], bands: Mapping[str, str], wanted: str, notes: list[str]
) -> str:
    """Convert fluxes to one unit in place, where they convert; return it."""
    known = [u for u in units.values() if u]
    if not known:
        return wanted
    target = wanted or known[0]
    left = []
    for code, own in units.items():
        factor = 1.0 if own == target else _flux_factor(own, target, bands[code]) if own else None
        if factor is None:
            left.append(f"{code} ({own or 'unknown unit'})")
        elif factor != 1.0:
            time, flux, error, *flag = joined[code]
            joined[code] = (time, np.asarray(flux) * factor, np.asarray(error) * factor, *flag)
            notes.append(f"{code}: fluxes are converted from {own} to {target}")
    if left and len(left) == len(units):
        notes.append(f"the unit {target!r} is a label: the tables give {', '.join(left)}")
    elif left:
        notes.append(f"fluxes of {', '.join(left)} do not convert to {target}: their scale factors carry the ratio")
    return target


def _flux_factor(unit: str, target: str, band: str) -> float | None:
    """The factor between two units of flux, at the wavelength of a filter where it takes one; None if there is none."""
    from astropy import units

    wavelength = WAVELENGTHS.get(band)
    through = units.spectral_density(wavelength * units.AA) if wavelength else []
    try:
        return float((1.0 * units.Unit(unit)).to_value(units.Unit(target), through))
    except (ValueError, TypeError, units.UnitConversionError):
        return None
