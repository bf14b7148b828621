"""Compiled evaluation of tensor-product splines over many points (three times faster than gathering in JAX)."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def evaluate(unit, breaks, n_breaks, pieces, orders, strides, table):
    """Evaluate points (n, d) in unit coordinates.

    Parameters
    ----------
    breaks, n_breaks : arrays (d, max) and (d,), padded break points
    pieces : array (d, max, 4, 4), padded power coefficients
    orders : int array (d,), number of B-splines on each piece
    strides : int array (d,), of the flat coefficient table
    table : array (n_coefficients, k)
    """
    n, d = unit.shape
    k = table.shape[1]
    values = np.zeros((n, k))
    local = np.empty((d, 4))
    rows = _rows(orders, strides)
    total, weights = rows.size, np.empty(rows.size)
    last = orders[d - 1]
    width = last * k
    whole = width - width % 4
    flat = table.ravel()
    sums = np.empty(width)
    for i in range(n):
        base = _local(unit, i, breaks, n_breaks, pieces, orders, strides, local)
        weights[0] = 1.0
        count = 1
        for j in range(d - 1):
            for a in range(count - 1, -1, -1):
                before = weights[a]
                for r in range(orders[j]):
                    weights[a * orders[j] + r] = before * local[j, r]
            count *= orders[j]
        # Four sums at a time stay in registers, where they are one vector.
        for c in range(0, whole, 4):
            s0 = s1 = s2 = s3 = 0.0
            for m in range(total):
                weight, at = weights[m], (base + rows[m]) * k + c
                s0 += weight * flat[at]
                s1 += weight * flat[at + 1]
                s2 += weight * flat[at + 2]
                s3 += weight * flat[at + 3]
            sums[c], sums[c + 1], sums[c + 2], sums[c + 3] = s0, s1, s2, s3
        for c in range(whole, width):
            s0 = 0.0
            for m in range(total):
                s0 += weights[m] * flat[(base + rows[m]) * k + c]
            sums[c] = s0
        for r in range(last):
            for c in range(k):
                values[i, c] += local[d - 1, r] * sums[r * k + c]
    return values


@njit(cache=True, error_model="numpy")
def _rows(orders, strides):
    """Return the rows of the table, relative to the first, that a point needs.

    The last input runs fastest and is left to the end, because its coefficients of all outputs lie side by side.
    """
    d, total = orders.size, 1
    for j in range(d - 1):
        total *= orders[j]
    rows, count = np.zeros(total, np.int64), 1
    for j in range(d - 1):
        for a in range(count - 1, -1, -1):
            for r in range(orders[j] - 1, -1, -1):
                rows[a * orders[j] + r] = rows[a] + strides[j] * r
        count *= orders[j]
    return rows


@njit(cache=True, error_model="numpy", inline="always")
def _local(unit, i, breaks, n_breaks, pieces, orders, strides, local):
    """Fill the values (d, 4) of the B-splines that live at point i; return its first row of the table."""
    base = 0
    for j in range(orders.size):
        x = unit[i, j]
        low, high = 0, n_breaks[j] - 1
        while high - low > 1:
            middle = (low + high) // 2
            if x >= breaks[j, middle]:
                low = middle
            else:
                high = middle
        u = x - breaks[j, low]
        base += strides[j] * low
        for r in range(orders[j]):
            value = pieces[j, low, r, orders[j] - 1]
            for p in range(orders[j] - 2, -1, -1):
                value = pieces[j, low, r, p] + u * value
            local[j, r] = value
    return base
