"""Compiled Gibbs sampler for columns that see few of many channels, one unknown variance per channel.

Areas are drawn given the variances, then each variance given the areas and the other variances, both with all fluxes
integrated out. A cell y of channel i is then Gaussian about B_i + g - s_i / 2 with variance s_i + v, where g and v are
mean and variance of the flux by the other cells of its column. Unlike a draw of the fluxes this mixes well where one
channel is much more precise than the others of its columns.
"""

# ruff: noqa: NPY002 - inside compiled code np.random is numba's own generator, seeded in each entry point

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosscal.concordance.elimination import draw_areas, set_row
from crosscal.concordance.pattern_samplers import areas_given
from crosscal.concordance.prior_sampler import NARROWEST, draw_area_prior, log_variance_prior
from crosscal.concordance.types import Comparison


@njit(cache=True, nogil=True)
def column_sums_given(indptr, row, y, half, s, b, sums):
    """Fill ``sums`` (M, 2) with sum p and sum p (y + half s - B) of each column, p = 1 / s."""
    inverse = 1.0 / s
    for j in range(len(sums)):
        weight, value = 0.0, 0.0
        for c in range(indptr[j], indptr[j + 1]):
            p = inverse[row[c]]
            weight += p
            value += p * (y[c] - b[row[c]]) + half
        sums[j, 0], sums[j, 1] = weight, value


#: Variances are drawn so often for each draw of the areas, which costs more.
_PASSES = 2
#: Variances are multiplied by so many before a logarithm is taken: their product does not leave the range of floats.
_TOGETHER = 8


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "arcp"})
def _squares(s, shift, r, v, first, last):
    """Sum of (r + shift)^2 / (s + v) and product of s + v over cells."""
    square, product = 0.0, 1.0
    for k in range(first, last):
        w = s + v[k]
        d = r[k] + shift
        square += d * d / w
        product *= w
    return square, product


@njit(cache=True, nogil=True)
def _log_density(u, r, v, size, half, df, beta, scale):
    """Log density of ln s_i at u: residuals ``r`` and variances ``v`` (size,) without s_i, and the prior."""
    s = np.exp(u)
    total = 0.0
    for first in range(0, size, _TOGETHER):
        square, product = _squares(s, half * s, r, v, first, min(first + _TOGETHER, size))
        total += square + np.log(product)
    return -0.5 * total + log_variance_prior(s, df, beta, scale)


@njit(cache=True, nogil=True)
def _slice(u, width, r, v, size, half, df, beta, scale):
    """Draw once by slice sampling (Neal 2003, Ann. Stat. 31, 705) from `_log_density`, starting at u."""
    level = _log_density(u, r, v, size, half, df, beta, scale) + np.log(1.0 - np.random.random())
    low = u - width * np.random.random()
    high = low + width
    for _ in range(50):
        if _log_density(low, r, v, size, half, df, beta, scale) <= level:
            break
        low -= width
    for _ in range(50):
        if _log_density(high, r, v, size, half, df, beta, scale) <= level:
            break
        high += width
    while True:
        x = low + np.random.random() * (high - low)
        if _log_density(x, r, v, size, half, df, beta, scale) > level or high - low < NARROWEST:
            return x
        if x < u:
            low = x
        else:
            high = x


@njit(cache=True, nogil=True)
def draw_variances(start, column, y, half, df, beta, scale, width, b, s, sums):
    """Draw each variance given the areas and the other variances; ``s`` and ``sums`` follow in place.

    ``column`` and ``y`` are those of the cells in columns of several cells, channel by channel: ``start`` (N + 1,).
    """
    longest = 0
    for i in range(len(s)):
        longest = max(longest, start[i + 1] - start[i])
    r, v = np.empty(longest), np.empty(longest)
    for i in range(len(s)):
        first, size, p = start[i], start[i + 1] - start[i], 1.0 / s[i]
        for k in range(size):
            j = column[first + k]
            own = y[first + k] - b[i]
            v[k] = 1.0 / max(sums[j, 0] - p, 1e-15 * p)  # what the others leave beside p, or rounding
            r[k] = own - (sums[j, 1] - p * own - half) * v[k]
        s[i] = np.exp(_slice(np.log(s[i]), width[i], r, v, size, half, df[i], beta[i], scale[i]))
        change = 1.0 / s[i] - p
        for k in range(size):
            j = column[first + k]
            sums[j, 0] += change
            sums[j, 1] += change * (y[first + k] - b[i])


@njit(cache=True, nogil=True)
def sparse_chain(indptr, row, y, by_channel, column, y_by_channel, half, precision, information, df, beta, scale, width,
                 area_mean, tau, nu_area, tau_scale, s, state, sweeps, seed, keep_b, keep_s):  # fmt: skip
    """Run ``sweeps`` sweeps from ``s``, storing B and s; False if numerics failed.

    ``s``, ``state`` and, where the areas' prior has latent widths, ``precision`` and ``information`` are changed in
    place. No channel may have two cells in a column; ``by_channel``, ``column`` and ``y_by_channel`` are the first
    three arguments of `draw_variances`.
    """
    np.random.seed(seed)
    sums, once = np.empty((len(indptr) - 1, 2)), np.ones(len(indptr) - 1, np.int64)
    for k in range(sweeps):
        a, h = areas_given(indptr, row, once, y, half, s, precision, information)
        b, good = draw_areas(a, h)
        if not good:
            return False
        column_sums_given(indptr, row, y, half, s, b, sums)
        for _ in range(_PASSES):
            draw_variances(by_channel, column, y_by_channel, half, df, beta, scale, width, b, s, sums)
        if nu_area > 0.0 or tau_scale > 0.0:
            draw_area_prior(b, area_mean, tau, nu_area, tau_scale, state, precision, information)
        set_row(keep_b, k, b)
        set_row(keep_s, k, s)
    return True


def by_channel(data: Comparison) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """Return starts, columns and y of the cells in columns of several cells, channel by channel."""
    order, _ = data.by_channel
    order = order[(np.diff(data.indptr) > 1)[data.column[order]]]
    start = np.searchsorted(data.row[order], np.arange(data.n_channels + 1)).astype(np.int64)
    return start, np.ascontiguousarray(data.column[order]), np.ascontiguousarray(data.log_rate[order])
