"""Many spectra of one instrument, fitted one after the other by the compiled engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.engine import (
    MAX_ITERATIONS,
    TOLERANCE,
    Status,
    covariance_of,
    fisher_scoring,
    fit_table,
    normal_equations,
)
from crosscal.xray.fitting.profile import profile_curve, profile_limit
from crosscal.xray.fitting.starts import best_scale_start
from crosscal.xray.fitting.statistics import Data, Kind, assess
from crosscal.xray.fitting.table import (
    JACOBIAN,
    LINEAR,
    MODEL,
    WEIGHT,
    FoldedTable,
    apply_floor,
    evaluate_table,
    make_work,
)
from crosscal.xray.fitting.templates import FoldedTemplates

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Solutions:
    """Best fits of n spectra in engine coordinates; NaN where the fit failed.

    Attributes
    ----------
    x : (n, n_free)
    covariance : (n, n_free, n_free)
    statistic : (n,)
    status : (n,) int8
    """

    x: Array
    covariance: Array
    statistic: Array
    status: NDArray[np.int8]


def solve_batch(
    table: FoldedTable,
    counts: Array,
    start: Array,
    low: Array,
    high: Array,
    *,
    tolerance: float = TOLERANCE,
) -> Solutions:
    """Fit counts by cstat within ``low`` and ``high`` (n_free,).

    A fit that fails is tried once more from the best node of the last axis.

    Parameters
    ----------
    counts : (n, n_channel)
    start : (n_start, n_free)
        Each start is that of n / n_start consecutive spectra, such as noisy copies of one: then the first step is
        worked out once for all of them (it is linear in the counts).
    tolerance : float
        See ``engine.TOLERANCE``.
    """
    n, (n_start, n_free) = counts.shape[0], start.shape
    x = start.repeat(n // n_start, axis=0)
    covariance = np.empty((n, n_free, n_free))
    statistic, status = np.empty(n), np.empty(n, dtype=np.int8)
    # A library without kinks does not wait for the search over segments to be compiled.
    kinked = True if table.n_shape > 0 and table.kinds[table.n_shape - 1] == LINEAR else None
    if n_start < n:
        _first_step(table, counts, start, x)
    _solve(table, counts, x, low, high, tolerance, kinked, covariance, statistic, status)
    if np.any((status > Status.AT_BOUND) & (status != Status.BAD_DATA)):
        again = np.flatnonzero((status > Status.AT_BOUND) & (status != Status.BAD_DATA))
        some = np.ascontiguousarray(counts[again])
        x_again = np.array(start[again // (n // n_start)], dtype=float)
        _restart(table, some, x_again, low, high)
        results = (covariance[again], statistic[again], status[again])
        _solve(table, some, x_again, low, high, tolerance, kinked, *results)
        x[again] = x_again
        covariance[again], statistic[again], status[again] = results
    failed = status > Status.AT_BOUND
    if failed.any():
        x[failed], covariance[failed], statistic[failed] = np.nan, np.nan, np.nan
    return Solutions(x, covariance, statistic, status)


def profile_batch(
    table: FoldedTable, counts: Array, found: Solutions, j: int, offsets: Array, low: Array, high: Array
) -> Array:
    """Return C - C_best (n, n_offset) at ``x[j] + offsets * sd``; see :func:`profile_curve`."""
    out = np.full((counts.shape[0], offsets.size), np.nan)
    usable = found.status <= Status.AT_BOUND
    _profiles(table, counts, found.x, found.statistic, found.covariance, usable, j, offsets, low, high, out)
    return out


def interval_batch(
    table: FoldedTable, counts: Array, found: Solutions, j: int, delta: float, low: Array, high: Array
) -> Array:
    """Return where C rises by ``delta`` below and above ``x[j]`` (n, 2); see :func:`profile_limit`."""
    out = np.full((counts.shape[0], 2), np.nan)
    usable = found.status <= Status.AT_BOUND
    _intervals(table, counts, found.x, found.statistic, found.covariance, usable, j, float(delta), low, high, out)
    # Where a lower minimum is met the fit was not the best one, and has no interval.
    return np.where(np.isinf(out), np.nan, out)


@njit(cache=True, nogil=True)
def _intervals(table, counts, x, best, covariance, usable, j, delta, low, high, out):
    empty = np.empty(0)
    work = make_work(counts.shape[1], x.shape[1], table.monomials.shape[0], table.kinds.size)
    for i in range(counts.shape[0]):
        if usable[i]:
            data = Data(Kind.CSTAT.value, counts[i], empty, empty, empty)
            for side in range(2):
                out[i, side] = profile_limit(
                    table, data, x[i], best[i], j, 2 * side - 1, delta, covariance[i], low, high, work,
                    np.int64(MAX_ITERATIONS), TOLERANCE,
                )  # fmt: skip


@njit(cache=True, nogil=True)
def _first_step(table, counts, start, x):
    """Fill ``x`` with the starts after one step: x0 + F^-1 J' W (counts - model), the model at x0."""
    n_start, n_free = start.shape
    n, repeats = counts.shape[1], counts.shape[0] // n_start
    work = make_work(n, n_free, table.monomials.shape[0], table.kinds.size)
    information, covariance = np.zeros((n_free, n_free)), np.zeros((n_free, n_free))
    empty, low, high = np.empty(0), np.full(n_free, -np.inf), np.full(n_free, np.inf)
    linear = np.empty((n_free, n))
    for s in range(n_start):
        evaluate_table(table, start[s], work, n)
        apply_floor(work.channels, n, n_free)
        assess(Data(Kind.CSTAT.value, counts[s * repeats], empty, empty, empty), work.channels)
        normal_equations(work.channels, n, work.vectors, information)
        if not covariance_of(information, low, high, work, covariance):
            continue
        for j in range(n_free):
            offset = 0.0
            for i in range(n):
                value = 0.0
                for k in range(n_free):
                    value += covariance[j, k] * work.channels[JACOBIAN + k, i]
                linear[j, i] = value * work.channels[WEIGHT, i]
                offset += linear[j, i] * work.channels[MODEL, i]
            for r in range(s * repeats, (s + 1) * repeats):
                x[r, j] = start[s, j] - offset + row_product(linear, j, counts, r)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def row_product(a, j, b, r):
    """Scalar product of row j of ``a`` and row r of ``b``."""
    value = 0.0
    for i in range(a.shape[1]):
        value += a[j, i] * b[r, i]
    return value


@njit(cache=True, nogil=True)
def has_counts(counts, i):
    """Whether any channel of spectrum ``i`` has counts."""
    k = 0
    while k < counts.shape[1] and counts[i, k] == 0.0:
        k += 1
    return k < counts.shape[1]


@njit(cache=True, nogil=True)
def _solve(table, counts, x, low, high, tolerance, kinked, covariance, statistic, status):
    """Fit each spectrum from ``x``; ``kinked`` (None or True) is a type to the compiler, which leaves the other out."""
    empty, n_free = np.empty(0), x.shape[1]
    information = np.zeros((n_free, n_free))
    work = make_work(counts.shape[1], n_free, table.monomials.shape[0], table.kinds.size)
    limit, none = np.int64(MAX_ITERATIONS), np.int64(0)
    for i in range(counts.shape[0]):
        if not has_counts(counts, i):
            status[i] = Status.BAD_DATA.value
            continue
        data = Data(Kind.CSTAT.value, counts[i], empty, empty, empty)
        if kinked is None:
            code, value, _ = fisher_scoring(table, data, x[i], low, high, work, information, limit, tolerance, none)
        else:
            code, value, _ = fit_table(table, data, x[i], low, high, work, information, limit, tolerance)
        if (code == 0 or code == 1) and not covariance_of(information, low, high, work, covariance[i]):
            code = Status.SINGULAR.value
        status[i], statistic[i] = code, value


@njit(cache=True, nogil=True)
def _restart(table, counts, x, low, high):
    empty = np.empty(0)
    work = make_work(counts.shape[1], x.shape[1], table.monomials.shape[0], table.kinds.size)
    for i in range(counts.shape[0]):
        best_scale_start(table, Data(Kind.CSTAT.value, counts[i], empty, empty, empty), x[i], low, high, work)


@njit(cache=True, nogil=True)
def _profiles(table, counts, x, best, covariance, usable, j, offsets, low, high, out):
    empty = np.empty(0)
    work = make_work(counts.shape[1], x.shape[1], table.monomials.shape[0], table.kinds.size)
    for i in range(counts.shape[0]):
        if usable[i]:
            data = Data(Kind.CSTAT.value, counts[i], empty, empty, empty)
            profile_curve(
                table,
                data,
                x[i],
                best[i],
                j,
                offsets,
                covariance[i],
                low,
                high,
                work,
                np.int64(MAX_ITERATIONS),
                TOLERANCE,
                out[i],
            )


@dataclass(frozen=True)
class BatchFit:
    """Best fits of n spectra.

    Attributes
    ----------
    names : free parameters
    values : (n, n_free)
    covariance : (n, n_free, n_free)
    statistic : (n,) C
    status : (n,) of `Status`; values of failed fits are NaN
    """

    names: tuple[str, ...]
    values: Array
    covariance: Array
    statistic: Array
    status: NDArray[np.int8]

    @property
    def good(self) -> NDArray[np.bool_]:
        """Fits that converged inside or at their limits."""
        return self.status <= Status.AT_BOUND


def fit_counts(
    templates: FoldedTemplates,
    model: Model,
    counts: ArrayLike,
    *,
    start: Mapping[str, ArrayLike],
    table: FoldedTable | None = None,
) -> BatchFit:
    """Fit counts (n, n_channel) by C (Cash 1979, XSPEC's form).

    Parameters
    ----------
    start : mapping
        Where each free parameter starts, scalar or (n,).
    table : FoldedTable, optional
        Of another calibration (``templates.folded(factor)``); the templates' own if not given.

    Raises
    ------
    InputError
        If the counts do not have the templates' channels.
    """
    data = np.ascontiguousarray(counts, dtype=float)
    if data.ndim != 2 or data.shape[1] != templates.n_channel:
        raise InputError(
            f"counts of shape {data.shape}", where="fit_counts", expected=f"(n, {templates.n_channel}) for the band"
        )
    x = np.broadcast_to(templates.nodes.to_engine(start), (len(data), len(templates.names)))
    found = solve_batch(templates.table if table is None else table, data, x, *templates.limits(model))
    return BatchFit(
        templates.names,
        templates.nodes.from_engine(found.x),
        templates.nodes.covariance_from_engine(found.x, found.covariance),
        found.statistic,
        found.status,
    )
