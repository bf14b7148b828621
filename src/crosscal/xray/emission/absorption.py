"""Photoelectric absorption by interstellar matter: TBabs and phabs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from scipy.special import erf

from crosscal.core.errors import DataFileError, UnknownNameError
from crosscal.core.parameter import Parameter
from crosscal.xray.emission.component import Array, Multiplicative, Settings, Values
from crosscal.xray.emission.npz import read_arrays

# Radii of interstellar grains, micrometre: n(a) ~ a^-3.5 (Mathis, Rumpl & Nordsieck 1977).
_GRAIN_MIN, _GRAIN_MAX = 0.025, 0.25


def grain_shielding(depth: Array) -> Array:
    """Return how much less grains absorb than their atoms would if they were free.

    The mean over grain radii a of ``(1 - exp(-t a)) / (t a)``, weighted with the grain's volume, for the size
    distribution ``a^-3.5``: ``integral a^-1.5 (1 - exp(-t a)) da / (t integral a^-0.5 da)``.

    Parameters
    ----------
    depth : array
        t, mean optical depth of a grain per micrometre of its radius.

    References
    ----------
    Wilms, Allen & McCray 2000, ApJ 542, 914, eq. 4 to 7.
    """
    t = np.asarray(depth, dtype=float)
    small = t < 1e-7
    safe = np.where(small, 1.0, t)

    def primitive(a: float) -> Array:
        return 2.0 * (np.sqrt(np.pi * safe) * erf(np.sqrt(safe * a)) + np.expm1(-safe * a) / np.sqrt(a))

    volume = 2.0 * (_GRAIN_MAX**0.5 - _GRAIN_MIN**0.5)
    return np.where(small, 1.0, (primitive(_GRAIN_MAX) - primitive(_GRAIN_MIN)) / (safe * volume))


@dataclass(frozen=True)
class CrossSection:
    """A tabulated cross-section per hydrogen atom.

    Parameters
    ----------
    log_energy : array, shape (n,)
        ln(E / keV), increasing; an absorption edge is two close energies.
    log_sigma : array, shape (n,)
        ln of the cross-section of all atoms, 1e-22 cm2.
    grains : array, shape (n,)
        Share of it that is due to atoms in grains.
    shielding : float
        Optical depth of a grain per micrometre and 1e-22 cm2 of its atoms; 0 without grains.
    """

    log_energy: Array
    log_sigma: Array
    grains: Array
    shielding: float

    def parts(self, energy: Array) -> tuple[Array, Array]:
        """Return the cross-sections of gas and of unshielded grains at energies in keV, 1e-22 cm2.

        Outside the table (0.03 to 99 keV) its first or last power law is continued.
        """
        x = np.log(np.maximum(energy, 1e-6))
        y = np.interp(x, self.log_energy, self.log_sigma)
        for end, inner, outside in ((0, 4, x < self.log_energy[0]), (-1, -5, x > self.log_energy[-1])):
            step = self.log_energy[end] - self.log_energy[inner]
            slope = (self.log_sigma[end] - self.log_sigma[inner]) / step
            y = np.where(outside, self.log_sigma[end] + slope * (x - self.log_energy[end]), y)
        sigma = np.exp(y)
        grains = sigma * np.interp(x, self.log_energy, self.grains)
        return sigma - grains, grains

    def combine(self, gas: Array, grains: Array) -> Array:
        """Add gas and grains, these with their self-shielding."""
        return gas + grains * grain_shielding(self.shielding * grains) if self.shielding else gas + grains

    def at(self, energy: Array) -> Array:
        """Return the cross-section at energies in keV, 1e-22 cm2."""
        return self.combine(*self.parts(energy))

    def in_bins(self, edges: Array) -> Array:
        """Return the cross-section of bins as XSPEC takes it: from the mean over the two edges of each bin."""
        gas, grains = self.parts(edges)
        return self.combine(0.5 * (gas[1:] + gas[:-1]), 0.5 * (grains[1:] + grains[:-1]))


@lru_cache(maxsize=1)
def _tables() -> dict[str, CrossSection]:
    return read_cross_sections(files("crosscal.xray.emission").joinpath("data/absorption.npz"))


def read_cross_sections(path) -> dict[str, CrossSection]:
    """Read a file of cross-sections: "model_abundances" -> CrossSection.

    Raises
    ------
    DataFileError
        If the file is not such a table.
    """
    arrays = read_arrays(path, "table of absorption cross-sections")
    try:
        tables = {}
        for name in [name.removesuffix("_sigma") for name in arrays if name.endswith("_sigma")]:
            energy, sigma = arrays[f"{name.partition('_')[0]}_E"].astype(float), arrays[f"{name}_sigma"].astype(float)
            grains = arrays.get(f"{name}_grains", np.zeros_like(sigma)).astype(float)
            if not (energy.shape == sigma.shape == grains.shape and np.all(np.diff(energy) >= 0)):
                raise ValueError("shapes")
            tables[name] = CrossSection(energy, sigma, grains, float(arrays.get(f"{name}_k", 0.0)))
        if not tables:
            raise ValueError("empty")
    except (ValueError, KeyError, TypeError) as error:
        raise DataFileError("not a table of absorption cross-sections", where=str(path)) from error
    return tables


def cross_section(model: str, abundances: str) -> CrossSection:
    """Return the cross-section of an absorption model.

    Parameters
    ----------
    model : "TBabs" or "phabs"
    abundances : "wilm", "angr" or "aspl"

    Raises
    ------
    UnknownNameError
        If no table was computed with these abundances.
    """
    tables = _tables()
    key = f"{model}_{abundances}"
    if key not in tables:
        known = [k.partition("_")[2] for k in tables if k.startswith(f"{model}_")]
        raise UnknownNameError("absorption abundance table", abundances, known, where=model)
    return tables[key]


class Absorption(Multiplicative):
    """exp(-nH sigma), with the cross-section of each bin as XSPEC takes it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = (Parameter("nH", 1.0, 0.0, 1e6, "1e22 / cm2", "equivalent hydrogen column", "log"),)
        self.cross_section = cross_section(self.name, settings.absorption_abundances)

    def evaluate(self, edges: Array, values: Values) -> Array:
        return np.exp(-np.asarray(values["nH"])[..., None] * self.cross_section.in_bins(edges))


class TBabs(Absorption):
    """Absorption by gas, grains and molecules (Wilms, Allen & McCray 2000, ApJ 542, 914)."""

    name = "TBabs"


class Phabs(Absorption):
    """Photoelectric absorption with the cross-sections of Verner et al. (1996, ApJ 465, 487)."""

    name = "phabs"
