"""What both routes, pairs and spectra, make of a posterior: phi on a grid, what the data constrain, the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.random import integer_seed
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem
from crosscal.xray.correction.identifiability import Modes, modes_of_draws, prior_dominated
from crosscal.xray.correction.result import MAX_DRAWS, CalibrationResult

Floats = NDArray[np.float64]

#: Draws of the prior that its spread is judged by.
PRIOR_DRAWS = 2000
#: Logarithms are taken of no smaller phi.
LEAST_FACTOR = 1e-3


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws of the posterior and of the prior, and phi of both on a grid of energies.

    Attributes
    ----------
    posterior : Posterior
    prior : mapping of name to array (m, ...)
    names : tuple of str
        Parameters of phi.
    factor : callable
        (energy (n,) keV, theta (m, d)) -> phi (m, n).
    grid : array (n,), keV
    """

    posterior: Posterior
    prior: Mapping[str, Any]
    names: tuple[str, ...]
    factor: Any
    grid: Floats

    @classmethod
    def of(
        cls, posterior: Posterior, problem: Problem, names: tuple[str, ...], factor: Any, grid: Floats, seed: int
    ) -> Drawn:
        """Draw from the prior beside the posterior."""
        prior = problem.draw_prior(integer_seed(seed, "prior"), PRIOR_DRAWS)
        return cls(posterior, prior, names, factor, grid)

    @cached_property
    def prior_factor(self) -> Floats:
        """Return phi of the prior's draws (m, n)."""
        return np.asarray(self.factor(self.grid, np.stack([self.prior[n] for n in self.names], axis=1)))

    @cached_property
    def modes(self) -> Modes:
        """Return the modes of phi(E) that the data constrain."""
        theta = np.stack([self.posterior.draws(n) for n in self.names], axis=1)
        keep = np.linspace(0, len(theta) - 1, min(MAX_DRAWS, len(theta))).round().astype(int)
        logs = [np.log(np.maximum(f, LEAST_FACTOR)) for f in (self.prior_factor, self.factor(self.grid, theta[keep]))]
        return modes_of_draws(logs[0], logs[1], theta.shape[1])

    @cached_property
    def prior_dominated(self) -> dict[str, float]:
        """Return posterior sd / prior sd of the parameters that the data hardly changed."""
        sds = [
            {n: float(np.std(self.prior[n])) for n in self.names},
            {n: float(self.posterior.sd(n)) for n in self.names},
        ]
        return prior_dominated(*sds)

    def result(self, model: Any, telescopes: tuple[str, str], **facts: Any) -> CalibrationResult:
        """Return the result; ``facts`` are its diagnostics, biases, kT and provenance."""
        return CalibrationResult(
            self.posterior, self.names, self.factor, self.grid, telescopes, model=model, prior_factor=self.prior_factor,
            **facts,
        )  # fmt: skip
