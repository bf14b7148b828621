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
    fit_table,
)
from crosscal.xray.fitting.first_steps import first_steps
from crosscal.xray.fitting.profile import profile_curve, profile_limit
from crosscal.xray.fitting.starts import best_scale_start
from crosscal.xray.fitting.statistics import Data, Kind
from crosscal.xray.fitting.table import (
    FoldedTable,
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
        worked out once for all of them; see :func:`first_steps`.
    tolerance : float
        See ``engine.TOLERANCE``.
    """
    n, (n_start, n_free) = counts.shape[0], start.shape
    repeats = n // n_start
    start = np.ascontiguousarray(start, dtype=float)
    x = np.repeat(start, repeats, axis=0)
    if repeats > 1:  # compiled only where it is of use
        first_steps(table, counts, start, low, high, x)
    covariance = np.empty((n, n_free, n_free))
    statistic, status = np.empty(n), np.empty(n, dtype=np.int8)
    _solve(table, counts, x, low, high, tolerance, covariance, statistic, status)
    if np.any((status > Status.AT_BOUND) & (status != Status.BAD_DATA)):
        again = np.flatnonzero((status > Status.AT_BOUND) & (status != Status.BAD_DATA))
        some = np.ascontiguousarray(counts[again])
        x_again = start[again // repeats]
        _restart(table, some, x_again, low, high)
        results = (covariance[again], statistic[again], status[again])
        _solve(table, some, x_again, low, high, tolerance, *results)
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
def has_counts(counts, i):
    """Whether any channel of spectrum ``i`` has counts."""
    k = 0
    while k < counts.shape[1] and counts[i, k] == 0.0:
        k += 1
    return k < counts.shape[1]


@njit(cache=True, nogil=True)
def _solve(table, counts, x, low, high, tolerance, covariance, statistic, status):
    """Fit each spectrum from ``x``."""
    empty, n_free = np.empty(0), x.shape[1]
    information = np.zeros((n_free, n_free))
    work = make_work(counts.shape[1], n_free, table.monomials.shape[0], table.kinds.size)
    limit = np.int64(MAX_ITERATIONS)
    for i in range(counts.shape[0]):
        if not has_counts(counts, i):
            status[i] = Status.BAD_DATA.value
            continue
        data = Data(Kind.CSTAT.value, counts[i], empty, empty, empty)
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
