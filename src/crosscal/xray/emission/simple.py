"""Components with closed forms: powerlaw, gaussian, constant, zashift."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import erf, ndtr

from crosscal.core.parameter import Parameter
from crosscal.xray.emission.component import (
    Additive,
    Array,
    Convolution,
    Multiplicative,
    Settings,
    Values,
    norm_parameter,
)


class PowerLaw(Additive):
    """Power law: norm * (E / keV)^-PhoIndex photon/cm2/s/keV."""

    name = "powerlaw"
    linear = ("norm",)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = (
            Parameter("PhoIndex", 1.0, -3.0, 10.0, "", "photon index", free=True),
            norm_parameter("photon/cm2/s/keV at 1 keV"),
        )

    def unit_spectrum(self, edges: Array, values: Values) -> Array:
        a = 1.0 - np.asarray(values["PhoIndex"], dtype=float)[..., None]
        step = np.log(edges[1:] / edges[:-1])
        # (hi^a - lo^a) / a, written so that it is exact through a = 0.
        x = a * step
        small = np.abs(x) < 1e-12
        ratio = np.where(small, 1.0, np.expm1(x) / np.where(small, 1.0, x))
        return edges[:-1] ** a * step * ratio


class Gaussian(Additive):
    """Gaussian line: norm photon/cm2/s around LineE with standard deviation Sigma (0: all in one bin)."""

    name = "gaussian"
    linear = ("norm",)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = (
            Parameter("LineE", 6.5, 0.0, 1e6, "keV", "line energy", free=True),
            Parameter("Sigma", 0.1, 0.0, 20.0, "keV", "line width", free=True),
            norm_parameter("photon/cm2/s in the line"),
        )

    def unit_spectrum(self, edges: Array, values: Values) -> Array:
        energy = np.asarray(values["LineE"], dtype=float)[..., None]
        sigma = np.asarray(values["Sigma"], dtype=float)[..., None]
        wide = sigma > 0
        scaled = (edges - energy) / np.where(wide, sigma, 1.0) / np.sqrt(2.0)
        below = np.where(wide, 0.5 * erf(scaled), np.where(edges >= energy, 0.5, -0.5))
        # XSPEC normalises to the part of the line at positive energies.
        positive = np.where(wide, ndtr(energy / np.where(wide, sigma, 1.0)), 1.0)
        return np.diff(below, axis=-1) / positive


class Constant(Multiplicative):
    """Energy-independent factor."""

    name = "constant"
    linear = ("factor",)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = (Parameter("factor", 1.0, 0.0, 1e10, "", "factor"),)

    def evaluate(self, edges: Array, values: Values) -> Array:
        factor = np.asarray(values["factor"], dtype=float)[..., None]
        return np.broadcast_to(factor, (*factor.shape[:-1], edges.size - 1))


class Zashift(Convolution):
    """Redshift of the sources that it encloses: photons of energy E (1 + z) arrive at E, 1 + z times as slowly."""

    name = "zashift"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parameters = (Parameter("Redshift", 0.0, -0.999, 10.0, "", "redshift"),)

    def evaluate(self, edges: Array, values: Values, inner: Callable[[Array], Array]) -> Array:
        redshift = np.asarray(values["Redshift"], dtype=float)
        shifted = [inner(edges * (1.0 + z)) / (1.0 + z) for z in redshift.ravel()]
        # What is inside may vary over the same batch: take, for each redshift, its own element.
        shape = np.broadcast_shapes(redshift.shape, shifted[0].shape[:-1])
        stacked = np.stack([np.broadcast_to(s, (*shape, edges.size - 1)) for s in shifted])
        member = np.broadcast_to(np.arange(redshift.size).reshape(redshift.shape), shape)
        return np.take_along_axis(stacked, member[None, ..., None], axis=0)[0]
