"""Errors of a curve from what stars differ by beyond their polynomials, and from templates that all of them share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from crosscal.fluxcal.curve.normal_equations import TEMPLATE_ERROR
from crosscal.fluxcal.curve.stack import Stack
from crosscal.fluxcal.stars.mismatch import correlated_modes

#: Distance of the nodes at which stars are compared, Angstrom.
NODES = 150.0
#: What is usual between stars counts as so many of them.
PRIOR_STARS = 4.0


def difference_modes(
    stack: Stack,
    throughput: NDArray[np.float64],
    c: NDArray[np.float64],
    basis: NDArray[np.float64],
    use: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Modes (k, n_pix) of ln T that the stars' spectra add to those of their polynomials.

    r_sb, the mean residual of star s at node b relative to the curve, enters the curve with the star's share w_sb of
    the weight there. Its covariance is sum_s w_sb w_sb' r_sb r_sb' / (1 - w_sb), drawn towards the usual difference
    between stars and templates (as much as four stars) and widened by Student's t for few stars. The error that all
    templates share is added.

    Parameters
    ----------
    stack : Stack
    throughput : array (n_pix,)
        Smoothed.
    c, basis : arrays (n_star, k), (k, n_pix)
        The stars' coefficients and their polynomials.
    use : array of bool (n_star, n_pix)
        Pixels that made the curve.
    """
    wave = stack.wavelength
    index = np.flatnonzero(use.any(axis=1))
    n = index.size
    common, own = stack.mismatch[index].mean(axis=0)
    shared = correlated_modes(wave, common)
    widen = float(stdtrit(n - 1 + PRIOR_STARS, 0.8413))
    prior = correlated_modes(wave, own) * widen * np.sqrt(PRIOR_STARS / (PRIOR_STARS + n) / n)
    if n < 3:
        return np.concatenate([shared, correlated_modes(wave, own) * widen / np.sqrt(n)])
    residual, share = _residuals(stack, throughput, c, basis, use)
    rows = share * residual / np.sqrt(np.clip(1 - share, 0.2, 1)) * widen * np.sqrt(n / (PRIOR_STARS + n))
    return np.concatenate([shared, prior, rows[index] @ _hats(wave)])


def _residuals(
    stack: Stack,
    throughput: NDArray[np.float64],
    c: NDArray[np.float64],
    basis: NDArray[np.float64],
    use: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean residuals (n_star, n_node) of ln rate about the nodes, and the stars' shares of the weight there."""
    predicted = np.nan_to_num(throughput * stack.model * np.exp(c @ basis))
    weight = np.where(use, 1 / (stack.rate_variance + (TEMPLATE_ERROR * predicted) ** 2), 0.0)
    hats = _hats(stack.wavelength)
    top = (weight * predicted * (stack.rate - predicted)) @ hats.T
    bottom = (weight * predicted**2) @ hats.T
    total = bottom.sum(axis=0)
    seen = np.asarray(use.any(axis=1), dtype=float)
    plain = seen[:, None] / max(seen.sum(), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.where(bottom > 0, top / bottom, 0.0)
        share = np.where(total > 0, bottom / total, plain)
    return residual, share


def _hats(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares (n_node, n_pix) of linear interpolation between evenly spaced nodes."""
    n = max(int(np.ceil((wavelength[-1] - wavelength[0]) / NODES)), 1) + 1
    place = np.interp(wavelength, np.linspace(wavelength[0], wavelength[-1], n), np.arange(n))
    return np.clip(1 - np.abs(place[None, :] - np.arange(n)[:, None]), 0, None)
