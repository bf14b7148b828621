"""Standards that were set aside as targets: their calibrated spectra against the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from crosscal.fluxcal.curve.loo import HeldOut, stray
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.result import FluxCalibration
from crosscal.fluxcal.stars.fitting import synthetic_offset
from crosscal.fluxcal.stars.matching import match_positions
from crosscal.fluxcal.stars.photometry import Filter
from crosscal.fluxcal.stars.selection import julian_year, signal_to_noise, subset
from crosscal.fluxcal.types import Catalogue


def compare_targets(
    result: FluxCalibration, fibres: ArrayLike, catalogue: Catalogue, filters: Sequence[Filter], options: Options
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
    counts = result.frame
    frame = result.apply(counts).frame
    rows = match_positions(
        subset(frame.fibres, index), catalogue, radius=options.radius, epoch=julian_year(frame.mjd)
    ).row
    ratio = signal_to_noise(counts, index)
    found = []
    for k, row, snr in zip(index, rows, ratio, strict=True):
        good = frame.usable(k)
        if row < 0 or not snr >= options.snr_floor or good.sum() < 20:
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
        found.append(HeldOut.of(int(k), str(catalogue.name[row]), float(snr), offset, float("nan")))
    return tuple(found)
