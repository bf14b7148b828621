"""The recursion of `crosscal.lightcurves.kalman_scalar` for many parameter vectors at once.

Vectors go through the data side by side, so that each instruction of the processor serves several; a vector gives the
same bits whatever stands beside it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from crosscal.lightcurves.kalman_scalar import _OPTIONS

#: Vectors that go side by side: with fewer, the compiler does not use the wide instructions.
LANES = 64
#: Logarithms of products: one for so many steps.
_STEPS = 8


@njit(**_OPTIONS)
def grams(flux, e2, code, group, inflation, decay, column, P0, white, phi, G, eps2, b2, gram, logdet):
    """Write the Gram matrices W' C^-1 W and ln|C| of `LANES` parameter vectors.

    Parameters
    ----------
    flux, e2, inflation : arrays (N,)
        Normalised fluxes, squared errors, and factors on the variances.
    code, group : int arrays (N,)
    decay : array (N, LANES)
        exp(-dt / tau).
    column : int array (k,)
        Column of the design that holds a telescope's shift; 0 where there is none.
    P0, white : arrays (LANES,)
        Variance of the process, and of its white part.
    phi, G : arrays (k, LANES)
    eps2, b2 : arrays (groups, LANES)
    gram : array (r, r, LANES)
        Written, both triangles; column 0 is the flux, column 1 the mean.
    logdet : array (LANES,)
        Written; NaN where a variance is not positive.
    """
    n, r = len(flux), gram.shape[0]
    P = P0.copy()
    M = np.zeros((r, LANES))
    v = np.zeros((r, LANES))
    inverse = np.empty(LANES)
    gain = np.empty(LANES)
    product = np.ones(LANES)
    gram[:] = 0.0
    logdet[:] = 0.0
    for j in range(n):
        c, g = code[j], group[j]
        f, e, scale = flux[j], e2[j], inflation[j]
        own = column[c]
        for lane in range(LANES):
            a = decay[j, lane]
            p = P0[lane] + a * a * (P[lane] - P0[lane])
            size = phi[c, lane]
            S = p + size * size * (b2[g, lane] * e + eps2[g, lane]) * scale + white[lane]
            one = 1.0 / S
            product[lane] *= S
            inverse[lane] = one
            gain[lane] = p * one
            P[lane] = p - p * p * one
            M[0, lane] *= a
            v[0, lane] = size * f - G[c, lane] - M[0, lane]
        for i in range(1, r):
            seen = 1.0 if (i == 1 or i == own) else 0.0
            for lane in range(LANES):
                M[i, lane] *= decay[j, lane]
                v[i, lane] = seen - M[i, lane]
        for i in range(r):
            for k in range(i, r):
                for lane in range(LANES):
                    gram[i, k, lane] += v[i, lane] * v[k, lane] * inverse[lane]
            for lane in range(LANES):
                M[i, lane] += gain[lane] * v[i, lane]
        if (j + 1) % _STEPS == 0 or j == n - 1:
            for lane in range(LANES):
                logdet[lane] += np.log(product[lane])
                product[lane] = 1.0
    for i in range(r):
        for k in range(i):
            for lane in range(LANES):
                gram[i, k, lane] = gram[k, i, lane]
