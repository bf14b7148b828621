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
def _between(wave, table, shapes, out_log, out_spread, out_shapes, out_ratio):  # pragma: no cover (compiled)
    """Interpolation between the nodes of a table; both wavelengths increase, so that one walk finds all intervals."""
    left, last, end = 0, len(table) - 1, wave.size - 1
    for p in range(wave.size):
        w = wave[p]
        if w < table[0, 0] or w > table[last, 0]:
            out_log[p], out_spread[p], out_ratio[p] = np.nan, 0.0, 1.0
            out_shapes[:, p] = 0.0
            continue
        while left < last - 1 and table[left + 1, 0] <= w:
            left += 1
        row = table[left]
        share = (w - row[0]) * row[1]
        out_log[p] = row[2] + share * row[3]
        out_spread[p] = row[4] + share * (row[5] + share * row[6])
        own = wave[min(p + 1, end)] - wave[max(p - 1, 0)]
        if 0 < p < end:
            own *= 0.5
        out_ratio[p] = (row[7] + share * row[8]) / own
        for k in range(shapes.shape[1]):
            out_shapes[k, p] = shapes[left, k] + share * (shapes[left + 1, k] - shapes[left, k])


@dataclass(frozen=True, eq=False)
class Nodes:
    """A curve at the wavelengths where it is known, prepared for interpolation.

    Rows of ``table`` (n, 9) are wavelength, 1 / distance to the next node, ln C and its change to that node, three
    coefficients of Var(ln C), the width of a pixel and its change. With the share s of the distance, independent
    variances v and modes m with changes dv and dm, Var(ln C) is linear in v and quadratic in s through the modes:
    v + sum m^2 + s (dv + 2 sum m dm) + s^2 sum dm^2. ``shapes`` (n, n_orders) are the plate's polynomials.
    """

    table: NDArray[np.float64]
    shapes: NDArray[np.float64]

    @classmethod
    def of(cls, curve: Curve, correlated: bool) -> Nodes:
        """The covered part of a curve, with its modes if errors are to hold their ``correlated`` part."""
        inside = curve.covered
        wave, value = curve.wavelength[inside], curve.value[inside]
        orders = 0 if curve.plate is None else len(curve.plate.fields)
        shapes = polynomials(curve.wavelength, max(orders - 1, 1))[:orders]
        log, relative, width = np.log(value), curve.variance[inside] / value**2, np.diff(pixel_edges(curve.wavelength))
        modes = (curve.modes if correlated else curve.modes[:0])[:, inside]

        def step(rows: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.diff(rows, axis=-1, append=rows[..., -1:])

        change, steps = step(modes), step(wave)
        columns = [
            wave, 1 / np.where(steps > 0, steps, 1.0), log, step(log),
            relative + np.sum(modes**2, axis=0), step(relative) + 2 * np.sum(modes * change, axis=0),
            np.sum(change**2, axis=0), width[inside], step(width[inside]),
        ]  # fmt: skip
        return cls(np.stack(columns, axis=1), np.ascontiguousarray(shapes[:, inside].T))

    def at(self, wavelength: NDArray[np.float64]) -> OnPixels:
        """The curve at other wavelengths (n_pix,), increasing."""
        wave = np.ascontiguousarray(wavelength)
        n, orders = wave.size, self.shapes.shape[1]
        if len(self.table) < 2 or n < 2:
            return OnPixels(np.full(n, np.nan), np.zeros(n), np.zeros((orders, n)), np.ones(n))
        made = OnPixels(np.empty(n), np.empty(n), np.empty((orders, n)), np.empty(n))
        _between(wave, self.table, self.shapes, made.log, made.spread, made.shapes, made.ratio)
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
