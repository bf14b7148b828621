"""Chi-square of many templates against many stars with a marginalised multiplicative continuum, as matrix products.

For star s and template t the model of the counts is t(lambda) * sum_k a_k T_k(x) with Chebyshev polynomials T_k. The
normal matrix needs sum_p w t^2 T_k T_l, and T_k T_l = (T_{k+l} + T_{|k-l|}) / 2, so 2K - 1 moments of t^2 and K of t
per star are all there is to compute: two matrix products over pixels for all templates and stars.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosscal.core.errors import UnknownNameError
from crosscal.core.robust import huber_weights

METRICS = ("chi2", "huber")


def chebyshev(x: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Chebyshev polynomials T_0 ... T_{n-1} at x in [-1, 1], shape (n, x.size)."""
    return np.asarray(np.polynomial.chebyshev.chebvander(x, n - 1).T, dtype=float)


def unit_interval(wavelength: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Map wavelengths to [-1, 1]."""
    return np.clip(2 * (wavelength - low) / (high - low) - 1, -1, 1)


@njit(cache=True)
def _solve(moments, products, offset, n_terms, ridge, out):  # pragma: no cover (compiled)
    """out[t] = offset - b^T A^-1 b by Cholesky for each template; NaN where A is not positive definite."""
    a = np.empty((n_terms, n_terms))
    z = np.empty(n_terms)
    for t in range(moments.shape[0]):
        scale = moments[t, 0]
        if not scale > 0:
            out[t] = np.nan
            continue
        fine = True
        total = 0.0
        for k in range(n_terms):
            for l in range(k + 1):
                value = 0.5 * (moments[t, k + l] + moments[t, k - l])
                if k == l:
                    value += ridge * scale
                for m in range(l):
                    value -= a[k, m] * a[l, m]
                if k == l:
                    if value <= 0:
                        fine = False
                        value = 1.0
                    a[k, k] = np.sqrt(value)
                else:
                    a[k, l] = value / a[l, l]
            value = products[t, k]
            for m in range(k):
                value -= a[k, m] * z[m]
            z[k] = value / a[k, k]
            total += z[k] * z[k]
        out[t] = offset - total if fine else np.nan


def score_templates(
    templates: NDArray[np.float32],
    data: NDArray[np.float64],
    weight: NDArray[np.float64],
    x: NDArray[np.float64],
    n_terms: int,
    position: NDArray[np.float64],
    candidates: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Chi-square of every template for every star.

    Parameters
    ----------
    templates : array (n_t, n_grid)
        At the instrument's resolution on one grid, of order one.
    data : array (n_star, n_pix)
    weight : array (n_star, n_pix)
        Inverse variances; zero where masked.
    x : array (n_star, n_pix)
        Coordinate of the continuum in [-1, 1].
    n_terms : int
        Terms of the continuum.
    position : array (n_star, n_pix)
        Place of each pixel on the template grid, in grid steps and in the star's rest frame.
    candidates : array of int, optional
        Numbers of the templates to score.

    Returns
    -------
    array (n_star, n_t)
        NaN for templates that are not candidates, and where nothing could be computed.

    Notes
    -----
    Instead of moving 5000 templates to each star's velocity, the weights of a star are moved to the templates' grid
    by the transpose of linear interpolation with shares 1 - f and f. For sums over t this is exact; for t^2 the square
    of an interpolation is (1 - f) t_j^2 + f t_{j+1}^2 - f (1 - f) (t_{j+1} - t_j)^2, a third product. The mean
    template is treated in double precision and only deviations from it in single.
    """
    chi2 = np.full((len(data), len(templates)), np.nan)
    chosen = np.arange(len(templates)) if candidates is None else np.asarray(candidates)
    part = templates if chosen.size == len(templates) else np.asarray(templates[chosen])
    chi2[:, chosen] = _score(part, data, weight, x, n_terms, position)
    return chi2


def _score(
    templates: NDArray[np.float32],
    data: NDArray[np.float64],
    weight: NDArray[np.float64],
    x: NDArray[np.float64],
    n_terms: int,
    position: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Chi-square (n_star, n_t) of all templates for stars that share them."""
    n_star, n_grid = len(data), templates.shape[1]
    n_moments = 2 * n_terms - 1
    squares = np.empty((n_star, n_moments, n_grid))
    bends = np.empty((n_star, n_moments, n_grid))
    lines = np.empty((n_star, n_terms, n_grid))
    offset = np.empty(n_star)
    for s in range(n_star):
        polynomials = chebyshev(x[s], n_moments)
        left = np.clip(position[s].astype(int), 0, n_grid - 2)
        right = np.clip(position[s] - left, 0, 1)
        inside = (position[s] >= 0) & (position[s] <= n_grid - 1)
        w = np.where(inside, weight[s], 0.0)
        d = np.where(w > 0, data[s], 0.0)
        offset[s] = np.sum(w * d * d)
        # Scaled by the data's level, the sums are of order one for single precision.
        scale = np.sqrt(max(offset[s], 1e-300) / max(np.sum(w), 1e-300))
        _to_grid(squares[s], w * scale**2 * polynomials, left, right, n_grid)
        _to_grid(lines[s], w * d * scale * polynomials[:n_terms], left, right, n_grid)
        for row, values in zip(bends[s], w * scale**2 * right * (1 - right) * polynomials, strict=True):
            row[:] = np.bincount(left, values, n_grid)
    moments, products = _products(templates, squares, bends, lines)
    chi2 = np.empty((n_star, len(templates)))
    for s in range(n_star):
        m = np.ascontiguousarray(moments[:, s * n_moments : (s + 1) * n_moments], dtype=float)
        p = np.ascontiguousarray(products[:, s * n_terms : (s + 1) * n_terms], dtype=float)
        _solve(m, p, offset[s], n_terms, 1e-7, chi2[s])
    return chi2


def _to_grid(
    target: NDArray[np.float64],
    values: NDArray[np.float64],
    left: NDArray[np.int64],
    right: NDArray[np.float64],
    n: int,
) -> None:
    """Add each pixel's value to its two grid points, by the shares of linear interpolation."""
    for row, value in zip(target, values, strict=True):
        row[:] = np.bincount(left, value * (1 - right), n) + np.bincount(left + 1, value * right, n)


def _products(
    templates: NDArray[np.float32],
    squares: NDArray[np.float64],
    bends: NDArray[np.float64],
    lines: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Moments (n_t, n_star * n_moments) of t^2 and products (n_t, n_star * n_terms) of t."""
    n_grid = templates.shape[1]
    # In double precision from numbers that single precision holds.
    mean = templates.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation, square, bend = (np.empty(templates.shape, dtype=np.float32) for _ in range(3))
    _deviations(templates, mean, deviation, square, bend)

    def both(base: NDArray, part: NDArray, weights: NDArray) -> NDArray[np.float64]:
        return weights @ base + part @ weights.T.astype(np.float32)

    exact = mean.astype(float)
    moments = both(exact**2, square, squares.reshape(-1, n_grid))
    moments -= both(np.diff(exact, append=0.0) ** 2, bend, bends.reshape(-1, n_grid))
    return moments, both(exact, deviation, lines.reshape(-1, n_grid))


@njit(cache=True)
def _deviations(templates, mean, deviation, square, bend):  # pragma: no cover (compiled)
    """d = t - mean, t^2 - mean^2 and (step of t)^2 - (step of mean)^2; no step leads from the last pixel."""
    two = np.float32(2.0)
    for t in range(templates.shape[0]):
        for p in range(mean.size):
            d = templates[t, p] - mean[p]
            deviation[t, p] = d
            square[t, p] = d * (d + two * mean[p])
        for p in range(mean.size - 1):
            step = deviation[t, p + 1] - deviation[t, p]
            bend[t, p] = step * (step + two * (mean[p + 1] - mean[p]))
        bend[t, mean.size - 1] = np.float32(0.0)


def fit_continuum(
    model: NDArray[np.float64],
    data: NDArray[np.float64],
    weight: NDArray[np.float64],
    x: NDArray[np.float64],
    n_terms: int,
) -> NDArray[np.float64]:
    """Model times its best continuum (n_pix,) for one star: the explicit least squares."""
    design = (chebyshev(x, n_terms) * model).T
    root = np.sqrt(weight)
    coefficients = np.linalg.lstsq(design * root[:, None], data * root, rcond=None)[0]
    return design @ coefficients


def robust_weight(
    weight: NDArray[np.float64], data: NDArray[np.float64], model: NDArray[np.float64], metric: str
) -> NDArray[np.float64]:
    """Weights after looking at residuals: unchanged for "chi2", times Huber's for "huber".

    Raises
    ------
    UnknownNameError
        If the metric is unknown.
    """
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    if metric == "chi2":
        return weight
    residual = np.where(weight > 0, (data - model) * np.sqrt(weight), 0.0)
    return weight * huber_weights(residual)
