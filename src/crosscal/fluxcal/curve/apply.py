"""Application of a curve to every fibre, with variance and correlated errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.units import floats
from crosscal.fluxcal.curve.curve import Curve, polynomials
from crosscal.fluxcal.curve.vectors import atmosphere, pixel_ratio
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.types import Frame


@dataclass(frozen=True, eq=False)
class FibreCurve:
    """A curve on one fibre's pixels: value, independent variance, modes (k, n_pix) of ln value."""

    value: NDArray[np.float64]
    variance: NDArray[np.float64]
    modes: NDArray[np.float64]


def curve_for_fibre(curve: Curve, frame: Frame, fibre: int) -> FibreCurve:
    """Interpolate a curve (in ln C) to a fibre's pixels and add the plate's field, if there is one.

    NaN outside the curve.
    """
    wave, grid = frame.wavelength[fibre], curve.wavelength
    covered = np.flatnonzero(curve.covered)
    if np.array_equal(wave, grid):
        value, variance, modes = curve.value.copy(), curve.variance, curve.modes
    else:
        part = grid[covered]
        log = np.interp(wave, part, np.log(curve.value[covered]), left=np.nan, right=np.nan)
        value = np.exp(log)
        variance = value**2 * np.interp(wave, part, (curve.variance / curve.value**2)[covered])
        modes = np.stack([np.interp(wave, part, m[covered]) for m in curve.modes]) if len(curve.modes) else curve.modes
        modes = modes.reshape(len(curve.modes), wave.size)
    if curve.plate is not None:
        x, y = frame.fibres.x[fibre], frame.fibres.y[fibre]
        shapes = polynomials(grid, max(len(curve.plate.fields) - 1, 1))[: len(curve.plate.fields)]
        shapes = np.stack([np.interp(wave, grid, shape) for shape in shapes])
        factor = np.exp(-curve.plate.at(x, y)[0] @ shapes)
        value, variance = value * factor, variance * factor**2
        modes = np.concatenate([modes, curve.plate.sd(x, y)[0][:, None] * shapes])
    return FibreCurve(value, variance, modes)


def apply_curve(frame: Frame, curve: Curve, options: Options | None = None, *, variance: str = "total") -> Frame:
    """Calibrate every fibre: F = C counts/s, in 1e-17 erg/s/cm2/A.

    Var(F) = C^2 Var(counts/s) + (counts/s)^2 Var(C). With ``variance="total"`` Var(C) holds the correlated part: right
    for single pixels. With "independent" it does not: right together with :func:`band_error`, which adds the modes.

    Raises
    ------
    InputError
        If the frame is calibrated already, does not overlap the curve, or ``variance`` is unknown.
    """
    if frame.calibrated:
        raise InputError("the frame is flux calibrated already", where=frame.name or "frame", expected="counts")
    if variance not in ("total", "independent"):
        raise InputError(f"variance {variance!r}", where="apply_curve", expected="'total' or 'independent'")
    ends = curve.wavelength[curve.covered]
    if ends.size == 0 or ends[0] > frame.wavelength.max() or ends[-1] < frame.wavelength.min():
        raise InputError("the curve does not overlap the frame", where=frame.name or "frame", expected="the same range")
    through = atmosphere(frame, options or Options())
    flux, var = np.empty_like(frame.flux), np.empty_like(frame.variance)
    for k in range(len(frame.flux)):
        own = curve_for_fibre(curve, frame, k)
        factor = pixel_ratio(frame, k) / frame.exposure / through[k]
        rate, rate_variance = frame.flux[k] * factor, frame.variance[k] * factor**2
        spread = own.variance
        if variance == "total":
            spread = spread + own.value**2 * np.sum(own.modes**2, axis=0)
        flux[k] = own.value * rate
        var[k] = own.value**2 * rate_variance + rate**2 * spread
    bad = ~np.isfinite(flux)
    flux[bad] = 0.0
    var[bad] = np.nan
    return replace(frame, flux=flux, variance=var, calibrated=True)


def band_error(
    flux: NDArray[np.float64], independent: NDArray[np.float64], modes: NDArray[np.float64], weight: NDArray[np.float64]
) -> float:
    """Standard deviation of sum(weight * flux) over pixels with the correlated part.

    sqrt( sum w^2 Var_i + sum_k (sum_i w_i F_i m_ki)^2 ); ``independent`` (n_pix,) is the variance without modes.
    """
    flux, independent, modes, weight = (
        floats(getattr(v, "value", v), where="band_error") for v in (flux, independent, modes, weight)
    )
    used = weight != 0
    w, f = weight[used], flux[used]
    return float(np.sqrt(np.sum(w**2 * independent[used]) + np.sum((modes[:, used] @ (w * f)) ** 2)))
