"""Per-star calibration vectors C = F_model / (counts/s)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crosscal.fluxcal.curve.curve import Curve
from crosscal.fluxcal.flux_units import FLUX_SCALE
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.stars.resample import pixel_edges
from crosscal.fluxcal.types import CalibrationVector, Frame, StarFit


def pixel_ratio(frame: Frame, fibre: int) -> NDArray[np.float64]:
    """Width of the curve's pixels over that of a fibre's pixels at the same wavelength (1 on a scrunched frame)."""
    if np.array_equal(frame.wavelength[fibre], frame.grid):
        return np.ones(frame.grid.size)
    own = np.diff(pixel_edges(frame.wavelength[fibre]))
    return np.interp(frame.wavelength[fibre], frame.grid, np.diff(pixel_edges(frame.grid))) / own


def atmosphere(frame: Frame, options: Options, fibre: int) -> NDArray[np.float64]:
    """Transmission of the atmosphere on a fibre's pixels (n_pix,); one, without a shape, if no site table is given."""
    if options.extinction_table is None:
        return np.ones(())
    site = options.site
    assert site is not None
    return site.factor(frame.wavelength[fibre], frame.airmass)


def calibration_vector(frame: Frame, star: StarFit, options: Options) -> CalibrationVector:
    """The vector of one fitted star, on the frame's common grid.

    C = F / (counts/s), Var(C) = C^2 [Var(F) / F^2 + Var(counts) / counts^2]; fluxes in 1e-17 erg/s/cm2/A. Pixels
    that are not
    finite, not positive, masked (telluric) or without a model are not good.
    """
    assert star.model is not None
    assert star.model_variance is not None
    assert star.model_modes is not None
    k = star.fibre
    wave = frame.wavelength[k]
    through = atmosphere(frame, options, k)
    width = pixel_ratio(frame, k)
    rate = frame.flux[k] / frame.exposure / through * width
    rate_variance = frame.variance[k] * (width / frame.exposure / through) ** 2
    model, model_variance = star.model / FLUX_SCALE, star.model_variance / FLUX_SCALE**2
    usable = frame.usable(k) & np.isfinite(model) & (model > 0) & ~options.masked(wave, frame.medium)
    modes = star.model_modes
    mismatch = np.zeros((2, wave.size)) if star.mismatch is None else star.mismatch
    if not np.array_equal(wave, frame.grid):
        rate, rate_variance, model, model_variance, modes, mismatch, usable = _regrid(
            wave, frame.grid, rate, rate_variance, model, model_variance, modes, mismatch, usable
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        value = model / rate
        variance = value**2 * (model_variance / model**2 + rate_variance / rate**2)
    x, y = float(frame.fibres.x[k]), float(frame.fibres.y[k])
    return CalibrationVector(
        frame.grid,
        value,
        variance,
        usable,
        star.name,
        rate,
        rate_variance,
        model,
        model_variance,
        modes,
        x,
        y,
        mismatch,
    )


def _regrid(wave, grid, rate, rate_variance, model, model_variance, modes, mismatch, usable):
    """Linear interpolation of the smooth quantities to the common grid; pixels next to a bad one become bad."""
    place = np.interp(grid, wave, np.arange(wave.size), left=-1.0, right=-1.0)
    left = np.clip(place.astype(int), 0, wave.size - 2)
    share = np.clip(place - left, 0, 1)

    def mix(values):
        return values[..., left] * (1 - share) + values[..., left + 1] * share

    ok = (place >= 0) & usable[left] & usable[left + 1]
    # Interpolation averages the noise of two pixels; the full variance is kept (a bound that does not flatter).
    return mix(rate), mix(rate_variance), mix(model), mix(model_variance), mix(modes), mix(mismatch), ok


def with_dust_error(curve: Curve, frames: Sequence[Frame], stars: Sequence[Sequence[StarFit]]) -> Curve:
    """A curve with the error of the field's E(B-V), which does not average out over its stars, as one more mode."""
    rows = []
    for frame, own in zip(frames, stars, strict=True):
        known = [np.interp(frame.grid, frame.wavelength[s.fibre], s.dust) for s in own if s.dust is not None]
        rows.append(np.mean(known, axis=0) if known else np.zeros(frame.grid.size))
    mode = np.concatenate(rows)
    return replace(curve, modes=np.vstack([curve.modes, mode])) if mode.any() else curve


def first_throughput(frame: Frame, curve: Curve) -> NDArray[np.float64]:
    """A curve's throughput on each fibre's pixels, of order one."""
    with np.errstate(divide="ignore"):
        inside = np.flatnonzero(curve.covered)
        log = np.interp(frame.wavelength, curve.wavelength[inside], -np.log(curve.value[inside]))
    return np.exp(log - np.median(log))
