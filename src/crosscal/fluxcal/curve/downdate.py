"""Curves without each star in turn, from the sums of the curve of all stars instead of a new combination.

The throughput of a pixel is a ratio of sums over stars (:mod:`crosscal.fluxcal.curve.combine`),

    T = sum_s a_s / sum_s b_s,    T without star k = (sum_s a_s - a_k) / (sum_s b_s - b_k),

and the gauge, the robust mean of the stars' coefficients, is taken anew without it. The other stars' coefficients stay:
they would follow a change of T along their own polynomials, and there is none, because star k's residuals have no part
along them. What is left is of second order in a star's weight. A field over the plate is conditioned on the other stars
by the rank-one downdate of its inverse; its strength and scatter stay those of all stars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crosscal.fluxcal.curve.arms import smooth_arms
from crosscal.fluxcal.curve.combine import clip, pixel_sums
from crosscal.fluxcal.curve.curve import MAG, Curve, polynomials
from crosscal.fluxcal.curve.gauge import gauge
from crosscal.fluxcal.curve.position import PlateTerm
from crosscal.fluxcal.curve.stack import Stack
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.types import CalibrationVector

#: Stars from which on downdates are used: their error falls as 1 / n^2, the cost of new combinations grows as n^2.
MANY = 25


@dataclass(frozen=True, eq=False)
class Downdates:
    """What a curve's sums are made of: the stack of its stars, coefficients and variances, sums over pixels."""

    curve: Curve
    options: Options
    stack: Stack
    basis: NDArray[np.float64]
    c: NDArray[np.float64]
    noise: NDArray[np.float64]
    top: NDArray[np.float64]
    bottom: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: Sequence[CalibrationVector], curve: Curve, options: Options) -> Downdates:
        """Make the sums of a curve from the vectors of its kept stars, in their order."""
        stack = Stack.of(vectors)
        kept = np.setdiff1d(np.arange(len(curve.names)), curve.rejected)
        c = curve.coefficients[kept] * MAG
        orders = c.shape[1]
        basis = polynomials(stack.wavelength, max(orders - 1, 1))[:orders]
        with np.errstate(divide="ignore"):
            throughput = 1 / curve.value
        everyone = np.ones(len(c), dtype=bool)
        use = clip(stack, throughput, c, basis, everyone, options.n_sigma)
        top, bottom = pixel_sums(stack, np.exp(c @ basis), use, float(np.nanmedian(throughput)))
        return cls(curve, options, stack, basis, c, (curve.coefficient_errors[kept] * MAG) ** 2, top, bottom)

    def without(self, k: int, plate: PlateTerm | None) -> Curve:
        """The curve without star ``k``, under a field that does not know it; its relative errors are those of all."""
        others = np.ones(len(self.c), dtype=bool)
        others[k] = False
        top, bottom = self._totals[0] - self.top[k], self._totals[1] - self.bottom[k]
        few = bottom <= 1e-9 * self._totals[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            throughput = np.where(few, np.nan, top / bottom)
            variance = np.where(few, np.nan, 1 / bottom)
        offset = 0.0 if plate is None else plate.at(self.stack.x, self.stack.y, self.c.shape[1])
        mean, _ = gauge(self.c - offset, self.noise, others)
        wave, o = self.stack.wavelength, self.options
        done = smooth_arms(
            self.stack.starts, wave, throughput, variance, o.smooth, o.smooth_scale, errors=False, reach=o.extrapolation
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.exp(-mean @ self.basis) / done.value
            relative = self.curve.variance / self.curve.value**2
        return replace(self.curve, value=value, variance=value**2 * relative, covered=np.isfinite(value), plate=plate)

    @property
    def _totals(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.top.sum(axis=0), self.bottom.sum(axis=0)


def plate_without(plate: PlateTerm | None, x: float, y: float) -> PlateTerm | None:
    """A frame's field without the star at a place (micrometre): one that it was not fitted to leaves it as it is."""
    if plate is None:
        return None
    fields = tuple(None if f is None else f.without(x, y) for f in plate.fields)
    return replace(plate, fields=fields)


def curves_without_each(
    vectors: Sequence[CalibrationVector],
    curve: Curve,
    options: Options,
    field: Callable[[int], PlateTerm | None],
) -> list[Curve]:
    """Curves without each of the kept stars of a curve, in their order.

    Parameters
    ----------
    vectors : sequence of CalibrationVector
        Of the kept stars.
    curve : Curve
    options : Options
    field : callable
        The field over the plate that does not know the star of a number, where frames share one; None: the curve's own.
    """
    sums = Downdates.of(vectors, curve, options)
    return [sums.without(k, field(k) or plate_without(curve.plate, v.x, v.y)) for k, v in enumerate(vectors)]
