"""Random numbers from the generalised inverse Gaussian distribution, compiled.

The density is proportional to x^(p - 1) exp(-(chi / x + psi x) / 2). Three rejection methods cover the parameter plane
with bounded rejection rate: Hoermann & Leydold 2014 (Statistics and Computing 24, 547).
"""

# ruff: noqa: NPY002 - inside compiled code np.random is numba's own generator, seeded in each entry point

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _mode(p: float, omega: float) -> float:
    if p >= 1.0:
        return (np.sqrt((p - 1.0) ** 2 + omega**2) + (p - 1.0)) / omega
    return omega / (np.sqrt((1.0 - p) ** 2 + omega**2) + (1.0 - p))


@njit(cache=True, nogil=True)
def _shifted_ratio(p: float, omega: float) -> float:
    """Ratio of uniforms about the mode, for p > 1 or omega > 3 (section 2.3, after Dagpunar 1989)."""
    t, s = 0.5 * (p - 1.0), 0.25 * omega
    mode = _mode(p, omega)
    top = t * np.log(mode) - s * (mode + 1.0 / mode)
    # The minimal bounding rectangle is given by two roots of a cubic.
    a = -(2.0 * (p + 1.0) / omega + mode)
    b = 2.0 * (p - 1.0) * mode / omega - 1.0
    q = b - a * a / 3.0
    r = 2.0 * a**3 / 27.0 - a * b / 3.0 + mode
    angle = np.arccos(max(-1.0, min(1.0, -r / (2.0 * np.sqrt(-(q**3) / 27.0)))))
    scale = 2.0 * np.sqrt(-q / 3.0)
    right = scale * np.cos(angle / 3.0) - a / 3.0
    left = scale * np.cos(angle / 3.0 + 4.0 * np.pi / 3.0) - a / 3.0
    high = (right - mode) * np.exp(t * np.log(right) - s * (right + 1.0 / right) - top)
    low = (left - mode) * np.exp(t * np.log(left) - s * (left + 1.0 / left) - top)
    while True:
        v = 1.0 - np.random.random()
        x = (low + np.random.random() * (high - low)) / v + mode
        if x > 0.0 and np.log(v) <= t * np.log(x) - s * (x + 1.0 / x) - top:
            return x


@njit(cache=True, nogil=True)
def _plain_ratio(p: float, omega: float) -> float:
    """Ratio of uniforms without shift, for moderate p and omega (section 2.2)."""
    t, s = 0.5 * (p - 1.0), 0.25 * omega
    mode = _mode(p, omega)
    top = t * np.log(mode) - s * (mode + 1.0 / mode)
    y = ((1.0 + p) + np.sqrt((1.0 + p) ** 2 + omega**2)) / omega
    width = np.exp(0.5 * (1.0 + p) * np.log(y) - s * (y + 1.0 / y) - top)
    while True:
        v = 1.0 - np.random.random()
        x = width * np.random.random() / v
        if x > 0.0 and np.log(v) <= t * np.log(x) - s * (x + 1.0 / x) - top:
            return x


@njit(cache=True, nogil=True)
def _three_pieces(p: float, omega: float) -> float:
    """Rejection from constant, power and exponential pieces, for 0 <= p < 1 and small omega (algorithm 1)."""
    mode = _mode(p, omega)
    x0 = omega / (1.0 - p)
    xs = max(x0, 2.0 / omega)
    k1 = np.exp((p - 1.0) * np.log(mode) - 0.5 * omega * (mode + 1.0 / mode))
    a1 = k1 * x0
    k2, a2 = 0.0, 0.0
    if x0 < 2.0 / omega:
        k2 = np.exp(-omega)
        if p > 0.0:
            a2 = k2 / p * ((2.0 / omega) ** p - x0**p)
        else:
            a2 = k2 * np.log(2.0 / (omega * omega))
    k3 = xs ** (p - 1.0)
    a3 = 2.0 * k3 * np.exp(-xs * omega / 2.0) / omega
    while True:
        v = np.random.random() * (a1 + a2 + a3)
        if v <= a1:
            x, hat = x0 * v / a1, k1
        elif v <= a1 + a2:
            v -= a1
            if p > 0.0:
                x = (x0**p + v * p / k2) ** (1.0 / p)
            else:
                x = omega * np.exp(v / k2)
            hat = k2 * x ** (p - 1.0)
        else:
            v -= a1 + a2
            x = -2.0 / omega * np.log(np.exp(-xs * omega / 2.0) - v * omega / (2.0 * k3))
            hat = k3 * np.exp(-x * omega / 2.0)
        u = 1.0 - np.random.random()
        if x > 0.0 and np.log(u * hat) <= (p - 1.0) * np.log(x) - 0.5 * omega * (x + 1.0 / x):
            return x


@njit(cache=True, nogil=True)
def draw_gig(p: float, chi: float, psi: float) -> float:
    """Draw once from GIG(p, chi, psi); chi or psi may be 0 where the gamma or inverse-gamma limit is proper.

    NaN if chi or psi are not finite, as rejection would never end.
    """
    if not (np.isfinite(chi) and np.isfinite(psi)):
        return np.nan
    if chi <= 0.0:
        return np.random.gamma(p, 2.0 / psi)
    if psi <= 0.0:
        return 1.0 / np.random.gamma(-p, 2.0 / chi)
    # The power is symmetric under x -> 1 / x.
    power, omega, scale = abs(p), np.sqrt(chi * psi), np.sqrt(chi / psi)
    if omega < 1e-7 and power > 0.01:
        # The bounding rectangle degenerates; the neglected exponential is 1 to about omega^2.
        if p > 0.0:
            return np.random.gamma(power, 2.0 / psi)
        return 1.0 / np.random.gamma(power, 2.0 / chi)
    if power > 1.0 or omega > 3.0:
        x = _shifted_ratio(power, omega)
    elif power >= 1.0 - 2.25 * omega * omega or omega > 0.2:
        x = _plain_ratio(power, omega)
    else:
        x = _three_pieces(power, omega)
    return scale / x if p < 0.0 else scale * x


@njit(cache=True, nogil=True)
def draw_many(p: float, chi: float, psi: float, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` numbers from GIG(p, chi, psi) with their own seed: array (n,)."""
    np.random.seed(seed)
    values = np.empty(n)
    for k in range(n):
        values[k] = draw_gig(p, chi, psi)
    return values
