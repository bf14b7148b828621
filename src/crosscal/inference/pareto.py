"""Pareto smoothing of importance weights (Vehtari et al. 2024, JMLR 25, 72), without arviz, which takes long to load.

The largest weights are replaced by the quantiles of a generalised Pareto distribution fitted to them; its shape k-hat
says how far the weights can be trusted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Floats = NDArray[np.float64]

#: Fewer weights in the tail cannot be fitted.
LEAST_TAIL = 5
#: The prior of k: so many observations of 1/2 (Vehtari et al., sect. 2.2).
_PRIOR_SIZE, _PRIOR_K = 10, 0.5
#: A log weight so far below the largest one is none.
_LOWEST = -1e4


def pareto_smoothed(log_weights: Floats) -> tuple[Floats, float]:
    """Return Pareto-smoothed normalised weights and k-hat of log weights (n,).

    The tail holds 3 n^1/2 weights, or n / 5 of few. k-hat is not a number where the tail has fewer than 5, and 0 where
    all its weights are equal.
    """
    values = np.maximum(log_weights - log_weights.max(), _LOWEST)
    values -= values.max()
    n = len(values)
    tail = int(3 * np.sqrt(n)) if n > 225 else n // 5
    khat = np.nan
    if tail >= LEAST_TAIL:
        order = np.argsort(values)
        places = order[-tail:]
        if np.ptp(values[places]) == 0:
            khat = 0.0
        else:
            cutoff = float(np.exp(values[order[-tail - 1]]))
            khat, sigma = fitted_pareto(np.exp(values[places]) - cutoff)
            if np.isfinite(khat) and sigma > 0:
                p = (np.arange(tail) + 0.5) / tail
                shape = -np.log1p(-p) if khat == 0 else np.expm1(-khat * np.log1p(-p)) / khat
                values[places] = np.minimum(np.log(cutoff + sigma * shape), values[places[-1]])
    return np.exp(values - logsumexp(values)), float(khat)


def fitted_pareto(excess: Floats) -> tuple[float, float]:
    """Return shape k and scale of a generalised Pareto distribution of sorted excesses (n,) over a threshold.

    The posterior mean of b = -k / sigma on a grid that follows the data, under its profile likelihood
    n [ln(-b / k(b)) - k(b) - 1], k(b) = mean ln(1 - b x) (Zhang & Stephens 2009, Technometrics 51, 316, sect. 3); k is
    drawn to 1/2 by a weak prior.
    """
    n = len(excess)
    grid = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    with np.errstate(all="ignore"):
        b = 1.0 / excess[-1] + (1.0 - np.sqrt(grid / (np.arange(grid) + 0.5))) / (3.0 * quartile)
        k = np.log1p(-b[:, None] * excess).mean(axis=1)
        profile = n * (np.log(-b / k) - k - 1.0)
        weights = np.exp(profile - logsumexp(profile))
        weights = np.where(weights >= 10 * np.finfo(float).eps, weights, 0.0)
        best = float(b @ weights / weights.sum())
        shape = float(np.log1p(-best * excess).mean())
        sigma = -shape / best
    return (n * shape + _PRIOR_SIZE * _PRIOR_K) / (n + _PRIOR_SIZE), sigma
