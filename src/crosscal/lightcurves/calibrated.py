"""Calibrated fluxes with their full covariance.

The error of a calibrated flux F_j = phi_c f_j - G_c has a part of its own, phi_c sqrt(b^2 e_j^2 + eps^2), and a part
common to all points of its telescope: dF_j = f_j dphi_c - dG_c, of rank 2 per telescope. The common part does not
average out, so it is kept as a low-rank factor (and in joint draws), not only added in quadrature.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.lightcurves.physical import Factors
from crosscal.lightcurves.reconstruction import Reconstruction
from crosscal.lightcurves.types import LightCurve, LightCurves

#: What the columns of `calibrated_table` mean.
COLUMNS = {
    "time": "as in the input",
    "flux": "flux on the scale of the reference",
    "error": "total error of the point alone",
    "error_measurement": "its independent part: measured, scaled and with the systematic error",
    "error_calibration": "its part from scale and shift, common to the telescope: it does not average out",
    "telescope": "telescope",
    "flag": "flag of the input",
    "measured_flux": "flux as measured",
    "measured_error": "error as given",
    "source": "flux of the source at that time by the model, given all points",
    "source_sd": "its standard deviation",
    "leave_one_out_z": "point minus its prediction by all others, in standard deviations",
}

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

    Examples
    --------
    >>> curve = result.curve()  # doctest: +SKIP
    >>> curve.flux, curve.error, curve.covariance()  # doctest: +SKIP
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


def calibrated_table(
    curves: LightCurves, i: int, found: Calibrated, z: NDArray[np.float64], source: Reconstruction, reference: str
) -> Any:
    """Return the merged light curve of file ``i`` as an astropy TimeSeries (QTable where the time system is unknown).

    Columns: time, flux, error (total of each point alone), error_measurement (independent), error_calibration (common
    to the telescope: it does not average out), telescope, flag, measured flux and error, the model's flux of the source
    (``source``, reconstructed at the points' times) and its standard deviation, leave-one-out z.
    """
    from astropy.time import Time
    from astropy.timeseries import TimeSeries

    from crosscal.core.tables import ResultTable, describe

    curve = curves.files[i]
    content = {
        "flux": found.flux,
        "error": found.error,
        "error_measurement": found.measurement,
        "error_calibration": found.calibration,
        "telescope": np.array(curve.codes)[curve.code],
        "flag": np.array([curve.flag_labels[c][k] for c, k in zip(curve.code, curve.flag, strict=True)]),
        "measured_flux": curve.flux,
        "measured_error": curve.error,
        "source": source.mean,
        "source_sd": source.sd,
        "leave_one_out_z": z,
    }
    if curves.time_format:
        time = Time(curve.time, curves.time_zero, format=curves.time_format, scale=curves.time_scale or "utc")
        table: Any = TimeSeries(time=time, data=content)
    else:
        table = ResultTable({"time": curve.time, **content})
    table.meta.update(
        light_curve=curve.name,
        reference=reference,
        flux_unit=curve.unit,
        times=str(curves.system),
        note="error_calibration is common to all points of a telescope; see calibrated.nc for joint draws",
    )
    return describe(table, COLUMNS)


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
