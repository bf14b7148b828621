"""The fit engine: Fisher scoring with step halving and bounds, one spectrum at a time, in float64.

One step solves ``(J' W J) dx = J' s`` with the score s and the expected weights W of the statistic; it is Newton's
step with the expected instead of the observed curvature, never uphill, and exact in one step for a free
normalisation. See Green 1984, JRSS B 46, 149 (sec. 2) for the algorithm.

The source of the model is either a :class:`~crosscal.xray.fitting.table.FoldedTable` (compiled, no Python inside) or
any object with a method ``evaluate(x, model, jacobian)`` and the attributes ``n_shape``, ``kinds``, ``nodes`` and
``offset`` of a table: then the very same functions run uncompiled.
"""

from __future__ import annotations

from enum import IntEnum
from math import inf, isfinite, nan, sqrt
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

from crosscal.xray.fitting.statistics import total, weights
from crosscal.xray.fitting.table import (
    GRADIENT,
    HELD,
    JACOBIAN,
    LINEAR,
    MODEL,
    SCORE,
    STEP,
    TRIAL,
    UNIT,
    WEIGHT,
    Work,
    apply_floor,
    evaluate_table,
    segment,
)


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

MAX_ITERATIONS = 60
# In units of the statistic: at 1e-8 the last step is 1e-4 sigma, and it is applied before stopping.
TOLERANCE = 1e-8
# A tenth of a standard error.
ROUGH = 1e-2
EARLY, EARLY_REACH = 8, 0.9


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
def hold_without_information(information, vectors):
    """Also hold the parameters that no channel depends on here; return their number."""
    n = 0
    for j in range(information.shape[0]):
        if vectors[HELD, j] == 0.0 and not information[j, j] > 0.0:
            vectors[HELD, j] = 1.0
            n += 1
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def move(x, fraction, low, high, reach, vectors):
    """``trial = x + fraction * step`` within the limits, by at most ``reach`` of the way to them."""
    for j in range(x.size):
        target = x[j] + fraction * vectors[STEP, j]
        if target < low[j]:
            target = x[j] - reach * (x[j] - low[j])
        elif target > high[j]:
            target = x[j] + reach * (high[j] - x[j])
        vectors[TRIAL, j] = min(max(target, low[j]), high[j])


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
    move(x, 0.0, low, high, 1.0, vectors)
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
        n_lost = hold_without_information(information, vectors)
        ridge = 0.0
        decrement = solve(information, vectors, factor, ridge)
        while decrement < 0.0 and ridge < 1.0:
            ridge = max(10.0 * ridge, 1e-6)
            decrement = solve(information, vectors, factor, ridge)
        if decrement < 0.0:
            return Status.SINGULAR.value, value, iteration
        if decrement < tolerance:
            move(x, 1.0, low, high, 1.0, vectors)
            x[:] = vectors[TRIAL]
            for j in range(n_free):
                n_held -= low[j] >= high[j]
            if n_held > 0:
                return Status.AT_BOUND.value, value - decrement, iteration
            lost = ridge > 0.0 or n_lost > 0
            return Status.SINGULAR.value if lost else Status.OK.value, value - decrement, iteration
        # Early steps stop short of the limits: a component that is set to zero at once has no derivatives left.
        reach = EARLY_REACH if iteration < EARLY else 1.0
        fraction, better, trial_value = 1.0, False, value
        for _ in range(25):
            move(x, fraction, low, high, reach, vectors)
            fill(source, vectors[TRIAL], work, n)
            apply_floor(channels, n, n_free)
            trial_value = total(data, channels)
            # Rounding of a sum of terms of size |value| must not stop the last steps.
            if trial_value <= value + 1e-12 * abs(value) + 1e-12:
                better = True
                break
            fraction *= 0.4
        # A model that is not smooth (lines that cross bins with the redshift) cannot do better than its jumps.
        rough = decrement < ROUGH and value - trial_value < 0.25 * decrement
        if better:
            x[:] = vectors[TRIAL]
            value = trial_value
        if rough:
            return Status.OK.value, value, iteration
        if not better:
            return Status.NO_CONVERGENCE.value, value, iteration
    return Status.NO_CONVERGENCE.value, value, max_iterations


def score(
    source: Any,
    data: Any,
    x: Any,
    low: Any,
    high: Any,
    work: Work,
    information: Any,
    max_iterations: int,
    tolerance: float,
) -> tuple[int, float, int]:
    """:func:`fisher_scoring` with either kind of source."""
    return fisher_scoring.py_func(source, data, x, low, high, work, information, max_iterations, tolerance)


@overload(score)
def _score_compiled(source, data, x, low, high, work, information, max_iterations, tolerance):
    if isinstance(source, types.NamedTuple):
        return lambda source, data, x, low, high, work, information, max_iterations, tolerance: fisher_scoring(
            source, data, x, low, high, work, information, max_iterations, tolerance
        )
    return None


@njit(cache=True, nogil=True)
def fit_table(source, data, x, low, high, work, information, max_iterations, tolerance):
    """:func:`fisher_scoring` on a table; where the last axis is linear, segment by segment.

    Linear interpolation leaves a kink at each node: the best fit may be the kink itself, and neighbouring segments may
    each have a minimum. So each segment is fitted alone and the neighbours of the best one are tried as well.
    """
    axis = source.n_shape - 1
    if axis < 0 or source.kinds[axis] != LINEAR or low[axis] >= high[axis]:
        return score(source, data, x, low, high, work, information, max_iterations, tolerance)
    begin, end = source.offset[axis], source.offset[axis + 1]
    inner_low, inner_high, start = low.copy(), high.copy(), x.copy()
    best_x, best_information = x.copy(), information.copy()
    best_status, best_value, iterations = Status.NOT_DONE.value, inf, 0
    start[axis] = min(max(start[axis], low[axis]), high[axis])
    k = segment(source.nodes, begin, end, start[axis])
    best, tried_low, tried_high = k, k, k
    while True:
        inner_low[axis] = max(low[axis], source.nodes[k])
        inner_high[axis] = min(high[axis], source.nodes[k + 1])
        x[:] = start
        status, value, n = score(source, data, x, inner_low, inner_high, work, information, max_iterations, tolerance)
        iterations += n
        if status == Status.AT_BOUND.value:
            on_node = low[axis] < x[axis] < high[axis] and (x[axis] in (inner_low[axis], inner_high[axis]))
            others = False
            for j in range(x.size):
                others = others or (j != axis and low[j] < high[j] and (x[j] <= low[j] or x[j] >= high[j]))
            if on_node and not others:
                status = Status.OK.value
        if value < best_value - 1e-9:
            best, best_status, best_value = k, status, value
            best_x[:] = x
            best_information[:, :] = information
        if best == tried_low and tried_low > begin and source.nodes[tried_low] > low[axis]:
            tried_low -= 1
            k = tried_low
        elif best == tried_high and tried_high < end - 2 and source.nodes[tried_high + 1] < high[axis]:
            tried_high += 1
            k = tried_high
        else:
            break
        start[:] = best_x
        start[axis] = 0.5 * (source.nodes[k] + source.nodes[k + 1])
    x[:] = best_x
    information[:, :] = best_information
    return best_status, best_value, iterations


def minimise(
    source: Any,
    data: Any,
    x: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    work: Work,
    information: NDArray[np.float64],
    max_iterations: int,
    tolerance: float,
) -> tuple[int, float, int]:
    """:func:`fit_table` with either kind of source; arguments and results as of :func:`fisher_scoring`."""
    return fit_table.py_func(source, data, x, low, high, work, information, max_iterations, tolerance)


@overload(minimise)
def _minimise_compiled(source, data, x, low, high, work, information, max_iterations, tolerance):
    if isinstance(source, types.NamedTuple):
        return lambda source, data, x, low, high, work, information, max_iterations, tolerance: fit_table(
            source, data, x, low, high, work, information, max_iterations, tolerance
        )
    return None


@njit(cache=True, nogil=True, error_model="numpy")
def covariance_of(information, low, high, work, covariance):
    """Invert the Fisher matrix; return whether it worked.

    Fixed parameters (low = high) get zeros. Parameters that no channel depends on get NaN, the others what is true
    without them.
    """
    vectors = work.vectors
    n = information.shape[0]
    for column in range(n):
        for j in range(n):
            free = low[j] < high[j] and information[j, j] > 0.0
            vectors[HELD, j] = not free
            vectors[GRADIENT, j] = 1.0 if j == column and free else 0.0
        if solve(information, vectors, work.factor, 0.0) < 0.0:
            covariance[:, :] = nan
            return False
        for j in range(n):
            covariance[j, column] = vectors[STEP, j]
    for j in range(n):
        if low[j] < high[j] and not information[j, j] > 0.0:
            covariance[j, :] = nan
            covariance[:, j] = nan
    return True
