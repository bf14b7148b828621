"""Fluxes are normalised telescope by telescope, so that one prior fits all; results go back to physical units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.lightcurves.types import LightCurve, LightCurves

METHODS = ("mean", "none", "spread")


@dataclass(frozen=True, eq=False)
class Normalisation:
    """Divisors of the fluxes and the rules back to physical units.

    With C = ``factors[0]`` and L' = ``factors[l]``: f' = f / C_i, and
    phi_phys = phi C_0 / C_i, G_phys = C_0 G, eps_phys = C_i eps (line: L'_i eps), b unchanged,
    sigma_phys = C_0 sigma (line: L'_0 sigma). Lines are divided by L'_i = L_0 C_i / C_0, so that the scale factor of
    a telescope is the same for the continuum and every line.

    Attributes
    ----------
    factors : array, shape (1 + m, k)
    shift_centre : array, shape (k,)
        Where the prior range of the normalised shift is centred (zero unless ``method`` is "spread").
    method : str

    Examples
    --------
    >>> norm = lightcurves.Normalisation.of(curves)  # doctest: +SKIP
    """

    factors: NDArray[np.float64]
    shift_centre: NDArray[np.float64]
    method: str

    @classmethod
    def of(cls, curves: LightCurves, method: str = "mean") -> Normalisation:
        """Compute the divisors.

        Parameters
        ----------
        method : "mean", "none" or "spread"
            "mean": the mean flux of each code (PyCALI's ``FlagNorm = 1``); "none": the mean of the reference for all
            (``FlagNorm = 0``); "spread": the standard deviation of each code, for difference fluxes whose mean is
            near or below zero; shift priors are then centred on the difference of the means.

        Raises
        ------
        UnknownNameError
            If the method is not one of the three.
        InputError
            If a mean is not positive where means are used, or the reference has no continuum points.
        """
        if method not in METHODS:
            raise UnknownNameError("normalisation", method, METHODS)
        continuum = curves.continuum
        k = len(curves.codes)
        if continuum.counts[0] == 0:
            raise InputError(
                f"the reference {curves.codes[0]!r} has no continuum points",
                where=f"light curve {continuum.name!r}",
                expected="another reference: its flux scale defines the result",
            )
        size = _size_of(continuum, method)
        lines = [_size_of(line, method) for line in curves.lines]
        factor = np.full(k, size[0]) if method == "none" else size.copy()
        if method != "none":
            for i in np.flatnonzero(continuum.counts == 0):
                # A code seen in lines only takes its level from the first such line (PyCALI leaves it at one).
                with_points = [s for s, line in zip(lines, curves.lines, strict=True) if line.counts[i] > 0]
                usable = [s for s in with_points if np.isfinite(s[0])]
                factor[i] = factor[0] * usable[0][i] / usable[0][0] if usable else 1.0
        rows = [factor]
        for s in lines:
            base = s[0] if np.isfinite(s[0]) else 1.0
            rows.append(base * factor / factor[0])
        factors = np.array(rows)
        centre = np.zeros(k)
        if method == "spread":
            level = np.array([_mean(continuum, i) if continuum.counts[i] else 0.0 for i in range(k)]) / factor
            centre = np.where(continuum.counts > 0, level - level[0], 0.0)
        return cls(factors, centre, method)

    @classmethod
    def fixed(cls, factors: NDArray[np.float64]) -> Normalisation:
        """Use given divisors, shape (1 + m, k)."""
        values = np.atleast_2d(np.asarray(factors, dtype=float))
        if not np.all(np.isfinite(values) & (values > 0)):
            raise InputError("a divisor is not positive", where="normalisation", expected="numbers > 0")
        return cls(values, np.zeros(values.shape[1]), "fixed")

    def scale_to_physical(self) -> NDArray[np.float64]:
        """C_0 / C_i, shape (k,)."""
        return self.factors[0, 0] / self.factors[0]

    @property
    def shift_to_physical(self) -> float:
        """C_0."""
        return float(self.factors[0, 0])


def _mean(curve: LightCurve, code: int) -> float:
    # Summed in input order, as every reader of the file would do.
    mine = np.flatnonzero(curve.code == code)
    return float(np.mean(curve.flux[mine[np.argsort(curve.order[mine])]]))


def _size_of(curve: LightCurve, method: str) -> NDArray[np.float64]:
    """Mean or standard deviation per code; NaN where a code is empty (1 for the spread of fewer than 3 points)."""
    size = np.full(len(curve.codes), np.nan)
    for i in np.flatnonzero(curve.counts > 0):
        if method == "spread":
            sd = float(np.std(curve.flux[curve.code == i]))
            size[i] = sd if curve.counts[i] > 2 and sd > 0 else np.nan
        else:
            size[i] = _mean(curve, int(i))
            if not size[i] > 0:
                raise InputError(
                    f"the mean flux is {size[i]:.4g}",
                    where=f"light curve {curve.name!r}, code {curve.codes[i]!r}",
                    expected="a mean > 0, or normalisation 'spread' for difference fluxes",
                )
    if method == "spread":
        typical = np.nanmedian(size) if np.isfinite(size).any() else float(np.std(curve.flux)) or 1.0
        size[np.isnan(size) & (curve.counts > 0)] = typical
    return size
