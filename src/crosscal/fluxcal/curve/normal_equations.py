"""Compiled sums over pixels for the two alternating fits of a combination: the spline and the stars' coefficients."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Residuals beyond so many sigma count less in the stars' coefficients (Huber).
HUBER = 3.0
#: Errors of the templates relative to the model: bright stars must not rule.
TEMPLATE_ERROR = 0.01


@njit(cache=True)
def _bands(left, basis, weight, gradient, bands, right):  # pragma: no cover (compiled)
    for p in range(left.size):
        w, g, first = weight[p], gradient[p], left[p]
        for i in range(4):
            right[first + i] += basis[p, i] * g
            for j in range(i, 4):
                bands[j - i, first + i] += w * basis[p, i] * basis[p, j]


def spline_sums(
    left: NDArray[np.int64],
    basis: NDArray[np.float64],
    weight: NDArray[np.float64],
    gradient: NDArray[np.float64],
    n: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower bands (4, n) of B^T diag(weight) B and B^T gradient (n,) of a cubic B-spline basis.

    Parameters
    ----------
    left : array (n_pix,)
        The first of the four splines that are not zero at a pixel.
    basis : array (n_pix, 4)
        Their values.
    weight, gradient : array (n_pix,)
    n : int
        Number of splines.
    """
    bands, right = np.zeros((4, n)), np.zeros(n)
    _bands(left, basis, weight, gradient, bands, right)
    return bands, right


@njit(cache=True)
def _stars(rate, variance, model, curve, basis, c, pixels, modes, normal, gradient, cross):  # pragma: no cover
    n_star, n_pix = rate.shape
    n_basis, n_modes = basis.shape[0], modes.shape[1]
    for s in range(n_star):
        for p in range(n_pix):
            if not pixels[s, p]:
                continue
            exponent = 0.0
            for k in range(n_basis):
                exponent += c[s, k] * basis[k, p]
            predicted = curve[p] * model[s, p] * np.exp(exponent)
            if not np.isfinite(predicted):
                continue
            weight = 1.0 / (variance[s, p] + (TEMPLATE_ERROR * predicted) ** 2)
            residual = rate[s, p] - predicted
            size = abs(residual) * np.sqrt(weight)
            if size > HUBER:
                weight *= HUBER / size
            for k in range(n_basis):
                slope = predicted * basis[k, p] * weight
                gradient[s, k] += slope * residual
                for l in range(n_basis):
                    normal[s, k, l] += slope * predicted * basis[l, p]
                for m in range(n_modes):
                    cross[s, k, m] += slope * predicted * modes[s, m, p]


def star_sums(
    rate: NDArray[np.float64],
    variance: NDArray[np.float64],
    model: NDArray[np.float64],
    curve: NDArray[np.float64],
    basis: NDArray[np.float64],
    c: NDArray[np.float64],
    pixels: NDArray[np.bool_],
    modes: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Normal matrices, gradients and projections of the model's modes for each star's coefficients.

    With the prediction p = T m exp(sum_k c_k P_k), its derivatives d_k = p P_k and Huber's weights w:
    sum(w d_k d_l), sum(w d_k (y - p)) and sum(w d_k p q_m) over the pixels of a star.

    Parameters
    ----------
    rate, variance, model : array (s, n_pix)
    curve : array (n_pix,)
        T; pixels where it is not finite are left out.
    basis : array (k, n_pix)
        P.
    c : array (s, k)
    pixels : array of bool (s, n_pix)
    modes : array (s, m, n_pix)
        q, the modes of ln m.

    Returns
    -------
    normal (s, k, k), gradient (s, k), cross (s, k, m)
    """
    n, k = c.shape
    normal, gradient, cross = np.zeros((n, k, k)), np.zeros((n, k)), np.zeros((n, k, modes.shape[1]))
    _stars(rate, variance, model, curve, basis, c, pixels, modes, normal, gradient, cross)
    return normal, gradient, cross
