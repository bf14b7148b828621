"""What the old calibration did: biases of temperature, scaling relations and derived quantities, with bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.xray import columns

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TemperatureBias:
    """Draws of T_nominal / T_true against T_true.

    Attributes
    ----------
    kT : array (n,), keV
    ratio : array (n_draws, n)
    """

    kT: Floats
    ratio: Floats

    def __post_init__(self) -> None:
        kT, ratio = np.asarray(self.kT, dtype=float), np.asarray(self.ratio, dtype=float)
        if kT.ndim != 1 or ratio.ndim != 2 or ratio.shape[1] != kT.size or np.any(~(ratio > 0)) or np.any(~(kT > 0)):
            raise InputError(
                f"shapes {kT.shape}, {ratio.shape}", where="temperature bias", expected="positive (n,) and (m, n)"
            )
        object.__setattr__(self, "kT", kT)
        object.__setattr__(self, "ratio", ratio)

    def of_power(self, power: float) -> Floats:
        """Return draws (m, n) of the fractional bias of a quantity that goes as T^power (mass: 1.5): ratio^p - 1."""
        return self.ratio**power - 1.0

    @property
    def difference(self) -> Floats:
        """Draws (m, n) of dT = T_nominal - T_true, keV."""
        return (self.ratio - 1.0) * self.kT

    def power_law(self, low: float | None = None, high: float | None = None) -> Floats:
        """Return draws (m, 2) of (a, b) in T_1 = a T_0^b [keV], least squares in ln over ``low`` to ``high`` keV.

        Raises
        ------
        InputError
            If fewer than two temperatures lie in the range.
        """
        use = (self.kT >= (low or 0.0)) & (self.kT <= (high or np.inf))
        if use.sum() < 2:
            raise InputError(f"{int(use.sum())} temperatures in the range", where="power law", expected="at least 2")
        x = np.log(self.kT[use])
        y = x + np.log(self.ratio[:, use])
        slope = ((x - x.mean()) * (y - y.mean(axis=1, keepdims=True))).sum(axis=1) / ((x - x.mean()) ** 2).sum()
        return np.stack([np.exp(y.mean(axis=1) - slope * x.mean()), slope], axis=1)

    def table(self, power: float = 1.5) -> Any:
        """Return an astropy QTable: bias of T and of T^power in per cent with 68 and 95 % intervals."""
        import astropy.units as u
        from astropy.table import QTable

        from crosscal.core.tables import describe

        found = QTable({"kT_true": self.kT * u.keV})
        for name, draws in (("dT/T", self.ratio - 1.0), (f"d(T^{power:g})", self.of_power(power))):
            quantiles = np.quantile(draws, [0.025, 0.16, 0.5, 0.84, 0.975], axis=0)
            for label, row in zip(("q2.5", "q16", "median", "q84", "q97.5"), quantiles, strict=True):
                found[f"{name} {label}"] = 100 * row * u.percent
        return describe(found, columns.BIAS)


def emulated_bias(emulator: Any, theta: ArrayLike, kT: ArrayLike) -> TemperatureBias:
    """Return the bias that each theta (m, d) implies, by the emulator."""
    return TemperatureBias(np.atleast_1d(np.asarray(kT, dtype=float)), emulator.temperature_bias(theta, kT))
