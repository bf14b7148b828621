"""What ties the factors of a telescope to the others: measured data, or only the stationarity of the source.

Alone, a telescope knows its scale from the size of its own fluctuations under a stationary process, and its shift from
their mean. What the others add is information: with variances v of ln phi (or of G at given phi) from all data and v0
from its own data, the process held at its fitted parameters, the share 1 - v / v0 comes from the others. An answer that
rests on stationarity moves with the process: a stiffer one (sigma / 1.4, 2 tau) makes the same fluctuations large, a
looser one (1.4 sigma, tau / 2) small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.lightcurves.model import Model

Floats = NDArray[np.float64]

#: Below this share of information from others, a telescope is not tied.
LEAST_SHARE = 0.5
#: The stiffer and the looser process: factors on sigma and tau, which leave the variance as it is.
PROCESSES = ((2**-0.5, 2.0), (2**0.5, 0.5))
_STEP = 1e-3


@dataclass(frozen=True, eq=False)
class Ties:
    """How each telescope is tied to the others; NaN for the reference and for factors that are held.

    Attributes
    ----------
    codes : tuple of str
    scale, shift : array (k,)
        Share of the information on ln phi, and on G at given phi, that comes from other telescopes' data, 0 to 1.
    change : array (k,)
        Largest change of ln phi under a stiffer and a looser process.
    """

    codes: tuple[str, ...]
    scale: Floats
    shift: Floats
    change: Floats

    def sentences(self) -> list[str]:
        """What must be told, one sentence for each telescope that is not tied."""
        said = []
        for code in self.loose():
            i = self.codes.index(code)
            what, share = ("scale", self.scale[i]) if self.scale[i] < LEAST_SHARE else ("shift", self.shift[i])
            text = (
                f"{code}: only {100 * share:.0f} % of the information on its {what} comes from data of other "
                f"telescopes, the rest from the stationarity of the source"
            )
            if np.isfinite(self.change[i]):
                text += (
                    f"; with a time scale twice as long or short its scale would change by {100 * self.change[i]:.0f} %"
                )
            said.append(text + ".")
        return said

    def loose(self) -> tuple[str, ...]:
        """Telescopes of which some free factor is not tied."""
        with np.errstate(invalid="ignore"):
            bad = (self.scale < LEAST_SHARE) | (self.shift < LEAST_SHARE)
        return tuple(code for code, one in zip(self.codes, bad, strict=True) if one)


def ties(model: Model, x: Floats) -> Ties:
    """Measure the ties at a full vector (n,) of parameters, such as the posterior mean."""
    lay, k = model.layout, len(model.curves.codes)
    free = np.flatnonzero(lay.free[lay.scale])
    scale, shift, change = (np.full(k, np.nan) for _ in range(3))
    own_scale, own_shift = _alone(model, x)
    if len(free):
        places = lay.scale[free]
        variance = _variances(_hessian(model, x, places))
        scale[free] = _share(variance, own_scale[free])
        moves = [np.abs(_moved(model, x, places, factors)) for factors in PROCESSES]
        change[free] = np.max(moves, axis=0)
    if len(model.marginal):
        covariance = model.many(x[None])[1][0][1][0]
        shift[model.marginal] = _share(np.diag(covariance)[1:], own_shift[model.marginal])
    return Ties(model.curves.codes, scale, shift, change)


def _share(variance: Floats, alone: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 1.0 - variance / alone
    return np.where(np.isfinite(variance), np.clip(share, 0.0, 1.0), 0.0)


def _hessian(model: Model, x: Floats, places: NDArray[np.int64]) -> Floats:
    """Second derivatives of -ln L by some elements."""
    rows = []
    for place in places:
        ends = []
        for sign in (1.0, -1.0):
            moved = x.copy()
            moved[place] += sign * _STEP
            ends.append(model.value_and_gradient(moved)[1][places])
        rows.append((ends[1] - ends[0]) / (2 * _STEP))
    found = np.array(rows)
    return 0.5 * (found + found.T)


def _variances(hessian: Floats) -> Floats:
    """Marginal variances; infinite where the density is not curved."""
    values, vectors = np.linalg.eigh(hessian)
    inverse = np.where(values > 1e-9 * max(float(values.max(initial=0.0)), 1e-300), 1.0 / np.abs(values), np.inf)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nansum(np.where(vectors**2 > 1e-12, vectors**2 * inverse, 0.0), axis=1))


def _moved(model: Model, x: Floats, places: NDArray[np.int64], factors: tuple[float, float]) -> Floats:
    """How far the best ln phi moves when the process changes: the difference of Newton steps with and without."""
    other = x.copy()
    kernel = model.layout.kernel
    other[kernel[:, 0]] += np.log(factors[0])
    other[kernel[:, 1]] += np.log(factors[1])

    def step(at: Floats) -> Floats:
        gradient, hessian = model.value_and_gradient(at)[1][places], _hessian(model, at, places)
        values, vectors = np.linalg.eigh(hessian)
        floor = 1e-6 * max(float(np.abs(values).max(initial=0.0)), 1e-300)
        return np.asarray(vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), floor)))

    moved = step(other)
    further = other.copy()
    further[places] += np.clip(moved, -1.0, 1.0)
    return np.clip(moved, -1.0, 1.0) + np.clip(step(further), -1.0, 1.0) - step(x)


def _alone(model: Model, x: Floats) -> tuple[Floats, Floats]:
    """Variances (k,) of ln phi, and of G at given phi and mean, from each telescope's own data."""
    curves, k = model.curves, len(model.curves.codes)
    scale, shift = np.full(k, np.inf), np.full(k, np.inf)
    for c in range(k):
        curved, pull = 0.0, 0.0
        for i, (curve, one) in enumerate(zip(curves.files, model.files, strict=True)):
            mine = curve.code == c
            if not mine.any():
                continue
            part = one.only(mine)
            theta, phi, _, eps, b = model.parts(x, i)
            values = []
            for step in (-10 * _STEP, 0.0, 10 * _STEP):
                size = phi.copy()
                size[c] *= np.exp(step)
                values.append(part.evaluate(theta, size, np.zeros(k), eps, b))
            curved -= (values[0][0] - 2 * values[1][0] + values[2][0]) / (10 * _STEP) ** 2
            if i == 0 and values[1][2] is not None:
                pull = 1.0 / float(values[1][2][0, 0])
        scale[c] = 1.0 / curved if curved > 0 else np.inf
        shift[c] = 1.0 / pull if pull > 0 else np.inf
    return scale, shift
