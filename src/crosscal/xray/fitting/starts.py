"""Where a fit begins when nothing better is known: the best node of the last shape axis, at its best scale."""

from __future__ import annotations

from math import inf, isfinite

from numba import njit

from crosscal.xray.fitting.statistics import total
from crosscal.xray.fitting.table import MODEL, TRIAL, apply_floor, evaluate_table


@njit(cache=True, nogil=True)
def net_counts(data):
    """Counts above the background, at least one tenth of all counts so that a scale stays positive."""
    gross, net = 0.0, 0.0
    for i in range(data.counts.size):
        gross += data.counts[i]
        net += data.counts[i]
        if data.background.size > 0 and data.ratio[i] > 0.0:
            net -= data.background[i] / data.ratio[i]
    return max(net, 0.1 * gross)


@njit(cache=True, nogil=True)
def best_scale_start(table, data, x, low, high, work):
    """Set ``x`` to the best start found: last axis at each node, common linear factors scaled to the net counts.

    Other parameters keep their values. A linear parameter is scaled if it multiplies every part of the model (norm).
    """
    n, n_free, axis = data.counts.size, x.size, table.n_shape - 1
    n_part, n_linear = table.monomials.shape
    net, best = net_counts(data), inf
    begin = table.offset[axis] if axis >= 0 else 0
    end = table.offset[axis + 1] if axis >= 0 else 1
    for k in range(begin, end):
        trial = x.copy()
        if axis >= 0:
            trial[axis] = min(max(table.nodes[k], low[axis]), high[axis])
        for attempt in range(2):
            evaluate_table(table, trial, work, n)
            apply_floor(work.channels, n, n_free)
            model = 0.0
            for i in range(n):
                model += work.channels[MODEL, i]
            if attempt == 0 and model > 0.0:
                for l in range(n_linear):
                    common = True
                    for part in range(n_part):
                        common = common and table.monomials[part, l] == 1
                    j = table.n_shape + l
                    if common and low[j] < high[j]:
                        trial[j] = min(max(trial[j] * net / model, low[j]), high[j])
                        break
        value = total(data, work.channels)
        if isfinite(value) and value < best:
            best = value
            for j in range(n_free):
                work.vectors[TRIAL, j] = trial[j]
    if best < inf:
        for j in range(n_free):
            x[j] = work.vectors[TRIAL, j]
    return best
