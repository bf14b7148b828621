"""The recursions of `crosscal.lightcurves.kalman` for many parameter vectors at once.

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


@njit(**_OPTIONS)
def _advance(A, h, j, P0, P, M, D, T, u, v):
    """Predict step j in place, P0 + A (P - P0) A' and A M; write P h to ``u`` and -h'M to ``v``."""
    d, r = M.shape[0], M.shape[1]
    for i in range(d):
        for k in range(d):
            for lane in range(LANES):
                D[i, k, lane] = P[i, k, lane] - P0[i, k, lane]
    for i in range(d):
        for k in range(d):
            T[i, k, :] = 0.0
            for m in range(d):
                for lane in range(LANES):
                    T[i, k, lane] += A[j, i, m, lane] * D[m, k, lane]
    for i in range(d):
        u[i, :] = 0.0
        for k in range(d):
            for lane in range(LANES):
                P[i, k, lane] = P0[i, k, lane]
            for m in range(d):
                for lane in range(LANES):
                    P[i, k, lane] += T[i, m, lane] * A[j, k, m, lane]
            for lane in range(LANES):
                u[i, lane] += h[k] * P[i, k, lane]
    for c in range(r):
        v[c, :] = 0.0
        for i in range(d):
            T[i, 0, :] = 0.0
            for k in range(d):
                for lane in range(LANES):
                    T[i, 0, lane] += A[j, i, k, lane] * M[k, c, lane]
        for i in range(d):
            for lane in range(LANES):
                M[i, c, lane] = T[i, 0, lane]
                v[c, lane] -= h[i] * M[i, c, lane]


@njit(**_OPTIONS)
def grams_of_states(h, flux, e2, code, group, inflation, A, column, P0, white, phi, G, eps2, b2, P, M, gram, logdet):
    """As `grams`, for states of d elements; a long light curve may come in pieces of n points.

    Parameters
    ----------
    h : array (d,)
    A : array (n, d, d, LANES)
        Transitions.
    P0 : array (d, d, LANES)
    P, M : arrays (d, d, LANES), (d, r, LANES)
        Filtered covariance and means, carried from piece to piece; P0 and zero at first.
    gram, logdet
        Added to; zero at first. The lower triangle of ``gram`` is right after each piece.
    """
    n, r, d = len(flux), gram.shape[0], len(h)
    D = np.empty((d, d, LANES))
    T = np.empty((d, d, LANES))
    u = np.empty((d, LANES))
    v = np.empty((r, LANES))
    inverse = np.empty(LANES)
    product = np.ones(LANES)
    for j in range(n):
        _advance(A, h, j, P0, P, M, D, T, u, v)
        c, g = code[j], group[j]
        f, e, scale = flux[j], e2[j], inflation[j]
        own = column[c]
        for lane in range(LANES):
            size = phi[c, lane]
            S = size * size * (b2[g, lane] * e + eps2[g, lane]) * scale + white[lane]
            for i in range(d):
                S += h[i] * u[i, lane]
            product[lane] *= S
            inverse[lane] = 1.0 / S
            v[0, lane] += size * f - G[c, lane]
            v[1, lane] += 1.0
        if own:
            for lane in range(LANES):
                v[own, lane] += 1.0
        for i in range(r):
            for k in range(i, r):
                for lane in range(LANES):
                    gram[i, k, lane] += v[i, lane] * v[k, lane] * inverse[lane]
        for i in range(d):
            for k in range(d):
                for lane in range(LANES):
                    P[i, k, lane] -= u[i, lane] * u[k, lane] * inverse[lane]
            for k in range(r):
                for lane in range(LANES):
                    M[i, k, lane] += u[i, lane] * v[k, lane] * inverse[lane]
        if (j + 1) % _STEPS == 0 or j == n - 1:
            for lane in range(LANES):
                logdet[lane] += np.log(product[lane])
                product[lane] = 1.0
    for i in range(r):
        for k in range(i):
            for lane in range(LANES):
                gram[i, k, lane] = gram[k, i, lane]
