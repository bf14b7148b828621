"""The posterior density of a model in unconstrained coordinates, outside JAX: many vectors in one compiled call.

A parameter x in (low, high) is sampled as u = logit((x - low) / (high - low)), as in `crosscal.inference`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, logit, ndtr

from crosscal.core.errors import FitError
from crosscal.core.linalg import nearest_precision
from crosscal.core.random import generator
from crosscal.inference.laplace import Mode, difference_hessian
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.problem import blocks

Floats = NDArray[np.float64]

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
    """

    def __init__(self, model: Model) -> None:
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
        self.names = Names({name: (f"{name}_dim",) for name in self.groups}, {}, {})

    @property
    def size(self) -> int:
        """Number of sampled parameters."""
        return len(self.places)

    def constrain(self, u: Floats) -> Floats:
        """Return sampled elements (..., d) of unconstrained vectors."""
        return self.low + self.width * expit(u)

    def unconstrain(self, v: Floats) -> Floats:
        """Return unconstrained vectors of sampled elements (..., d)."""
        share = np.clip((v - self.low) / self.width, 1e-12, 1 - 1e-12)
        return np.asarray(logit(share))

    def named(self, v: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return sampled elements (..., d) by the names of the problem's parameters."""
        rank = {name: np.searchsorted(self.places, places) for name, places in self.groups.items()}
        return {name: v[..., at] for name, at in rank.items()}

    def _prior(self, u: Floats, v: Floats) -> Floats:
        """Log prior and Jacobian, (...)."""
        jacobian = log_expit(u) + log_expit(-u) + np.log(self.width)
        return self._constant + np.sum(jacobian - 0.5 * ((v - self.low) / self.half) ** 2, axis=-1)

    def __call__(self, u: Floats) -> Floats:
        """Log density (n,) at vectors (n, d); minus infinity where it is not defined."""
        v = self.constrain(np.asarray(u))
        values = self.model.many(self.model.full(v))[0] + self._prior(u, v)
        return np.nan_to_num(values, nan=-np.inf)

    def value_and_gradient(self, u: Floats) -> tuple[float, Floats]:
        """Log density and gradient at one vector."""
        share = expit(u)
        v = self.low + self.width * share
        value, gradient = self.model.value_and_gradient(self.model.full(v))
        slope = gradient[self.places] - (v - self.low) / self.half**2
        return float(value + self._prior(u, v)), slope * self.width * share * (1 - share) + 1 - 2 * share

    def draw_prior(self, seed: int, n: int) -> Floats:
        """Draw unconstrained vectors (n, d) from the prior."""
        rng = generator(seed, "prior")
        share = rng.uniform(0.02, 0.98, (n, self.size))
        few = np.isfinite(self.half)
        reach = np.where(few, self.half / self.width, 1.0)
        return np.asarray(logit(np.clip(share * np.where(few, np.minimum(reach, 1.0), 1.0), 1e-6, 1 - 1e-6)))

    def mode(self, start: Floats, seed: int, starts: int = STARTS) -> Mode:
        """Maximise the density from a starting point (d,) of sampled elements and some draws from the prior.

        Raises
        ------
        FitError
            If no start reaches a finite density.
        """
        from scipy.optimize import minimize

        def objective(u: Floats) -> tuple[float, Floats]:
            value, gradient = self.value_and_gradient(u)
            if not np.isfinite(value):
                return 1e300, np.zeros_like(u)
            return -value, -np.nan_to_num(gradient)

        best: Any = None
        for point in (self.unconstrain(start), *self.draw_prior(seed, starts)):
            found = minimize(objective, point, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
            if np.isfinite(found.fun) and found.fun < 1e299 and (best is None or found.fun < best.fun):
                best = found
        if best is None:
            raise FitError("No start of the mode search has a finite posterior density.")
        hessian = difference_hessian(lambda u: objective(u)[1], best.x)
        precision, well_curved = nearest_precision(hessian)
        return Mode(np.asarray(best.x), -float(best.fun), precision, well_curved)
