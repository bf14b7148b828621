"""Compiled loops over pixels of the two alternating fits of a combination: the spline and the stars' coefficients."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Residuals beyond so many sigma count less in the stars' coefficients (Huber).
HUBER = 3.0
#: Errors of the templates relative to the model: bright stars must not rule.
TEMPLATE_ERROR = 0.01


@njit(cache=True)
def _solve_bands(bands, right, factor, out):  # pragma: no cover (compiled)
    """Solve A out = right by Cholesky, with the lower bands (4, n) of A; False where A is not positive definite."""
    n = right.size
    for j in range(n):
        for i in range(min(4, n - j)):
            value = bands[i, j]
            for m in range(1, min(4 - i, j + 1)):
                value -= factor[m, j - m] * factor[m + i, j - m]
            if i == 0:
                if not value > 0:
                    return False
                factor[0, j] = np.sqrt(value)
            else:
                factor[i, j] = value / factor[0, j]
        value = right[j]
        for m in range(1, min(4, j + 1)):
            value -= factor[m, j - m] * out[j - m]
        out[j] = value / factor[0, j]
    for j in range(n - 1, -1, -1):
        value = out[j]
        for m in range(1, min(4, n - j)):
            value -= factor[m, j] * out[j + m]
        out[j] = value / factor[0, j]
    return True


@njit(cache=True)
def _log_spline(left, basis, data, weight, start, penalty, bands, beta):  # pragma: no cover (compiled)
    """Gauss-Newton for ln T as a spline, from the logarithms of ``start``; ends with its matrix in ``bands``."""
    n = beta.size
    right, step, factor = np.empty(n), np.empty(n), np.empty((4, n))
    for iteration in range(16):
        bands[:] = penalty
        right[:] = 0.0
        for p in range(left.size):
            if weight[p] == 0:
                continue
            first = left[p]
            if iteration == 0:
                w = weight[p] * start[p] ** 2
                g = w * np.log(start[p])
            else:
                exponent = 0.0
                for i in range(4):
                    exponent += basis[p, i] * beta[first + i]
                model = np.exp(exponent)
                w = weight[p] * model**2
                g = weight[p] * model * (data[p] - model)
            for i in range(4):
                right[first + i] += basis[p, i] * g
                for j in range(i, 4):
                    bands[j - i, first + i] += w * basis[p, i] * basis[p, j]
        bands[0] += 1e-12 * np.mean(bands[0])
        if iteration > 0:
            for k in range(n):
                right[k] -= penalty[0, k] * beta[k]
                for m in range(1, 3):
                    if k + m < n:
                        right[k] -= penalty[m, k] * beta[k + m]
                    if k >= m:
                        right[k] -= penalty[m, k - m] * beta[k - m]
        if not _solve_bands(bands, right, factor, step):
            return False
        if iteration == 0:
            beta[:] = step
            continue
        largest = 0.0
        for k in range(n):
            largest = max(largest, abs(step[k]))
            beta[k] += min(max(step[k], -0.5), 0.5)
        if largest < 1e-6:
            break
    return True


def log_spline(
    left: NDArray[np.int64],
    basis: NDArray[np.float64],
    data: NDArray[np.float64],
    weight: NDArray[np.float64],
    start: NDArray[np.float64],
    penalty: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients (n,) of the spline of ln T that minimises sum(weight (data - T)^2) + beta^T P beta.

    Parameters
    ----------
    left : array (n_pix,)
        The first of the four splines that are not zero at a pixel.
    basis : array (n_pix, 4)
        Their values.
    data, weight : arrays (n_pix,)
        Pixels without weight may be NaN.
    start : array (n_pix,)
        Positive; its logarithms, weighted with ``weight start^2``, are where Gauss-Newton starts.
    penalty : array (4, n)
        Lower bands of P.

    Returns
    -------
    coefficients (n,), lower bands (4, n) of the matrix of the last step

    Raises
    ------
    LinAlgError
        If the matrix is not positive definite.
    """
    bands, beta = np.empty(penalty.shape), np.empty(penalty.shape[1])
    if not _log_spline(left, basis, data, weight, start, penalty, bands, beta):
        raise np.linalg.LinAlgError("the matrix of the spline is not positive definite")
    return beta, bands


@njit(cache=True, fastmath={"reassoc", "contract"})
def _dot(a, b):  # pragma: no cover (compiled)
    total = 0.0
    for p in range(a.size):
        total += a[p] * b[p]
    return total


@njit(cache=True)
def _stars(rate, variance, model, curve, basis, factor, pixels, modes, normal, gradient, cross):  # pragma: no cover
    n_star, n_pix = rate.shape
    n_basis, n_modes = basis.shape[0], modes.shape[1]
    products = np.empty((n_basis, n_basis, n_pix))
    for k in range(n_basis):
        for l in range(k + 1):
            products[k, l] = basis[k] * basis[l]
    pull, squares = np.empty(n_pix), np.empty(n_pix)
    for s in range(n_star):
        for p in range(n_pix):
            predicted = curve[p] * model[s, p] * factor[s, p]
            if not (pixels[s, p] and np.isfinite(predicted)):
                pull[p] = squares[p] = 0.0
                continue
            weight = 1.0 / (variance[s, p] + (TEMPLATE_ERROR * predicted) ** 2)
            residual = rate[s, p] - predicted
            size = residual * residual * weight
            if size > HUBER * HUBER:
                weight *= HUBER / np.sqrt(size)
            pull[p] = weight * predicted * residual
            squares[p] = weight * predicted * predicted
        for k in range(n_basis):
            gradient[s, k] = _dot(pull, basis[k])
            for l in range(k + 1):
                normal[s, k, l] = normal[s, l, k] = _dot(squares, products[k, l])
        for m in range(n_modes):
            own = squares * modes[s, m]
            for k in range(n_basis):
                cross[s, k, m] = _dot(own, basis[k])


def star_sums(
    rate: NDArray[np.float64],
    variance: NDArray[np.float64],
    model: NDArray[np.float64],
    curve: NDArray[np.float64],
    basis: NDArray[np.float64],
    factor: NDArray[np.float64],
    pixels: NDArray[np.bool_],
    modes: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Normal matrices, gradients and projections of the model's modes for each star's coefficients.

    With the prediction p = T m f, f = exp(sum_k c_k P_k), its derivatives d_k = p P_k and Huber's weights w:
    sum(w d_k d_l), sum(w d_k (y - p)) and sum(w d_k p q_m) over the pixels of a star.

    Parameters
    ----------
    rate, variance, model : array (s, n_pix)
    curve : array (n_pix,)
        T; pixels where it is not finite are left out.
    basis : array (k, n_pix)
        P.
    factor : array (s, n_pix)
        f.
    pixels : array of bool (s, n_pix)
    modes : array (s, m, n_pix)
        q, the modes of ln m.

    Returns
    -------
    normal (s, k, k), gradient (s, k), cross (s, k, m)
    """
    n, k = len(rate), len(basis)
    normal, gradient, cross = np.zeros((n, k, k)), np.zeros((n, k)), np.zeros((n, k, modes.shape[1]))
    _stars(rate, variance, model, curve, basis, factor, pixels, modes, normal, gradient, cross)
    return normal, gradient, cross
