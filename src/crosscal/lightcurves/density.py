"""The posterior density of a model in unconstrained coordinates, outside JAX: many vectors in one compiled call.

A parameter x in (low, high) is sampled as u = logit((x - low) / (high - low)), as in `crosscal.inference`. Systematic
errors, which the data often only limit, are sampled as normal scores of a half-normal distribution instead, once its
scale is known from a mode: there a limit is a normal distribution, which proposals cover well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, erfc, erfcinv, erfinv, expit, log_expit, logit, ndtr, ndtri

from crosscal.core.errors import FitError
from crosscal.core.linalg import nearest_precision
from crosscal.core.random import generator
from crosscal.inference.laplace import Mode, difference_hessian
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.problem import blocks

Floats = NDArray[np.float64]

_ROOT2 = float(np.sqrt(2.0))

#: Prior draws from which the mode is looked for, beside the starting point.
STARTS = 1


class Names(NamedTuple):
    """How draws are called: what a posterior takes from a `Problem`."""

    dims: dict[str, tuple[str, ...]]
    coords: dict[str, Any]
    units: dict[str, str]


class Density:
    """Log posterior of ``model.sampled`` over unconstrained vectors.

    Parameters
    ----------
    model : Model
        Used as it is: one object per thread.
    scales : array (d,), optional
        Scale of the half-normal distribution whose normal scores are sampled; NaN (the default) for logits.
    """

    def __init__(self, model: Model, scales: Floats | None = None) -> None:
        self.model = model
        lay = model.layout
        self.groups = blocks(model)
        self.places = model.sampled
        self.low, self.width = lay.low[self.places], (lay.high - lay.low)[self.places]
        self.half = lay.half_normal[self.places]
        few = np.isfinite(self.half)
        # Uniform and half-normal densities, each normalised inside its limits.
        self._constant = -float(np.sum(np.log(self.width[~few])))
        inside = ndtr(self.width[few] / self.half[few]) - 0.5
        self._constant -= float(np.sum(np.log(inside * self.half[few]) + 0.5 * np.log(2 * np.pi)))
        self.scales = np.full(len(self.places), np.nan) if scales is None else scales
        self.scaled = np.isfinite(self.scales)
        self.names = Names({name: (f"{name}_dim",) for name in self.groups}, {}, {})

    @property
    def size(self) -> int:
        """Number of sampled parameters."""
        return len(self.places)

    def constrain(self, u: Floats) -> Floats:
        """Return sampled elements (..., d) of unconstrained vectors."""
        v = np.asarray(self.low + self.width * expit(u))
        at = self.scaled
        if at.any():
            v[..., at] = self.low[at] + _of_scores(u[..., at], self.scales[at], self.width[at])
        return v

    def unconstrain(self, v: Floats) -> Floats:
        """Return unconstrained vectors of sampled elements (..., d)."""
        share = np.clip((v - self.low) / self.width, 1e-12, 1 - 1e-12)
        u, at = np.asarray(logit(share)), self.scaled
        if at.any():
            u[..., at] = _scores(share[..., at] * self.width[at], self.scales[at], self.width[at])
        return u

    def rescaled(self, mode: Mode) -> Density:
        """Return the density in normal scores of systematic errors, with scales from a mode of this one.

        A half-normal posterior of scale s has its mode in ln x at s, with a standard deviation of 1 / sqrt(2).
        """
        lay = self.model.layout
        errors = np.isin(self.places, lay.syserr)
        sd = np.sqrt(np.diag(mode.covariance))
        size = (self.constrain(mode.vector) - self.low) * np.clip(np.sqrt(2.0) * sd, 0.05, 1.0)
        return Density(self.model, np.where(errors, np.maximum(size, 1e-6 * self.width), np.nan))

    def named(self, v: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return sampled elements (..., d) by the names of the problem's parameters."""
        rank = {name: np.searchsorted(self.places, places) for name, places in self.groups.items()}
        return {name: v[..., at] for name, at in rank.items()}

    def _jacobian(self, u: Floats, v: Floats) -> Floats:
        """ln dv/du, (..., d)."""
        found = log_expit(u) + log_expit(-u) + np.log(self.width)
        at = self.scaled
        if at.any():
            x = (v[..., at] - self.low[at]) / self.scales[at]
            inside = 1.0 - erfc(self.width[at] / self.scales[at] / _ROOT2)
            found[..., at] = np.log(self.scales[at] * inside / 2.0) + 0.5 * (x**2 - u[..., at] ** 2)
        return np.asarray(found)

    def _prior(self, u: Floats, v: Floats) -> Floats:
        """Log prior and Jacobian, (...)."""
        found = self._jacobian(u, v) - 0.5 * ((v - self.low) / self.half) ** 2
        return np.asarray(self._constant + np.sum(found, axis=-1))

    def __call__(self, u: Floats) -> Floats:
        """Log density (n,) at vectors (n, d); minus infinity where it is not defined."""
        u = np.asarray(u)
        v = self.constrain(u)
        values = self.model.many(self.model.full(v))[0] + self._prior(u, v)
        return np.nan_to_num(values, nan=-np.inf)

    def value_and_gradient(self, u: Floats) -> tuple[float, Floats]:
        """Log density and gradient at one vector."""
        v = self.constrain(u)
        value, gradient = self.model.value_and_gradient(self.model.full(v))
        slope = gradient[self.places] - (v - self.low) / self.half**2
        dv = np.exp(self._jacobian(u, v))
        of_jacobian = 1 - 2 * expit(u)
        at = self.scaled
        of_jacobian[at] = (v - self.low)[at] / self.scales[at] ** 2 * dv[at] - u[at]
        return float(value + self._prior(u, v)), slope * dv + of_jacobian

    def draw_prior(self, seed: int, n: int) -> Floats:
        """Draw unconstrained vectors (n, d) from the prior."""
        rng = generator(seed, "prior")
        share = rng.uniform(0.02, 0.98, (n, self.size))
        few = np.isfinite(self.half)
        reach = np.where(few, self.half / self.width, 1.0)
        share = np.clip(share * np.where(few, np.minimum(reach, 1.0), 1.0), 1e-6, 1 - 1e-6)
        return self.unconstrain(self.low + self.width * share)

    def mode(self, start: Floats, seed: int, starts: int = STARTS) -> Mode:
        """Maximise the density from a starting point (d,) of sampled elements and some draws from the prior.

        Raises
        ------
        FitError
            If no start reaches a finite density.
        """
        best = self.highest([self.unconstrain(start), *self.draw_prior(seed, starts)])
        hessian = difference_hessian(lambda u: self._objective(u)[1], best[0])
        precision, well_curved = nearest_precision(hessian)
        return Mode(best[0], best[1], precision, well_curved)

    def highest(self, points: Sequence[Floats]) -> tuple[Floats, float]:
        """Climb from unconstrained vectors (d,); return the vector of the highest density, and its logarithm.

        Raises
        ------
        FitError
            If no start reaches a finite density.
        """
        from scipy.optimize import minimize

        best: Any = None
        for point in points:
            found = minimize(self._objective, point, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
            if np.isfinite(found.fun) and found.fun < 1e299 and (best is None or found.fun < best.fun):
                best = found
        if best is None:
            raise FitError("No start of the mode search has a finite posterior density.")
        return np.asarray(best.x), -float(best.fun)

    def _objective(self, u: Floats) -> tuple[float, Floats]:
        value, gradient = self.value_and_gradient(u)
        if not np.isfinite(value):
            return 1e300, np.zeros_like(u)
        return -value, -np.nan_to_num(gradient)


def _scores(x: Floats, scale: Floats, high: Floats) -> Floats:
    """Normal scores of x in (0, high) under a half-normal distribution cut at ``high``."""
    beyond = erfc(high / scale / _ROOT2)
    above = np.clip((erfc(x / scale / _ROOT2) - beyond) / (1.0 - beyond), 1e-300, 1.0)
    return np.where(above > 0.5, ndtri(erf(x / scale / _ROOT2) / (1.0 - beyond)), -ndtri(above))


def _of_scores(u: Floats, scale: Floats, high: Floats) -> Floats:
    """The inverse of `_scores`, by the tail that is the smaller one."""
    beyond = erfc(high / scale / _ROOT2)
    low = erfinv(ndtr(np.minimum(u, 0.0)) * (1.0 - beyond))
    upper = erfcinv(ndtr(-np.maximum(u, 0.0)) * (1.0 - beyond) + beyond)
    return np.clip(scale * _ROOT2 * np.where(u < 0, low, upper), 0.0, high)
