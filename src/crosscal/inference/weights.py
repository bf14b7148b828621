"""Weighted draws: evaluation in compiled batches, Pareto smoothing, resampling to a posterior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.progress import Advance
from crosscal.inference.pareto import pareto_smoothed
from crosscal.inference.posterior import Posterior

Floats = NDArray[np.float64]

#: Vehtari et al. 2024 (JMLR 25, 72): above this the smoothed weights are unreliable.
KHAT_LIMIT = 0.7
#: Effective draws that a posterior should have.
ENOUGH = 400
#: Vectors evaluated in one compiled call.
BATCH = 256


def evaluate(density: Any, vectors: Floats, advance: Advance = lambda _: None) -> Floats:
    """Return a compiled batch density at (n, d) vectors; where it is not a number, minus infinity."""
    return np.nan_to_num(in_batches(density, vectors, advance), nan=-np.inf)


def in_batches(function: Any, vectors: Floats, advance: Advance = lambda _: None) -> Floats:
    """Return a compiled batch function of (n, d) vectors, `BATCH` at a time."""
    values = []
    for first in range(0, len(vectors), BATCH):
        block = vectors[first : first + BATCH]
        # One shape, so that it is compiled once.
        full = np.concatenate([block, np.repeat(block[:1], BATCH - len(block), axis=0)])
        values.append(np.asarray(function(full))[: len(block)])
        advance(len(block))
    return np.concatenate(values)


def evidence(log_weights: Floats, effective: float) -> tuple[float, float]:
    """Return ln of the mean raw weight, which is the log evidence, and its standard error."""
    from scipy.special import logsumexp

    n = len(log_weights)
    return float(logsumexp(log_weights) - np.log(n)), float(np.sqrt(max(1.0 / effective - 1.0 / n, 0.0)))


def tempered(log_weights: Floats, least: float) -> tuple[float, Floats]:
    """Return the largest power of the weights (a geometric sequence from 1) with an effective size of ``least``."""
    from scipy.special import softmax

    power, weights = 1.0, softmax(log_weights)
    while 1.0 / np.sum(weights**2) < least and power > 1e-4:
        power *= 0.8
        weights = softmax(power * log_weights)
    return power, weights


def resampled(
    problem: Any,
    vectors: Floats,
    log_weights: Floats,
    rng: np.random.Generator,
    *,
    method: str,
    draws: int,
    collect: Callable[[Floats], dict[str, Floats]],
    pointwise: Callable[[Floats], dict[str, Any] | None] = lambda _: None,
) -> Posterior:
    """Smooth the weights and resample (n, d) vectors to equal weights; say where the weights cannot be trusted.

    ``problem`` says how draws are called (dims, coords, units). ``collect`` and ``pointwise`` turn chosen vectors
    (1, draws, d) into named draws and log likelihoods per datum.
    """
    weights, khat = pareto_smoothed(log_weights)
    effective = float(1.0 / np.sum(weights**2))
    # Systematic resampling, then a shuffle so that neighbouring draws are independent.
    picks = np.searchsorted(np.cumsum(weights), (rng.random() + np.arange(draws)) / draws).clip(max=len(weights) - 1)
    chosen = vectors[rng.permutation(picks)][None]
    log_evidence, error = evidence(log_weights, effective)
    messages = []
    if not khat <= KHAT_LIMIT:
        messages.append(f"Pareto k-hat is {khat:.2f} (above {KHAT_LIMIT}): the weights are unreliable, use nuts.")
    if effective < ENOUGH:
        messages.append(f"The effective sample size is {effective:.0f} (below {ENOUGH}): draw more proposals.")
    return Posterior.from_draws(
        collect(chosen),
        method=method,
        dims=problem.dims,
        coords=problem.coords,
        units=problem.units,
        sample_stats={"effective_size": np.full((1, draws), effective), "khat": np.full((1, draws), khat)},
        log_likelihood=pointwise(chosen),
        log_evidence=log_evidence,
        log_evidence_error=error,
        converged=not messages,
        messages=tuple(messages),
    )
