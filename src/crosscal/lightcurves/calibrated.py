"""Calibrated fluxes with their full covariance.

The error of a calibrated flux F_j = phi_c f_j - G_c has a part of its own, phi_c sqrt(b^2 e_j^2 + eps^2), and a part
common to all points of its telescope: dF_j = f_j dphi_c - dG_c, of rank 2 per telescope. The common part does not
average out, so it is kept as a low-rank factor (and in joint draws), not only added in quadrature.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.lightcurves.physical import Factors
from crosscal.lightcurves.types import LightCurve

#: Elements of (draws x points) held at once.
_BLOCK = 4_000_000
#: Draws used per point at least, when there are many points.
_LEAST_DRAWS = 400


@dataclass(frozen=True, eq=False)
class Calibrated:
    """One calibrated light curve.

    Attributes
    ----------
    curve : LightCurve
        The measured one, in the same order.
    flux : array (N,)
        Posterior median of phi f - G.
    measurement : array (N,)
        Independent error: root of the posterior mean of phi^2 (b^2 e^2 + eps^2).
    calibration : array (N,)
        Half the central 68.3 % interval of phi f - G: the error common to a telescope, seen at one point.
    design : array (N, 2)
        d flux / d(scale, shift) of the point's telescope: (f, -1), or (f, 0) in a line.
    factor_covariance : array (2 k, 2 k)
        Posterior covariance of (scale_0, .., scale_k-1, shift_0, .., shift_k-1).
    """

    curve: LightCurve
    flux: NDArray[np.float64]
    measurement: NDArray[np.float64]
    calibration: NDArray[np.float64]
    design: NDArray[np.float64]
    factor_covariance: NDArray[np.float64]

    @property
    def error(self) -> NDArray[np.float64]:
        """Total error of each point taken alone."""
        return np.hypot(self.measurement, self.calibration)

    def low_rank(self) -> NDArray[np.float64]:
        """Return B (N, 2 k): the covariance of the fluxes is diag(measurement^2) + B factor_covariance B'."""
        n, k = len(self.flux), len(self.curve.codes)
        B = np.zeros((n, 2 * k))
        rows = np.arange(n)
        B[rows, self.curve.code], B[rows, k + self.curve.code] = self.design.T
        return B

    def covariance(self) -> NDArray[np.float64]:
        """Return the dense covariance (N, N) of the fluxes; meant for small N."""
        B = self.low_rank()
        return np.diag(self.measurement**2) + B @ self.factor_covariance @ B.T

    def mean_flux(self, points: NDArray[np.int64]) -> tuple[float, float]:
        """Return the unweighted mean calibrated flux of some points and its error, common part included.

        Raises
        ------
        InputError
            If there are no points.
        """
        if len(points) == 0:
            raise InputError("no points", where="mean flux", expected="at least one point")
        direction = self.low_rank()[points].mean(axis=0)
        common = direction @ self.factor_covariance @ direction
        own = np.sum(self.measurement[points] ** 2) / len(points) ** 2
        return float(self.flux[points].mean()), float(np.sqrt(common + own))


def calibrate(curve: LightCurve, factors: Factors, i: int) -> Calibrated:
    """Calibrate file ``i`` (0 is the continuum) with posterior draws."""
    flux, measurement, calibration = (np.empty(len(curve)) for _ in range(3))
    for part, values, own in _blocks(curve, factors, i):
        low, flux[part], high = np.quantile(values, [0.1585, 0.5, 0.8415], axis=0)
        calibration[part] = 0.5 * (high - low)
        measurement[part] = np.sqrt(np.mean(own**2, axis=0))
    pair = np.concatenate([factors.scale, factors.shift], axis=1)
    covariance = np.cov(pair, rowvar=False) if len(pair) > 1 else np.zeros((pair.shape[1],) * 2)
    design = np.stack([curve.flux, np.full(len(curve), -1.0 if i == 0 else 0.0)], axis=1)
    return Calibrated(curve, flux, measurement, calibration, design, covariance)


def calibrated_draws(
    curve: LightCurve, factors: Factors, i: int, rng: np.random.Generator, noise: bool
) -> NDArray[np.float64]:
    """Joint draws (n_draws, N) of the calibrated fluxes, by default with the measurement errors of each point."""
    joined = np.empty((factors.n_draws, len(curve)))
    for part, values, own in _blocks(curve, factors, i, thin=False):
        joined[:, part] = values + own * rng.standard_normal(values.shape) if noise else values
    return joined


def _blocks(
    curve: LightCurve, factors: Factors, i: int, *, thin: bool = True
) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield points, calibrated fluxes (n_draws, n) and their own errors, a block of points at a time."""
    if thin and factors.n_draws * len(curve) > 10 * _BLOCK:
        factors = factors.thin(max(_LEAST_DRAWS, 10 * _BLOCK // len(curve)))
    width = max(1, _BLOCK // factors.n_draws)
    for first in range(0, len(curve), width):
        part = slice(first, first + width)
        code, flag = curve.code[part], curve.flag[part]
        phi = factors.scale[:, code]
        values = phi * curve.flux[part] - (factors.shift[:, code] if i == 0 else 0.0)
        b, eps = factors.errscale[:, i, code, flag], factors.syserr[:, i, code, flag]
        yield part, values, phi * np.hypot(b * curve.error[part], eps)
