"""The answer of an inference: posterior, correction, diagnostics, figures, files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.check import Check
from crosscal.core.correction import Correction
from crosscal.core.errors import InputError
from crosscal.core.units import energies, plain
from crosscal.inference.diagnostics import sampling_check
from crosscal.inference.posterior import Posterior
from crosscal.jobs.result import PRODUCTS, Presented
from crosscal.xray.correction.bias import TemperatureBias
from crosscal.xray.correction.identifiability import Diagnostics
from crosscal.xray.correction.pairs import PairedSources
from crosscal.xray.correction.spectra import SpectraModel
from crosscal.xray.correction.stacked import StackedRatio, ratio_of_model

Floats = NDArray[np.float64]

#: Draws kept in a `Correction`: quantiles to 95 % are then good to a few per cent of the band.
MAX_DRAWS = 2000
#: Lowest energy that a headline names where the band is not known, keV.
LOWEST = 0.5
#: phi can vary where its prior sd is at least this share of the largest one.
VARIES = 0.1
#: Share of the largest significance from which energies count as equally significant.
NEARLY = 0.8


class Fitted(Protocol):
    """What a result was fitted with."""

    @property
    def band(self) -> tuple[float, float] | None:
        """Energies that the data cover, keV; None where the model does not know."""

    @property
    def pairs(self) -> PairedSources | None:
        """The pairs that were fitted; None where spectra were."""

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources, in the order of the log likelihoods."""

    @property
    def integrated(self) -> bool:
        """Whether what is not known of each source is integrated out, not sampled."""


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationResult(Presented):
    """What was learnt about telescope 1's effective area.

    Attributes
    ----------
    posterior_draws : Posterior
        With its method, evidence and messages; ``posterior`` is its DataTree.
    theta_names : tuple of str
        Parameters of phi.
    factor : callable
        (energy (n,) keV, theta (m, d)) -> phi (m, n).
    energy : array (n,), keV
        Grid of the correction.
    telescopes : (trusted, corrected)
    diagnostics : Diagnostics
    model : Fitted
        What was fitted: HierarchicalModel or SpectraModel.
    biases : callable or None
        (theta (m, d), kT (n,)) -> TemperatureBias.
    kT : array
        Temperatures at which biases are tabulated, keV.
    prior_factor : array (m, n)
        phi drawn from the prior on the grid.
    provenance : mapping
    """

    kind: ClassVar[str] = "xray-correction"
    citations: ClassVar[tuple[str, ...]] = (
        "apec", "atomdb", "tbabs", "cash", "numpyro", "nuts", "dynesty", "rhat", "schellenberger",
    )  # fmt: skip

    posterior_draws: Posterior
    theta_names: tuple[str, ...]
    factor: Any
    energy: Floats
    telescopes: tuple[str, str]
    diagnostics: Diagnostics
    model: Fitted
    biases: Any = None
    kT: Floats = field(default_factory=lambda: np.geomspace(1.0, 12.0, 23))
    prior_factor: Floats | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def theta(self) -> Floats:
        """Posterior draws of theta, thinned evenly to at most 2000: (m, d)."""
        draws = np.stack([self.posterior_draws.draws(n) for n in self.theta_names], axis=1)
        keep = np.linspace(0, len(draws) - 1, min(MAX_DRAWS, len(draws))).round().astype(int)
        return draws[keep]

    def phi(self, energy: ArrayLike | None = None) -> Floats:
        """Return posterior draws of phi(E): (m, n)."""
        grid = self.energy if energy is None else energies(energy, where="phi, energy")
        return np.asarray(self.factor(grid, self.theta))

    @cached_property
    def correction(self) -> Correction:
        """phi(E) with its draws: multiply telescope 1's nominal effective area by it."""
        return Correction.from_draws(
            self.energy,
            np.maximum(self.phi(), 1e-6),
            axis="energy",
            unit="keV",
            target=f"effective area of {self.telescopes[1]}",
            provenance={
                **self.provenance,
                "corrected telescope": self.telescopes[1],
                "reference telescope": self.telescopes[0],
            },
        )

    @cached_property
    def stacked(self) -> StackedRatio | None:
        """Data over the reference telescope's model, stacked over sources; None where no spectra were fitted."""
        return ratio_of_model(self.model) if isinstance(self.model, SpectraModel) else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be known before the answer is used."""
        return self.diagnostics.warnings

    @property
    def checks(self) -> tuple[Check, ...]:
        """Whether the sampler converged, the model describes the data, and there are no degenerate solutions."""
        found = self.diagnostics
        checks = [sampling_check(found.converged, found.messages, self.posterior_draws)]
        if np.isfinite(found.p_value):
            why = f"p = {found.p_value:.3g} (>= 0.001)"
            checks.append(Check("predictive check", bool(found.p_value >= 1e-3), why))
        checks.append(Check("limits", not found.no_answer, found.no_answer or "no limit decides the answer"))
        many = len(found.aliases)
        others = (
            f"{many} degenerate solution{'' if many == 1 else 's'} found" if many else "no degenerate solutions found"
        )
        checks.append(Check("identified", not many, others))
        return tuple(checks)

    def summary(self) -> Any:
        """Return an astropy QTable of the parameters: mean, sd, quantiles, R-hat, effective sample sizes."""
        small = [n for n in self.posterior_draws.names if self.posterior_draws.draws(n).ndim == 1]
        table = self.posterior_draws.summary(small)
        table.meta["constrained_modes"] = self.diagnostics.modes.n_constrained
        table.meta["warnings"] = list(self.diagnostics.warnings)
        return table

    def temperature_bias(self, kT: ArrayLike | None = None) -> TemperatureBias:
        """Return draws of T_nominal / T_true at ``kT`` keV.

        Raises
        ------
        InputError
            If the result cannot say (no way from phi to temperatures was given).
        """
        if self.biases is None:
            raise InputError("no map from phi to temperatures", where="result", expected="a result of infer")
        return self.biases(
            self.theta, self.kT if kT is None else np.atleast_1d(np.asarray(plain(kT, "keV", where="kT"), dtype=float))
        )

    @property
    def answer(self) -> str:
        """The answer in one sentence."""
        return self.headline(self.model.band)

    def headline(self, band: tuple[float, float] | None) -> str:
        """Return the answer with the most significant correction at an energy in ``band`` (keV) where phi can vary.

        Without a band, energies above 0.5 keV count.
        """
        if self.diagnostics.no_answer:
            return (
                f"With {self.telescopes[0]} trusted, no correction of the effective area of {self.telescopes[1]} can "
                f"be given: {self.diagnostics.no_answer}."
            )
        low, high = self.correction.interval(0.68)
        # A mean may fall between two solutions, where nothing is; a median does not leave its interval.
        middle = np.median(np.asarray(self.correction.draws), axis=0)
        size = np.abs(np.log(middle))
        significance = np.where(self._may_be_named(band), size / np.maximum(self.correction.sd, 1e-9), -1.0)
        # Energies that depend on one parameter are equally significant: the largest correction among them is named.
        k = int(np.argmax(np.where(significance >= NEARLY * significance.max(), size, -1.0)))
        text = (
            f"Relative to {self.telescopes[0]}, the effective area of {self.telescopes[1]} should be multiplied by "
            f"{middle[k]:.3f} (68 %: {low[k]:.3f} to {high[k]:.3f}) at {self.energy[k]:.1f} keV"
        )
        if self.biases is not None:
            kT = float(self.kT[np.argmin(np.abs(self.kT - 8.0))])
            ratio = self.temperature_bias([kT]).ratio[:, 0] - 1
            off = f"{100 * ratio.mean():+.1f} +/- {100 * ratio.std():.1f} %"
            text += f"; temperatures derived with the nominal area are biased by {off} at {kT:.0f} keV"
        return text + "."

    def _may_be_named(self, band: tuple[float, float] | None) -> NDArray[np.bool_]:
        """Whether a headline may name each energy: in the band, and phi is not held there."""
        lowest, highest = (LOWEST, np.inf) if band is None else band
        inside = (self.energy >= lowest) & (self.energy <= highest)
        spread = np.std(np.log(np.maximum(self._prior_or_draws, 1e-6)), axis=0)
        largest = float(np.max(spread, where=inside, initial=0.0))
        varies = inside & (spread >= VARIES * largest)
        return varies if largest > 0 and varies.any() else inside if inside.any() else np.ones_like(inside)

    @property
    def _prior_or_draws(self) -> Floats:
        return np.asarray(self.correction.draws if self.prior_factor is None else self.prior_factor)

    def write(self, directory: str | os.PathLike[str], *, response: Any = None, draws: int = 100) -> Path:
        """Write posterior.nc, summary.ecsv, correction.ecsv and .nc, bias.ecsv, diagnostics.txt, provenance.json.

        Parameters
        ----------
        response : Response, optional
            Of telescope 1: then also its corrected ARF and an ensemble of ``draws`` ARFs.

        Raises
        ------
        DataFileError
            If something cannot be written.
        """
        target = super().write(directory)
        if response is not None:
            PRODUCTS.get("xray-arfs")(self, response, target, draws)
        return target
