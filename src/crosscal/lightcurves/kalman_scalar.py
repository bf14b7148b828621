"""The recursions of `crosscal.lightcurves.kalman` for a state of one element observed as it is (damped random walks).

The same arrays go in and come out; the state stays in registers, which makes a pass about twice as fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def forward(A, P0, R, W, gram, keep, S_all, V_all, Pp_all, Mp_all):
    """Filter all columns as `kalman.forward` does with h = (1,)."""
    N, r = W.shape
    p0 = P0[0, 0]
    P = Pp = p0
    M = np.zeros(r)
    v = np.empty(r)
    logdet = 0.0
    product = 1.0  # logarithms of products: one log for many steps
    for j in range(N):
        if j > 0:
            a = A[j, 0, 0]
            Pp = p0 + a * a * (P - p0)
            for c in range(r):
                M[c] *= a
        S = R[j] + Pp
        if keep:
            Pp_all[j, 0, 0] = Pp
            S_all[j] = S
            for c in range(r):
                Mp_all[j, 0, c] = M[c]
        if np.isinf(S):
            P = Pp
            if keep:
                V_all[j, :] = 0.0
            continue
        if not S > 0.0:
            return np.nan
        product *= S
        if product > 1e200 or product < 1e-200:
            logdet += np.log(product)
            product = 1.0
        inverse = 1.0 / S
        gain = Pp * inverse
        for c in range(r):
            v[c] = W[j, c] - M[c]
            if keep:
                V_all[j, c] = v[c]
        for c in range(r):
            scaled = v[c] * inverse
            for e in range(c, r):
                gram[c, e] += scaled * v[e]
            M[c] += gain * v[c]
        P = Pp - gain * Pp
    for c in range(r):
        for e in range(c):
            gram[c, e] = gram[e, c]
    return logdet + np.log(product)


@njit(**_OPTIONS)
def backward(A, P0, G, S_all, V_all, Pp_all, Mp_all, y_bar, R_bar, A_bar, P0_bar):
    """Reverse pass as `kalman.backward` does with h = (1,)."""
    N, r = V_all.shape
    p0 = P0[0, 0]
    Pp_b = 0.0  # adjoint of the next step's predictions
    P_b = 0.0
    total_b = 0.0
    Mp_b = np.zeros(r)
    M_b = np.zeros(r)
    v_b = np.empty(r)
    for j in range(N - 1, -1, -1):
        inverse = 1.0 / S_all[j]  # zero where nothing was observed
        u = Pp_all[j, 0, 0]
        gain = u * inverse
        if j + 1 < N:
            a = A[j + 1, 0, 0]
            total = 2.0 * Pp_b * a * (u - u * gain - p0)
            for c in range(r):
                total += Mp_b[c] * (Mp_all[j, 0, c] + gain * V_all[j, c])
                M_b[c] = a * Mp_b[c]
            A_bar[j + 1, 0, 0] = total
            P_b = a * a * Pp_b
            total_b += Pp_b - P_b
        if np.isinf(S_all[j]):
            R_bar[j] = 0.0
            y_bar[j] = 0.0
            Pp_b = P_b
            for c in range(r):
                Mp_b[c] = M_b[c]
            continue
        quadratic = 0.0
        shifted = 0.0
        for c in range(r):
            total = 0.0
            for e in range(r):
                total += G[c, e] * V_all[j, e]
            quadratic += total * V_all[j, c]
            shifted += M_b[c] * V_all[j, c]
            v_b[c] = (2.0 * total + u * M_b[c]) * inverse
        curved = P_b * u
        S_b = -0.5 * inverse + (u * (curved - shifted) - quadratic) * inverse * inverse
        R_bar[j] = S_b
        y_bar[j] = v_b[0]
        Pp_b = P_b + S_b + (shifted - 2.0 * curved) * inverse
        for c in range(r):
            Mp_b[c] = M_b[c] - v_b[c]
    P0_bar[0, 0] += total_b + Pp_b
