"""What the old calibration did: biases of temperature, scaling relations and derived quantities, with bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.xray.fitting.batch import fit_counts
from crosscal.xray.fitting.templates import FoldedTemplates

Floats = NDArray[np.float64]


#: What the columns of the table mean.
COLUMNS = {
    "kT_true": "true temperature",
    "dT/T *": "relative error of temperatures measured with the nominal calibration, quantile of the posterior",
    "d(T^*": "the same of a power of the temperature",
}


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
        return describe(found, COLUMNS)


def emulated_bias(emulator: Any, theta: ArrayLike, kT: ArrayLike) -> TemperatureBias:
    """Return the bias that each theta (m, d) implies, by the emulator."""
    return TemperatureBias(np.atleast_1d(np.asarray(kT, dtype=float)), emulator.temperature_bias(theta, kT))


def fitted_bias(response: Any, model: Any, factors: Any, kT: ArrayLike, band: tuple[float, float]) -> TemperatureBias:
    """Return T_nominal / T_true by fits: simulate with area * phi without noise, fit with area.

    Parameters
    ----------
    factors : callable
        energy (n,) keV -> phi (m, n), one row a draw.
    """
    kT = np.atleast_1d(np.asarray(kT, dtype=float))
    templates = FoldedTemplates.build(response, model, band=band, axes=_axes(model))
    truth = {n: np.full(kT.size, model.parameter(n).default) for n in model.free} | {"kT": kT}
    # Noiseless fits do not depend on the number of counts; this keeps them in the Gaussian regime.
    total = templates.counts(**truth).sum(axis=1)
    for n in model.free:
        if n.startswith("norm"):
            truth[n] = truth[n] * 1e5 / total
    ratio = []
    for factor in np.atleast_2d(factors(templates.energy)):
        expected = templates.counts(templates.folded(factor), **truth)
        found = fit_counts(templates, model, expected, start=truth)
        value = found.values[:, found.names.index("kT")] / kT
        # A failed noiseless fit would be a defect of the grid's end; hold the last good ratio, keep the draw.
        good = np.isfinite(value)
        ratio.append(np.interp(np.log(kT), np.log(kT[good]), value[good]))
    return TemperatureBias(kT, np.array(ratio))


def _axes(model: Any) -> dict[str, Floats]:
    """Return nodes around the model's own value for free parameters that it does not tabulate (nH, Redshift, ...)."""
    found = {}
    for name in model.free:
        parameter = model.parameter(name)
        if name in model.linear or model.nodes(name) is not None:
            continue
        value, redshift = parameter.default, name.split("_")[0] == "Redshift"
        # Lines that cross energy bins with the redshift are interpolated between places this close.
        reach, n = (0.02, 21) if redshift else (max(abs(value), 0.5), 13)
        found[name] = np.linspace(max(value - reach, parameter.low), min(value + reach, parameter.high), n)
    return found
