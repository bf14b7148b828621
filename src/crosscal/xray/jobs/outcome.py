"""What a finished X-ray job hands to its user."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.correction import Correction
from crosscal.inference.diagnostics import sampling_gate


@dataclass(frozen=True, eq=False)
class XrayOutcome:
    """The result of ``job = "xray"`` and ``job = "xray-spectra"``: the calibration result and what it rests on.

    Attributes
    ----------
    calibration : CalibrationResult
    response : Response
        Nominal calibration of the corrected telescope.
    band : (low, high), keV
    clusters : Clusters or None
        Where the sources were simulated: then the truth is known and the spectra are fitted again.
    library : Library or None
    emulator : CalibrationEmulator or None
        Of the route through paired temperatures.
    """

    calibration: Any
    response: Any
    band: tuple[float, float]
    clusters: Any = None
    library: Any = None
    emulator: Any = None

    citations = ("apec", "atomdb", "tbabs", "cash", "numpyro", "nuts", "dynesty", "rhat", "schellenberger")

    def __repr__(self) -> str:
        # The answer to simulated sources fits their spectra again, which no repr may do.
        return repr(self.calibration).replace(type(self.calibration).__name__, type(self).__name__, 1)

    @property
    def posterior(self) -> Any:
        """The draws as an xarray DataTree."""
        return self.calibration.posterior

    @property
    def correction(self) -> Correction:
        """phi(E) with its draws."""
        return self.calibration.correction

    @property
    def diagnostics(self) -> Any:
        """What is constrained, aliases, prior-dominated directions, and convergence, in words and numbers."""
        return self.calibration.diagnostics

    @property
    def provenance(self) -> Any:
        """Where the calibration result comes from."""
        return self.calibration.provenance

    def summary(self) -> Any:
        """Return the table of parameters."""
        return self.calibration.summary()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be known before the answer is used."""
        failed = 0 if self.library is None else int(self.library.summary()["failed"].sum())
        own = (f"{failed} fits of the library failed.",) if failed else ()
        return (*own, *self.calibration.diagnostics.warnings)

    @property
    def gates(self) -> list[dict[str, Any]]:
        """Quality gates with their reasons."""
        found = self.calibration.diagnostics
        gates = [sampling_gate(found.converged, found.messages)]
        if np.isfinite(found.p_value):
            passed = bool(found.p_value >= 1e-3)
            gates.append({"gate": "predictive check", "passed": passed, "why": f"p = {found.p_value:.3g} (>= 0.001)"})
        many = len(found.aliases)
        others = "1 other solution fits" if many == 1 else f"{many or 'no'} other solutions fit"
        gates.append({"gate": "identified", "passed": not many, "why": f"{others} as well (none should)"})
        if self.library is not None:
            table = self.library.summary()
            failed, fits = int(table["failed"].sum()), int(table["fits"].sum())
            gates.append(
                {
                    "gate": "library",
                    "passed": failed <= 0.02 * fits,
                    "why": f"{failed} of {fits} fits failed (at most 2 %)",
                }
            )
        return gates

    @property
    def answer(self) -> str:
        """The answer in one sentence; with simulated sources, whether the truth was found."""
        text = self.calibration.answer
        if self.clusters is None:
            return text
        inside = [self.coverage(level) for level in (0.68, 0.95)]
        before, after = (self.residual_bias(corrected) for corrected in (False, True))
        return (
            f"{text} The planted error lies in the 68 / 95 % band at {100 * inside[0]:.0f} / {100 * inside[1]:.0f} % "
            f"of the energies; refitted with the corrected area, the mean bias of temperatures went from {before} "
            f"to {after}."
        )

    def coverage(self, level: float) -> float:
        """Return the fraction of energies in the band at which the planted phi lies in the central interval."""
        low_keV, high_keV = self.band
        energy = self.correction.coordinate
        used = (energy >= low_keV) & (energy <= high_keV)
        low, high = self.correction.interval(level)
        planted = self.clusters.planted(energy)
        return float(np.mean(((planted >= low) & (planted <= high))[used]))

    @cached_property
    def refitted(self) -> Any:
        """Pairs of the simulated clusters with the corrected effective area."""
        return self.clusters.pairs(response=self.response.corrected(self.correction))

    @cached_property
    def fitted(self) -> Any:
        """Pairs of the simulated clusters with the nominal effective area."""
        return self.clusters.pairs()

    def residual_bias(self, corrected: bool) -> Any:
        """Return the mean of ln(T_1 / T_0) of the simulated clusters, as text with its error in per cent."""
        from crosscal.core.robust import weighted_mean

        pairs = self.refitted if corrected else self.fitted
        ratio = np.log(pairs.values[1, :, 0] / pairs.values[0, :, 0])
        sd = np.hypot(*(pairs.sd[k, :, 0] / pairs.values[k, :, 0] for k in (0, 1)))
        mean, error = weighted_mean(ratio, sd)
        return f"{100 * mean:+.2f} +- {100 * error:.2f} %"

    def figures(self) -> dict[str, Any]:
        """Return the figures, the correction first."""
        from crosscal.xray.figures.results import outcome_figures

        return outcome_figures(self)

    @property
    def captions(self) -> dict[str, str]:
        """One line for each figure."""
        from crosscal.xray.figures.results import CAPTIONS

        return CAPTIONS

    def write(self, directory: str | os.PathLike[str], *, draws: int = 100) -> Path:
        """Write the calibration result, the corrected ARF with its ensemble, and the pairs after the correction."""
        target = Path(directory)
        self.calibration.write(target, response=self.response, draws=draws)
        if self.clusters is not None:
            from crosscal.xray import write_pairs

            write_pairs(target / "clusters_corrected.ecsv", self.refitted)
        return target
