"""Profile likelihood of one parameter: the statistic minimised over the others."""

from __future__ import annotations

from math import inf, nan, sqrt
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from crosscal.xray.fitting.engine import Status, minimise

_MAX_STEPS = 25


@njit(cache=True, nogil=True)
def _constrained(source, data, x, j, value, covariance, low, high, work, information, limit, tolerance, out):
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
    status, statistic, _ = minimise(source, data, out, inner_low, inner_high, work, information, limit, tolerance)
    usable = status == Status.OK.value or status == Status.AT_BOUND.value
    return statistic if usable else nan


def constrained(
    source: Any, data: Any, x: Any, j: int, value: float, covariance: Any, low: Any, high: Any, work: Any,
    information: Any, limit: int, tolerance: float, out: Any,
) -> float:  # fmt: skip
    """Minimise with ``x[j] = value`` held, for either kind of source; see :func:`_constrained`."""
    return _constrained.py_func(
        source, data, x, j, value, covariance, low, high, work, information, limit, tolerance, out
    )


@overload(constrained)
def _constrained_compiled(source, data, x, j, value, covariance, low, high, work, information, limit, tolerance, out):
    if isinstance(source, types.NamedTuple):
        return lambda source, data, x, j, value, covariance, low, high, work, information, limit, tolerance, out: (
            _constrained(source, data, x, j, value, covariance, low, high, work, information, limit, tolerance, out)
        )
    return None


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
    parameter's limit is returned if C does not rise enough before it, NaN if fits fail.
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
