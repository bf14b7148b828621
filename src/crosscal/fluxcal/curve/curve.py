"""The combined calibration curve and its low-rank covariance."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crosscal.core.display import brief, brief_html
from crosscal.fluxcal.curve.position import PlateTerm
from crosscal.fluxcal.types import as_floats

MAG = 0.4 * np.log(10)


@dataclass(frozen=True, eq=False)
class Curve:
    """The combined calibration curve.

    Attributes
    ----------
    wavelength : array (n_pix,), Angstrom
    value : array (n_pix,)
        C in 1e-17 erg/s/cm2/A per count/s; positive everywhere inside ``covered``.
    variance : array (n_pix,)
        Independent part of Var(C).
    modes : array (k, n_pix)
        Correlated errors: Cov(ln C) = diag(variance / C^2) + modes^T modes.
    covered : array of bool (n_pix,)
        Where the curve is supported by stars (interpolated gaps included).
    bridged : array of bool (n_pix,)
        Telluric and other gaps across which the smooth curve is interpolated.
    n_stars : array of int (n_pix,)
        Stars per pixel.
    scatter : array (n_pix,)
        RMS of the stars' ratio to the curve after removing each star's grey and slope (FCALRMS against wavelength).
    names : tuple of str; coefficients : array (n_star, order + 1)
        Grey, slope (per 1000 A), curvature of each star in mag, relative to the curve: positive = more throughput.
    coefficient_errors : array (n_star, order + 1), mag
    rejected : tuple of int
        Numbers of stars rejected as outliers, with ``rejected_why`` "grey" or "slope".
    rms : float
        Robust RMS fractional scatter over all pixels and stars.
    plate : PlateTerm or None
    extrapolated : array of bool (n_pix,)
        Pixels beyond the outermost that stars measure, where the curve is extrapolated linearly.

    Examples
    --------
    >>> curve = result.curve  # doctest: +SKIP
    >>> curve.value, curve.total_variance, curve.modes  # doctest: +SKIP
    """

    wavelength: NDArray[np.float64]
    value: NDArray[np.float64]
    variance: NDArray[np.float64]
    modes: NDArray[np.float64]
    covered: NDArray[np.bool_]
    bridged: NDArray[np.bool_]
    n_stars: NDArray[np.int64]
    scatter: NDArray[np.float64]
    names: tuple[str, ...]
    coefficients: NDArray[np.float64]
    coefficient_errors: NDArray[np.float64]
    rejected: tuple[int, ...] = ()
    rejected_why: tuple[str, ...] = ()
    rms: float = float("nan")
    plate: PlateTerm | None = None
    warnings: tuple[str, ...] = field(default_factory=tuple)
    extrapolated: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    __repr__ = brief
    _repr_html_ = brief_html

    def __post_init__(self) -> None:
        keys = ("value", "variance", "modes", "scatter", "coefficients", "coefficient_errors")
        as_floats(self, "curve", wavelength="Angstrom", **dict.fromkeys(keys, ""))
        if np.size(self.extrapolated) != self.value.size:
            object.__setattr__(self, "extrapolated", np.zeros(self.value.size, dtype=bool))

    @property
    def total_variance(self) -> NDArray[np.float64]:
        """Var(C) of single pixels: independent part and modes."""
        return self.variance + self.value**2 * np.sum(self.modes**2, axis=0)


def polynomials(wavelength: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """1, x, x^2, ... with x in 1000 A from the middle of the grid, shape (order + 1, n); x^2 has its mean removed."""
    x = (wavelength - 0.5 * (wavelength[0] + wavelength[-1])) / 1000.0
    rows = [np.ones_like(x), x]
    for k in range(2, order + 1):
        power = x**k
        basis = np.stack(rows)
        rows.append(power - basis.T @ np.linalg.lstsq(basis.T, power, rcond=None)[0])
    return np.stack(rows[: order + 1])


def compress(modes: NDArray[np.float64], keep: float = 0.9999) -> NDArray[np.float64]:
    """The fewest orthogonal modes with the same covariance, up to a part ``1 - keep`` of its trace."""
    if modes.size == 0:
        return modes
    values, vectors = np.linalg.eigh(modes @ modes.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    total = np.cumsum(np.clip(values, 0, None))
    if total[-1] <= 0:
        return modes[:0]
    n = int(np.searchsorted(total, keep * total[-1])) + 1
    return vectors[:, :n].T @ modes
