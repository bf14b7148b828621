"""The inner loop of a library: simulate with the modified calibration, fit with the nominal and the modified one."""

from __future__ import annotations

from math import nan

import numpy as np
from numba import njit

from crosscal.xray.fitting.engine import Status, covariance_of
from crosscal.xray.fitting.poisson import draw, prepare
from crosscal.xray.fitting.profile import profile_curve
from crosscal.xray.fitting.starts import fit_with_retry
from crosscal.xray.fitting.statistics import Data, Kind
from crosscal.xray.fitting.table import MODEL, evaluate_table, make_work


@njit(cache=True, nogil=True)
def library_points(
    nominal, modified, n_channel, x_true, low, high, seeds, is_poisson, alias, offsets, profiled, limit, tolerance,
    x_out, covariance_out, statistic_out, status_out, profile_out,
):  # fmt: skip
    """Fill one theta of a library.

    Parameters
    ----------
    nominal, modified : FoldedTable
        What the analyst uses; what the instrument truly does.
    x_true : (n_T, n_free) engine coordinates of the truth
    low, high : (n_free,)
    seeds : (n_T, n_realisation) uint64
    alias : tables of ``fitting.poisson``
    offsets : (n_offset,) where the profile of parameter ``profiled`` is taken, in its standard errors
    x_out, covariance_out, statistic_out, status_out, profile_out
        (n_T, n_realisation, 2, ...) results; the axis of length 2 is nominal, modified.
    """
    n_T, n_draw = seeds.shape
    n_free = x_true.shape[1]
    start, lowest, keep, other = alias
    n = n_channel
    work = make_work(n, n_free, modified.monomials.shape[0], modified.kinds.size)
    information, empty = np.zeros((n_free, n_free)), np.empty(0)
    expected, counts, uniform = np.empty(n), np.empty(n), np.empty(n)
    integers, reals = np.empty((2, n), np.int64), np.empty((6, n))
    x, biased = np.empty(n_free), np.empty(n_free)
    for t in range(n_T):
        evaluate_table(modified, x_true[t], work, n)
        for i in range(n):
            expected[i] = max(work.channels[MODEL, i], 0.0)
        data = Data(Kind.CSTAT.value, expected, empty, empty, empty)
        # The noiseless solution is within the noise of every noisy one: the best start there is.
        status, _ = fit_with_retry(nominal, data, x_true[t], low, high, work, information, biased, limit, tolerance)
        if status != Status.OK.value and status != Status.AT_BOUND.value:
            biased[:] = x_true[t]
        if is_poisson:
            prepare(expected, n, start, lowest, integers, reals)
        for r in range(n_draw):
            if is_poisson:
                draw(seeds[t, r], n, integers, reals, keep, other, uniform, counts)
            else:
                counts[:] = expected
            data = Data(Kind.CSTAT.value, counts, empty, empty, empty)
            some = counts.sum() > 0.0
            for c in range(2):
                table = nominal if c == 0 else modified
                status, value = Status.BAD_DATA.value, nan
                if some:
                    first = biased if c == 0 else x_true[t]
                    status, value = fit_with_retry(
                        table, data, first, low, high, work, information, x, limit, tolerance
                    )
                covariance = covariance_out[t, r, c]
                usable = status == Status.OK.value or status == Status.AT_BOUND.value
                if usable and not covariance_of(information, low, high, work, covariance):
                    status, usable = Status.SINGULAR.value, False
                status_out[t, r, c] = status
                if not usable:
                    x_out[t, r, c, :] = nan
                    covariance[:, :] = nan
                    statistic_out[t, r, c] = nan
                    profile_out[t, r, c, :] = nan
                    continue
                x_out[t, r, c, :] = x
                statistic_out[t, r, c] = value
                if offsets.size:
                    profile_curve(
                        table, data, x, value, profiled, offsets, covariance, low, high, work, limit, tolerance,
                        profile_out[t, r, c],
                    )  # fmt: skip
