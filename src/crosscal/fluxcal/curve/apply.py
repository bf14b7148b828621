"""Application of a curve to every fibre, with variance and correlated errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.threads import one_thread
from crosscal.core.units import floats
from crosscal.fluxcal.curve.curve import Curve, polynomials
from crosscal.fluxcal.curve.vectors import atmosphere
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.stars.resample import pixel_edges
from crosscal.fluxcal.types import Frame


@dataclass(frozen=True, eq=False)
class OnPixels:
    """A curve on some pixels.

    ln C (n_pix,), NaN where there is no curve; Var(ln C) (n_pix,); polynomials of the plate's fields (n_orders, n_pix);
    ``ratio`` (n_pix,), the width of the curve's pixels over that of these.
    """

    log: NDArray[np.float64]
    spread: NDArray[np.float64]
    shapes: NDArray[np.float64]
    ratio: NDArray[np.float64]


@njit(cache=True)
def _between(
    wave, nodes, log, relative, width, modes, shapes, out_log, out_spread, out_shapes, out_ratio
):  # pragma: no cover (compiled)
    """Linear interpolation between nodes; both wavelengths increase, so that one walk finds all intervals."""
    left, last, end = 0, nodes.size - 1, wave.size - 1
    for p in range(wave.size):
        w = wave[p]
        if w < nodes[0] or w > nodes[last]:
            out_log[p] = np.nan
            continue
        while left < last - 1 and nodes[left + 1] <= w:
            left += 1
        share = (w - nodes[left]) / (nodes[left + 1] - nodes[left])
        out_log[p] = log[left] + share * (log[left + 1] - log[left])
        total = relative[left] + share * (relative[left + 1] - relative[left])
        for k in range(modes.shape[1]):
            mode = modes[left, k] + share * (modes[left + 1, k] - modes[left, k])
            total += mode * mode
        out_spread[p] = total
        own = wave[min(p + 1, end)] - wave[max(p - 1, 0)]
        if 0 < p < end:
            own *= 0.5
        out_ratio[p] = (width[left] + share * (width[left + 1] - width[left])) / own
        for k in range(shapes.shape[1]):
            out_shapes[k, p] = shapes[left, k] + share * (shapes[left + 1, k] - shapes[left, k])


@dataclass(frozen=True, eq=False)
class Nodes:
    """A curve at the wavelengths (n,) where it is known.

    ln C, its independent variance and the widths of its pixels (n,), its modes (n, k) and polynomials (n, n_orders).
    """

    wavelength: NDArray[np.float64]
    log: NDArray[np.float64]
    relative: NDArray[np.float64]
    width: NDArray[np.float64]
    modes: NDArray[np.float64]
    shapes: NDArray[np.float64]

    @classmethod
    def of(cls, curve: Curve, correlated: bool) -> Nodes:
        """The covered part of a curve, with its modes if errors are to hold their ``correlated`` part."""
        inside = curve.covered
        value = curve.value[inside]
        orders = 0 if curve.plate is None else len(curve.plate.fields)
        modes = curve.modes if correlated else curve.modes[:0]
        shapes = polynomials(curve.wavelength, max(orders - 1, 1))[:orders]
        return cls(
            np.ascontiguousarray(curve.wavelength[inside]),
            np.log(value),
            curve.variance[inside] / value**2,
            np.diff(pixel_edges(curve.wavelength))[inside],
            np.ascontiguousarray(modes[:, inside].T),
            np.ascontiguousarray(shapes[:, inside].T),
        )

    def at(self, wavelength: NDArray[np.float64]) -> OnPixels:
        """The curve at other wavelengths (n_pix,), increasing."""
        wave = np.ascontiguousarray(wavelength)
        n = wave.size
        made = OnPixels(np.full(n, np.nan), np.zeros(n), np.zeros((self.shapes.shape[1], n)), np.ones(n))
        if self.wavelength.size > 1 and n > 1:
            given = (self.wavelength, self.log, self.relative, self.width, self.modes, self.shapes)
            _between(wave, *given, made.log, made.spread, made.shapes, made.ratio)
        return made


@one_thread
def apply_curve(frame: Frame, curve: Curve, options: Options | None = None, *, variance: str = "total") -> Frame:
    """Calibrate every fibre: F = C counts/s, in 1e-17 erg/s/cm2/A.

    Var(F) = C^2 Var(counts/s) + (counts/s)^2 Var(C). With ``variance="total"`` Var(C) holds the correlated part: right
    for single pixels. With "independent" it does not: right together with :func:`band_error`, which adds the modes.
    On a fibre's own pixels ln C, its variance and its modes are interpolated linearly. With a field over the plate,
    C is divided by the field at the fibre's place.

    Raises
    ------
    InputError
        If the frame is calibrated already, does not overlap the curve, or ``variance`` is unknown.

    Examples
    --------
    >>> calibrated = fluxcal.apply_curve(frame, fluxcal.read_curve("calibrated.fits"))  # doctest: +SKIP
    """
    if frame.calibrated:
        raise InputError("the frame is flux calibrated already", where=frame.name or "frame", expected="counts")
    if variance not in ("total", "independent"):
        raise InputError(f"variance {variance!r}", where="apply_curve", expected="'total' or 'independent'")
    ends = curve.wavelength[curve.covered]
    if ends.size == 0 or ends[0] > frame.wavelength.max() or ends[-1] < frame.wavelength.min():
        raise InputError("the curve does not overlap the frame", where=frame.name or "frame", expected="the same range")
    options = options or Options()
    nodes = Nodes.of(curve, variance == "total")
    common = nodes.at(curve.wavelength)
    plate = curve.plate
    x, y = frame.fibres.x, frame.fibres.y
    field, field_sd = (plate.at(x, y), plate.sd(x, y)) if plate is not None else (np.zeros((0, 0)),) * 2
    flux, var = np.empty(frame.flux.shape), np.empty(frame.flux.shape)
    for k in range(len(flux)):
        own = common if np.array_equal(frame.wavelength[k], curve.wavelength) else nodes.at(frame.wavelength[k])
        log, spread = own.log, own.spread
        if plate is not None:
            log = log - field[k] @ own.shapes
            spread = spread + (field_sd[k] ** 2 @ own.shapes**2 if variance == "total" else 0.0)
        factor = np.exp(log) * own.ratio / frame.exposure / atmosphere(frame, options, k)
        flux[k] = factor * frame.flux[k]
        var[k] = factor**2 * frame.variance[k] + flux[k] ** 2 * spread
    bad = ~np.isfinite(flux)
    flux[bad] = 0.0
    var[bad] = np.nan
    return replace(frame, flux=flux, variance=var, calibrated=True)


def band_error(
    flux: NDArray[np.float64], independent: NDArray[np.float64], modes: NDArray[np.float64], weight: NDArray[np.float64]
) -> float:
    """Standard deviation of sum(weight * flux) over pixels with the correlated part.

    sqrt( sum w^2 Var_i + sum_k (sum_i w_i F_i m_ki)^2 ); ``independent`` (n_pix,) is the variance without modes.

    Examples
    --------
    >>> sd = fluxcal.band_error(flux, independent, curve.modes, weight)  # doctest: +SKIP
    """
    flux, independent, modes, weight = (
        floats(getattr(v, "value", v), where="band_error") for v in (flux, independent, modes, weight)
    )
    used = weight != 0
    w, f = weight[used], flux[used]
    return float(np.sqrt(np.sum(w**2 * independent[used]) + np.sum((modes[:, used] @ (w * f)) ** 2)))
