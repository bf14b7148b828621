"""Importance sampling from a broadened Laplace approximation, with Pareto-smoothed weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator
from crosscal.inference.laplace import collect, find_mode, pointwise_log_likelihood
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem

#: Vehtari et al. 2024 (JMLR 25, 72): above this the smoothed weights are unreliable.
KHAT_LIMIT = 0.7


def importance(
    problem: Problem,
    *,
    seed: int = 0,
    draws: int = 4000,
    proposals: int | None = None,
    degrees: float = 6.0,
    starts: int = 4,
    start: Mapping[str, ArrayLike] | None = None,
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
    """
    import jax
    from arviz_stats.base import array_stats
    from scipy.special import gammaln, logsumexp

    n = proposals or 5 * draws
    with progress.stage("Finding the mode", total=1) as advance:
        mode = find_mode(problem, seed=seed, starts=starts, start=start)
        advance(1)
    rng, d = generator(seed, "importance"), problem.size
    root = np.linalg.cholesky(mode.precision)
    chi = rng.chisquare(degrees, n) / degrees
    steps = np.linalg.solve(root.T, rng.standard_normal((n, d)).T).T / np.sqrt(chi)[:, None]
    distance = np.sum((steps @ root) ** 2, axis=1)
    log_proposal = (
        gammaln(0.5 * (degrees + d))
        - gammaln(0.5 * degrees)
        - 0.5 * d * np.log(degrees * np.pi)
        + np.log(np.diag(root)).sum()
        - 0.5 * (degrees + d) * np.log1p(distance / degrees)
    )
    vectors = mode.vector + steps
    density = jax.jit(lambda v: jax.lax.map(problem.log_density, v, batch_size=256))
    values = []
    with progress.stage("Weighing proposals", total=n) as advance:
        for block in np.array_split(vectors, max(1, n // 4096)):
            values.append(np.asarray(density(block)))
            advance(len(block))
    log_weights = np.nan_to_num(np.concatenate(values), nan=-np.inf) - log_proposal
    log_evidence = float(logsumexp(log_weights) - np.log(n))
    # arviz-stats takes the negative of the log weights, as in leave-one-out where the weights are 1 / likelihood.
    smoothed, khat = array_stats.psislw(-np.maximum(log_weights - log_weights.max(), -1e4))
    weights = np.exp(np.asarray(smoothed) - logsumexp(smoothed))
    effective = 1.0 / np.sum(weights**2)
    # Systematic resampling, then a shuffle so that neighbouring draws are independent.
    picks = np.searchsorted(np.cumsum(weights), (rng.random() + np.arange(draws)) / draws).clip(max=n - 1)
    chosen = vectors[rng.permutation(picks)][None]
    khat = float(khat)
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
