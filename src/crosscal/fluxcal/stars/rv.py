"""Radial velocities by cross-correlation in ln lambda."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.fluxcal.stars.lsf import gaussian_smooth
from crosscal.fluxcal.stars.photometry import C_KMS

#: A peak is clear if its ln probability is so much above all velocities that are so far (km/s) from it; a velocity
#: whose own error is larger than that is none.
GAP, APART = 4.0, 150.0


@dataclass(frozen=True, eq=False)
class Velocities:
    """Results for n stars: velocity and its error (km/s), height of the peak, number of the best template.

    ``ok`` is false where the peak lies at the edge of the search, does not stand out of the noise, or is so wide that
    its error is above :data:`APART`.
    """

    rv: NDArray[np.float64]
    error: NDArray[np.float64]
    peak: NDArray[np.float64]
    template: NDArray[np.int64]
    ok: NDArray[np.bool_]


def line_signal(flux: ArrayLike, weight: ArrayLike, *, width: float) -> NDArray[np.float64]:
    """Relative deviation from the running continuum, flux / continuum - 1; zero where ``weight`` is zero.

    The continuum is the weighted running mean with a Gaussian of ``width`` pixels. Used on both stars and templates, so
    that both have lost the same broad structure.
    """
    f, w = np.asarray(flux, dtype=float), np.asarray(weight, dtype=float)
    clean = np.where(w > 0, f, 0.0)
    total = gaussian_smooth(np.broadcast_to(w, f.shape), width)
    smooth = gaussian_smooth(clean * w, width)
    with np.errstate(divide="ignore", invalid="ignore"):
        signal = np.where((w > 0) & (smooth > 1e-12 * np.abs(smooth).max()), clean * total / smooth - 1, 0.0)
    return signal


def _taper(n: int, fraction: float = 0.03) -> NDArray[np.float64]:
    k = max(int(n * fraction), 1)
    window = np.ones(n)
    window[:k] = 0.5 * (1 - np.cos(np.pi * (np.arange(k) + 0.5) / k))
    window[-k:] = window[:k][::-1]
    return window


def cross_correlate(
    stars: NDArray[np.float64],
    weights: NDArray[np.float64],
    templates: NDArray[np.float64],
    step: float,
    *,
    limit: float = 600.0,
    continuum: float = 4000.0,
    centre: ArrayLike = 0.0,
    spread: float = np.inf,
    significance: float = 3.0,
) -> Velocities:
    """Velocities of stars against templates on the same logarithmic grid.

    Parameters
    ----------
    stars, weights : arrays (n_star, n)
        Counts and inverse variances (zero = masked) resampled to the grid.
    templates : array (n_t, n)
    step : float
        Grid step in ln lambda; a shift of one pixel is (exp(step) - 1) c.
    limit : float, km/s
        Largest velocity searched, about ``centre`` (per star or one).
    continuum : float, km/s
        Width of the running continuum.
    spread : float, km/s
        Prior standard deviation of velocities about ``centre``: among peaks of like height the nearer one is taken.
    significance : float
        Least r = peak / (sqrt(2) sigma_a) of Tonry & Davis 1979 (AJ 84, 1511, eq. 23), with sigma_a the RMS of the
        antisymmetric part of the correlation about its peak. A lower peak is accepted where its ln probability is
        :data:`GAP` above that of any other velocity.

    Notes
    -----
    With unit-norm signals C(k) = sum s_i t_{i-k} and n unmasked pixels, ln L = -(n / 2) ln(1 - C^2) (Zucker 2003, MNRAS
    342, 1291, eq. 5). The peak is interpolated by a parabola; its error is Zucker's eq. 6, sigma^-2 = -n (C''/C) C^2 /
    (1 - C^2).
    """
    from scipy.fft import irfft, next_fast_len, rfft

    n = stars.shape[-1]
    width = continuum / C_KMS / step
    window = _taper(n)
    star = line_signal(stars, weights, width=width)
    # Noise clipped at 5 local standard deviations keeps cosmic rays from making peaks.
    sd = 1.4826 * np.nanmedian(np.abs(np.where(weights > 0, star, np.nan)), axis=1, keepdims=True)
    star = np.clip(star, -8 * np.nan_to_num(sd, nan=0.0), 8 * np.nan_to_num(sd, nan=0.0)) * window
    # Low signal-to-noise stretches carry little: weights relative to the continuum level.
    relative = np.sqrt(weights * np.clip(gaussian_smooth(np.where(weights > 0, stars, 0.0), width), 0, None) ** 2)
    relative /= np.maximum(relative.max(axis=1, keepdims=True), 1e-300)
    star = star * relative
    template = line_signal(templates, np.ones_like(templates), width=width) * window
    size = next_fast_len(2 * n, real=True)
    norm_star = np.sqrt(np.sum(star**2, axis=1))
    norm_template = np.sqrt(np.sum(template**2, axis=1))
    product = rfft(star, size)[:, None, :] * np.conj(rfft(template, size))[None, :, :]
    correlation = irfft(product, size, axis=-1)
    correlation /= np.maximum(norm_star[:, None, None] * norm_template[None, :, None], 1e-300)
    # Three times the search: the noise is judged beyond the peak too.
    reach = min(int(np.ceil(3 * np.log1p((limit + np.max(np.abs(centre))) / C_KMS) / step)) + 2, n // 2)
    lags = np.arange(-reach, reach + 1)
    near = correlation[:, :, lags]
    return _peaks(near, lags, step, centre, limit, np.sum(weights > 0, axis=1), significance, spread)


def _peaks(
    near: NDArray[np.float64],
    lags: NDArray[np.int64],
    step: float,
    centre: ArrayLike,
    limit: float,
    n_used: NDArray[np.int64],
    significance: float,
    spread: float,
) -> Velocities:
    n_star, n_t, _ = near.shape
    velocity = C_KMS * np.expm1(lags * step)
    away = velocity[None, :] - np.broadcast_to(np.asarray(centre, dtype=float), n_star)[:, None]
    allowed = np.abs(away) <= limit
    allowed[:, [0, -1]] = False
    square = np.clip(near, 0, np.sqrt(1 - 1e-6)) ** 2
    probability = -0.5 * n_used[:, None, None] * np.log1p(-square) - 0.5 * ((away / spread) ** 2)[:, None, :]
    searched = np.where(allowed[:, None, :], probability, -np.inf)
    place = np.argmax(searched, axis=2)
    rows, columns = np.indices((n_star, n_t))
    best = np.argmax(searched[rows, columns, place], axis=1)
    k = place[np.arange(n_star), best]
    chosen = searched[np.arange(n_star), best]
    elsewhere = np.where(np.abs(velocity[None, :] - velocity[k][:, None]) > APART, chosen, -np.inf).max(axis=1)
    clear = chosen[np.arange(n_star), k] - elsewhere > GAP
    left, top, right = (near[np.arange(n_star), best, k + d] for d in (-1, 0, 1))
    curvature = left - 2 * top + right
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(curvature < 0, 0.5 * (left - right) / curvature, 0.0)
        peak = top - 0.25 * (left - right) * shift
        information = -n_used * (curvature / peak) * peak**2 / np.clip(1 - peak**2, 1e-6, None)
        error = C_KMS * step / np.sqrt(information)
    edge = ~allowed[np.arange(n_star), k - 1] | ~allowed[np.arange(n_star), k + 1]
    ratio = np.array([_tonry_davis(near[i, best[i]], int(k[i])) for i in range(n_star)])
    ok = (curvature < 0) & (peak > 0) & ((ratio > significance) | clear) & ~edge & (error < APART)
    rv = C_KMS * np.expm1((lags[k] + shift) * step)
    return Velocities(rv, error, peak, best, ok)


def _tonry_davis(correlation: NDArray[np.float64], k: int) -> float:
    """Height of a peak over the noise that its antisymmetric part shows."""
    half = min(k, correlation.size - 1 - k)
    right, left = correlation[k : k + half + 1], correlation[k - half : k + 1][::-1]
    noise = np.sqrt(np.mean((right - left) ** 2)) / np.sqrt(2) if half > 0 else np.inf
    return float(correlation[k] / (np.sqrt(2) * noise)) if noise > 0 else np.inf
