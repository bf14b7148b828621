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

#: Columns treated at a time: their intermediate numbers stay in the cache, and calls of functions cost nothing.
BLOCK = 256


@njit(cache=True, nogil=True)
def _add_values(value, a, z, indptr, row, y, v, half, excess, b, s, p, r, totals):
    """Add the log likelihood of columns a to z to ``value``; fill p, r (less its mean g) and P of each column."""
    for j in range(a, z):
        first, cells = indptr[j], indptr[a]
        total, mean, product, logs = 0.0, 0.0, 1.0, 0.0
        for c in range(first, indptr[j + 1]):
            i = row[c]
            variance = v[c] + s[i] if excess else v[c]
            k = c - cells
            p[k] = 1.0 / variance
            r[k] = y[c] + half * variance - b[i]
            total += p[k]
            mean += p[k] * r[k]
            # One logarithm for several factors.
            product *= p[k]
            if product > 1e100 or product < 1e-100:
                logs += np.log(product)
                product = 1.0
        mean /= total
        quadratic = 0.0
        for k in range(first - cells, indptr[j + 1] - cells):
            r[k] -= mean
            quadratic += p[k] * r[k] * r[k]
        totals[j - a] = total
        value += 0.5 * (logs + np.log(product / total) - quadratic)
    return value


@njit(cache=True, nogil=True)
def _add_slopes(a, z, indptr, row, half, excess, p, r, totals, by_s, gradient, curvature):
    """Add the derivatives of columns a to z; ``by_s`` is room for dp/ds of the cells of a column."""
    n = len(gradient) // 2
    for j in range(a, z):
        first, size, at, total = indptr[j], indptr[j + 1] - indptr[j], indptr[j] - indptr[a], totals[j - a]
        for c in range(size):
            i, q, d = row[first + c], p[at + c], r[at + c]
            by_r = -q * d
            by_p = 0.5 * (1.0 / q - 1.0 / total - d * d)
            gradient[i] -= by_r
            curvature[i, i] -= q
            if excess:
                by_s[c] = -q * q
                gradient[n + i] += half * by_r + by_p * by_s[c]
                curvature[n + i, n + i] += (
                    by_p * 2.0 * q * q * q
                    - half * half * q
                    - 0.5 * by_s[c] * by_s[c] / (q * q)
                    - 2.0 * half * by_s[c] * d
                )
                curvature[n + i, i] += half * q + by_s[c] * d
        for c in range(size):
            i, q, d = row[first + c], p[at + c], r[at + c]
            for e in range(size):
                k = row[first + e]
                shared = q * p[at + e] / total
                if k <= i:
                    curvature[i, k] += shared
                if not excess:
                    continue
                # d2/ds_c dr_e, both through r and through p.
                mixed = half * shared + by_s[c] * d * p[at + e] / total
                curvature[n + i, k] -= mixed
                if k <= i:
                    curvature[n + i, n + k] += (
                        half * half * shared
                        + by_s[c] * by_s[e] * (0.5 / (total * total) + d * r[at + e] / total)
                        + half * (by_s[c] * d * p[at + e] + by_s[e] * r[at + e] * q) / total
                    )


@njit(cache=True, nogil=True)
def column_sums(indptr, row, y, v, half, excess, b, s, slopes, gradient, curvature):
    """Return the log likelihood of areas ``b`` (N,) and variances ``s`` (N,) summed over columns.

    With ``slopes``, the gradient (2 N,) and second derivatives (2 N, 2 N; lower triangle) with respect to (b, s) are
    added to ``gradient`` and ``curvature``. ``excess``: whether the variance of a cell is v + s, else it is v.
    """
    m = len(indptr) - 1
    longest, most = 0, 0
    for j in range(m):
        longest = max(longest, indptr[j + 1] - indptr[j])
        most = max(most, indptr[min(j + BLOCK, m)] - indptr[j])
    p, r, by_s, totals = np.empty(most), np.empty(most), np.empty(longest), np.empty(BLOCK)
    value = 0.0
    for a in range(0, m, BLOCK):
        z = min(a + BLOCK, m)
        value = _add_values(value, a, z, indptr, row, y, v, half, excess, b, s, p, r, totals)
        if slopes:
            _add_slopes(a, z, indptr, row, half, excess, p, r, totals, by_s, gradient, curvature)
    return value
