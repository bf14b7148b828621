"""Compiled sums over sources: log likelihood of areas and variances, fluxes integrated out, with two derivatives.

A column of n cells with z_c = y_c + half * V_c, V_c = v_c + s_i, p_c = 1 / V_c and r_c = z_c - B_i has, its flux
integrated out, log likelihood (sum ln p_c - ln P - Q) / 2 with P = sum p_c, mean g = sum p_c r_c / P and
Q = sum p_c rho_c^2, rho_c = r_c - g. Then dQ/dr_c = 2 p_c rho_c and dQ/dp_c = rho_c^2, and the second derivatives are
d2Q/dr_c dr_e = 2 (p_c [c = e] - p_c p_e / P), d2Q/dp_c dp_e = -2 rho_c rho_e / P and
d2Q/dp_c dr_e = 2 rho_c ([c = e] - p_e / P).
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def column_sums(indptr, row, y, v, half, excess, b, s, slopes, gradient, curvature):
    """Return the log likelihood of areas ``b`` (N,) and variances ``s`` (N,) summed over columns.

    With ``slopes``, the gradient (2 N,) and second derivatives (2 N, 2 N; lower triangle) with respect to (b, s) are
    added to ``gradient`` and ``curvature``. ``excess``: whether the variance of a cell is v + s, else it is v.
    """
    n = len(b)
    longest = 0
    for j in range(len(indptr) - 1):
        longest = max(longest, indptr[j + 1] - indptr[j])
    p, r, by_s = np.empty(longest), np.empty(longest), np.empty(longest)
    value = 0.0
    for j in range(len(indptr) - 1):
        first = indptr[j]
        size = indptr[j + 1] - first
        total, mean, product, logs = 0.0, 0.0, 1.0, 0.0
        for c in range(size):
            i = row[first + c]
            variance = v[first + c] + s[i] if excess else v[first + c]
            p[c] = 1.0 / variance
            r[c] = y[first + c] + half * variance - b[i]
            total += p[c]
            mean += p[c] * r[c]
            # One logarithm for several factors.
            product *= p[c]
            if product > 1e100 or product < 1e-100:
                logs += np.log(product)
                product = 1.0
        mean /= total
        quadratic = 0.0
        for c in range(size):
            r[c] -= mean
            quadratic += p[c] * r[c] * r[c]
        value += 0.5 * (logs + np.log(product / total) - quadratic)
        if not slopes:
            continue
        for c in range(size):
            i = row[first + c]
            by_r = -p[c] * r[c]
            by_p = 0.5 * (1.0 / p[c] - 1.0 / total - r[c] * r[c])
            gradient[i] -= by_r
            curvature[i, i] -= p[c]
            if excess:
                by_s[c] = -p[c] * p[c]
                gradient[n + i] += half * by_r + by_p * by_s[c]
                curvature[n + i, n + i] += (
                    by_p * 2.0 * p[c] * p[c] * p[c]
                    - half * half * p[c]
                    - 0.5 * by_s[c] * by_s[c] / (p[c] * p[c])
                    - 2.0 * half * by_s[c] * r[c]
                )
                curvature[n + i, i] += half * p[c] + by_s[c] * r[c]
        for c in range(size):
            i = row[first + c]
            for e in range(size):
                k = row[first + e]
                shared = p[c] * p[e] / total
                if k <= i:
                    curvature[i, k] += shared
                if not excess:
                    continue
                # d2/ds_c dr_e, both through r and through p.
                mixed = half * shared + by_s[c] * r[c] * p[e] / total
                curvature[n + i, k] -= mixed
                if k <= i:
                    curvature[n + i, n + k] += (
                        half * half * shared
                        + by_s[c] * by_s[e] * (0.5 / (total * total) + r[c] * r[e] / total)
                        + half * (by_s[c] * r[c] * p[e] + by_s[e] * r[e] * p[c]) / total
                    )
    return value
