"""Compiled sums of `PairSums`: many thetas for many sources, in blocks of sources that vector instructions work at.

Each quantity has a slot of its own (kT 0, norm 1, Abundanc 2), so that the algebra is written out: for kT alone, or for
three. The arrays of a block are flat, with rows of `BLOCK` numbers one after the other: loops over a block become
vector instructions only where the compiler knows the places of the numbers and which arrays are written to.
"""

from __future__ import annotations

from math import log, pi

import numpy as np
from numba import njit

#: Temperatures an octave, a power of two, and the bits of a float below those that count them.
OCTAVE = 32
SHIFT = 52 - 5
#: Truths are kept above this part of what the reference telescope found, as in `HierarchicalModel`.
LEAST = 1e-3
#: Sources that are worked at together, and thetas that their data are used for while they are in the fastest memory.
BLOCK = B = 64
GROUP = 16
#: A source beyond that is as unlikely as this.
CROSSED = -1e6

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@_compiled
def log_likelihoods(tables, scatter, nodes, first, data, number, measured, own, steps, out):
    """Fill ``out`` with log likelihoods of sources (n_draw, N), or with their sums (n_draw, 1).

    With J = dF/dx at x, V = C_1 + J C_0 J' and w = x_1 - F + J (x - x_0), a Gauss-Newton step leads to
    x_0 + C_0 J' V^-1 w, and the integral over x is N(w; 0, V) p(x).

    Parameters
    ----------
    tables : array (n_draw, 2, n, q)
        Factors, and shifts of the abundance, at ``nodes``, and their derivatives by kT; q is 1 or 3.
    scatter : array (n_draw,)
    data : array (n_block, q (q + 3) * BLOCK)
        Rows of each block: x_0, x_1, the lower triangles of C_0 and C_1. The last block is filled up.
    number : int
        Sources.
    measured : array of bool (q,)
        Whether slots are in use. The others hold truths and data that agree: they add nothing.
    own : array (q,)
        Errors of the emulator.
    """
    q, each = tables.shape[3], out.shape[1] > 1
    constant = 1.0
    for k in range(q):
        constant *= 2.0 * pi if measured[k] else 1.0
    cubics, noise = np.empty((GROUP, nodes.size - 1, 4 * q)), np.empty(q)
    x, shift, found, values = np.empty(q * B), np.empty(q * B), np.empty(2 * q * B), np.empty(B)
    for begin in range(0, tables.shape[0], GROUP):
        group = min(GROUP, tables.shape[0] - begin)
        for g in range(group):
            _cubics(tables[begin + g], nodes, cubics[g])
            if not each:
                out[begin + g, 0] = 0.0
        for block in range(data.shape[0]):
            one, size = data[block], min(B, number - block * B)
            for g in range(group):
                d = begin + g
                for k in range(q):
                    noise[k] = own[k] * own[k] + (scatter[d] * scatter[d] if k < 2 and measured[k] else 0.0)
                for i in range(q * B):
                    x[i], shift[i] = one[i], 0.0
                for step in range(steps + 1):
                    if q == 1:
                        _look_one(cubics[g], nodes, first, x, found)
                        _step_one(one, noise[0], x, shift, found, step == steps)
                    else:
                        _look_three(cubics[g], nodes, first, x, found)
                        _step_three(one, noise[0], noise[1], noise[2], x, shift, found, step == steps)
                _values(one, x, shift, found, min(q, 2), constant, values)
                for b in range(size):
                    if each:
                        out[d, block * B + b] = values[b]
                    else:
                        out[d, 0] += values[b]


@_compiled
def _cubics(table, nodes, cubics):
    """Fill (n - 1, 4 q) coefficients of the cubics in (kT - node) through values and derivatives (2, n, q)."""
    for k in range(cubics.shape[0]):
        h = nodes[k + 1] - nodes[k]
        for j in range(table.shape[2]):
            rise = (table[0, k + 1, j] - table[0, k, j]) / h
            s0, s1 = table[1, k, j], table[1, k + 1, j]
            cubics[k, 4 * j], cubics[k, 4 * j + 1] = table[0, k, j], s0
            cubics[k, 4 * j + 2] = (3.0 * rise - 2.0 * s0 - s1) / h
            cubics[k, 4 * j + 3] = (s0 + s1 - 2.0 * rise) / (h * h)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _segment(kT, first, n_segment):
    return min(max((np.float64(kT).view(np.int64) >> SHIFT) - first, 0), n_segment - 1)


@_compiled
def _look_one(cubics, nodes, first, x, found):
    """Fill rows of the factor of kT and of its derivative, at x."""
    low, high, n_segment = nodes[0], nodes[-1], nodes.size - 1
    for b in range(B):
        kT = min(max(x[b], low), high)
        at = _segment(kT, first, n_segment)
        t, c = kT - nodes[at], cubics[at]
        found[b] = c[0] + t * (c[1] + t * (c[2] + t * c[3]))
        # Beyond the nodes the map stays as it is.
        found[B + b] = c[1] + t * (2.0 * c[2] + 3.0 * t * c[3]) if kT == x[b] else 0.0


@_compiled
def _look_three(cubics, nodes, first, x, found):
    """Fill rows of the two factors and the shift, and of their derivatives by kT, at x."""
    low, high, n_segment = nodes[0], nodes[-1], nodes.size - 1
    for b in range(B):
        kT = min(max(x[b], low), high)
        at = _segment(kT, first, n_segment)
        t, inside, c = kT - nodes[at], 1.0 if kT == x[b] else 0.0, cubics[at]
        found[b] = c[0] + t * (c[1] + t * (c[2] + t * c[3]))
        found[B + b] = c[4] + t * (c[5] + t * (c[6] + t * c[7]))
        found[2 * B + b] = c[8] + t * (c[9] + t * (c[10] + t * c[11]))
        found[3 * B + b] = inside * (c[1] + t * (2.0 * c[2] + 3.0 * t * c[3]))
        found[4 * B + b] = inside * (c[5] + t * (2.0 * c[6] + 3.0 * t * c[7]))
        found[5 * B + b] = inside * (c[9] + t * (2.0 * c[10] + 3.0 * t * c[11]))


@_compiled
def _step_one(one, noise, x, shift, found, last):
    """Move x and shift = x - x_0 by one step; the last fills rows of w^2 / V and V instead."""
    for b in range(B):
        factor, x0, c0 = found[b], one[b], one[2 * B + b]
        expected, along = x[b] * factor, factor + x[b] * found[B + b]
        variance = one[3 * B + b] + noise * expected * expected + along * along * c0
        offset = one[B + b] - expected + along * shift[b]
        inverse = 1.0 / variance
        if last:
            found[b], found[B + b] = offset * offset * inverse, variance
        else:
            moved = c0 * along * offset * inverse
            shift[b], x[b] = moved, max(x0 + moved, LEAST * x0)


@_compiled
def _step_three(one, noise0, noise1, noise2, x, shift, found, last):
    """Move x and shift = x - x_0 by one step; the last fills rows of w' V^-1 w and |V| instead.

    J holds its first column and its diagonal only: ((g, 0, 0), (a1, o1, 0), (a2, 0, 1)). V = L D L'.
    """
    for b in range(B):
        x1, s0, s1, s2 = x[B + b], shift[b], shift[B + b], shift[2 * B + b]
        o0, o1 = found[b], found[B + b]
        f0, f1, f2 = x[b] * o0, x1 * o1, x[2 * B + b] + found[2 * B + b]
        g, a1, a2 = o0 + x[b] * found[3 * B + b], x1 * found[4 * B + b], found[5 * B + b]
        c00, c10, c11 = one[6 * B + b], one[7 * B + b], one[8 * B + b]
        c20, c21, c22 = one[9 * B + b], one[10 * B + b], one[11 * B + b]
        # J C_0, row by row.
        p00, p01, p02 = g * c00, g * c10, g * c20
        p10, p11, p12 = a1 * c00 + o1 * c10, a1 * c10 + o1 * c11, a1 * c20 + o1 * c21
        p20, p21, p22 = a2 * c00 + c20, a2 * c10 + c21, a2 * c20 + c22
        v10, v20, v21 = p10 * g, p20 * g, p20 * a1 + p21 * o1
        v10, v20, v21 = v10 + one[13 * B + b], v20 + one[15 * B + b], v21 + one[16 * B + b]
        d0 = one[12 * B + b] + noise0 * f0 * f0 + p00 * g
        i0 = 1.0 / d0
        l10, l20 = v10 * i0, v20 * i0
        d1 = one[14 * B + b] + noise1 * f1 * f1 + p10 * a1 + p11 * o1 - l10 * v10
        i1, v21 = 1.0 / d1, v21 - l20 * v10
        l21 = v21 * i1
        d2 = one[17 * B + b] + noise2 + p20 * a2 + p22 - l20 * v20 - l21 * v21
        y0 = one[3 * B + b] - f0 + g * s0
        y1 = one[4 * B + b] - f1 + a1 * s0 + o1 * s1 - l10 * y0
        y2 = one[5 * B + b] - f2 + a2 * s0 + s2 - l20 * y0 - l21 * y1
        z2 = y2 / d2
        if last:
            found[b], found[B + b] = y0 * y0 * i0 + y1 * y1 * i1 + y2 * z2, d0 * d1 * d2
        else:
            z1 = y1 * i1 - l21 * z2
            z0 = y0 * i0 - l10 * z1 - l20 * z2
            m0 = p00 * z0 + p10 * z1 + p20 * z2
            m1 = p01 * z0 + p11 * z1 + p21 * z2
            m2 = p02 * z0 + p12 * z1 + p22 * z2
            shift[b], shift[B + b], shift[2 * B + b] = m0, m1, m2
            x[b], x[B + b] = max(one[b] + m0, LEAST * one[b]), max(one[B + b] + m1, LEAST * one[B + b])
            x[2 * B + b] = one[2 * B + b] + m2


@_compiled
def _values(one, x, shift, found, positive, constant, values):
    """Fill ln of N(w; 0, V) p(x), where p is the product of 1 / x of the first slots."""
    for b in range(B):
        ratio, crossed = x[b] / one[b], one[b] + shift[b] < LEAST * one[b]
        for k in range(1, positive):
            at = k * B + b
            ratio *= x[at] / one[at]
            crossed = crossed or one[at] + shift[at] < LEAST * one[at]
        values[b] = -0.5 * (found[b] + log(constant * found[B + b] * ratio * ratio)) + (CROSSED if crossed else 0.0)
