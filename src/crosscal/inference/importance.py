"""Importance sampling from a broadened Laplace approximation, with Pareto-smoothed weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.progress import SILENT, Advance, Progress
from crosscal.core.random import generator
from crosscal.inference.laplace import collect, find_mode, pointwise_log_likelihood
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem

#: Vehtari et al. 2024 (JMLR 25, 72): above this the smoothed weights are unreliable.
KHAT_LIMIT = 0.7
#: Below this the proposal needs no further adaptation.
WELL_MATCHED = 0.4
#: Proposals evaluated in one compiled call.
BATCH = 256


@dataclass(frozen=True)
class Proposal:
    """Multivariate Student t: centre (d,), lower root (d, d) of the scale matrix, degrees of freedom."""

    centre: NDArray[np.float64]
    root: NDArray[np.float64]
    degrees: float

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Draw (n, d) vectors."""
        chi = rng.chisquare(self.degrees, n) / self.degrees
        return self.centre + rng.standard_normal((n, len(self.centre))) @ self.root.T / np.sqrt(chi)[:, None]

    def log_density(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log density of (n, d) vectors."""
        from scipy.linalg import solve_triangular
        from scipy.special import gammaln

        d, nu = len(self.centre), self.degrees
        distance = np.sum(solve_triangular(self.root, (vectors - self.centre).T, lower=True) ** 2, axis=0)
        constant = gammaln(0.5 * (nu + d)) - gammaln(0.5 * nu) - 0.5 * d * np.log(nu * np.pi)
        return constant - np.log(np.diag(self.root)).sum() - 0.5 * (nu + d) * np.log1p(distance / nu)

    def adapted(self, vectors: NDArray[np.float64], log_weights: NDArray[np.float64]) -> Proposal:
        """Match mean and covariance of the weighted vectors; weights are tempered until enough of them count."""
        from scipy.special import softmax

        d = len(self.centre)
        power = 1.0
        weights = softmax(log_weights)
        while 1.0 / np.sum(weights**2) < min(10 * d, 0.5 * len(vectors)) and power > 0.02:
            power *= 0.8
            weights = softmax(power * log_weights)
        centre = weights @ vectors
        steps = vectors - centre
        covariance = (steps * weights[:, None]).T @ steps
        covariance += 1e-9 * np.diag(np.diag(covariance))
        return Proposal(centre, np.linalg.cholesky(covariance), self.degrees)


def _weigh(density: Any, proposal: Proposal, vectors: NDArray[np.float64], advance: Advance) -> NDArray[np.float64]:
    values = []
    for block in np.array_split(vectors, max(1, len(vectors) // 4096)):
        values.append(np.asarray(density(block)))
        advance(len(block))
    return np.nan_to_num(np.concatenate(values), nan=-np.inf) - proposal.log_density(vectors)


def _smooth(log_weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return Pareto-smoothed normalised weights and k-hat."""
    from arviz_stats.base import array_stats
    from scipy.special import logsumexp

    # arviz-stats takes the negative of the log weights, as in leave-one-out where the weights are 1 / likelihood.
    smoothed, khat = array_stats.psislw(-np.maximum(log_weights - log_weights.max(), -1e4))
    return np.exp(np.asarray(smoothed) - logsumexp(smoothed)), float(khat)


def importance(
    problem: Problem,
    *,
    seed: int = 0,
    draws: int = 4000,
    proposals: int | None = None,
    degrees: float = 6.0,
    starts: int = 4,
    start: Mapping[str, ArrayLike] | None = None,
    adaptations: int = 4,
    progress: Progress = SILENT,
) -> Posterior:
    """Sample a Student-t proposal at the mode, smooth the weights (PSIS), and resample to equal weights.

    The evidence is the mean raw weight, its error from the weights' scatter. The posterior is marked as not
    converged where k-hat > 0.7: use "nuts" then.

    Parameters
    ----------
    draws : int
        Equally weighted draws returned (systematic resampling).
    proposals : int, optional
        Proposals evaluated; 5 times ``draws`` by default.
    degrees : float
        Degrees of freedom of the proposal; its tails must be heavier than the posterior's.
    adaptations : int
        Rounds (of a tenth of the proposals) that move the proposal to the weighted mean and covariance where the
        Laplace approximation fits badly (Cappe et al. 2004, J. Comp. Graph. Stat. 13, 907); their draws are dropped.
    """
    import jax
    from scipy.special import logsumexp

    n = proposals or 5 * draws
    with progress.stage("Finding the mode", total=1) as advance:
        mode = find_mode(problem, seed=seed, starts=starts, start=start)
        advance(1)
    rng = generator(seed, "importance")
    density = jax.jit(lambda v: jax.lax.map(problem.log_density, v, batch_size=BATCH))
    proposal = Proposal(mode.vector, np.linalg.cholesky(mode.covariance), degrees)
    with progress.stage("Weighing proposals", total=n + adaptations * (n // 10)) as advance:
        for _ in range(adaptations):
            vectors = proposal.draw(rng, max(n // 10, 20 * problem.size))
            log_weights = _weigh(density, proposal, vectors, advance)
            if _smooth(log_weights)[1] < WELL_MATCHED:
                break
            proposal = proposal.adapted(vectors, log_weights)
        vectors = proposal.draw(rng, n)
        log_weights = _weigh(density, proposal, vectors, advance)
    log_evidence = float(logsumexp(log_weights) - np.log(n))
    weights, khat = _smooth(log_weights)
    effective = 1.0 / np.sum(weights**2)
    # Systematic resampling, then a shuffle so that neighbouring draws are independent.
    picks = np.searchsorted(np.cumsum(weights), (rng.random() + np.arange(draws)) / draws).clip(max=n - 1)
    chosen = vectors[rng.permutation(picks)][None]
    messages = []
    if not khat <= KHAT_LIMIT:
        messages.append(f"Pareto k-hat is {khat:.2f} (above {KHAT_LIMIT}): the weights are unreliable, use nuts.")
    if effective < 400:
        messages.append(f"The effective sample size is {effective:.0f} (below 400): draw more proposals.")
    return Posterior.from_draws(
        collect(problem, chosen),
        method="importance",
        dims=problem.dims,
        coords=problem.coords,
        units=problem.units,
        sample_stats={"effective_size": np.full((1, draws), effective), "khat": np.full((1, draws), khat)},
        log_likelihood=pointwise_log_likelihood(problem, chosen),
        log_evidence=log_evidence,
        log_evidence_error=float(np.sqrt(max(1.0 / effective - 1.0 / n, 0.0))),
        converged=not messages,
        messages=tuple(messages),
    )
