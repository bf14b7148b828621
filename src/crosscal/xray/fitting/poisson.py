"""Poisson numbers, many per mean, each from a 64-bit seed of its own.

Below 1024 a draw is Poisson(floor(m)) + Poisson(m - floor(m)): the first from tables that are made once for all
integers, the second, of mean below 1, by inversion. Of 512 equal slots, floor(512 p_k) hold the outcome k, so that
most draws are one look into half a kilobyte (Marsaglia, Tsang & Wang 2004, J. Stat. Softw. 11, 3); the other slots send
a draw to an alias table of what is left of the p_k (Walker 1977, ACM TOMS 3, 253). Above, transformed rejection
(Hörmann 1993, Insurance: Mathematics and Economics 12, 39, algorithm PTRS). All are exact to the 53 bits of a uniform
number.

Uniform numbers are a function of (seed, channel): SplitMix64 (Steele, Lea & Flood 2014), so that no draw depends
on another.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, floor, lgamma, log, sqrt
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError

# Means at and above take the rejection method; the tables below take 5 MB.
TOP = 1024
LARGEST_MEAN = 1e12
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_UNIT = 1.0 / 9007199254740992.0  # 2**-53
SLOTS = 512
_SLOT_SHIFT, _SLOT_BITS = np.uint64(55), np.uint64(9)
#: In a slot: the draw is one of the alias table.
_ELSE = 255
# Rows of the integer and of the real part of a plan.
WHOLE, LOW = 0, 1
C0, C1, C2, RESIDUE, MEAN = 0, 1, 2, 3, 4


class Tables(NamedTuple):
    """Of Poisson(k) for k = 0, ..., TOP - 1; see :func:`_make_tables`.

    slots : (TOP, SLOTS) outcome - first[k], or _ELSE
    first : (TOP,) smallest outcome in a slot
    start : (TOP + 1,) where the alias table of k begins
    low : (TOP,) outcome of its first column
    packed : the alias tables, one after another
    """

    slots: NDArray[np.uint8]
    first: NDArray[np.int64]
    start: NDArray[np.int64]
    low: NDArray[np.int64]
    packed: NDArray[np.uint64]


# An entry of an alias table packs the probability of keeping a column (in units of 2**-53) and the other outcome, so
# that a draw reads one number: most of its time is the wait for it.
_BITS = np.uint64(11)
_MASK = np.uint64((1 << 11) - 1)


@njit(cache=True)
def _make_tables(top):
    """Fill the slots of Poisson(0), ..., Poisson(top - 1), and alias tables of what the slots do not hold."""
    start, low, first = np.zeros(top + 1, np.int64), np.zeros(top, np.int64), np.zeros(top, np.int64)
    for k in range(top):
        # Outside this range the probability is below 2**-60.
        half = 9.5 * sqrt(k) + 12.0
        low[k] = int(max(0.0, floor(k - half)))
        high = int(k + half + 20.0) if k > 0 else 0
        start[k + 1] = start[k] + high - low[k] + 1
    packed, slots = np.zeros(start[top], np.uint64), np.full((top, SLOTS), _ELSE, np.uint8)
    p = np.zeros(2048)
    for k in range(top):
        n, total = start[k + 1] - start[k], 0.0
        for j in range(n):
            x = low[k] + j
            p[j] = exp(x * log(k) - k - lgamma(x + 1.0)) if k > 0 else 1.0
            total += p[j]
        filled = 0
        for j in range(n):
            p[j] *= SLOTS / total
            whole = int(p[j])
            if whole > 0 and filled == 0:
                first[k] = low[k] + j
            for i in range(filled, filled + whole):
                slots[k, i] = low[k] + j - first[k]
            filled += whole
            p[j] -= whole
        if filled < SLOTS:
            for j in range(n):
                p[j] *= n / (SLOTS - filled)
            _alias_table(p, n, packed[start[k] : start[k + 1]])
    return slots, first, start, low, packed


@njit(cache=True)
def _alias_table(p, n, packed):
    """Fill the alias table of the first ``n`` probabilities ``p / n``; ``p`` is used up."""
    small, large = np.zeros(n, np.int64), np.zeros(n, np.int64)
    n_small, n_large = 0, 0
    for j in range(n):
        packed[j] = ~_MASK | np.uint64(j)
        if p[j] < 1.0:
            small[n_small] = j
            n_small += 1
        else:
            large[n_large] = j
            n_large += 1
    while n_small > 0 and n_large > 0:
        n_small -= 1
        a, b = small[n_small], large[n_large - 1]
        packed[a] = (np.uint64(p[a] * 9007199254740992.0) << _BITS) | np.uint64(b)
        p[b] -= 1.0 - p[a]
        if p[b] < 1.0:
            n_large -= 1
            small[n_small] = b
            n_small += 1


@lru_cache(maxsize=1)
def tables() -> Tables:
    """Return the tables of all integers below TOP; made on first use in 20 ms."""
    return Tables(*_make_tables(TOP))


@njit(cache=True, nogil=True, inline="always")
def _mix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def _uniform(word):
    return np.float64(np.int64(word >> _BITS)) * _UNIT


@njit(cache=True, nogil=True, inline="always")
def _exp_minus(r):
    """Return exp(-r) for r in [0, 1): Taylor's series about 1/2, to rounding; unlike libm's it becomes SIMD code."""
    t = 0.5 - r
    value = 1.0 / 20922789888000.0
    value = value * t + 1.0 / 1307674368000.0
    value = value * t + 1.0 / 87178291200.0
    value = value * t + 1.0 / 6227020800.0
    value = value * t + 1.0 / 479001600.0
    value = value * t + 1.0 / 39916800.0
    value = value * t + 1.0 / 3628800.0
    value = value * t + 1.0 / 362880.0
    value = value * t + 1.0 / 40320.0
    value = value * t + 1.0 / 5040.0
    value = value * t + 1.0 / 720.0
    value = value * t + 1.0 / 120.0
    value = value * t + 1.0 / 24.0
    value = value * t + 1.0 / 6.0
    value = value * t + 1.0 / 2.0
    value = value * t + 1.0 / 1.0
    value = value * t + 1.0 / 1.0
    return 0.6065306597126334 * value


@njit(cache=True, nogil=True, error_model="numpy")
def _prepare(means, n, first, integers, reals):
    """Fill the plan (2, n) and (5, n) from which :func:`_draw` draws for ``means[:n]`` (negative ones count as 0)."""
    for i in range(n):
        m = max(means[i], 0.0)
        k = int(min(m, TOP - 1.0))
        integers[WHOLE, i] = k
        reals[MEAN, i] = m
        # C2 < 0 sends every draw to the last loop of _draw(), RESIDUE < 0 on to the rejection method.
        reals[RESIDUE, i] = -1.0 if m >= TOP else m - k
    for i in range(n):
        integers[LOW, i] = first[np.uint64(integers[WHOLE, i])]
    for i in range(n):
        r = reals[RESIDUE, i]
        p = -1.0 if r < 0.0 else _exp_minus(r)
        reals[C0, i] = p
        reals[C1, i] = p * (1.0 + max(r, 0.0))
        reals[C2, i] = p * (1.0 + max(r, 0.0) * (1.0 + 0.5 * r))


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
        u = _uniform(_mix(state)) - 0.5
        state += _GAMMA
        v = _uniform(_mix(state))
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
def _from_alias_table(word, packed):
    x = _uniform(word) * packed.size
    column = np.int64(x)
    entry = packed[column]
    return column if x - column < np.float64(np.int64(entry >> _BITS)) * _UNIT else np.int64(entry & _MASK)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(seed, n, integers, reals, tables, uniform, slot, elsewhere, out):
    """Draw ``out[:n]`` by the plan of :func:`_prepare`; ``uniform``, ``slot`` and ``elsewhere`` (n,) are scratch.

    Several short loops: each has few arrays, which LLVM can prove apart, and becomes SIMD code.
    """
    slots = tables.slots
    for i in range(n):
        # The upper bits choose the slot; those below are another number.
        word = _mix(seed + _GAMMA * np.uint64(2 * i + 1))
        slot[i] = np.int64(word >> _SLOT_SHIFT)
        uniform[i] = _uniform(word << _SLOT_BITS)
    n_else = 0
    for i in range(n):
        value = slots[np.uint64(integers[WHOLE, i]), np.uint64(slot[i])]
        slot[i] = value
        elsewhere[n_else] = i
        n_else += value == _ELSE
    for i in range(n):
        v = uniform[i]
        extra = np.int64(v > reals[C0, i]) + np.int64(v > reals[C1, i]) + np.int64(v > reals[C2, i])
        out[i] = np.float64(integers[LOW, i] + slot[i] + extra)
    for j in range(n_else):
        i = elsewhere[j]
        k = integers[WHOLE, i]
        word = _mix(seed + _GAMMA * np.uint64(2 * i + 2))
        value = tables.low[k] + _from_alias_table(word, tables.packed[tables.start[k] : tables.start[k + 1]])
        out[i] += value - (integers[LOW, i] + _ELSE)
    for i in range(n):
        if uniform[i] > reals[C2, i]:
            if reals[RESIDUE, i] < 0.0:
                out[i] = _rejection(reals[MEAN, i], _mix(seed + _GAMMA * np.uint64(2 * i + 2)))
            else:
                out[i] += _tail(uniform[i], reals[RESIDUE, i], reals[C1, i], reals[C2, i]) - 3.0


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_all(means, seeds, tables, out):
    n_point, n_draw, n = out.shape
    integers, reals, uniform = np.empty((2, n), np.int64), np.empty((5, n)), np.empty(n)
    slot, elsewhere = np.empty(n, np.int64), np.empty(n, np.int64)
    for p in range(n_point):
        _prepare(means[p], n, tables.first, integers, reals)
        for r in range(n_draw):
            _draw(seeds[p, r], n, integers, reals, tables, uniform, slot, elsewhere, out[p, r])


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
    _draw_all(means, seeds, tables(), out)
    return out
