"""Importance sampling from a broadened Laplace approximation, with Pareto-smoothed weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator
from crosscal.inference.laplace import collect, find_mode, pointwise_log_likelihood
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem
from crosscal.inference.weights import KHAT_LIMIT, evaluate, evidence, pareto_smoothed, resampled, tempered

#: Below this the proposal needs no further adaptation.
WELL_MATCHED = 0.3
#: Times that all proposals are drawn, while k-hat is too high.
ATTEMPTS = 3
#: Probabilities at which an adapted proposal matches the marginal quantiles.
QUANTILES = np.array([0.02, 0.08, 0.2, 0.4, 0.6, 0.8, 0.92, 0.98])


@dataclass(frozen=True)
class Proposal:
    """Multivariate Student t, bent coordinate by coordinate by a monotone piecewise-linear map.

    Attributes
    ----------
    centre : array (d,)
    root : array (d, d)
        Lower root of the scale matrix.
    degrees : float
    bends : tuple of two arrays (d, n_knots), optional
        Knots of the map from t coordinates to vectors; beyond the ends the last slopes continue.
    """

    centre: NDArray[np.float64]
    root: NDArray[np.float64]
    degrees: float
    bends: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Draw (n, d) vectors."""
        chi = rng.chisquare(self.degrees, n) / self.degrees
        z = self.centre + rng.standard_normal((n, len(self.centre))) @ self.root.T / np.sqrt(chi)[:, None]
        return z if self.bends is None else _bend(z, *self.bends)[0]

    def log_density(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log density of (n, d) vectors."""
        from scipy.linalg import solve_triangular
        from scipy.special import gammaln

        z, slopes = (vectors, None) if self.bends is None else _bend(vectors, *self.bends[::-1])
        d, nu = len(self.centre), self.degrees
        distance = np.sum(solve_triangular(self.root, (z - self.centre).T, lower=True) ** 2, axis=0)
        constant = gammaln(0.5 * (nu + d)) - gammaln(0.5 * nu) - 0.5 * d * np.log(nu * np.pi)
        density = constant - np.log(np.diag(self.root)).sum() - 0.5 * (nu + d) * np.log1p(distance / nu)
        return density if slopes is None else density + np.log(slopes).sum(axis=1)

    def adapted(self, vectors: NDArray[np.float64], log_weights: NDArray[np.float64]) -> Proposal:
        """Match marginal quantiles and the correlation of normal scores of the weighted vectors.

        The weights are tempered until enough of them count.
        """
        from scipy.stats import norm

        n, d = vectors.shape
        _, weights = tempered(log_weights, min(20 * d, 0.5 * n))
        knots = np.empty((d, len(QUANTILES)))
        for k, column in enumerate(vectors.T):
            order = np.argsort(column)
            ranks = np.cumsum(weights[order]) - 0.5 * weights[order]
            knots[k] = np.interp(QUANTILES, ranks, column[order])
        # Few heavy draws can share a quantile; the map must stay strictly increasing.
        least = 1e-3 * (knots[:, -1] - knots[:, 0])[:, None] + 1e-12
        knots = knots[:, :1] + np.concatenate([np.zeros((d, 1)), np.cumsum(np.maximum(np.diff(knots), least), 1)], 1)
        scores = np.tile(norm.ppf(QUANTILES), (d, 1))
        z = _bend(vectors, knots, scores)[0]
        centre = np.asarray(weights @ z, dtype=float)
        steps = z - centre
        covariance = (steps * weights[:, None]).T @ steps
        return Proposal(centre, np.linalg.cholesky(covariance + 1e-6 * np.eye(d)), self.degrees, (scores, knots))


def _bend(x: NDArray[np.float64], before: NDArray, after: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map (n, d) through the piecewise-linear functions with the given knots; return values and slopes."""
    values, slopes = np.empty_like(x), np.empty_like(x)
    for k in range(x.shape[1]):
        slope = np.diff(after[k]) / np.diff(before[k])
        piece = np.clip(np.searchsorted(before[k], x[:, k]) - 1, 0, len(slope) - 1)
        values[:, k] = after[k][piece] + slope[piece] * (x[:, k] - before[k][piece])
        slopes[:, k] = slope[piece]
    return values, slopes


def importance(
    problem: Problem,
    *,
    seed: int = 0,
    draws: int = 4000,
    proposals: int | None = None,
    degrees: float = 6.0,
    starts: int = 4,
    start: Mapping[str, ArrayLike] | None = None,
    adaptations: int = 6,
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
        Most rounds (each a tenth of the proposals, dropped afterwards) in which the proposal is fitted to the weighted
        draws where the Laplace approximation fits badly (Cappe et al. 2004, J. Comp. Graph. Stat. 13, 907).
    """
    import jax

    n = proposals or 5 * draws
    with progress.stage("Finding the mode", total=1) as advance:
        mode = find_mode(problem, seed=seed, starts=starts, start=start)
        advance(1)
    rng = generator(seed, "importance")
    density = jax.jit(jax.vmap(problem.log_density))
    proposal = Proposal(mode.vector, np.asarray(np.linalg.cholesky(mode.covariance), dtype=float), degrees)
    with progress.stage("Weighing proposals", total=n + adaptations * (n // 10)) as advance:
        for _ in range(adaptations):
            vectors = proposal.draw(rng, max(n // 10, 20 * problem.size))
            log_weights = evaluate(density, vectors, advance) - proposal.log_density(vectors)
            if pareto_smoothed(log_weights)[1] < WELL_MATCHED:
                break
            proposal = proposal.adapted(vectors, log_weights)
        for attempt in range(ATTEMPTS):
            vectors = proposal.draw(rng, n)
            log_weights = evaluate(density, vectors, advance) - proposal.log_density(vectors)
            if attempt == ATTEMPTS - 1 or pareto_smoothed(log_weights)[1] < KHAT_LIMIT:
                break
            # A rare heavy draw that the small rounds missed: fit the proposal to all of these and draw anew.
            proposal = proposal.adapted(vectors, log_weights)
    return resampled(
        problem,
        vectors,
        log_weights,
        rng,
        method="importance",
        draws=draws,
        collect=lambda chosen: collect(problem, chosen),
        pointwise=lambda chosen: pointwise_log_likelihood(problem, chosen),
    )


def evidence_from_draws(problem: Problem, posterior: Posterior, *, seed: int = 0, n: int = 8000) -> Posterior:
    """Give a posterior of another sampler its log evidence, by weighing a proposal fitted to its draws.

    A message is added where the Pareto k-hat of the weights says that the evidence is unreliable.
    """
    import jax

    params = {name: posterior.draws(name) for name in problem.names}
    vectors = np.asarray(jax.jit(jax.vmap(problem.unconstrain))(params))
    start = Proposal(vectors.mean(axis=0), np.eye(problem.size), 6.0)
    proposal = start.adapted(vectors, np.zeros(len(vectors)))
    drawn = proposal.draw(generator(seed, "evidence"), n)
    log_weights = evaluate(jax.jit(jax.vmap(problem.log_density)), drawn) - proposal.log_density(drawn)
    weights, khat = pareto_smoothed(log_weights)
    messages = posterior.messages
    if not khat <= KHAT_LIMIT:
        messages += (f"The log evidence is unreliable: Pareto k-hat is {khat:.2f} (above {KHAT_LIMIT}).",)
    value, error = evidence(log_weights, float(1.0 / np.sum(weights**2)))
    return replace(posterior, log_evidence=value, log_evidence_error=error, messages=messages)
