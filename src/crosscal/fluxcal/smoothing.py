"""Smoothing of throughputs: B-spline in magnitudes or Savitzky-Golay, both aware of gaps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import UnknownNameError


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
) -> Smooth:
    """Smooth a throughput and bridge its gaps; NaN beyond the outermost good pixels.

    ``spline``: ln T is a cubic B-spline with knots every ``scale`` Angstrom. Its coefficients minimise the residuals
    of T
    itself (Gauss-Newton), because the mean of ln T of noisy pixels is biased by -sigma^2 / 2.
    ``savgol``: cubic Savitzky-Golay in a window of ``scale`` Angstrom of T relative to a broad spline, with gaps
    weighted out.
    ``none``: the pixels as they are, gaps from the spline.

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
    spline = _spline(wavelength[inside], throughput[inside], variance[inside], good[inside], scale)
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
) -> Smooth:
    """Cubic B-spline of ln T by Gauss-Newton; a small second-difference penalty bridges gaps without knots' noise."""
    design = _design(np.ascontiguousarray(wave).tobytes(), scale)
    weight = np.where(good, 1 / np.where(good, variance, 1.0), 0.0)
    level = np.median(throughput[good])
    level = level if level > 0 else float(np.mean(np.abs(throughput[good])))
    information = float(np.sum(weight) * level**2)
    n = design.shape[1]
    second = np.diff(np.eye(n), 2, axis=0)
    # The penalty is 1e-4 of the mean information of a coefficient: it decides only where there are no data.
    penalty = 1e-4 * information / n * second.T @ second

    left, pieces = _bands(np.ascontiguousarray(wave).tobytes(), scale)

    def normal_matrix(diagonal: NDArray[np.float64]) -> NDArray[np.float64]:
        # Four splines overlap at a pixel, so the matrix has seven diagonals.
        matrix = penalty.copy()
        for offset, i, product in pieces:
            rows = np.bincount(left + i, diagonal * product, n)[: n - offset]
            places = np.arange(n - offset)
            matrix[places, places + offset] += rows
            if offset:
                matrix[places + offset, places] += rows
        return matrix + 1e-12 * np.trace(matrix) / n * np.eye(n)

    start = np.where(good, np.clip(throughput, 0.05 * level, None), level)
    log_weight = weight * start**2
    beta = np.linalg.solve(normal_matrix(log_weight), design.T @ (log_weight * np.log(start)))
    for _ in range(15):
        model = np.exp(design @ beta)
        normal = normal_matrix(weight * model**2)
        residual = np.where(good, throughput - model, 0.0)
        step = np.linalg.solve(normal, design.T @ (model * weight * residual) - penalty @ beta)
        beta = beta + np.clip(step, -0.5, 0.5)
        if np.max(np.abs(step)) < 1e-6:
            break
    root = np.linalg.cholesky(np.linalg.inv(normal))
    return Smooth(np.exp(design @ beta), np.zeros(wave.size), (design @ root).T)


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
def _bands(wave: bytes, scale: float) -> tuple[NDArray[np.int64], list[tuple[int, int, NDArray[np.float64]]]]:
    """First of the four splines of each pixel, and the ten products (j - i, i, B_i B_j) of them."""
    design = _design(wave, scale)
    values = design.data.reshape(-1, 4)
    left = design.indices.reshape(-1, 4)[:, 0].astype(np.int64)
    return left, [(j - i, i, values[:, i] * values[:, j]) for i in range(4) for j in range(i, 4)]


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
