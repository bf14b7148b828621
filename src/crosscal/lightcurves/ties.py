"""What ties the factors of a telescope to the others: measured data, or only the stationarity of the source.

Alone, a telescope knows its scale from the size of its own fluctuations under a stationary process, and its shift from
their mean. What the others add is information: with variances v of ln phi (or of G at given phi) from all data and v0
from its own data, the process held at its fitted parameters, the share 1 - v / v0 comes from the others. An answer that
rests on stationarity moves with the process: a stiffer one (sigma / 1.4, 2 tau) makes the same fluctuations large, a
looser one (1.4 sigma, tau / 2) small. Without a process (a running mean) a telescope alone knows nothing, and v0 is the
variance of the prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.lightcurves.kernels.base import Kernel
from crosscal.lightcurves.model import Model

Floats = NDArray[np.float64]

#: Below this share of information from others, a telescope is not tied.
LEAST_SHARE = 0.5
#: What else tells the factors: a process that stays the same, or, where the source is a running mean, only the prior.
STATIONARY, PRIOR = "the stationarity of the source", "its prior range"
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
    rest : str
        Where the rest of the information comes from.
    """

    codes: tuple[str, ...]
    scale: Floats
    shift: Floats
    change: Floats
    rest: str = STATIONARY

    def sentences(self) -> list[str]:
        """What must be told, one sentence for each telescope that is not tied."""
        said = []
        for code in self.loose():
            i = self.codes.index(code)
            what, share = ("scale", self.scale[i]) if self.scale[i] < LEAST_SHARE else ("shift", self.shift[i])
            text = (
                f"{code}: only {100 * share:.0f} % of the information on its {what} comes from data of other "
                f"telescopes, the rest from {self.rest}"
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
    rest = STATIONARY if isinstance(model.settings.process, Kernel) else PRIOR
    own_scale, own_shift = _alone(model, x)
    if len(free):
        process = model.settings.process
        sampled = lay.free_shifts[:0] if isinstance(process, Kernel) else np.setdiff1d(lay.free_shifts, model.marginal)
        places, n = np.concatenate([lay.scale[free], lay.shift[sampled]]), len(free)
        variance = _variances(_hessian(model, x, places))
        scale[free] = _share(variance[:n], own_scale[free])
        shift[sampled] = _share(variance[n:], own_shift[sampled])
        moves = [np.abs(_moved(model, x, places, move)[:n]) for move in process.moves]
        change[free] = np.max(moves, axis=0)
    if len(model.marginal):
        covariance = model.many(x[None])[1][0][1][0]
        shift[model.marginal] = _share(np.diag(covariance)[1:], own_shift[model.marginal])
    return Ties(model.curves.codes, scale, shift, change, rest)


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


def _moved(model: Model, x: Floats, places: NDArray[np.int64], move: Mapping[str, float]) -> Floats:
    """How far the best ln phi moves when the process changes: the difference of Newton steps with and without."""
    other = x.copy()
    names = model.settings.process.names
    for name, by in move.items():
        other[model.layout.kernel[:, names.index(name)]] += by

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
    k, lay = len(model.curves.codes), model.layout
    curved, pull = np.zeros(k), np.zeros(k)
    for i, (curve, one) in enumerate(zip(model.curves.files, model.files, strict=True)):
        for c in np.unique(curve.code):
            of_scale, of_shift = one.alone(model.parts(x, i), int(c))
            curved[c] += of_scale
            pull[c] += of_shift if i == 0 else 0.0
    scale, shift = (np.divide(1.0, v, out=np.full(k, np.inf), where=v > 0) for v in (curved, pull))
    if isinstance(model.settings.process, Kernel):
        return scale, shift
    # Without a process nothing is known but the prior.
    return (lay.high - lay.low)[lay.scale] ** 2 / 12.0, (lay.high - lay.low)[lay.shift] ** 2 / 12.0
