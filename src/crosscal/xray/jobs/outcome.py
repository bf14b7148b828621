"""What a finished X-ray job hands to its user."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from crosscal.core.check import Check
from crosscal.core.correction import Correction
from crosscal.core.robust import weighted_mean
from crosscal.inference.posterior import Posterior
from crosscal.jobs.result import Presented


@dataclass(frozen=True, eq=False)
class XrayOutcome(Presented):
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
    validation : Validation or None
        Of the emulator, on the route through paired temperatures.
    ensemble : int
        Number of corrected ARFs that are written.
    """

    kind: ClassVar[str] = "xray"

    calibration: Any
    response: Any
    band: tuple[float, float]
    clusters: Any = None
    library: Any = None
    validation: Any = None
    ensemble: int = 100

    def __repr__(self) -> str:
        # The answer to simulated sources fits their spectra again, which no repr may do.
        return repr(self.calibration).replace(type(self.calibration).__name__, type(self).__name__, 1)

    @property
    def citations(self) -> tuple[str, ...]:
        """Keys of what to cite."""
        return self.calibration.citations

    @property
    def posterior_draws(self) -> Posterior:
        """The draws with their method, evidence and messages."""
        return self.calibration.posterior_draws

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
        # What was tolerated in the telescope's files is told as well; spectra may have told it already.
        files = (f"{note.rstrip('.')}." for note in self.response.notes)
        return tuple(dict.fromkeys((*own, *self.calibration.diagnostics.warnings, *files)))

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks of the calibration result, and whether the library's fits succeeded."""
        if self.library is None:
            return self.calibration.checks
        table = self.library.summary()
        failed, fits = int(table["failed"].sum()), int(table["fits"].sum())
        why = f"{failed} of {fits} fits failed (at most 2 %)"
        return (*self.calibration.checks, Check("library", failed <= 0.02 * fits, why))

    @property
    def answer(self) -> str:
        """The answer in one sentence; with simulated sources, whether the truth was found."""
        text = self.calibration.headline(self.band)
        if self.clusters is None:
            return text
        inside = [self.coverage(level) for level in (0.68, 0.95)]
        before, after = (self.residual_bias(corrected) for corrected in (False, True))
        return (
            f"{text} The injected error lies within the 68 % (95 %) band over {100 * inside[0]:.0f} % "
            f"({100 * inside[1]:.0f} %) of the energy range; the corrected area changes the mean bias of temperatures "
            f"from {before} to {after}."
        )

    def coverage(self, level: float) -> float:
        """Return the fraction of energies in the band at which the injected phi lies in the central interval."""
        low_keV, high_keV = self.band
        energy = self.correction.coordinate
        used = (energy >= low_keV) & (energy <= high_keV)
        low, high = self.correction.interval(level)
        injected = self.clusters.injected(energy)
        return float(np.mean(((injected >= low) & (injected <= high))[used]))

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
        pairs = self.refitted if corrected else self.fitted
        ratio = np.log(pairs.values[1, :, 0] / pairs.values[0, :, 0])
        sd = np.hypot(*(pairs.sd[k, :, 0] / pairs.values[k, :, 0] for k in (0, 1)))
        mean, error = weighted_mean(ratio, sd)
        return f"{100 * mean:+.2f} +/- {100 * error:.2f} %"
