"""Smoothing of throughputs: B-spline in magnitudes or Savitzky-Golay, both aware of gaps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

from crosscal.core.errors import UnknownNameError
from crosscal.fluxcal.curve.normal_equations import log_spline


@dataclass(frozen=True, eq=False)
class Smooth:
    """Throughput after smoothing: value (n,), independent variance of ln value, modes (k, n) of ln value."""

    value: NDArray[np.float64]
    variance: NDArray[np.float64]
    modes: NDArray[np.float64]


def smooth_throughput(
    wavelength: NDArray[np.float64],
    throughput: NDArray[np.float64],
    variance: NDArray[np.float64],
    method: str,
    scale: float,
    *,
    errors: bool = True,
) -> Smooth:
    """Smooth a throughput and interpolate across its gaps; NaN beyond the outermost good pixels.

    ``spline``: ln T is a cubic B-spline with knots every ``scale`` Angstrom. Its coefficients minimise the residuals
    of T itself
    (Gauss-Newton), because the mean of ln T of noisy pixels is biased by -sigma^2 / 2.
    ``savgol``: cubic Savitzky-Golay in a window of ``scale`` Angstrom of T relative to a broad spline, with gaps
    weighted out.
    ``none``: the pixels as they are, gaps from the spline.

    Without ``errors`` the spline has no modes, which cost more than its value.

    Raises
    ------
    UnknownNameError
        If the method is unknown.
    """
    if method not in ("spline", "savgol", "none"):
        raise UnknownNameError("smoothing", method, ("spline", "savgol", "none"))
    good = np.isfinite(throughput) & np.isfinite(variance) & (variance > 0)
    if good.sum() < 8:
        value = np.where(good, throughput, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Smooth(value, np.where(good, variance / value**2, np.nan), np.zeros((0, value.size)))
    first, last = np.flatnonzero(good)[[0, -1]]
    inside = slice(first, last + 1)
    spline = _spline(wavelength[inside], throughput[inside], variance[inside], good[inside], scale, errors)
    value = np.full(wavelength.size, np.nan)
    independent, modes = np.zeros(wavelength.size), np.zeros((len(spline.modes), wavelength.size))
    value[inside], modes[:, inside] = spline.value, spline.modes
    if method == "spline":
        return Smooth(value, np.where(np.isfinite(value), independent, np.nan), modes)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(good, throughput / value, 0.0)
        relative = np.where(good, variance / value**2, 0.0)
    if method == "none":
        value = np.where(good, throughput, value)
        independent = np.where(good, relative, 0.0)
        modes = np.where(good, 0.0, modes)
        return Smooth(value, np.where(np.isfinite(value), independent, np.nan), modes)
    matrix = _savgol_matrix(wavelength, good, scale)
    filtered = matrix @ ratio
    supported = np.abs(np.asarray(matrix.sum(axis=1)).ravel() - 1) < 1e-6
    value = np.where(supported, value * filtered, value)
    filter_modes = np.where(supported, 0.0, modes)
    smooth_variance = np.asarray((matrix.multiply(matrix)) @ relative).ravel()
    independent = np.where(supported, smooth_variance, 0.0)
    return Smooth(value, np.where(np.isfinite(value), independent, np.nan), filter_modes)


def _spline(
    wave: NDArray[np.float64],
    throughput: NDArray[np.float64],
    variance: NDArray[np.float64],
    good: NDArray[np.bool_],
    scale: float,
    errors: bool,
) -> Smooth:
    """Cubic B-spline of ln T by Gauss-Newton; a small second-difference penalty interpolates across gaps smoothly."""
    key = np.ascontiguousarray(wave).tobytes()
    design, left, basis = _design(key, scale), *_nonzero(key, scale)
    weight = np.where(good, 1 / np.where(good, variance, 1.0), 0.0)
    level = np.median(throughput[good])
    level = level if level > 0 else float(np.mean(np.abs(throughput[good])))
    n = design.shape[1]
    # The penalty is 1e-4 of the mean information of a coefficient: it decides only where there are no data.
    strength = 1e-4 * float(np.sum(weight) * level**2) / n
    start = np.where(good, np.clip(throughput, 0.05 * level, None), level)
    beta, bands = log_spline(left, basis, throughput, weight, start, strength * _penalty_bands(n))
    value = np.exp(design @ beta)
    if not errors:
        return Smooth(value, np.zeros(wave.size), np.zeros((0, wave.size)))
    covariance = solveh_banded(bands, np.eye(n), lower=True)
    root = np.linalg.cholesky((covariance + covariance.T) / 2)
    return Smooth(value, np.zeros(wave.size), (design @ root).T)


@lru_cache(maxsize=16)
def _penalty_bands(n: int) -> NDArray[np.float64]:
    """Lower bands (4, n) of D^T D of second differences D; the last is empty."""
    second = np.diff(np.eye(n), 2, axis=0)
    full = second.T @ second
    bands = np.zeros((4, n))
    for k in range(3):
        bands[k, : n - k] = np.diagonal(full, -k)
    return bands


@lru_cache(maxsize=16)
def _design(wave: bytes, scale: float) -> Any:
    """Sparse cubic B-spline basis (n, n_coefficients) with knots every ``scale``; remembered,
    as a frame asks for it often.
    """
    from scipy.interpolate import BSpline

    x = np.frombuffer(wave)
    n_knots = max(int(np.ceil((x[-1] - x[0]) / scale)), 1)
    inner = np.linspace(x[0], x[-1], n_knots + 1)
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    return BSpline.design_matrix(x, knots, 3).tocsr()


@lru_cache(maxsize=16)
def _nonzero(wave: bytes, scale: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First of the four splines that are not zero at each pixel, and their values (n, 4)."""
    design = _design(wave, scale)
    return design.indices.reshape(-1, 4)[:, 0].astype(np.int64), np.ascontiguousarray(design.data.reshape(-1, 4))


def _savgol_matrix(wave: NDArray[np.float64], good: NDArray[np.bool_], scale: float):
    """Sparse matrix of local cubic fits over the good pixels within half a window;
    empty rows where there are too few.
    """
    from scipy.sparse import csr_matrix

    rows, columns, values = [], [], []
    left = np.searchsorted(wave, wave - scale / 2)
    right = np.searchsorted(wave, wave + scale / 2, side="right")
    for i in range(wave.size):
        index = left[i] + np.flatnonzero(good[left[i] : right[i]])
        # A gap wider than half the window leaves too little on one side: the broad spline is kept there.
        if index.size < max(8, 0.5 * (right[i] - left[i])):
            continue
        x = (wave[index] - wave[i]) / scale
        vander = np.vander(x, 4, increasing=True)
        weights = np.linalg.lstsq(vander.T @ vander, vander.T, rcond=None)[0][0]
        rows.append(np.full(index.size, i))
        columns.append(index)
        values.append(weights)
    if not rows:
        return csr_matrix((wave.size, wave.size))
    return csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (wave.size, wave.size))


def extrapolate(wavelength: NDArray[np.float64], smooth: Smooth, reach: float, scale: float) -> Smooth:
    """Go on beyond the outermost pixels of a smoothed throughput by at most ``reach`` Angstrom.

    ln T goes on from its last value along the slope of its last ``2 scale`` Angstrom, and so do its modes. Another mode
    at each end grows as the curve's own typical curvature bends away from a line: kappa d (d + 2 scale) / 2 at the
    distance d, with kappa the RMS of second differences of ln T over ``2 scale``.

    Parameters
    ----------
    wavelength : array (n,)
    smooth : Smooth
    reach : float, Angstrom
        Zero leaves everything as it is.
    scale : float, Angstrom
        Knot distance of the spline.
    """
    known = np.flatnonzero(np.isfinite(smooth.value) & (smooth.value > 0))
    length = 2 * scale
    if reach <= 0 or known.size < 8 or np.ptp(wavelength[known]) < 3 * length:
        return smooth
    log = np.log(smooth.value[known])
    x = wavelength[known]
    inner = np.arange(x[0] + length, x[-1] - length, scale / 2)
    at = [np.interp(inner + shift, x, log) for shift in (-length, 0.0, length)]
    kappa = float(np.sqrt(np.mean((at[0] - 2 * at[1] + at[2]) ** 2))) / length**2
    value, variance, modes = smooth.value.copy(), smooth.variance.copy(), smooth.modes.copy()
    grown = []
    for side, end in ((-1, known[0]), (1, known[-1])):
        distance = side * (wavelength - wavelength[end])
        beyond = (distance > 0) & (distance <= reach) & ~np.isfinite(smooth.value)
        if not beyond.any():
            continue
        near = known[np.abs(wavelength[known] - wavelength[end]) <= length]
        u = (wavelength - wavelength[end]) / length
        inner_u = u[near]

        def go_on(rows: NDArray[np.float64], end=end, near=near, u=u, inner_u=inner_u, beyond=beyond):
            last = rows[..., end : end + 1]
            slope = (rows[..., near] - last) @ inner_u / (inner_u @ inner_u)
            return last + slope[..., None] * u[beyond]

        with np.errstate(divide="ignore", invalid="ignore"):
            value[beyond] = np.exp(go_on(np.log(smooth.value)))
        modes[:, beyond] = go_on(smooth.modes)
        variance[beyond] = np.nan_to_num(smooth.variance[end])
        extra = np.where(beyond, 0.5 * kappa * distance * (distance + length), 0.0)
        grown.append(extra)
    return Smooth(value, variance, np.concatenate([modes, *(g[None] for g in grown)]))
