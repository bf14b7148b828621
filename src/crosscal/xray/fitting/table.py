"""Evaluation of folded templates: model counts and their derivatives from a table, compiled.

Loops over channels are contiguous and free of branches, so that LLVM turns them into SIMD instructions; everything
that is not per channel is worked out before, in :func:`plan`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

LINEAR, CUBIC, FIXED = 0, 1, 2
# Sherpa's and XSPEC's floor of a model in channels where the source emits nothing.
FLOOR = 1e-25


class FoldedTable(NamedTuple):
    """Folded spectra at the nodes of the shape axes, as the compiled engine reads them.

    ``m(x) = sum_part prod_l a_l^monomials[part, l] sum_rows basis(u) table[row, part]`` for x = (u, a): first the
    ``n_shape`` interpolation coordinates, then the linear parameters.

    table : (n_row, n_part, n_channel); rows run over the product of the axes, the last one fastest. A CUBIC axis has
        two rows a node, value and slope (per unit of the coordinate); a LINEAR or FIXED one has one row a node.
    nodes, offset : all node coordinates and where each axis begins, (sum n,), (n_axis + 1,)
    kinds, strides : (n_axis,) interpolation and distance in rows between neighbouring entries of an axis
    monomials : (n_part, n_linear) 0 or 1
    """

    table: NDArray[np.float64]
    nodes: NDArray[np.float64]
    offset: NDArray[np.int64]
    kinds: NDArray[np.int64]
    strides: NDArray[np.int64]
    monomials: NDArray[np.int64]
    n_shape: int


# Rows of Work.channels: model, score, weight, then the Jacobian (one row a parameter), then the parts.
MODEL, SCORE, WEIGHT, JACOBIAN = 0, 1, 2, 3
# Rows of Work.vectors.
GRADIENT, STEP, TRIAL, UNIT, HELD = 0, 1, 2, 3, 4


class Work(NamedTuple):
    """Scratch space of one fit; see :func:`make_work`.

    Few and large arrays on purpose: each array that a compiled function takes costs it two atomic operations.

    channels : (3 + n_free + n_part, width >= n_channel)
    vectors : (5, n_free)
    factor : (n_free, n_free) Cholesky factor
    rows : (n_axis, 4) table rows of each axis
    basis : (2 n_axis, 4) their weights, then the derivatives of these
    plan_rows, plan_weights : (n_step, 7), (n_step, 4); see :func:`plan`
    """

    channels: NDArray[np.float64]
    vectors: NDArray[np.float64]
    factor: NDArray[np.float64]
    rows: NDArray[np.int64]
    basis: NDArray[np.float64]
    part_factors: NDArray[np.float64]
    plan_rows: NDArray[np.int64]
    plan_weights: NDArray[np.float64]


@njit(cache=True, nogil=True)
def aligned_zeros(n_row, width):
    """Zeros of shape (n_row, width rounded up to 8) on a 64-byte boundary, so that no SIMD load is split."""
    full = (width + 7) // 8 * 8
    raw = np.zeros(n_row * full + 8)
    skip = (-(raw.ctypes.data // 8)) % 8
    return raw[skip : skip + n_row * full].reshape(n_row, full)


@njit(cache=True, nogil=True)
def make_work(n_channel, n_free, n_part, n_axis):
    """Allocate scratch space for fits of ``n_free`` parameters to ``n_channel`` channels."""
    n_step = 4 ** (max(n_axis, 1) - 1) * n_part * (1 + n_axis)
    return Work(
        aligned_zeros(JACOBIAN + n_free + n_part, n_channel),
        np.zeros((5, n_free)),
        np.zeros((n_free, n_free)),
        np.zeros((n_axis, 4), np.int64),
        np.zeros((2 * n_axis, 4)),
        np.zeros((n_part, 1 + n_free)),
        np.zeros((n_step, 7), np.int64),
        np.zeros((n_step, 4)),
    )


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def segment(nodes, begin, end, u):
    """Return the index k in [begin, end - 2] of the segment nodes[k] <= u < nodes[k + 1], clipped at the ends."""
    # Nodes are nearly evenly spaced: a guess and a step or two beat a bisection.
    last = end - 2
    share = (u - nodes[begin]) / (nodes[end - 1] - nodes[begin])
    k = begin + int(min(max(share * (end - 1 - begin), 0.0), float(last - begin)))
    while k > begin and u < nodes[k]:
        k -= 1
    while k < last and u >= nodes[k + 1]:
        k += 1
    return k


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def locate(nodes, offset, kinds, strides, x, rows, basis):
    """Fill the rows and the weights (with derivatives) that interpolate each axis at ``x``."""
    n_axis = kinds.size
    for axis in range(n_axis):
        kind, stride, d = kinds[axis], strides[axis], n_axis + axis
        if kind == 2:
            for j in range(4):
                rows[axis, j], basis[axis, j], basis[d, j] = 0, 0.0, 0.0
            basis[axis, 0] = 1.0
            continue
        begin = offset[axis]
        k = segment(nodes, begin, offset[axis + 1], x[axis])
        h = nodes[k + 1] - nodes[k]
        t = (x[axis] - nodes[k]) / h
        k -= begin
        if kind == 0:
            rows[axis, 0] = rows[axis, 2] = rows[axis, 3] = k * stride
            rows[axis, 1] = (k + 1) * stride
            basis[axis, 0], basis[axis, 1], basis[axis, 2], basis[axis, 3] = 1.0 - t, t, 0.0, 0.0
            basis[d, 0], basis[d, 1], basis[d, 2], basis[d, 3] = -1.0 / h, 1.0 / h, 0.0, 0.0
        else:
            for j in range(4):
                rows[axis, j] = (2 * k + j) * stride
            # Cubic Hermite polynomials: value and slope at the left node, then at the right one.
            basis[axis, 0] = (1.0 + 2.0 * t) * (1.0 - t) * (1.0 - t)
            basis[axis, 1] = h * t * (1.0 - t) * (1.0 - t)
            basis[axis, 2] = t * t * (3.0 - 2.0 * t)
            basis[axis, 3] = h * t * t * (t - 1.0)
            basis[d, 0] = 6.0 * t * (t - 1.0) / h
            basis[d, 1] = (1.0 - t) * (1.0 - 3.0 * t)
            basis[d, 2] = -basis[d, 0]
            basis[d, 3] = t * (3.0 * t - 2.0)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def part_factors(monomials, x, n_shape, factors):
    """Fill ``factors[part, 0]`` with the product of a part's linear parameters, [part, 1 + l] with its derivatives."""
    n_part, n_linear = monomials.shape
    for part in range(n_part):
        product, zeros = 1.0, 0
        for l in range(n_linear):
            if monomials[part, l] != 0:
                if x[n_shape + l] == 0.0:
                    zeros += 1
                else:
                    product *= x[n_shape + l]
        factors[part, 0] = product if zeros == 0 else 0.0
        for l in range(n_linear):
            a = x[n_shape + l]
            if monomials[part, l] == 0 or zeros - (a == 0.0) > 0:
                factors[part, 1 + l] = 0.0
            else:
                factors[part, 1 + l] = product if a == 0.0 else product / a


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def plan(rows, basis, factors, n_shape, n_free, plan_rows, plan_weights):
    """List the steps ``channels[out] (+)= sum_j weight_j table[row_j, part]`` of one evaluation; return their number.

    A step takes the four rows of the last axis at one combination of rows of the other axes.
    plan_rows holds (part, row 0..3, out, add), plan_weights the four weights.
    """
    n_axis, n_part = rows.shape[0], factors.shape[0]
    last = n_axis - 1
    n = 0
    for combination in range(1 << (2 * last)):
        for part in range(n_part):
            for p in range(-1, n_shape):  # -1: the part itself; p: its contribution to dm/du_p
                a, code, start = 1.0 if p < 0 else factors[part, 0], combination, 0
                for axis in range(last):
                    start += rows[axis, code & 3]
                    a *= basis[axis + n_axis if axis == p else axis, code & 3]
                    code >>= 2
                first = combination == 0 and (p < 0 or part == 0)
                if a == 0.0 and not first:
                    continue
                used = last + n_axis if p == last else last
                plan_rows[n, 0] = part
                for j in range(4):
                    plan_rows[n, 1 + j] = start + rows[last, j]
                    plan_weights[n, j] = a * basis[used, j]
                plan_rows[n, 5] = JACOBIAN + n_free + part if p < 0 else JACOBIAN + p
                plan_rows[n, 6] = not first
                n += 1
    return n


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy", forceinline=True)
def carry_out(n_step, plan_rows, plan_weights, table, channels, n):
    """Execute the steps of :func:`plan` on the first ``n`` channels."""
    for s in range(n_step):
        part, out = plan_rows[s, 0], plan_rows[s, 5]
        r0, r1, r2, r3 = plan_rows[s, 1], plan_rows[s, 2], plan_rows[s, 3], plan_rows[s, 4]
        a0, a1, a2, a3 = plan_weights[s, 0], plan_weights[s, 1], plan_weights[s, 2], plan_weights[s, 3]
        keep = np.float64(plan_rows[s, 6])
        if keep == 0.0:
            for i in range(n):
                channels[out, i] = (
                    a0 * table[r0, part, i]
                    + a1 * table[r1, part, i]
                    + a2 * table[r2, part, i]
                    + a3 * table[r3, part, i]
                )
        else:
            for i in range(n):
                channels[out, i] += (
                    a0 * table[r0, part, i]
                    + a1 * table[r1, part, i]
                    + a2 * table[r2, part, i]
                    + a3 * table[r3, part, i]
                )


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy", forceinline=True)
def combine_parts(factors, n_shape, n_free, channels, n):
    """Model and its derivatives by the linear parameters from the parts."""
    n_part, first = factors.shape[0], JACOBIAN + n_free
    for l in range(-1, n_free - n_shape):
        out = MODEL if l < 0 else JACOBIAN + n_shape + l
        a = factors[0, 1 + l]
        for i in range(n):
            channels[out, i] = a * channels[first, i]
        for part in range(1, n_part):
            a = factors[part, 1 + l]
            if a != 0.0:
                for i in range(n):
                    channels[out, i] += a * channels[first + part, i]


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def evaluate_table(source, x, work, n):
    """Fill model and Jacobian rows of ``work.channels`` (first ``n`` channels) from a :class:`FoldedTable`."""
    locate(source.nodes, source.offset, source.kinds, source.strides, x, work.rows, work.basis)
    part_factors(source.monomials, x, source.n_shape, work.part_factors)
    n_step = plan(work.rows, work.basis, work.part_factors, source.n_shape, x.size, work.plan_rows, work.plan_weights)
    carry_out(n_step, work.plan_rows, work.plan_weights, source.table, work.channels, n)
    combine_parts(work.part_factors, source.n_shape, x.size, work.channels, n)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy", forceinline=True)
def _number_below(channels, n, floor):
    # A sum, not min(): its rule for NaN would keep LLVM from using SIMD.
    below = 0
    for i in range(n):
        below += channels[MODEL, i] < floor
    return below


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def apply_floor(channels, n, n_free):
    """Raise the model to FLOOR, and make it constant there, wherever it is lower."""
    if _number_below(channels, n, FLOOR) == 0:
        return
    for i in range(n):
        if not channels[MODEL, i] >= FLOOR:
            channels[MODEL, i] = FLOOR
            for j in range(n_free):
                channels[JACOBIAN + j, i] = 0.0
