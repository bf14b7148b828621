"""The fit engine: Fisher scoring with step halving and bounds, one spectrum at a time, in float64.

One step solves ``(J' W J) dx = J' s`` with the score s and the expected weights W of the statistic; it is Newton's
step with the expected instead of the observed curvature, never uphill, and exact in one step for a free
normalisation. See Green 1984, JRSS B 46, 149 (sec. 2) for the algorithm.

The source of the model is either a :class:`FoldedTable` (compiled, no Python inside) or any object with a method
``evaluate(x, model, jacobian)``: then the very same function runs uncompiled (``fisher_scoring.py_func``).
"""

from __future__ import annotations

from enum import IntEnum
from math import inf, isfinite, nan, sqrt
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

from crosscal.xray.fitting.statistics import total, weights


class Status(IntEnum):
    """How a fit ended. Only OK means that value and error can be used as they are."""

    OK = 0
    AT_BOUND = 1
    NO_CONVERGENCE = 2
    SINGULAR = 3
    BAD_DATA = 4
    NOT_DONE = 5


MEANING = {
    Status.OK: "converged",
    Status.AT_BOUND: "a parameter ended on its limit",
    Status.NO_CONVERGENCE: "no convergence",
    Status.SINGULAR: "the data do not determine all free parameters",
    Status.BAD_DATA: "no usable counts",
    Status.NOT_DONE: "not computed",
}

LINEAR, CUBIC, FIXED = 0, 1, 2
MAX_ITERATIONS = 60
# In units of the statistic: at 1e-8 the last step is 1e-4 sigma, and it is applied before stopping.
TOLERANCE = 1e-8
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
    monomials: NDArray[np.uint8]
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


@njit(cache=True, nogil=True, error_model="numpy")
def segment(nodes, begin, end, u):
    """Return the index k in [begin, end - 2] of the segment nodes[k] <= u < nodes[k + 1], clipped at the ends."""
    low, high = begin, end - 1
    while high - low > 1:
        middle = (low + high) // 2
        if u >= nodes[middle]:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def part_factors(monomials, x, n_shape, factors):
    """Fill ``factors[part, 0]`` with the product of a part's linear parameters, [part, 1 + l] with its derivatives."""
    n_part, n_linear = monomials.shape
    for part in range(n_part):
        for skip in range(-1, n_linear):
            value = 1.0
            for l in range(n_linear):
                if l == skip:
                    value *= monomials[part, l]
                elif monomials[part, l]:
                    value *= x[n_shape + l]
            factors[part, 1 + skip] = value


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
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


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def evaluate_table(source, x, work, n):
    """Fill model and Jacobian rows of ``work.channels`` (first ``n`` channels) from a :class:`FoldedTable`."""
    locate(source.nodes, source.offset, source.kinds, source.strides, x, work.rows, work.basis)
    part_factors(source.monomials, x, source.n_shape, work.part_factors)
    n_step = plan(work.rows, work.basis, work.part_factors, source.n_shape, x.size, work.plan_rows, work.plan_weights)
    carry_out(n_step, work.plan_rows, work.plan_weights, source.table, work.channels, n)
    combine_parts(work.part_factors, source.n_shape, x.size, work.channels, n)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _number_below(channels, n, floor):
    # A sum, not min(): its rule for NaN would keep LLVM from using SIMD.
    below = 0
    for i in range(n):
        below += channels[MODEL, i] < floor
    return below


@njit(cache=True, nogil=True, error_model="numpy")
def apply_floor(channels, n, n_free):
    """Raise the model to FLOOR, and make it constant there, wherever it is lower."""
    if _number_below(channels, n, FLOOR) == 0:
        return
    for i in range(n):
        if not channels[MODEL, i] >= FLOOR:
            channels[MODEL, i] = FLOOR
            for j in range(n_free):
                channels[JACOBIAN + j, i] = 0.0


def fill(source: Any, x: NDArray[np.float64], work: Work, n: int) -> None:
    """Fill model and Jacobian at ``x`` from either kind of source."""
    source.evaluate(x, work.channels[MODEL, :n], work.channels[JACOBIAN : JACOBIAN + x.size, :n])


@overload(fill)
def _fill_compiled(source, x, work, n):
    if isinstance(source, types.NamedTuple):
        return lambda source, x, work, n: evaluate_table(source, x, work, n)
    return None


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def normal_equations(channels, n, vectors, information):
    """Fill ``gradient = J' s`` and ``information = J' W J``."""
    for j in range(vectors.shape[1]):
        row, value = JACOBIAN + j, 0.0
        for i in range(n):
            value += channels[SCORE, i] * channels[row, i]
        vectors[GRADIENT, j] = value
        for k in range(j + 1):
            value = 0.0
            for i in range(n):
                value += channels[WEIGHT, i] * channels[row, i] * channels[JACOBIAN + k, i]
            information[j, k] = value
            information[k, j] = value


@njit(cache=True, nogil=True, error_model="numpy")
def solve(information, vectors, factor, ridge):
    """Solve F step = gradient among the parameters not held; return the decrement g' F^-1 g, or -1 if singular.

    The matrix is scaled to a unit diagonal first, so that ``ridge`` and the test for singularity have no units.
    """
    n = vectors.shape[1]
    for j in range(n):
        vectors[UNIT, j] = 0.0
        if vectors[HELD, j] == 0.0:
            if not (information[j, j] > 0.0 and information[j, j] < inf):
                return -1.0
            vectors[UNIT, j] = 1.0 / sqrt(information[j, j])
        vectors[STEP, j] = vectors[GRADIENT, j] * vectors[UNIT, j]
    for j in range(n):
        for k in range(j):
            value = information[j, k] * vectors[UNIT, j] * vectors[UNIT, k]
            for l in range(k):
                value -= factor[j, l] * factor[k, l]
            factor[j, k] = value * factor[k, k]
        value = 1.0 + ridge
        for l in range(j):
            value -= factor[j, l] * factor[j, l]
        if value < 1e-13:
            return -1.0
        factor[j, j] = 1.0 / sqrt(value)  # the inverse of the diagonal of the Cholesky factor
    decrement = 0.0
    for j in range(n):
        for k in range(j):
            vectors[STEP, j] -= factor[j, k] * vectors[STEP, k]
        vectors[STEP, j] *= factor[j, j]
        decrement += vectors[STEP, j] * vectors[STEP, j]
    for j in range(n - 1, -1, -1):
        for k in range(j + 1, n):
            vectors[STEP, j] -= factor[k, j] * vectors[STEP, k]
        vectors[STEP, j] *= factor[j, j]
    for j in range(n):
        vectors[STEP, j] *= vectors[UNIT, j]
    return decrement


@njit(cache=True, nogil=True, error_model="numpy")
def hold_at_bounds(x, low, high, vectors):
    """Mark the parameters that are fixed or that the gradient presses against a limit; return their number."""
    n = 0
    for j in range(x.size):
        g = vectors[GRADIENT, j]
        held = (x[j] <= low[j] and g <= 0.0) or (x[j] >= high[j] and g >= 0.0)
        vectors[HELD, j] = held
        n += held
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def move(x, fraction, low, high, vectors):
    """``trial = x + fraction * step`` within the limits."""
    for j in range(x.size):
        vectors[TRIAL, j] = min(max(x[j] + fraction * vectors[STEP, j], low[j]), high[j])


@njit(cache=True, nogil=True)
def fisher_scoring(source, data, x, low, high, work, information, max_iterations, tolerance):
    """Minimise the statistic over ``x`` within [low, high]; ``x`` holds the start and gets the result.

    Returns
    -------
    status, statistic, iterations
        ``information`` is left as the Fisher matrix at the solution, for all parameters.
    """
    n, n_free = data.counts.size, x.size
    channels, vectors, factor = work.channels, work.vectors, work.factor
    vectors[STEP, :] = 0.0
    move(x, 0.0, low, high, vectors)
    x[:] = vectors[TRIAL]
    fill(source, x, work, n)
    apply_floor(channels, n, n_free)
    value = total(data, channels)
    if not isfinite(value):
        return Status.BAD_DATA.value, nan, 0
    for iteration in range(max_iterations):
        weights(data, channels)
        normal_equations(channels, n, vectors, information)
        n_held = hold_at_bounds(x, low, high, vectors)
        ridge = 0.0
        decrement = solve(information, vectors, factor, ridge)
        while decrement < 0.0 and ridge < 1.0:
            ridge = max(10.0 * ridge, 1e-6)
            decrement = solve(information, vectors, factor, ridge)
        if decrement < 0.0:
            return Status.SINGULAR.value, value, iteration
        if decrement < tolerance:
            move(x, 1.0, low, high, vectors)
            x[:] = vectors[TRIAL]
            if ridge > 0.0:
                return Status.SINGULAR.value, value, iteration
            for j in range(n_free):
                n_held -= low[j] >= high[j]
            return Status.AT_BOUND.value if n_held > 0 else Status.OK.value, value - decrement, iteration
        fraction, better, trial_value = 1.0, False, value
        for _ in range(25):
            move(x, fraction, low, high, vectors)
            fill(source, vectors[TRIAL], work, n)
            apply_floor(channels, n, n_free)
            trial_value = total(data, channels)
            # Rounding of a sum of terms of size |value| must not stop the last steps.
            if trial_value <= value + 1e-12 * abs(value) + 1e-12:
                better = True
                break
            fraction *= 0.4
        if not better:
            return Status.NO_CONVERGENCE.value, value, iteration
        x[:] = vectors[TRIAL]
        value = trial_value
    return Status.NO_CONVERGENCE.value, value, max_iterations


@njit(cache=True, nogil=True, error_model="numpy")
def covariance_of(information, low, high, work, covariance):
    """Invert the Fisher matrix over the parameters with low < high (others get zeros); return whether it worked."""
    vectors = work.vectors
    n = information.shape[0]
    for column in range(n):
        for j in range(n):
            vectors[HELD, j] = low[j] >= high[j]
            vectors[GRADIENT, j] = 1.0 if j == column and low[j] < high[j] else 0.0
        if solve(information, vectors, work.factor, 0.0) < 0.0:
            covariance[:, :] = nan
            return False
        for j in range(n):
            covariance[j, column] = vectors[STEP, j]
    return True
