"""A chromatic term that is linear in the position on the plate, with an atmospheric-dispersion prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Positions are measured in units of the 2dF plate's half size.
PLATE_RADIUS = 2.0e5


@dataclass(frozen=True, eq=False)
class PlateTerm:
    """slope(x, y) = gradient . (x, y) / PLATE_RADIUS (ln units per 1000 A), with its covariance (2, 2) and strength."""

    gradient: NDArray[np.float64]
    covariance: NDArray[np.float64]
    prior_sd: float
    centre: NDArray[np.float64]

    def at(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Slope at positions in micrometre; zero where a position is not known."""
        place = self._place(x, y)
        return np.nan_to_num(place @ self.gradient)

    def sd(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Standard deviation of :meth:`at`; the prior's where a position is not known."""
        place = self._place(x, y)
        variance = np.einsum("...i,ij,...j->...", place, self.covariance, place)
        return np.sqrt(np.where(np.isfinite(variance), variance, self.prior_sd**2))

    def _place(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        return np.stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)], axis=-1) / PLATE_RADIUS - self.centre


def fit_plate(
    x: ArrayLike,
    y: ArrayLike,
    slope: ArrayLike,
    error: ArrayLike,
    prior_sd: float,
    prior_mean: tuple[float, float] = (0.0, 0.0),
) -> PlateTerm | None:
    """Bayesian linear fit of slopes against position.

    slope_s = s0 + g . r_s + noise, g ~ N(prior_mean, a^2 prior_sd^2). The strength a (0, 1/4, 1/2, 1, 2) with the
    largest
    marginal
    likelihood is used, so that a plate without a gradient gets none; the scatter of the slopes is estimated
    from residuals by the same criterion. ``prior_sd`` is that of the dispersion expected at the frame's airmass (ln
    units per 1000 A at the plate's edge).

    Returns
    -------
    PlateTerm, or None where no gradient is better.
    """
    place = np.stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)], axis=1) / PLATE_RADIUS
    value, sd = np.asarray(slope, dtype=float), np.asarray(error, dtype=float)
    ok = np.all(np.isfinite(place), axis=1) & np.isfinite(value) & np.isfinite(sd)
    if ok.sum() < 4 or prior_sd <= 0:
        return None
    place, value, sd = place[ok], value[ok], sd[ok]
    centre = place.mean(axis=0)
    r = place - centre
    design = np.column_stack([np.ones(len(r)), r])
    expected = np.asarray(prior_mean, dtype=float)
    value = value - r @ expected
    best: tuple[float, float, NDArray, NDArray] | None = None
    spread = 1.4826 * np.median(np.abs(value - np.median(value)))
    for strength in (0.0, 0.25, 0.5, 1.0, 2.0):
        for scatter in spread * np.array([0.3, 0.45, 0.6, 0.8, 1.0, 1.25]):
            prior = np.diag([10.0, *(2 * [(strength * prior_sd) ** 2])])
            covariance = design @ prior @ design.T + np.diag(sd**2 + scatter**2 + 1e-10)
            factor = np.linalg.cholesky(covariance)
            white = np.linalg.solve(factor, value)
            evidence = -0.5 * white @ white - np.sum(np.log(np.diag(factor)))
            if best is None or evidence > best[0] + 1e-12:
                gain = prior @ design.T @ np.linalg.inv(covariance)
                best = (evidence, strength, gain @ value, prior - gain @ design @ prior)
    assert best is not None
    if best[1] == 0.0 and not expected.any():
        return None
    return PlateTerm(expected + best[2][1:], best[3][1:, 1:], max(best[1], 0.25) * prior_sd, centre)
