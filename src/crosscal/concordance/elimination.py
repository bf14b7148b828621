"""Compiled Gaussian algebra: log fluxes are eliminated column by column, areas remain.

Per cell c with channel i and column j: z = y + s/2 = B_i + D_i t + G_j + N(0, s), p = 1/s. The (N + M)^2 matrix is
never formed. Columns of a campaign may be linked by a random walk: then the precision of G is tridiagonal, factored as
L diag(d) L' with unit lower L whose subdiagonal is l; without links d_j = sum p and l = 0.
"""

# ruff: noqa: NPY002 - inside compiled code np.random is numba's own generator, seeded in each entry point

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def set_row(rows, k, values):
    """Copy ``values`` to row k. ``rows[k] = values`` does the same, and takes seconds to compile for its message."""
    for i in range(len(values)):
        rows[k, i] = values[i]


#: Matrices larger than this are factored in panels of columns.
_LARGE, _PANEL = 200, 32


@njit(cache=True, nogil=True, fastmath=True)
def _cholesky_by_panels(matrix):
    """The same as `cholesky`; what earlier columns take off a panel is one product of matrices, thrice as fast."""
    n = matrix.shape[0]
    root = np.zeros((n, n))
    for first in range(0, n, _PANEL):
        size = min(_PANEL, n - first)
        # Transposed, so that loops run along rows in memory.
        part = np.ascontiguousarray(matrix[first:, first : first + size].T)
        if first > 0:
            before = np.ascontiguousarray(root[first:, :first])
            part -= np.dot(before[:size], before.T)
        for j in range(size):
            if not part[j, j] > 0.0:
                return root, False
            inverse = 1.0 / np.sqrt(part[j, j])
            for i in range(j, n - first):
                part[j, i] *= inverse
            for k in range(j + 1, size):
                factor = part[j, k]
                for i in range(k, n - first):
                    part[k, i] -= factor * part[j, i]
        for j in range(size):
            for i in range(j, n - first):
                root[first + i, first + j] = part[j, i]
    return root, True


@njit(cache=True, nogil=True, fastmath=True)
def cholesky(matrix):
    """Lower Cholesky factor (n, n) of a positive-definite matrix, reading its lower triangle; False if not definite."""
    n = matrix.shape[0]
    if n > _LARGE:
        return _cholesky_by_panels(matrix)
    root = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= root[i, k] * root[j, k]
            if i == j:
                if not total > 0.0:
                    return root, False
                root[i, i] = np.sqrt(total)
            else:
                root[i, j] = total / root[j, j]
    return root, True


@njit(cache=True, nogil=True)
def solve_lower(root, rhs):
    """Solve R x = rhs."""
    n = len(rhs)
    x = np.empty(n)
    for i in range(n):
        total = rhs[i]
        for k in range(i):
            total -= root[i, k] * x[k]
        x[i] = total / root[i, i]
    return x


@njit(cache=True, nogil=True)
def solve_upper(root, rhs):
    """Solve R' x = rhs."""
    n = len(rhs)
    x = rhs.copy()
    for i in range(n - 1, -1, -1):
        x[i] /= root[i, i]
        for k in range(i):
            x[k] -= root[i, k] * x[i]
    return x


@njit(cache=True, nogil=True)
def factor_columns(indptr, p, link):
    """Factor the precision of G given the areas: returns d (M,), l (M,).

    ``link[j]`` is the precision of G_j - G_{j-1} (0 where the column starts a campaign or is unlinked).
    """
    m = len(indptr) - 1
    d, l = np.empty(m), np.zeros(m)
    for j in range(m):
        total = 0.0
        for c in range(indptr[j], indptr[j + 1]):
            total += p[c]
        after = link[j + 1] if j + 1 < m else 0.0
        d[j] = total + link[j] + after
        if link[j] > 0.0:
            l[j] = -link[j] / d[j - 1]
            d[j] += l[j] * link[j]
    return d, l


@njit(cache=True, nogil=True)
def eliminate(indptr, row, t, p, z, d, l, precision, information):
    """Precision S and information vector h of the areas with G integrated out, and the remaining quadratic form.

    ``t`` is empty without drift, else the time of each cell, and the unknowns are (B, D). Returns S (K, K), h (K,),
    and sum p z^2 - (pz)' (G precision)^-1 (pz).
    """
    size = precision.shape[0]
    drift = len(t) > 0
    n = size // 2 if drift else size
    s, h, quadratic = precision.copy(), information.copy(), 0.0
    m = len(indptr) - 1
    u, w = np.zeros(size), 0.0
    for j in range(m):
        first, last = indptr[j], indptr[j + 1]
        linked = l[j] != 0.0
        if linked:
            for k in range(size):
                u[k] *= -l[j]
            w *= -l[j]
        else:
            w = 0.0
        for c in range(first, last):
            i, weight = row[c], p[c]
            s[i, i] += weight
            h[i] += weight * z[c]
            quadratic += weight * z[c] * z[c]
            w += weight * z[c]
            if drift:
                s[n + i, i] += weight * t[c]
                s[n + i, n + i] += weight * t[c] * t[c]
                h[n + i] += weight * t[c] * z[c]
        next_linked = j + 1 < m and l[j + 1] != 0.0
        if linked or next_linked or drift:
            if not linked:
                u[:] = 0.0
            for c in range(first, last):
                u[row[c]] += p[c]
                if drift:
                    u[n + row[c]] += p[c] * t[c]
            for a in range(size):
                if u[a] != 0.0:
                    scaled = u[a] / d[j]
                    h[a] -= scaled * w
                    for b in range(a + 1):
                        s[a, b] -= scaled * u[b]
        else:
            for c in range(first, last):
                scaled = p[c] / d[j]
                h[row[c]] -= scaled * w
                # Cells are sorted by channel within a column, so this fills the lower triangle; a channel's repeated
                # cells meet on the diagonal from both sides.
                for e in range(first, c):
                    s[row[c], row[e]] -= scaled * p[e] * (2.0 if row[e] == row[c] else 1.0)
                s[row[c], row[c]] -= scaled * p[c]
        quadratic -= w * w / d[j]
    return s, h, quadratic


@njit(cache=True, nogil=True)
def solve_columns(indptr, row, t, p, z, d, l, areas, noise, g, forward):
    """Fill ``g`` (M,) with the mean of G given the areas, plus a posterior draw's deviation if ``noise``."""
    m = len(indptr) - 1
    drift = len(t) > 0
    n = len(areas) // 2 if drift else len(areas)
    for j in range(m):
        total = 0.0
        for c in range(indptr[j], indptr[j + 1]):
            value = z[c] - areas[row[c]]
            if drift:
                value -= t[c] * areas[n + row[c]]
            total += p[c] * value
        if l[j] != 0.0:
            total -= l[j] * forward[j - 1]
        forward[j] = total
    for j in range(m - 1, -1, -1):
        g[j] = forward[j] / d[j]
        if noise:
            g[j] += np.random.standard_normal() / np.sqrt(d[j])
        if j + 1 < m and l[j + 1] != 0.0:
            g[j] -= l[j + 1] * g[j + 1]


@njit(cache=True, nogil=True)
def column_variances(d, l, out):
    """Fill ``out`` (M,) with the diagonal of the inverse precision of G given the areas."""
    m = len(d)
    for j in range(m - 1, -1, -1):
        out[j] = 1.0 / d[j]
        if j + 1 < m and l[j + 1] != 0.0:
            out[j] += l[j + 1] * l[j + 1] * out[j + 1]


@njit(cache=True, nogil=True)
def draw_areas(s, h):
    """Draw from N(S^-1 h, S^-1); False if S is not positive definite."""
    root, good = cholesky(s)
    if not good:
        return h.copy(), False
    x = solve_lower(root, h)
    for k in range(len(x)):
        x[k] += np.random.standard_normal()
    return solve_upper(root, x), True
