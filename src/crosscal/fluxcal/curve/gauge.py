"""The level of a curve: the robust mean of its stars' coefficients."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosscal.core.robust import MAD_TO_SD

#: Departures beyond so many standard deviations count less (Huber).
HUBER = 2.0


@njit(cache=True)
def _robust_means(values, noise, to_sd, mean, share):  # pragma: no cover (compiled)
    n, orders = values.shape
    for k in range(orders):
        own, centre = values[:, k], np.median(values[:, k])
        scatter = to_sd * np.median(np.abs(own - centre))
        square = max(scatter * scatter - np.median(noise[:, k]), 1e-8) + noise[:, k]
        weight = np.empty(n)
        for _ in range(20):
            top = total = 0.0
            for s in range(n):
                away = abs(own[s] - centre) / np.sqrt(square[s])
                weight[s] = min(1.0, HUBER / max(away, HUBER)) / square[s]
                top += weight[s] * own[s]
                total += weight[s]
            new = top / total
            if abs(new - centre) < 1e-9:
                break
            centre = new
        mean[k] = centre
        share[:, k] = weight / weight.sum()


def gauge(
    c: NDArray[np.float64], variance: NDArray[np.float64], keep: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Robust mean of the coefficients over kept stars, and each star's share (n_star,) of it.

    Weights are 1 / (tau_k^2 + sigma_sk^2) with the spread tau_k between stars and their ``variance`` sigma^2
    (n_star, k); fibre losses dominate grey, so its mean is close to the plain one.
    """
    index = np.flatnonzero(keep)
    values = c[index]
    share = np.zeros((len(keep), c.shape[1]))
    if index.size < 3:
        share[index] = 1 / index.size
        return values.mean(axis=0), share
    mean, own = np.empty(c.shape[1]), np.empty(values.shape)
    _robust_means(values, variance[index], MAD_TO_SD, mean, own)
    share[index] = own
    return mean, share
