"""Flux and luminosity of a fitted model in a band of energy, with errors from the covariance of the fit.

References
----------
Arnaud 1996, ASPC 101, 17 (XSPEC's ``flux`` and ``lumin`` with ``err``: draws of the parameters); Hogg 1999,
astro-ph/9905116, Eqs. 20 to 22 (luminosity distance and the shift of the band).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import FitError, InputError, UnknownNameError
from crosscal.core.rounding import with_sides
from crosscal.core.units import plain

if TYPE_CHECKING:
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.fitting.result import FitResult

Array = NDArray[np.float64]

ERG_PER_KEV = 1.602176634e-9
CM_PER_MPC = 3.0856775814913673e24
# Relative width of the bins: a line is misplaced by half of it at most.
_STEP = 1e-3
# Spectra that are evaluated at once.
_BATCH = 50


@dataclass(frozen=True, eq=False)
class BandValue:
    """A flux or luminosity in a band.

    Attributes
    ----------
    value : float
        Of the best fit, in ``unit``.
    low, high : float
        Ends of the central interval of the draws.
    level : float
        Its probability.
    unit : str
    band : (low, high), keV
        In the observer's frame for a flux, in the source's frame for a luminosity.
    draws : array
    what : str
        "flux", "unabsorbed luminosity", ...
    observed : (low, high), keV
        The band in the observer's frame.
    """

    value: float
    low: float
    high: float
    level: float
    unit: str
    band: tuple[float, float]
    draws: Array
    what: str
    observed: tuple[float, float]

    @property
    def quantity(self) -> Any:
        """The value as an astropy Quantity."""
        from astropy import units

        return units.Quantity(self.value, self.unit)

    def scaled(self, factor: float, *, unit: str, band: tuple[float, float], what: str) -> BandValue:
        """Return the value times ``factor``, under another name."""
        value, low, high = (factor * x for x in (self.value, self.low, self.high))
        return BandValue(value, low, high, self.level, unit, band, factor * self.draws, what, self.observed)

    @property
    def named(self) -> str:
        """What it is and its band, as in "unabsorbed flux 0.5-2 keV"."""
        return f"{self.what} {self.band[0]:g}-{self.band[1]:g} keV"

    @property
    def shown(self) -> str:
        """The value with its errors and unit."""
        below, above = self.value - self.low, self.high - self.value
        power = math.floor(math.log10(abs(self.value))) if self.value else 0
        if -3 <= power < 4:
            return f"{with_sides(self.value, below, above)} {self.unit}"
        shown = with_sides(*(x / 10.0**power for x in (self.value, below, above)))
        return f"{shown} 1e{power} {self.unit}"

    @property
    def row(self) -> dict[str, Any]:
        """Its row in the summary of a fit."""
        error = 0.5 * (self.high - self.low)
        return {"parameter": self.named, "value": self.value, "error": error, "unit": self.unit, "free": False}

    def __str__(self) -> str:
        return f"{self.what}, {self.band[0]:g} to {self.band[1]:g} keV: {self.shown} ({100 * self.level:.3g} %)"

    __repr__ = __str__


def band_flux(
    result: FitResult,
    band: tuple[float, float],
    *,
    absorbed: bool,
    photons: bool = False,
    level: float,
    draws: int,
    seed: int,
) -> BandValue:
    """Return the model's flux in a band; see :meth:`FitResult.flux`."""
    low, high = (float(plain(limit, "keV", where="band")) for limit in band)
    if not 0 < low < high < np.inf:
        raise InputError(f"a band of {low:g} to {high:g} keV", where="flux", expected="0 < low < high")
    if not 0 < level < 1:
        raise InputError(f"a level of {level:g}", where="flux", expected="between 0 and 1, such as 0.68")
    if draws < 2:
        raise InputError(f"{draws} draws", where="flux", expected="at least 2, such as 1000")
    edges = np.geomspace(low, high, max(2, int(np.ceil(np.log(high / low) / _STEP)) + 1))
    weight = np.ones(edges.size - 1) if photons else ERG_PER_KEV * 0.5 * (edges[1:] + edges[:-1])
    bare = {} if absorbed else dict.fromkeys(result.model.column_densities, 0.0)

    def flux(values: Mapping[str, Any]) -> Any:
        return result.model.spectrum(edges, **{**values, **bare}) @ weight

    sample = _parameters(result, draws, seed)
    parts = [{n: v[k : k + _BATCH] for n, v in sample.items()} for k in range(0, draws, _BATCH)]
    # If all free parameters are left out, all draws have one flux.
    found = np.concatenate([np.broadcast_to(flux(p), next(iter(p.values())).shape) for p in parts])
    ends = np.quantile(found, [0.5 - level / 2, 0.5 + level / 2])
    return BandValue(
        float(flux(result.values)), float(ends[0]), float(ends[1]), level,
        "photon / (s cm2)" if photons else "erg / (s cm2)", (low, high), found,
        f"{'' if absorbed else 'unabsorbed '}{'photon ' if photons else ''}flux", (low, high),
    )  # fmt: skip


def band_luminosity(
    result: FitResult,
    band: tuple[float, float],
    *,
    redshift: float | None,
    cosmology: Any,
    absorbed: bool,
    level: float,
    draws: int,
    seed: int,
) -> BandValue:
    """Return the luminosity in a band of the source's frame; see :meth:`FitResult.luminosity`."""
    z = _redshift(result.model) if redshift is None else float(redshift)
    if not 0 < z < np.inf:
        raise InputError(f"a redshift of {z:g}", where="luminosity", expected="a positive one, given as redshift=")
    low, high = (float(plain(limit, "keV", where="band")) for limit in band)
    seen = (low / (1 + z), high / (1 + z))
    flux = band_flux(result, seen, absorbed=absorbed, level=level, draws=draws, seed=seed)
    area = 4 * np.pi * (_distance(cosmology, z) * CM_PER_MPC) ** 2
    return flux.scaled(area, unit="erg / s", band=(low, high), what=flux.what.replace("flux", "luminosity"))


def _parameters(result: FitResult, draws: int, seed: int) -> dict[str, Array]:
    """Draw the free parameters from the Gaussian of the fit; what lies beyond a limit becomes the limit."""
    if not result.names or not np.all(np.isfinite(result.covariance)):
        raise FitError(
            "the fit has no covariance, so a flux has no error: free a parameter, or move it away from its limit."
        )
    mean = np.array([result.values[name] for name in result.names])
    rng = np.random.default_rng(seed)
    values = rng.multivariate_normal(mean, result.covariance, size=draws, method="eigh")
    limits = [result.model.parameter(name) for name in result.names]
    return {p.name: np.clip(values[:, k], p.low, p.high) for k, p in enumerate(limits)}


def _redshift(model: Model) -> float:
    """Return the redshift that all components of the model share."""
    found = {p.default for p in model.parameters if p.name.split("_")[0].lower() in ("redshift", "z")}
    if len(found) != 1:
        told = ", ".join(f"{z:g}" for z in sorted(found)) or "no redshift"
        raise InputError(f"the model has {told}", where="luminosity", expected="the source's, given as redshift=")
    return found.pop()


def _distance(cosmology: Any, z: float) -> float:
    """Return the luminosity distance in Mpc."""
    if isinstance(cosmology, str):
        from astropy import cosmology as known

        if cosmology not in known.available:
            raise UnknownNameError("cosmology", cosmology, known.available, where="luminosity")
        cosmology = getattr(known, cosmology)
    return float(cosmology.luminosity_distance(z).to_value("Mpc"))
