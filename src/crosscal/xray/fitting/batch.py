"""Many spectra of one instrument, fitted one after the other by the compiled engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.engine import MAX_ITERATIONS, TOLERANCE, Status, covariance_of
from crosscal.xray.fitting.starts import fit_with_retry
from crosscal.xray.fitting.statistics import Data, Kind
from crosscal.xray.fitting.table import FoldedTable
from crosscal.xray.fitting.templates import FoldedTemplates

Array = NDArray[np.float64]


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
        return (self.status == Status.OK) | (self.status == Status.AT_BOUND)


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
    x = np.array(np.broadcast_to(templates.nodes.to_engine(start), (len(data), len(templates.names))))
    low, high = templates.limits(model)
    covariance = np.full((*x.shape, x.shape[1]), np.nan)
    statistic, status = np.full(len(data), np.nan), np.full(len(data), Status.NOT_DONE.value, dtype=np.int8)
    _fit_all(
        templates.table if table is None else table, data, low, high, templates.work(), x, covariance, statistic, status
    )
    values = templates.nodes.from_engine(x)
    covariance = templates.nodes.covariance_from_engine(x, covariance)
    result = BatchFit(templates.names, values, covariance, statistic, status)
    values[~result.good] = np.nan
    return result


@njit(cache=True, nogil=True)
def _fit_all(table, counts, low, high, work, x, covariance, statistic, status):
    empty, n_free = np.empty(0), x.shape[1]
    information, start = np.zeros((n_free, n_free)), np.empty(n_free)
    for i in range(counts.shape[0]):
        if not counts[i].sum() > 0.0:
            status[i] = Status.BAD_DATA.value
            continue
        data = Data(Kind.CSTAT.value, counts[i], empty, empty, empty)
        start[:] = x[i]
        result, value = fit_with_retry(
            table, data, start, low, high, work, information, x[i], MAX_ITERATIONS, TOLERANCE
        )
        usable = result == Status.OK.value or result == Status.AT_BOUND.value
        if usable and not covariance_of(information, low, high, work, covariance[i]):
            result = Status.SINGULAR.value
        status[i] = result
        statistic[i] = value
