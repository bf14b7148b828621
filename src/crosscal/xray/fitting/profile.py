"""Profile likelihood of one parameter: the statistic minimised over the others."""

from __future__ import annotations

from math import inf, nan, sqrt

import numpy as np
from numba import njit

from crosscal.xray.fitting.engine import Status, fit_object, fit_table, uncompiled

_MAX_STEPS = 25
#: A statistic lower by this is another minimum, not rounding or lines that cross bins.
BETTER = 0.1


@njit(cache=True, nogil=True)
def constrained(source, data, x, j, value, covariance, low, high, work, information, limit, tolerance, out):
    """Minimise over all parameters but ``x[j] = value``; return the statistic (NaN where that fails).

    The start moves the others along the covariance, which is where the minimum is to second order.
    """
    n = x.size
    inner_low, inner_high = low.copy(), high.copy()
    inner_low[j] = value
    inner_high[j] = value
    shift = (value - x[j]) / covariance[j, j]
    for k in range(n):
        out[k] = min(max(x[k] + shift * covariance[k, j], inner_low[k]), inner_high[k])
    status, statistic, _ = fit_table(source, data, out, inner_low, inner_high, work, information, limit, tolerance)
    usable = status == Status.OK.value or status == Status.AT_BOUND.value
    return statistic if usable else nan


@njit(cache=True, nogil=True)
def profile_curve(source, data, x, best, j, offsets, covariance, low, high, work, limit, tolerance, out):
    """Fill ``out[k]`` with C(x[j] + offsets[k] sd) - C(best); NaN outside the limits or where a fit fails."""
    information, trial = np.zeros((x.size, x.size)), np.empty(x.size)
    sd = sqrt(covariance[j, j])
    for k in range(offsets.size):
        value = x[j] + offsets[k] * sd
        if value < low[j] or value > high[j]:
            out[k] = nan
            continue
        statistic = constrained(
            source, data, x, j, value, covariance, low, high, work, information, limit, tolerance, trial
        )
        out[k] = statistic - best


@njit(cache=True, nogil=True)
def profile_limit(source, data, x, best, j, direction, delta, covariance, low, high, work, limit, tolerance):
    """Return where C rises by ``delta`` above ``best`` in the given direction (-1 or +1) of parameter ``j``.

    sqrt(C - C_best) is nearly linear in the offset: a secant on it, kept inside a bracket, needs 3 or 4 fits. The
    parameter's limit is returned if C does not rise enough before it, NaN if fits fail, infinity if one of them meets
    a lower minimum (``work.vectors[TRIAL]`` is there).
    """
    information, trial = np.zeros((x.size, x.size)), np.empty(x.size)
    end = high[j] if direction > 0 else low[j]
    reach = abs(end - x[j])
    step = sqrt(delta * covariance[j, j])
    inside, outside, target = 0.0, inf, sqrt(delta)
    for _ in range(_MAX_STEPS):
        step = min(step, reach)
        statistic = constrained(
            source, data, x, j, x[j] + direction * step, covariance, low, high, work, information, limit, tolerance,
            trial,
        )  # fmt: skip
        if statistic != statistic:
            return nan
        rise = statistic - best
        if rise < -BETTER:
            return inf
        if abs(rise - delta) < 1e-4 * delta:
            return x[j] + direction * step
        if rise < delta:
            if step >= reach:
                return end
            inside = step
        else:
            outside = step
        ratio = target / sqrt(max(rise, 0.05 * delta))
        step *= min(max(ratio, 0.2), 3.0)
        if not inside < step < outside:
            step = 0.5 * (inside + outside) if outside < inf else 2.0 * inside
    return x[j] + direction * step


#: For sources that are Python objects.
constrained_object = uncompiled(constrained, fit_table=fit_object)
profile_limit_object = uncompiled(profile_limit, constrained=constrained_object)
