"""Poisson numbers, many per mean, each from a 64-bit seed of its own.

Below 1024 a draw is Poisson(floor(m)) + Poisson(m - floor(m)): the first from an alias table that is made once for
all integers (Walker 1977, ACM TOMS 3, 253), the second, of mean below 1, by inversion. Above, transformed rejection
(Hörmann 1993, Insurance: Mathematics and Economics 12, 39, algorithm PTRS). Both are exact to the 53 bits of a
uniform number.

Uniform numbers are a function of (seed, channel): SplitMix64 (Steele, Lea & Flood 2014), so that no draw depends
on another.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, floor, lgamma, log, sqrt

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError

# Means at and above take the rejection method; the tables below take 5 MB.
TOP = 1024
LARGEST_MEAN = 1e12
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_UNIT = 1.0 / 9007199254740992.0  # 2**-53
# Rows of the integer and of the real part of a plan.
BASE, LOW = 0, 1
SIZE, C0, C1, C2, RESIDUE, MEAN = 0, 1, 2, 3, 4, 5

Tables = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]

# An entry of an alias table packs the probability of keeping a column (in units of 2**-53) and the other outcome, so
# that a draw reads one number: most of its time is the wait for it.
_BITS = np.uint64(11)
_MASK = np.uint64((1 << 11) - 1)


@njit(cache=True)
def _alias_tables(top):
    """Alias tables of Poisson(0), ..., Poisson(top - 1), one after another."""
    start, low = np.zeros(top + 1, np.int64), np.zeros(top, np.int64)
    for k in range(top):
        # Outside this range the probability is below 2**-60.
        half = 9.5 * sqrt(k) + 12.0
        low[k] = int(max(0.0, floor(k - half)))
        high = int(k + half + 20.0) if k > 0 else 0
        start[k + 1] = start[k] + high - low[k] + 1
    packed = np.zeros(start[top], np.uint64)
    small, large, p = np.zeros(2048, np.int64), np.zeros(2048, np.int64), np.zeros(2048)
    for k in range(top):
        n, total = start[k + 1] - start[k], 0.0
        for j in range(n):
            x = low[k] + j
            p[j] = exp(x * log(k) - k - lgamma(x + 1.0)) if k > 0 else 1.0
            total += p[j]
        n_small, n_large = 0, 0
        for j in range(n):
            packed[start[k] + j] = ~_MASK | np.uint64(j)
            p[j] *= n / total
            if p[j] < 1.0:
                small[n_small] = j
                n_small += 1
            else:
                large[n_large] = j
                n_large += 1
        while n_small > 0 and n_large > 0:
            n_small -= 1
            a, b = small[n_small], large[n_large - 1]
            packed[start[k] + a] = (np.uint64(p[a] * 9007199254740992.0) << _BITS) | np.uint64(b)
            p[b] -= 1.0 - p[a]
            if p[b] < 1.0:
                n_large -= 1
                small[n_small] = b
                n_small += 1
    return start, low, packed


@lru_cache(maxsize=1)
def tables() -> Tables:
    """Return (start, low, packed) of the alias tables; made on first use in 20 ms."""
    return _alias_tables(TOP)


@njit(cache=True, nogil=True, inline="always")
def _mix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True, error_model="numpy")
def prepare(means, n, start, low, integers, reals):
    """Fill the plan (2, n) and (6, n) from which :func:`draw` draws for ``means[:n]`` (negative ones count as 0)."""
    for i in range(n):
        m = max(means[i], 0.0)
        k = int(min(m, TOP - 1.0))
        r = m - k
        integers[BASE, i], integers[LOW, i] = start[k], low[k]
        reals[SIZE, i] = (start[k + 1] - start[k]) * _UNIT
        reals[MEAN, i] = m
        if m >= TOP:
            # C2 < 0 sends every draw to the second loop of draw(), RESIDUE < 0 on to the rejection method.
            reals[C0, i], reals[C1, i], reals[C2, i], reals[RESIDUE, i] = -1.0, -1.0, -1.0, -1.0
            continue
        p = exp(-r)
        reals[C0, i] = p
        reals[C1, i] = p * (1.0 + r)
        reals[C2, i] = p * (1.0 + r * (1.0 + 0.5 * r))
        reals[RESIDUE, i] = r


@njit(cache=True, nogil=True, error_model="numpy")
def _tail(u, r, c1, c2):
    """Poisson(r) by inversion, known to exceed 2."""
    k, p, c = 3.0, (c2 - c1) * r / 3.0, c2
    c += p
    while u > c and p > 1e-18:
        k += 1.0
        p *= r / k
        c += p
    return k


@njit(cache=True, nogil=True, error_model="numpy")
def _rejection(m, state):
    root = sqrt(m)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        state += _GAMMA
        u = np.float64(np.int64(_mix(state) >> np.uint64(11))) * _UNIT - 0.5
        state += _GAMMA
        v = np.float64(np.int64(_mix(state) >> np.uint64(11))) * _UNIT
        us = 0.5 - abs(u)
        if us <= 0.0:
            continue
        k = floor((2.0 * a / us + b) * u + m + 0.43)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 1.0 or (us < 0.013 and v > us) or v <= 0.0:
            continue
        # ln p(k) by Stirling's series, arranged so that large numbers do not cancel.
        d = (k - m) / m
        log_p = (k - m) - k * np.log1p(d) - 0.5 * log(6.283185307179586 * k) - (1.0 - 1.0 / (30.0 * k * k)) / (12.0 * k)
        if log(v * inverse_alpha / (a / (us * us) + b)) <= log_p:
            return k


@njit(cache=True, nogil=True, error_model="numpy")
def draw(seed, n, integers, reals, packed, scratch, out):
    """Draw ``out[:n]`` by the plan of :func:`prepare`; ``scratch`` is (2, n).

    Several short loops: each has few arrays, which LLVM can prove apart, and becomes SIMD code.
    """
    for i in range(n):
        word = _mix(seed + _GAMMA * np.uint64(2 * i + 1))
        scratch[0, i] = np.float64(np.int64(word >> np.uint64(11))) * reals[SIZE, i]
    for i in range(n):
        word = _mix(seed + _GAMMA * np.uint64(2 * i + 2))
        scratch[1, i] = np.float64(np.int64(word >> np.uint64(11))) * _UNIT
    for i in range(n):
        x = scratch[0, i]
        column = np.int64(x)
        entry = packed[np.uint64(integers[BASE, i] + column)]
        keep = np.float64(np.int64(entry >> _BITS)) * _UNIT
        out[i] = np.float64(column if x - column < keep else np.int64(entry & _MASK))
    for i in range(n):
        v = scratch[1, i]
        extra = np.float64(v > reals[C0, i]) + np.float64(v > reals[C1, i]) + np.float64(v > reals[C2, i])
        out[i] += np.float64(integers[LOW, i]) + extra
    for i in range(n):
        if scratch[1, i] > reals[C2, i]:
            if reals[RESIDUE, i] < 0.0:
                out[i] = _rejection(reals[MEAN, i], _mix(seed + _GAMMA * np.uint64(2 * i + 1)))
            else:
                out[i] += _tail(scratch[1, i], reals[RESIDUE, i], reals[C1, i], reals[C2, i]) - 3.0


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_all(means, seeds, start, low, packed, out):
    n_point, n_draw, n = out.shape
    integers, reals, scratch = np.empty((2, n), np.int64), np.empty((6, n)), np.empty((2, n))
    for p in range(n_point):
        prepare(means[p], n, start, low, integers, reals)
        for r in range(n_draw):
            draw(seeds[p, r], n, integers, reals, packed, scratch, out[p, r])


def poisson_counts(means: ArrayLike, seeds: ArrayLike) -> NDArray[np.float64]:
    """Draw Poisson counts.

    Parameters
    ----------
    means : array, shape (n_point, n_channel)
    seeds : uint64 array, shape (n_point, n_draw)
        One seed a spectrum, of :func:`crosscal.core.random.point_seeds`.

    Returns
    -------
    array, shape (n_point, n_draw, n_channel)

    Raises
    ------
    InputError
        If a mean is negative, not finite or above 1e12, or the shapes do not fit.
    """
    means = np.ascontiguousarray(means, dtype=float)
    seeds = np.ascontiguousarray(seeds, dtype=np.uint64)
    if means.ndim != 2 or seeds.ndim != 2 or means.shape[0] != seeds.shape[0]:
        raise InputError(
            f"means of shape {means.shape} and seeds of shape {seeds.shape}",
            where="Poisson draws",
            expected="(n_point, n_channel) and (n_point, n_draw)",
        )
    if not np.all((means >= 0) & (means <= LARGEST_MEAN)):
        raise InputError(
            "a mean is negative, too large or not finite", where="Poisson draws", expected="0 to 1e12 counts"
        )
    out = np.empty((*seeds.shape, means.shape[1]))
    _draw_all(means, seeds, *tables(), out)
    return out
