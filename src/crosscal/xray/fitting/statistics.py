"""Fit statistics: their values, first derivatives and expected second derivatives, channel by channel.

All statistics are written as ``C = 2 sum_i c_i(m_i)`` with ``m`` the expected source counts of a channel, so
that differences of C are distributed as chi2 in the limit of many counts. ``ratio`` is the expected background
in the background spectrum for one expected background count in the source spectrum,
``r = (t_b backscale_b areascale_b) / (t_s backscale_s areascale_s)``.

For the Fisher-scoring engine each statistic gives

    score_i  = -(1/2) dC/dm_i          weight_i = (1/2) E[d2C/dm_i2]   (background profiled out)

so that a step is ``(J' W J)^-1 J' score`` with ``J = dm/dparameters``.

References: Cash 1979, ApJ 228, 939 (eq. 5); Arnaud, *XSPEC manual*, appendix B (cstat, wstat, pgstat with XSPEC's
constants); Gehrels 1986, ApJ 303, 336 (eq. 7); Kaastra 2017, A&A 605, A51 (expected value and variance of cstat).
"""

from __future__ import annotations

# error_model="numpy" everywhere: Python's check for division by zero would keep LLVM from using SIMD (8 times).
from enum import IntEnum
from math import exp, inf, lgamma, log, sqrt
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError, UnknownNameError


class Kind(IntEnum):
    """Statistics that the compiled engine knows."""

    CSTAT = 0
    WSTAT = 1
    PGSTAT = 2
    CHI2 = 3
    CHI2_MODEL = 4


STATISTICS = {
    "cstat": Kind.CSTAT,
    "wstat": Kind.WSTAT,
    "pgstat": Kind.PGSTAT,
    "chi2": Kind.CHI2,
    "chi2-gehrels": Kind.CHI2,
    "chi2-model": Kind.CHI2_MODEL,
}


class Data(NamedTuple):
    """What a statistic needs besides the model, each of shape (n_channel,).

    ``variance`` is that of the net counts for chi2, and that of the background counts for pgstat; for
    "chi2-model" it is the part of the background. Arrays that a statistic does not use may be empty.
    """

    kind: int
    counts: NDArray[np.float64]
    background: NDArray[np.float64]
    ratio: NDArray[np.float64]
    variance: NDArray[np.float64]


def kind_of(name: str) -> Kind:
    """Return the kind of the statistic called ``name``.

    Raises
    ------
    UnknownNameError
        With the closest known names.
    """
    key = str(name).lower().replace("_", "-")
    if key not in STATISTICS:
        raise UnknownNameError("statistic", name, STATISTICS)
    return STATISTICS[key]


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def fast_log(x):
    """Return ln x for normal x > 0 to 2e-16 of max(|ln x|, 1); unlike libm's it is vectorised by LLVM.

    ln x = e ln 2 + 2 atanh(s), s = (f - 1)/(f + 1), x = f 2^e, f in [sqrt(1/2), sqrt(2)).
    """
    bits = np.float64(x).view(np.int64)
    e = (bits - np.int64(0x3FE6A09E667F3BCD)) >> np.int64(52)
    f = np.int64(bits - (e << np.int64(52))).view(np.float64)
    s = (f - 1.0) / (f + 1.0)
    q = s * s
    p = 1.0 / 21.0
    p = p * q + 1.0 / 19.0
    p = p * q + 1.0 / 17.0
    p = p * q + 1.0 / 15.0
    p = p * q + 1.0 / 13.0
    p = p * q + 1.0 / 11.0
    p = p * q + 1.0 / 9.0
    p = p * q + 1.0 / 7.0
    p = p * q + 1.0 / 5.0
    p = p * q + 1.0 / 3.0
    return e * 0.6931471805599453 + (2.0 * s + 2.0 * s * q * p)


@njit(cache=True, nogil=True, error_model="numpy")
def _x_log_ratio(n, m):
    """n ln(n/m), its limit 0 for n = 0, infinite for n > 0 = m."""
    if n <= 0.0:
        return 0.0
    if m <= 0.0:
        return inf
    return n * log(n / m)


@njit(cache=True, nogil=True, error_model="numpy")
def profiled_background(counts, background, ratio, model):
    """Background counts in the source spectrum that maximise the Poisson likelihood of both (wstat)."""
    a = 1.0 + ratio
    b = a * model - counts - background
    root = sqrt(b * b + 4.0 * a * background * model)
    if b > 0.0:
        # The textbook root loses all digits where the model exceeds the counts; this is the same number.
        return 2.0 * background * model / (b + root) if root > 0.0 else 0.0
    return (root - b) / (2.0 * a)


@njit(cache=True, nogil=True, error_model="numpy")
def _gaussian_background(counts, background, ratio, variance, model):
    """The same for a Gaussian background of the given variance (pgstat)."""
    r2 = ratio * ratio
    if variance <= 0.0:
        return background / ratio
    if counts <= 0.0:
        return (ratio * background - variance) / r2
    b = variance - ratio * background + r2 * model
    c = variance * (model - counts) - ratio * background * model
    root = sqrt(max(b * b - 4.0 * r2 * c, 0.0))
    return -2.0 * c / (b + root) if b > 0.0 else (root - b) / (2.0 * r2)


@njit(cache=True, nogil=True, error_model="numpy")
def _wstat_term(s, b, r, m):
    f = profiled_background(s, b, r, m)
    return m + f - s + _x_log_ratio(s, m + f) + r * f - b + _x_log_ratio(b, r * f)


@njit(cache=True, nogil=True, error_model="numpy")
def _pgstat_term(s, b, r, v, m):
    f = _gaussian_background(s, b, r, v, m)
    term = m + f - s + _x_log_ratio(s, m + f)
    if v > 0.0:
        term += (b - r * f) ** 2 / (2.0 * v)
    return term


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _cstat_sum(counts, channels):
    total = 0.0
    for i in range(counts.size):
        # The tiny term keeps the logarithm finite where zero counts multiply it; a branch would stop SIMD.
        n, m = counts[i], channels[0, i]
        total += m - n + n * fast_log((n + 1e-300) / m)
    return total


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _chi2_sum(counts, variance, channels):
    total = 0.0
    for i in range(counts.size):
        total += 0.5 * (counts[i] - channels[0, i]) ** 2 / variance[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def total(data, channels):
    """Return C, the sum over channels, for the positive model in row 0 of ``channels``."""
    half = 0.0
    if data.kind == 0:
        half = _cstat_sum(data.counts, channels)
    elif data.kind == 3:
        half = _chi2_sum(data.counts, data.variance, channels)
    else:
        for i in range(data.counts.size):
            s, m = data.counts[i], channels[0, i]
            if data.kind == 1:
                half += _wstat_term(s, data.background[i], data.ratio[i], m)
            elif data.kind == 2:
                half += _pgstat_term(s, data.background[i], data.ratio[i], data.variance[i], m)
            else:
                half += 0.5 * (s - m) ** 2 / (m + data.variance[i])
    return 2.0 * half


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy", forceinline=True)
def _cstat_assess(counts, channels):
    total = 0.0
    for i in range(counts.size):
        n, m = counts[i], channels[0, i]
        w = 1.0 / m
        channels[2, i] = w
        channels[1, i] = n * w - 1.0
        total += m - n + n * fast_log((n + 1e-300) * w)
    return total


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _chi2_weights(counts, variance, channels):
    for i in range(counts.size):
        w = 1.0 / variance[i]
        channels[2, i] = w
        channels[1, i] = (counts[i] - channels[0, i]) * w


@njit(cache=True, nogil=True, error_model="numpy")
def weights(data, channels):
    """Fill rows 1 (score) and 2 (weight) of ``channels`` for the positive model in row 0."""
    if data.kind == 0:
        _cstat_assess(data.counts, channels)
        return
    if data.kind == 3:
        _chi2_weights(data.counts, data.variance, channels)
        return
    for i in range(data.counts.size):
        s, m = data.counts[i], channels[0, i]
        if data.kind == 1:
            b, r = data.background[i], data.ratio[i]
            f = profiled_background(s, b, r, m)
            channels[1, i] = s / (m + f) - 1.0
            # Inverse variance of the net counts: F_mm - F_mf^2 / F_ff of the pair (source, background).
            channels[2, i] = 1.0 / (m + f + f / r)
        elif data.kind == 2:
            b, r, v = data.background[i], data.ratio[i], data.variance[i]
            f = _gaussian_background(s, b, r, v, m)
            channels[1, i] = s / (m + f) - 1.0 if s > 0.0 else -1.0
            channels[2, i] = 1.0 / (m + max(f, 0.0) + v / (r * r))
        else:
            v = m + data.variance[i]
            z = (s - m) / v
            channels[1, i] = z + 0.5 * z * z
            channels[2, i] = 1.0 / v


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def assess(data, channels):
    """:func:`weights` and :func:`total` at once."""
    if data.kind == 0:
        return 2.0 * _cstat_assess(data.counts, channels)
    weights(data, channels)
    return total(data, channels)


def _checked(counts: ArrayLike, model: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n, m = np.broadcast_arrays(np.asarray(counts, dtype=float), np.asarray(model, dtype=float))
    if not np.all(np.isfinite(n)) or np.any(n < 0):
        raise InputError("counts are negative or not finite", where="statistic", expected="counts >= 0")
    if not np.all(np.isfinite(m)) or np.any(m < 0):
        raise InputError("the model is negative or not finite", where="statistic", expected="a model >= 0")
    return n, m


def _broadcast(function, *arrays: ArrayLike) -> NDArray[np.float64]:
    return np.vectorize(function, otypes=[float])(*arrays)


def cstat(counts: ArrayLike, model: ArrayLike) -> NDArray[np.float64]:
    """Cash statistic with XSPEC's constant, ``2 [m - n + n ln(n/m)]`` per channel.

    Parameters
    ----------
    counts, model : array
        Observed and expected counts, broadcastable. Zero counts give 2 m; a zero model with counts gives infinity.

    Raises
    ------
    InputError
        If either is negative or not finite.
    """
    n, m = _checked(counts, model)
    return 2.0 * _broadcast(lambda a, b: b - a + _x_log_ratio(a, b), n, m)


def wstat(counts: ArrayLike, background: ArrayLike, ratio: ArrayLike, model: ArrayLike) -> NDArray[np.float64]:
    """Poisson counts with Poisson background, the background profiled out channel by channel (XSPEC's wstat).

    ``2 [m + f - S + S ln(S/(m + f)) + r f - B + B ln(B/(r f))]`` with f the non-negative root of
    ``(1 + r) f^2 + ((1 + r) m - S - B) f - B m = 0``.

    Parameters
    ----------
    counts, background, ratio, model : array
        S, B, r (see the module) and the expected source counts m.
    """
    n, m = _checked(counts, model)
    b, _ = _checked(background, 0.0)
    return 2.0 * _broadcast(_wstat_term, n, b, np.asarray(ratio, float), m)


def pgstat(
    counts: ArrayLike, background: ArrayLike, ratio: ArrayLike, background_sd: ArrayLike, model: ArrayLike
) -> NDArray[np.float64]:
    """Poisson counts with Gaussian background, profiled out (XSPEC's pgstat).

    ``2 [m + f - S + S ln(S/(m + f)) + (B - r f)^2 / (2 sd^2)]`` minimised over f.
    """
    n, m = _checked(counts, model)
    variance = np.asarray(background_sd, float) ** 2
    return 2.0 * _broadcast(_pgstat_term, n, np.asarray(background, float), np.asarray(ratio, float), variance, m)


def gehrels_variance(counts: ArrayLike) -> NDArray[np.float64]:
    """``(1 + sqrt(n + 3/4))^2``, the square of Gehrels' upper 1-sigma error (his eq. 7)."""
    return (1.0 + np.sqrt(np.asarray(counts, dtype=float) + 0.75)) ** 2


def chi2(
    counts: ArrayLike,
    model: ArrayLike,
    *,
    variance: str = "data",
    background: ArrayLike = 0.0,
    ratio: ArrayLike = 1.0,
) -> NDArray[np.float64]:
    """``(S - B/r - m)^2 / variance`` per channel.

    Parameters
    ----------
    variance : "data", "model" or "gehrels"
        ``S + B/r^2`` (with 1 for an empty channel, as Sherpa and XSPEC have it), ``m + B/r + B/r^2``, or Gehrels'.
    """
    n, m = _checked(counts, model)
    b, r = np.asarray(background, float), np.asarray(ratio, float)
    return (n - b / r - m) ** 2 / chi2_variance(n, b, r, variance, model=m)


def chi2_variance(
    counts: ArrayLike, background: ArrayLike, ratio: ArrayLike, kind: str, *, model: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Return the variance of the net counts; see :func:`chi2`.

    Raises
    ------
    UnknownNameError
        If ``kind`` is none of "data", "model", "gehrels".
    """
    n, b, r = (np.asarray(x, dtype=float) for x in (counts, background, ratio))
    if kind == "data":
        value = n + b / r**2
        return np.where(value > 0, value, 1.0)
    if kind == "model":
        # The source spectrum holds the background too: Poisson noise of m + B/r, and that of the estimate B/r.
        return np.asarray(model, dtype=float) + b / r + b / r**2
    if kind == "gehrels":
        return gehrels_variance(n) + np.where(b > 0, gehrels_variance(b), 0.0) / r**2
    raise UnknownNameError("chi2 variance", kind, ("data", "model", "gehrels"))


@njit(cache=True, nogil=True, error_model="numpy")
def _cstat_moments(model, mean, variance):
    for i in range(model.size):
        m = model[i]
        spread = 9.0 * sqrt(m) + 12.0
        first = 0.0
        second = 0.0
        for k in range(max(0, int(m - spread)), int(m + spread) + 1):
            p = exp(k * log(m) - m - lgamma(k + 1.0))
            term = 2.0 * (m - k + _x_log_ratio(float(k), m))
            first += p * term
            second += p * term * term
        mean[i] = first
        variance[i] = second - first * first


def expected_cstat(model: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of each channel's cstat when ``model`` is true (Kaastra 2017, by direct summation)."""
    m = np.atleast_1d(np.asarray(model, dtype=float))
    _checked(0.0, m)
    mean, variance = np.zeros(m.shape), np.zeros(m.shape)
    some = m > 0
    # Beyond 1e5 counts a channel is Gaussian to 1e-5: mean 1, variance 2.
    few = some & (m < 1e5)
    mean[some], variance[some] = 1.0, 2.0
    few_mean, few_variance = np.empty(few.sum()), np.empty(few.sum())
    _cstat_moments(np.ascontiguousarray(m[few]), few_mean, few_variance)
    mean[few], variance[few] = few_mean, few_variance
    return mean, variance
