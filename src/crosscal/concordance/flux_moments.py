"""Concordance fluxes by Rao-Blackwell: moments of G from its conditional given areas and variances."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosscal.concordance.chains import Draws
from crosscal.concordance.model import Model

Floats = NDArray[np.float64]
#: Draws used for flux moments; their error is then 3 % of a posterior sd at most.
MOST = 1000


@njit(cache=True, nogil=True)
def _moments(indptr, row, y, v, half, excess, s, b, mean, square, own):
    """Accumulate E[G_j | draw], its square, and Var(G_j | draw) over draws of (s, b)."""
    for k in range(len(b)):
        for j in range(len(indptr) - 1):
            total, sum_ = 0.0, 0.0
            for c in range(indptr[j], indptr[j + 1]):
                i = row[c]
                variance = v[c] + s[k, i] if excess else s[k, i]
                total += 1.0 / variance
                sum_ += (y[c] + half * variance - b[k, i]) / variance
            value = sum_ / total
            mean[j] += value
            square[j] += value * value
            own[j] += 1.0 / total


def _by_pattern(model: Model, s: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Moments from the covariance over draws of the weights: O(M n^2) however many draws."""
    data, pattern = model.data, model.patterns
    mean, variance = np.empty(data.n_columns), np.empty(data.n_columns)
    for k in range(pattern.size):
        inside = pattern.index[pattern.offset[k] : pattern.offset[k + 1]]
        columns = np.flatnonzero(pattern.member == k)
        centre = pattern.mean[pattern.offset[k] : pattern.offset[k + 1]]
        p = 1.0 / s[:, inside]
        total = p.sum(axis=1)
        weight = p / total[:, None]
        constant = (weight * (centre + data.half * s[:, inside] - b[:, inside])).sum(axis=1)
        # E[G_j | draw] = w'(y_j - centre) + constant, so its moments are quadratic forms in y_j - centre.
        joint = np.column_stack([weight, constant])
        covariance = np.cov(joint, rowvar=False, ddof=0)
        for block in np.array_split(columns, max(1, len(columns) * len(inside) // 2_000_000)):
            y = data.log_rate[data.indptr[block][:, None] + np.arange(len(inside))] - centre
            mean[block] = y @ weight.mean(axis=0) + constant.mean()
            quadratic = np.einsum("ij,ij->i", y @ covariance[:-1, :-1], y)
            variance[block] = quadratic + 2 * y @ covariance[:-1, -1] + covariance[-1, -1] + (1 / total).mean()
    return mean, np.sqrt(variance)


def flux_moments(model: Model, found: Draws) -> tuple[Floats, Floats]:
    """Return posterior mean and sd of each log flux G_j, (M,) each, for routes that integrate G out.

    The variance is the mean conditional variance plus the variance of the conditional mean.
    """
    data, n = model.data, model.data.n_channels
    b = found.b.reshape(-1, n)
    step = max(1, len(b) // MOST)
    b = np.ascontiguousarray(b[::step])
    if model.poisson:
        return _poisson_moments(model, b)
    assert found.s is not None
    s = np.ascontiguousarray(found.s.reshape(-1, n)[::step])
    if model.compressible and model.patterns.size <= 500:
        return _by_pattern(model, s, b)
    sums = np.zeros((3, data.n_columns))
    excess = model.variance.kind == "quoted+excess"
    v = data.variance if excess else np.zeros(data.n_cells)
    # Each draw costs a pass over the cells.
    thin = slice(None, None, max(1, len(b) * data.n_cells // 400_000_000))
    s, b = np.ascontiguousarray(s[thin]), np.ascontiguousarray(b[thin])
    _moments(data.indptr, data.row, data.log_rate, v, data.half, excess, s, b, *sums)
    mean, square, own = sums / len(b)
    return mean, np.sqrt(np.maximum(square - mean**2, 0) + own)


def _poisson_moments(model: Model, b: Floats) -> tuple[Floats, Floats]:
    """F_j | B ~ Gamma(n_j, sum_i T_ij A_i) under a flat log flux, so that moments of ln F are polygammas."""
    from scipy.special import digamma, polygamma

    data = model.data
    total = np.bincount(data.column, data.counts, data.n_columns)
    mean, square = np.zeros(data.n_columns), np.zeros(data.n_columns)
    for one in b:
        rate = np.bincount(data.column, data.exposure * np.exp(one)[data.row], data.n_columns)
        value = digamma(total) - np.log(rate)
        mean += value
        square += value**2
    mean, square = mean / len(b), square / len(b)
    return mean, np.sqrt(np.maximum(square - mean**2, 0) + polygamma(1, total))
