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
    total = 1
    for j in range(d - 1):
        total *= orders[j]
    last = orders[d - 1]
    digits = np.empty(d, np.int64)
    width = last * k
    whole = width - width % 4
    flat = table.ravel()
    sums = np.empty(width)
    for i in range(n):
        base = 0
        for j in range(d):
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
        digits[:] = 0
        sums[:] = 0.0
        for _ in range(total):
            weight = 1.0
            row = base
            for j in range(d - 1):
                weight *= local[j, digits[j]]
                row += strides[j] * digits[j]
            # The last input's coefficients of all outputs lie side by side: one long multiply-add.
            start = row * k
            # Four at a time, loaded before they are stored, are one vector instruction each.
            for c in range(0, whole, 4):
                a0, a1, a2, a3 = flat[start + c], flat[start + c + 1], flat[start + c + 2], flat[start + c + 3]
                s0, s1, s2, s3 = sums[c], sums[c + 1], sums[c + 2], sums[c + 3]
                sums[c], sums[c + 1] = s0 + weight * a0, s1 + weight * a1
                sums[c + 2], sums[c + 3] = s2 + weight * a2, s3 + weight * a3
            for c in range(whole, width):
                sums[c] += weight * flat[start + c]
            for j in range(d - 2, -1, -1):
                digits[j] += 1
                if digits[j] < orders[j]:
                    break
                digits[j] = 0
        for r in range(last):
            for c in range(k):
                values[i, c] += local[d - 1, r] * sums[r * k + c]
    return values
