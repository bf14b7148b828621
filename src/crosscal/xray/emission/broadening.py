"""Gaussian line profiles integrated over bins, compiled."""

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
