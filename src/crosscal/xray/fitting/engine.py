"""The fit engine: Fisher scoring with step halving and bounds, one spectrum at a time, in float64.

One step solves ``(J' W J) dx = J' s`` with the score s and the expected weights W of the statistic; it is Newton's
step with the expected instead of the observed curvature, never uphill, and exact in one step for a free
normalisation. See Green 1984, JRSS B 46, 149 (sec. 2) for the algorithm.

The source of the model is either a :class:`~crosscal.xray.fitting.table.FoldedTable` (compiled, no Python inside) or
any object with a method ``evaluate(x, model, jacobian)`` and the attributes ``n_shape``, ``kinds``, ``nodes`` and
``offset`` of a table: then the very same functions run uncompiled (:data:`fit_object`).
"""

from __future__ import annotations

from enum import IntEnum
from math import inf, isfinite, nan, sqrt
from types import FunctionType
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosscal.xray.fitting.statistics import assess
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
    INACCURATE = 6


MEANING = {
    Status.OK: "converged",
    Status.AT_BOUND: "a parameter reached its limit",
    Status.NO_CONVERGENCE: "no convergence",
    Status.SINGULAR: "the data do not determine all free parameters",
    Status.BAD_DATA: "no usable counts",
    Status.NOT_DONE: "not computed",
    Status.INACCURATE: "a table inside the fit is not accurate enough for its errors",
}

#: Compiled callers pass np.int64(MAX_ITERATIONS): for a bare constant Numba compiles all that is below them once more.
MAX_ITERATIONS = 60
# In units of the statistic: the last step is below 3e-3 sigma. It is applied before stopping, and as each step is a
# hundred times shorter than the one before, what is left is below 1e-4 sigma.
TOLERANCE = 1e-5
# A tenth of a standard error.
ROUGH = 1e-2
EARLY, EARLY_REACH = 8, 0.9
MAX_HALVINGS = 25


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy", forceinline=True)
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


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def factorise(information, vectors, factor, ridge):
    """Fill the Cholesky factor of F among the parameters not held; return whether F is positive definite.

    The matrix is scaled to a unit diagonal first, so that ``ridge`` and the test have no units. The diagonal of
    ``factor`` holds the inverse of the Cholesky factor's.
    """
    n = vectors.shape[1]
    for j in range(n):
        vectors[UNIT, j] = 0.0
        if vectors[HELD, j] == 0.0:
            if not (information[j, j] > 0.0 and information[j, j] < inf):
                return False
            vectors[UNIT, j] = 1.0 / sqrt(information[j, j])
    for j in range(n):
        value = 1.0 + ridge
        for k in range(j):
            off = information[j, k] * vectors[UNIT, j] * vectors[UNIT, k]
            for l in range(k):
                off -= factor[j, l] * factor[k, l]
            factor[j, k] = off * factor[k, k]
            value -= factor[j, k] * factor[j, k]
        if value < 1e-13:
            return False
        factor[j, j] = 1.0 / sqrt(value)
    return True


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def substitute(vectors, factor):
    """Solve F step = gradient by the factor of :func:`factorise`; return the decrement g' F^-1 g."""
    n, decrement = vectors.shape[1], 0.0
    for j in range(n):
        value = vectors[GRADIENT, j] * vectors[UNIT, j]
        for k in range(j):
            value -= factor[j, k] * vectors[STEP, k]
        vectors[STEP, j] = value * factor[j, j]
        decrement += vectors[STEP, j] * vectors[STEP, j]
    for j in range(n - 1, -1, -1):
        value = vectors[STEP, j]
        for k in range(j + 1, n):
            value -= factor[k, j] * vectors[STEP, k]
        vectors[STEP, j] = value * factor[j, j]
    for j in range(n):
        vectors[STEP, j] *= vectors[UNIT, j]
    return decrement


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def hold_at_bounds(x, low, high, vectors):
    """Mark the parameters that are fixed or that the gradient presses against a limit; return their number."""
    n = 0
    for j in range(x.size):
        g = vectors[GRADIENT, j]
        held = (x[j] <= low[j] and g <= 0.0) or (x[j] >= high[j] and g >= 0.0)
        vectors[HELD, j] = held
        n += held
    return n


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def hold_without_information(information, vectors):
    """Also hold the parameters that no channel depends on here; return their number."""
    n = 0
    for j in range(information.shape[0]):
        if vectors[HELD, j] == 0.0 and not information[j, j] > 0.0:
            vectors[HELD, j] = 1.0
            n += 1
    return n


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def move(x, fraction, low, high, reach, vectors):
    """``trial = x + fraction * step`` within the limits, by at most ``reach`` of the way to them."""
    for j in range(x.size):
        target = x[j] + fraction * vectors[STEP, j]
        if target < low[j]:
            target = x[j] - reach * (x[j] - low[j])
        elif target > high[j]:
            target = x[j] + reach * (high[j] - x[j])
        vectors[TRIAL, j] = min(max(target, low[j]), high[j])


@njit(cache=True, nogil=True, forceinline=True)
def fisher_scoring(source, data, x, low, high, work, information, max_iterations, tolerance, leave):
    """Minimise the statistic over ``x`` within [low, high]; ``x`` holds the start and gets the result.

    With ``leave`` = 1 (-1) it stops with status NOT_DONE where, after a few steps, the next one would take the last
    shape parameter beyond its upper (lower) limit: what is there has been fitted before.

    Returns
    -------
    status, statistic, iterations
        ``information`` is left as the Fisher matrix at the solution, for all parameters.
    """
    n, n_free = data.counts.size, x.size
    channels, vectors, factor = work.channels, work.vectors, work.factor
    vectors[STEP, :] = 0.0
    move(x, 0.0, low, high, 1.0, vectors)
    value, decrement, fraction, iteration, halvings = inf, inf, 1.0, 0, 0
    # One place where the model is evaluated: compiled code inlines it.
    while True:
        evaluate_table(source, vectors[TRIAL], work, n)
        apply_floor(channels, n, n_free)
        trial_value = assess(data, channels)
        if value == inf and not isfinite(trial_value):
            return Status.BAD_DATA.value, nan, 0
        # Rounding of a sum of terms of size |value| must not stop the last steps.
        better = value == inf or trial_value <= value + 1e-12 * abs(value) + 1e-12
        # A model that is not smooth (lines that cross bins with the redshift) cannot do better than its jumps.
        rough = decrement < ROUGH and value - trial_value < 0.25 * decrement
        if better:
            for j in range(n_free):
                x[j] = vectors[TRIAL, j]
            value = trial_value
        if rough:
            return Status.OK.value, value, iteration
        # Early steps stop short of the limits: a component that is set to zero at once has no derivatives left.
        reach = EARLY_REACH if iteration < EARLY else 1.0
        if not better:
            halvings += 1
            fraction *= 0.4
            if halvings > MAX_HALVINGS:
                return Status.NO_CONVERGENCE.value, value, iteration
            move(x, fraction, low, high, reach, vectors)
            continue
        normal_equations(channels, n, vectors, information)
        n_held = hold_at_bounds(x, low, high, vectors)
        n_lost = hold_without_information(information, vectors)
        ridge = 0.0
        while ridge < 1.0 and not factorise(information, vectors, factor, ridge):
            ridge = max(10.0 * ridge, 1e-6)
        if ridge >= 1.0:
            return Status.SINGULAR.value, value, iteration
        decrement = substitute(vectors, factor)
        if leave != 0 and iteration > 1:
            axis = source.n_shape - 1
            beyond = x[axis] + vectors[STEP, axis] - (high[axis] if leave > 0 else low[axis])
            if leave * beyond >= 0.0:
                return Status.NOT_DONE.value, value, iteration
        if decrement < tolerance:
            move(x, 1.0, low, high, 1.0, vectors)
            for j in range(n_free):
                x[j] = vectors[TRIAL, j]
                n_held -= low[j] >= high[j]
            if n_held > 0:
                return Status.AT_BOUND.value, value - decrement, iteration
            lost = ridge > 0.0 or n_lost > 0
            return Status.SINGULAR.value if lost else Status.OK.value, value - decrement, iteration
        if iteration == max_iterations:
            return Status.NO_CONVERGENCE.value, value, iteration
        iteration, halvings, fraction = iteration + 1, 0, 1.0
        move(x, fraction, low, high, reach, vectors)


@njit(cache=True, nogil=True)
def fit_table(source, data, x, low, high, work, information, max_iterations, tolerance):
    """:func:`fisher_scoring` on a table; where the last axis is linear, segment by segment.

    Linear interpolation leaves a kink at each node: the best fit may be the kink itself, and neighbouring segments may
    each have a minimum. So each segment is fitted alone and the neighbours of the best one are tried as well.
    """
    axis = source.n_shape - 1
    kinked = axis >= 0 and source.kinds[axis] == LINEAR and low[axis] < high[axis]
    inner_low, inner_high, start, best_x, best_information = low, high, x, x, information
    best_status, best_value, iterations = Status.NOT_DONE.value, inf, 0
    begin, end, k = 0, 0, 0
    if kinked:
        inner_low, inner_high, start = low.copy(), high.copy(), x.copy()
        best_x, best_information = x.copy(), information.copy()
        begin, end = source.offset[axis], source.offset[axis + 1]
        start[axis] = min(max(start[axis], low[axis]), high[axis])
        k = segment(source.nodes, begin, end, start[axis])
    best, tried_low, tried_high, leave = k, k, k, np.int64(0)
    # One call of fisher_scoring, which compiled code inlines.
    while True:
        if kinked:
            inner_low[axis] = max(low[axis], source.nodes[k])
            inner_high[axis] = min(high[axis], source.nodes[k + 1])
            for j in range(x.size):
                x[j] = start[j]
        status, value, n = fisher_scoring(
            source, data, x, inner_low, inner_high, work, information, max_iterations, tolerance, leave
        )
        if not kinked:
            return status, value, n
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
            best_x, best_information = x.copy(), information.copy()
        if best == tried_low and tried_low > begin and source.nodes[tried_low] > low[axis]:
            tried_low -= 1
            k, leave = tried_low, 1
        elif best == tried_high and tried_high < end - 2 and source.nodes[tried_high + 1] < high[axis]:
            tried_high += 1
            k, leave = tried_high, -1
        else:
            break
        start = best_x.copy()
        start[axis] = 0.5 * (source.nodes[k] + source.nodes[k + 1])
    for j in range(x.size):
        x[j] = best_x[j]
        for k in range(x.size):
            information[j, k] = best_information[j, k]
    return best_status, best_value, iterations


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def covariance_of(information, low, high, work, covariance):
    """Invert the Fisher matrix; return whether it worked.

    Fixed parameters (low = high) get zeros. Parameters that no channel depends on get NaN, the others what is true
    without them.
    """
    vectors = work.vectors
    n = information.shape[0]
    for j in range(n):
        vectors[HELD, j] = not (low[j] < high[j] and information[j, j] > 0.0)
    if not factorise(information, vectors, work.factor, 0.0):
        covariance[:, :] = nan
        return False
    factor = work.factor
    # The inverse of the lower Cholesky factor, in the lower triangle.
    for j in range(n):
        covariance[j, j] = factor[j, j]
        for k in range(j):
            value = 0.0
            for l in range(k, j):
                value -= factor[j, l] * covariance[l, k]
            covariance[j, k] = value * factor[j, j]
    # Its transpose times itself; row j needs rows j and below.
    for j in range(n):
        for k in range(j + 1):
            value = 0.0
            for l in range(j, n):
                value += covariance[l, j] * covariance[l, k]
            covariance[j, k] = value * vectors[UNIT, j] * vectors[UNIT, k]
            covariance[k, j] = covariance[j, k]
    for j in range(n):
        if low[j] < high[j] and not information[j, j] > 0.0:
            covariance[j, :] = nan
            covariance[:, j] = nan
    return True


def uncompiled(function: Any, **replaced: Any) -> Any:
    """Return the Python source of a compiled function as it is, with other functions behind some of its names."""
    source = function.py_func
    return FunctionType(source.__code__, {**source.__globals__, **replaced}, source.__name__, source.__defaults__)


def evaluate_object(source: Any, x: NDArray[np.float64], work: Work, n: int) -> None:
    """:func:`evaluate_table` for any object with ``evaluate(x, model, jacobian)``."""
    source.evaluate(x, work.channels[MODEL, :n], work.channels[JACOBIAN : JACOBIAN + x.size, :n])


#: The engine for sources that are Python objects: the same source code, uncompiled.
fit_object = uncompiled(fit_table, fisher_scoring=uncompiled(fisher_scoring, evaluate_table=evaluate_object))
