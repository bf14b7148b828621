"""Gaussian lines and piecewise-linear continua integrated over bins, compiled."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

# Beyond this many sigma a Gaussian holds less than 1e-9 of its photons.
_REACH = 6.2


@numba.njit(cache=True, nogil=True)
def spread_lines(
    energy: NDArray[np.float64],
    sigma: NDArray[np.float64],
    strength: NDArray[np.float64],
    edges: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return ``out[w, i] = sum_l strength[w, l] [Phi((e_{i+1} - E_l) / s_l) - Phi((e_i - E_l) / s_l)]``.

    Parameters
    ----------
    energy, sigma : arrays, shape (n_lines,), keV
    strength : array, shape (n_w, n_lines)
    edges : array, shape (n + 1,), keV

    Returns
    -------
    array, shape (n_w, n)
    """
    n = edges.size - 1
    n_w = strength.shape[0]
    out = np.zeros((n_w, n))
    for line in range(energy.size):
        reach = _REACH * sigma[line]
        if energy[line] + reach <= edges[0] or energy[line] - reach >= edges[n]:
            continue
        scale = 1.0 / (math.sqrt(2.0) * sigma[line])
        i = max(np.searchsorted(edges, energy[line] - reach) - 1, 0)
        before = 0.5 * math.erf((edges[i] - energy[line]) * scale)
        while i < n and edges[i] < energy[line] + reach:
            after = 0.5 * math.erf((edges[i + 1] - energy[line]) * scale)
            share = after - before
            for w in range(n_w):
                out[w, i] += strength[w, line] * share
            before = after
            i += 1
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_continuum(
    energy: NDArray[np.float64],
    density: NDArray[np.float64],
    edges: NDArray[np.float64],
    factor: float,
    out: NDArray[np.float64],
) -> None:
    """Add ``factor`` times the integral of piecewise-linear densities over bins to ``out`` (n_w, n).

    Each bin is summed from its own pieces, so that a faint high end loses nothing to a bright low end.

    Parameters
    ----------
    energy : array, shape (m,), increasing; equal neighbours make a step
    density : array, shape (n_w, m), per unit energy; zero outside the nodes
    edges : array, shape (n + 1,)
    """
    m, n = energy.size, edges.size - 1
    k = max(np.searchsorted(energy, edges[0]) - 1, 0)
    for i in range(n):
        lo = edges[i]
        while lo < edges[i + 1] and k < m - 1:
            if energy[k + 1] <= lo:
                k += 1
                continue
            a, b = max(lo, energy[k]), min(edges[i + 1], energy[k + 1])
            if b > a:
                width = energy[k + 1] - energy[k]
                t = (0.5 * (a + b) - energy[k]) / width
                weight = factor * (b - a)
                for w in range(density.shape[0]):
                    out[w, i] += weight * ((1.0 - t) * density[w, k] + t * density[w, k + 1])
            elif b <= lo:
                break
            lo = b
