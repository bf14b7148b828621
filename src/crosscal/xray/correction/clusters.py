"""Simulated clusters seen by two telescopes, one of which is not what its analysts believe.

The same sources give paired temperatures (for the emulator route) and spectra (for the full likelihood), so that the
two routes can be compared, and the corrected area can be tried on the spectra that it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import FitError, InputError
from crosscal.core.keywords import keywords
from crosscal.core.random import generator, point_seeds
from crosscal.core.units import energies, plain
from crosscal.xray.correction.pairs import QUANTITIES, PairedSources
from crosscal.xray.emission.expression import Model
from crosscal.xray.fitting.batch import BatchFit, fit_counts
from crosscal.xray.fitting.poisson import poisson_counts
from crosscal.xray.fitting.templates import FoldedTemplates
from crosscal.xray.instrument.response import Response
from crosscal.xray.instrument.spectrum import Spectrum
from crosscal.xray.modifiers.base import Modifier

Array = NDArray[np.float64]

#: Norm of all simulated clusters; exposures are chosen for the counts wanted.
NORM = 1e-2


@dataclass(frozen=True, eq=False)
class Clusters:
    """N simulated clusters.

    Attributes
    ----------
    names : tuple of str
    truth : mapping of parameter to array (N,)
    model : Model
        Its free parameters are what fits vary.
    responses : (trusted, other), the nominal calibrations
    templates : (trusted, other), folded at 1 s
    exposure : array (2, N), s
    counts : two arrays (N, n_channel of the band)
    modifier, theta : what truly multiplies the other telescope's area
    """

    names: tuple[str, ...]
    truth: Mapping[str, Array]
    model: Model
    responses: tuple[Response, Response]
    templates: tuple[FoldedTemplates, FoldedTemplates]
    exposure: Array
    counts: tuple[Array, Array]
    modifier: Modifier
    theta: Mapping[str, float]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def telescopes(self) -> tuple[str, str]:
        """Names of the (trusted, other) telescopes."""
        return self.responses[0].name or "trusted", self.responses[1].name or "other"

    def injected(self, energy: ArrayLike) -> Array:
        """Return the injected phi(E) at ``energy`` keV."""
        return np.asarray(self.modifier.factor(energies(energy, where="injected, energy"), dict(self.theta)))

    def fit(self, telescope: int, response: Response | None = None) -> BatchFit:
        """Fit all spectra of a telescope (0 trusted, 1 other) with its nominal or with another response.

        Raises
        ------
        FitError
            If a fit fails: these spectra have so many counts that it would be a defect.
        """
        templates = self.templates[telescope]
        table = None
        if response is not None:
            nominal = self.responses[telescope].area
            ratio = np.divide(response.area, nominal, out=np.ones_like(nominal), where=nominal > 0)
            table = templates.folded(np.interp(templates.energy, response.energy, ratio))
        scale = self.exposure[telescope]
        start = {n: v * (scale if n.startswith("norm") else 1.0) for n, v in self.truth.items()}
        found = fit_counts(templates, self.model, self.counts[telescope], start=start, table=table)
        if not found.good.all():
            worst = self.names[int(np.argmin(found.good))]
            raise FitError(f"{int((~found.good).sum())} of {len(self)} simulated clusters cannot be fitted ({worst}).")
        # The templates are for 1 s, so fitted norms still hold the exposure.
        unit = np.stack([1 / scale if n.startswith("norm") else np.ones(len(self)) for n in found.names], axis=1)
        covariance = found.covariance * unit[:, :, None] * unit[:, None, :]
        return BatchFit(found.names, found.values * unit, covariance, found.statistic, found.status)

    def pairs(self, quantities: tuple[str, ...] | None = None, *, response: Response | None = None) -> PairedSources:
        """Return what both telescopes measure; ``response`` replaces the other telescope's calibration."""
        chosen = quantities or tuple(q for q in QUANTITIES if q in self.templates[0].names)
        fits = (self.fit(0), self.fit(1, response))
        pick = [fits[0].names.index(q) for q in chosen]
        return PairedSources(
            self.names,
            self.telescopes,
            chosen,
            np.stack([f.values[:, pick] for f in fits]),
            np.stack([f.covariance[:, pick][:, :, pick] for f in fits]),
            provenance={"simulated": True, "theta": dict(self.theta), "modifier": self.modifier.name},
        )

    def spectra(self, telescope: int) -> list[Spectrum]:
        """Return the spectra of a telescope as analysts get them: all channels, those outside the band empty."""
        response, templates = self.responses[telescope], self.templates[telescope]
        out = []
        for k, name in enumerate(self.names):
            counts = np.zeros(response.n_channel)
            counts[templates.mask] = self.counts[telescope][k]
            out.append(
                Spectrum(
                    counts=counts,
                    exposure=float(self.exposure[telescope, k]),
                    first_channel=response.first_channel,
                    name=name,
                )
            )
        return out


@keywords
def simulate_clusters(
    trusted: Response,
    other: Response,
    model: Model,
    modifier: Modifier,
    theta: Mapping[str, float],
    kT: ArrayLike,
    *,
    counts: float | tuple[float, float] = 5e4,
    bands: tuple[tuple[float, float], tuple[float, float]] = ((0.7, 7.0), (0.7, 7.0)),
    seed: int = 0,
) -> Clusters:
    """Simulate Poisson spectra of clusters of temperatures ``kT`` (N,) keV in two telescopes.

    Parameters
    ----------
    trusted, other : Response
        Nominal calibrations; that of the reference telescope is also the true one.
    model : Model
        Values of its parameters are the truth, apart from kT and norm.
    modifier, theta
        The truth of the other telescope: area * phi_theta.
    counts : float or (trusted, other)
        Expected counts in the band with the nominal area.
    bands : two of (low, high), keV
        Of the trusted and of the other telescope.
    seed : int

    Raises
    ------
    InputError
        If the model has no free kT and norm.

    Examples
    --------
    >>> error = {"A": 0.1, "mu": 1.8, "sigma": 0.9}  # doctest: +SKIP
    >>> clusters = xray.simulate_clusters(first, second, model, xray.Gaussian(), error, kT=[3, 6])  # doctest: +SKIP
    """
    temperatures = np.atleast_1d(np.asarray(plain(kT, "keV", where="kT"), dtype=float))
    n = temperatures.size
    if not {"kT", "norm"} <= set(model.free):
        raise InputError(f"free parameters {model.free}", where="simulated clusters", expected="kT and norm among them")
    truth = {name: np.full(n, model.parameter(name).default) for name in model.free}
    truth |= {"kT": temperatures, "norm": np.full(n, NORM)}
    wanted = np.broadcast_to(np.asarray(counts, dtype=float), 2)
    templates, drawn, exposure = [], [], np.empty((2, n))
    for k, (response, band) in enumerate(zip((trusted, other), bands, strict=True)):
        folded = FoldedTemplates.build(response, model, band=band)
        exposure[k] = wanted[k] / folded.counts(None, **truth).sum(axis=1)
        table = folded.folded(modifier.factor(folded.energy, dict(theta))) if k == 1 else folded.table
        expected = folded.counts(table, **truth) * exposure[k][:, None]
        drawn.append(poisson_counts(expected, point_seeds(seed, np.arange(n)[:, None], [[k]]))[:, 0])
        templates.append(folded)
    width = len(str(n))
    return Clusters(
        tuple(f"cluster {i + 1:0{width}d}" for i in range(n)),
        truth,
        model,
        (trusted, other),
        (templates[0], templates[1]),
        exposure,
        (drawn[0], drawn[1]),
        modifier,
        dict(theta),
    )


def draw_temperatures(n: int, low: float, high: float, seed: int) -> Array:
    """Draw ``n`` temperatures evenly in logarithm between ``low`` and ``high`` keV."""
    return np.exp(generator(seed, "cluster temperatures").uniform(np.log(low), np.log(high), n))
