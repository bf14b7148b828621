"""The first step of many fits that share a start: noisy copies of one spectrum, started from its noiseless fit.

All that depends on the model is worked out once at the shared start x0. With L = ln m, its derivatives L_a and L_ab
and expected counts m = m(x0), the log-likelihood of counts n is

    l(x0 + d) = l(x0) + g_a d_a + H_ab d_a d_b / 2 + T_abc d_a d_b d_c / 6 + ...
    g_a = sum_i (n - m) L_a,   H_ab = -F_ab + sum_i (n - m) L_ab,   F_ab = sum_i m L_a L_b
    T_abc = -sum_i m (L_ab L_c + L_bc L_a + L_ca L_b + L_a L_b L_c)   (expected value)

so that a spectrum costs its scalar products with L_a and L_ab. Solving the score equations of this cubic leaves an
error of third order in (standard error) / (scale of the model's curvature), where Newton's step leaves one of second
order. The fit itself then decides whether that is good enough.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numba import njit

from crosscal.xray.fitting.engine import covariance_of, normal_equations
from crosscal.xray.fitting.table import (
    JACOBIAN,
    LINEAR,
    MODEL,
    WEIGHT,
    apply_floor,
    evaluate_table,
    make_work,
)

# Differences of L_a reach this far, in standard errors: their own error is a thousandth of the effect.
_REACH = 1e-3
# A step of second order that changes Newton's by more than this part of its length is not trusted.
_TRUSTED = 0.5


@njit(cache=True, nogil=True, error_model="numpy")
def first_steps(table, counts, start, low, high, x):
    """Fill ``x`` (n, n_free) with ``start`` (n_start, n_free) after one step each; counts are (n, n_channel).

    A start whose Fisher matrix is singular is left as it is.
    """
    n_start, n_free = start.shape
    n, repeats = counts.shape[1], counts.shape[0] // n_start
    work = make_work(n, n_free, table.monomials.shape[0], table.kinds.size)
    information, no_limit = np.empty((n_free, n_free)), np.full(n_free, np.inf)
    covariance, third = np.zeros((n_free, n_free)), np.zeros((n_free, n_free, n_free))
    model, score, second = np.empty(n), np.empty((n_free, n)), np.empty((n_free, n_free, n))
    is_smooth = n_free > 0  # not a constant, for which Numba would compile `_steps` twice
    for axis in range(table.n_shape):
        is_smooth = is_smooth and table.kinds[axis] != LINEAR
    for s in range(n_start):
        _log_derivatives(table, start[s], work, n, score)
        normal_equations(work.channels, n, work.vectors, information)
        if not covariance_of(information, -no_limit, no_limit, work, covariance):
            continue
        for i in range(n):
            model[i] = work.channels[MODEL, i]
        if is_smooth:
            _curvature(table, start[s], covariance, low, high, work, score, second)
            _third(model, score, second, third)
        copies = counts[s * repeats : (s + 1) * repeats]
        _steps(copies, start[s], model, score, second, third, covariance, is_smooth, x, s * repeats)


@njit(cache=True, nogil=True, error_model="numpy")
def _log_derivatives(table, x, work, n, out):
    """Fill ``out`` with L_a at ``x``, and the model and 1 / model in the channels of ``work``."""
    evaluate_table(table, x, work, n)
    apply_floor(work.channels, n, x.size)
    _divide(work.channels, n, out)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _divide(channels, n, out):
    for i in range(n):
        channels[WEIGHT, i] = 1.0 / channels[MODEL, i]
    for a in range(out.shape[0]):
        for i in range(n):
            out[a, i] = channels[JACOBIAN + a, i] * channels[WEIGHT, i]


@njit(cache=True, nogil=True, error_model="numpy")
def _curvature(table, x0, covariance, low, high, work, score, second):
    """Fill L_ab by differences of L_a, whose values at ``x0`` are ``score``."""
    n_free, n = score.shape
    at = x0.copy()
    for b in range(n_free):
        h = _REACH * sqrt(covariance[b, b])
        if x0[b] + h > high[b]:
            h = -h
        if not low[b] <= x0[b] + h <= high[b]:
            second[b] = 0.0
            continue
        at[b] = x0[b] + h
        _log_derivatives(table, at, work, n, second[b])
        at[b] = x0[b]
        _differences(score, second, b, 1.0 / h)
    _symmetric(second)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _differences(score, second, b, inverse):
    for a in range(score.shape[0]):
        for i in range(score.shape[1]):
            second[b, a, i] = (second[b, a, i] - score[a, i]) * inverse


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _symmetric(second):
    for a in range(second.shape[0]):
        for b in range(a):
            for i in range(second.shape[2]):
                second[a, b, i] = 0.5 * (second[a, b, i] + second[b, a, i])
            for i in range(second.shape[2]):
                second[b, a, i] = second[a, b, i]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _third(model, score, second, third):
    """Fill T_abc, which is the same in any order of a, b and c."""
    for a in range(score.shape[0]):
        for b in range(a + 1):
            for c in range(b + 1):
                value = 0.0
                for i in range(model.size):
                    la, lb, lc = score[a, i], score[b, i], score[c, i]
                    bent = second[a, b, i] * lc + second[b, c, i] * la + second[c, a, i] * lb
                    value -= model[i] * (bent + la * lb * lc)
                third[a, b, c] = third[b, c, a] = third[c, a, b] = value
                third[a, c, b] = third[c, b, a] = third[b, a, c] = value


@njit(cache=True, nogil=True, forceinline=True)
def _copy(source, target):
    """``target[:] = source``, for which Numba would compile a formatted error message as well."""
    for a in range(source.size):
        target[a] = source[a]


@njit(cache=True, nogil=True, error_model="numpy")
def _steps(counts, x0, model, score, second, third, covariance, is_smooth, x, first):
    """Fill ``x`` from row ``first`` on with the step of each row of ``counts``."""
    n_free, n = x0.size, counts.shape[1]
    gradient, newton, step, right = np.empty(n_free), np.empty(n_free), np.empty(n_free), np.empty(n_free)
    excess, of_model = np.zeros((n_free, n_free)), np.zeros((n_free, 1 + n_free))
    # What m contributes to the scalar products is the same for all.
    for a in range(n_free):
        of_model[a, 0] = row_product(score[a], model, n)
        for b in range(a + 1):
            of_model[a, 1 + b] = row_product(second[a, b], model, n) if is_smooth else 0.0
    for r in range(counts.shape[0]):
        row = counts[r]
        for a in range(n_free):
            gradient[a] = row_product(score[a], row, n) - of_model[a, 0]
        _times(covariance, gradient, newton)
        _copy(newton, step)
        if is_smooth:
            for a in range(n_free):
                for b in range(a + 1):
                    excess[a, b] = row_product(second[a, b], row, n) - of_model[a, 1 + b]
                    excess[b, a] = excess[a, b]
            for _ in range(3):
                _bent(gradient, excess, third, step, right)
                _times(covariance, right, step)
            # Lengths in standard errors: d' F d, by d' g for Newton's step.
            change, length = 0.0, 0.0
            for a in range(n_free):
                change += (step[a] - newton[a]) * (right[a] - gradient[a])
                length += newton[a] * gradient[a]
            if not change <= _TRUSTED * _TRUSTED * length:
                _copy(newton, step)
        for a in range(n_free):
            x[first + r, a] = x0[a] + step[a]


@njit(cache=True, nogil=True, forceinline=True)
def _times(matrix, vector, out):
    for a in range(vector.size):
        out[a] = 0.0
        for b in range(vector.size):
            out[a] += matrix[a, b] * vector[b]


@njit(cache=True, nogil=True, forceinline=True)
def _bent(gradient, excess, third, step, right):
    """``right = g + E d + T d d / 2``, which F d equals at the maximum."""
    n_free = gradient.size
    for a in range(n_free):
        right[a] = gradient[a]
        for b in range(n_free):
            right[a] += excess[a, b] * step[b]
            for c in range(n_free):
                right[a] += 0.5 * third[a, b, c] * step[b] * step[c]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy", forceinline=True)
def row_product(a, b, n):
    """Scalar product of the first ``n`` elements of two rows."""
    value = 0.0
    for i in range(n):
        value += a[i] * b[i]
    return value
