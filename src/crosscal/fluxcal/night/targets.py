"""Standards that were set aside as targets: their calibrated spectra against the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from crosscal.fluxcal import columns
from crosscal.fluxcal.curve.loo import HeldOut, stray
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.result import Result
from crosscal.fluxcal.stars.fitting import synthetic_offset
from crosscal.fluxcal.stars.matching import match_positions
from crosscal.fluxcal.stars.photometry import Filter
from crosscal.fluxcal.stars.selection import julian_year, signal_to_noise, subset
from crosscal.fluxcal.types import Catalogue


def compare_targets(
    result: Result, fibres: ArrayLike, catalogue: Catalogue, filters: Sequence[Filter], options: Options
) -> tuple[HeldOut, ...]:
    """Synthetic minus catalogue magnitudes of fibres (0-based numbers) that were calibrated as targets.

    Nothing but the calibrated spectrum enters: bad pixels and cosmic rays are interpolated, no template is fitted, so
    ``slope`` is NaN.
    Fibres without a catalogue star, or below the floor of signal-to-noise ratio, are left out.
    """
    from scipy.ndimage import median_filter

    index = np.atleast_1d(np.asarray(fibres, dtype=int))
    if index.size == 0 or not result.passed:
        return ()
    frame = result.apply().frame
    rows = match_positions(
        subset(frame.fibres, index), catalogue, radius=options.radius, epoch=julian_year(frame.mjd)
    ).row
    ratio = signal_to_noise(result.frame)
    found = []
    for k, row in zip(index, rows, strict=True):
        good = frame.good[k]
        if row < 0 or not ratio[k] >= options.snr_floor or good.sum() < 20:
            continue
        wave = frame.wavelength[k]
        level = median_filter(np.interp(wave, wave[good], frame.flux[k][good]), 51, mode="nearest")
        clean = good & ~stray(frame.flux[k], level, frame.variance[k])
        flux = np.interp(wave, wave[clean], frame.flux[k][clean])
        magnitude = catalogue.magnitude[row]
        offset = np.full(len(filters), np.nan)
        for b, band in enumerate(filters):
            if np.isfinite(magnitude[b]) and band.coverage(wave[0], wave[-1]) >= options.coverage:
                offset[b] = synthetic_offset(band, wave, flux, float(magnitude[b]))
        found.append(HeldOut.of(int(k), str(catalogue.name[row]), float(ratio[k]), offset, float("nan")))
    return tuple(found)


def target_table(results: Sequence[Result]) -> Any:
    """One row per frame and target: offsets in each band, their mean and colour, in magnitudes (QTable)."""
    import astropy.units as u
    from astropy.table import QTable

    from crosscal.core.tables import describe

    rows = [(r, t) for r in results for t in r.targets]
    table = QTable(
        {
            "frame": np.array([r.frame.name for r, _ in rows], dtype=str),
            "fibre": np.array([t.fibre + 1 for _, t in rows], dtype=int),
            "star": np.array([t.name for _, t in rows], dtype=str),
            "snr": np.array([t.snr for _, t in rows], dtype=float),
        }
    )
    for b, band in enumerate(rows[0][0].bands if rows else ()):
        table[f"offset_{band}"] = np.array([t.offset[b] for _, t in rows]) * u.mag
    for key in ("grey", "colour"):
        table[key] = np.array([getattr(t, key) for _, t in rows], dtype=float) * u.mag
    for name in table.colnames[3:]:
        table[name].info.format = ".3f"
    return describe(table, columns.TARGETS)
