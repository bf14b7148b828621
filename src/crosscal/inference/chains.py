"""R-hat and effective sample sizes of draws in chains, without arviz, which takes long to load.

Reference: Vehtari et al. 2021 (Bayesian Analysis 16, 667), eqs. 1-14; Geyer 1992 (Stat. Sci. 7, 473) for the sum of
autocorrelations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]


def split(draws: NDArray) -> NDArray:
    """Return both halves of every chain of draws (chains, n) as chains of their own; a middle draw is left out."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, draws.shape[1] - half :]])


def normal_scores(draws: Floats) -> Floats:
    """Return normal scores of the ranks of draws, equal ones at their mean rank: Phi^-1[(r - 3/8) / (n + 1/4)]."""
    _, place, count = np.unique(draws, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    rank = (last - 0.5 * (count - 1))[place.ravel()]
    return np.asarray(ndtri((rank - 0.375) / (draws.size + 0.25))).reshape(draws.shape)


def rank_rhat(draws: Floats) -> float:
    """Rank-normalised split R-hat of draws (chains, n): the larger one of location and of spread; NaN for one chain."""
    if len(draws) < 2:
        return float("nan")
    halves = split(draws)
    folded = np.abs(halves - np.median(halves))
    return max(_rhat(normal_scores(halves)), _rhat(normal_scores(folded)))


def _rhat(z: Floats) -> float:
    n = z.shape[1]
    within, between = z.var(axis=1, ddof=1).mean(), n * z.mean(axis=1).var(ddof=1)
    return float(np.sqrt((between / within + n - 1) / n))


def bulk_size(draws: Floats) -> float:
    """Effective sample size of the centre: of the normal scores of split chains."""
    return _size(normal_scores(split(draws)))


def tail_size(draws: Floats, probability: float = 0.05) -> float:
    """Effective sample size of the tails: the smaller one of the two quantiles."""
    limits = np.quantile(draws, [probability, 1.0 - probability])
    return min(_size(split((draws <= limit).astype(float))) for limit in limits)


def _autocovariance(draws: Floats) -> Floats:
    """Mean over chains of the autocovariances at all lags, each over n."""
    n = draws.shape[1]
    padded = 1 << (2 * n - 1).bit_length()
    transform = np.fft.rfft(draws - draws.mean(axis=1, keepdims=True), n=padded, axis=1)
    power = (transform * transform.conj()).real
    return np.asarray(np.fft.irfft(power.mean(axis=0), n=padded)[:n] / n)


def _size(draws: Floats) -> float:
    """Effective size m n / tau of chains (m, n), tau from pairs of autocorrelations that are positive and decrease."""
    m, n = draws.shape
    if np.ptp(draws) < 1e-15:
        return float(draws.size)
    covariance = _autocovariance(draws)
    within = covariance[0] * n / (n - 1.0)
    total = covariance[0] + (draws.mean(axis=1).var(ddof=1) if m > 1 else 0.0)
    rho = 1.0 - (within - covariance) / total
    rho[0] = 1.0
    # Pairs (2k, 2k + 1) up to the first with a negative sum; the last ones have too few draws.
    count = max((n - 2) // 2, 1)
    pairs = rho[: 2 * count].reshape(count, 2).sum(axis=1)
    negative = np.flatnonzero(pairs < 0)
    stop = int(negative[0]) if len(negative) else count
    tau = 2.0 * float(np.minimum.accumulate(pairs[:stop]).sum()) - 1.0 if stop else 0.0
    if stop < count and rho[2 * stop] > 0:
        tau += float(rho[2 * stop])  # what is positive of the pair at which the sum ends
    return float(draws.size / max(tau, 1.0 / np.log10(draws.size)))
