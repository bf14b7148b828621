"""Integrals over the linear parameters of a likelihood, from the Gram matrix of flux and design columns."""

from __future__ import annotations

import numpy as np
from numba import njit

from crosscal.lightcurves.kalman_scalar import _OPTIONS


@njit(**_OPTIONS)
def integrate_linear(gram, beta, inverse):
    """Write beta = F^-1 B and F^-1; return -1/2 (a - B'F^-1 B) - 1/2 ln|F|, or NaN where F is not positive definite.

    ``gram`` is [[a, B'], [B, F]]. Compiled, because the calls of a few small matrices cost more than a short filter.
    """
    m = len(beta)
    root, solved = np.zeros((m, m)), np.zeros((m, m))  # F = L L', L^-1
    whitened = np.zeros(m)
    value = -0.5 * gram[0, 0]
    for i in range(m):
        for k in range(i + 1):
            total = gram[1 + i, 1 + k]
            for n in range(k):
                total -= root[i, n] * root[k, n]
            if i > k:
                root[i, k] = total / root[k, k]
            elif total > 0.0:
                root[i, i] = np.sqrt(total)
            else:
                return np.nan
        solved[i, i] = 1.0 / root[i, i]
        for k in range(i):
            total = 0.0
            for n in range(k, i):
                total -= root[i, n] * solved[n, k]
            solved[i, k] = total * solved[i, i]
        for k in range(i + 1):
            whitened[i] += solved[i, k] * gram[1 + k, 0]
        value += 0.5 * whitened[i] * whitened[i] - np.log(root[i, i])
    for i in range(m):
        beta[i] = 0.0
        for n in range(i, m):
            beta[i] += solved[n, i] * whitened[n]
        for k in range(m):
            total = 0.0
            for n in range(max(i, k), m):
                total += solved[n, i] * solved[n, k]
            inverse[i, k] = total
    return value


@njit(**_OPTIONS)
def integrate_many(gram, logdet, rest, first, value, beta, inverse):
    """Integrate over the linear parameters of the vectors from ``first`` on; ``rest`` is added to ln L."""
    r = gram.shape[0]
    own = np.empty((r, r))
    for lane in range(min(gram.shape[2], len(value) - first)):
        for i in range(r):
            for k in range(r):
                own[i, k] = gram[i, k, lane]
        s = first + lane
        found = integrate_linear(own, beta[s], inverse[s]) - 0.5 * logdet[lane] + rest[s]
        value[s] = found if np.isfinite(found) else -np.inf
