"""``job = "xray-fit"``: fit one real spectrum with any model, background and grouping."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from crosscal.config import JobModel, Part, StrictModel
from crosscal.core.correction import Correction
from crosscal.core.display import by_answer
from crosscal.core.files import write_ecsv
from crosscal.core.progress import SILENT, Progress
from crosscal.datasets import resolve
from crosscal.xray import columns
from crosscal.xray.jobs.options import Source, Telescope

TEMPLATE = """\
# Fit one spectrum.
job = "xray-fit"
output = "runs/fit"

[telescope]
arf = "source.arf"
rmf = "source.rmf"
band = [0.7, 7.0]                    # keV

[spectrum]
pha = "source.pha"
# background = "background.pha"      # fitted together with the source (wstat)
# statistic = "cstat"                # "wstat", "pgstat", "chi2", "chi2-gehrels", "chi2-model"
# grouping = "none"                  # "counts", "optimal" (Kaastra & Bleeker), "file" (the file's own flags)
# min_counts = 25
# ignored = [[1.7, 2.0]]               # ranges inside the band that are left out, keV

[model]
expression = "TBabs*apec"
nH = 0.05                            # 1e22 / cm2
Redshift = 0.05
free = ["kT", "norm", "Abundanc"]
"""


class SpectrumFile(StrictModel):
    """The spectrum to fit."""

    pha: Path = Field(description="an OGIP PHA file")
    background: Path | None = None
    statistic: str | None = None
    grouping: Literal["none", "counts", "optimal", "file"] = "none"
    min_counts: int = Field(25, gt=0)
    ignored: list[tuple[float, float]] = Field([], description="ranges inside the band that are left out, keV")

    @model_validator(mode="after")
    def _known(self) -> SpectrumFile:
        from crosscal.xray.fitting.statistics import kind_of

        if self.statistic is not None:
            kind_of(self.statistic)
        return self


class FitJob(JobModel):
    """Fit one spectrum."""

    job: Literal["xray-fit"] = "xray-fit"
    telescope: Telescope
    spectrum: SpectrumFile
    model: Source = Source()
    delta: float = Field(1.0, gt=0, description="rise of the statistic that bounds the intervals")

    inputs: ClassVar[tuple[str, ...]] = ("telescope.arf", "telescope.rmf", "spectrum.pha", "spectrum.background")


@dataclass(frozen=True, eq=False)
class FitOutcome:
    """A fitted spectrum with profile-likelihood intervals.

    Attributes
    ----------
    fit : FitResult
    intervals : mapping of name to (low, high)
    name : str
    """

    fit: Any
    intervals: dict[str, tuple[float, float]]
    name: str

    citations: ClassVar[tuple[str, ...]] = ("apec", "atomdb", "tbabs", "cash")

    __repr__ = by_answer

    @property
    def answer(self) -> str:
        """Best values with their intervals, and how well the model fits, in one sentence."""
        shown = []
        for parameter, (low, high) in self.intervals.items():
            value, unit = self.fit.values[parameter], self.fit.model.parameter(parameter).unit
            shown.append(f"{parameter} = {with_errors(value, value - low, high - value)} {unit}".rstrip())
        return (
            f"{self.name}: {', '.join(shown)}; {self.fit.statistic_name} = {self.fit.statistic:.1f} for {self.fit.dof} "
            f"degrees of freedom (p = {self.fit.pvalue:.2g})."
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """A fit that ended badly or that the data reject; and what its notes say."""
        return self.fit.warnings

    @property
    def gates(self) -> list[dict[str, Any]]:
        """Quality gates with their reasons."""
        from crosscal.xray.fitting.engine import MEANING

        good, p = self.fit.status.name == "OK", self.fit.pvalue
        return [
            {"gate": "fit", "passed": good, "why": MEANING[self.fit.status]},
            {"gate": "goodness of fit", "passed": not p < 1e-3, "why": f"p = {p:.2g} (>= 0.001)"},
        ]

    @property
    def diagnostics(self) -> str:
        """How the fit ended, how well it describes the data, and which parameters go together."""
        return self.fit.diagnostics

    @property
    def posterior(self) -> Any:
        """Draws of the free parameters as an xarray DataTree."""
        return self.fit.posterior

    @property
    def provenance(self) -> Any:
        """Versions, model and statistic."""
        return self.fit.provenance

    @property
    def correction(self) -> Correction | None:
        """A fit corrects nothing."""
        return None

    def summary(self) -> Any:
        """Return the table of parameters with the bounds of their intervals."""
        from crosscal.core.tables import describe

        table = self.fit.summary()
        bounds = [self.intervals.get(name, (np.nan, np.nan)) for name in table["parameter"]]
        table["low"], table["high"] = [b[0] for b in bounds], [b[1] for b in bounds]
        return describe(table, columns.FIT)

    #: Captions of the figures by name.
    captions: ClassVar[dict[str, str]] = {
        "spectrum": "Measured spectrum with the best-fitting model folded through the response, and residuals in "
        "standard deviations, which should scatter about 0 without a trend."
    }

    def figures(self) -> dict[str, Any]:
        """Return the spectrum with model and residuals."""
        from crosscal.xray.figures.results import spectrum_fit

        return {"spectrum": spectrum_fit(self.fit, title=self.name)}

    def write(self, directory: str | os.PathLike[str]) -> Path:
        """Write what the fit writes, with the intervals in summary.ecsv."""
        target = self.fit.write(directory)
        write_ecsv(target / "summary.ecsv", self.summary())
        return target


def with_errors(value: float, below: float, above: float) -> str:
    """Return ``value (-below +above)`` with two digits of the smaller error, and as many decimals everywhere."""
    least = min((e for e in (below, above) if e > 0 and np.isfinite(e)), default=0.0)
    if least == 0 or abs(value) >= 1e5 or least < 1e-5:
        return f"{value:.4g} (-{below:.2g} +{above:.2g})"
    digits = max(1 - math.floor(math.log10(least)), 0)
    return f"{value:.{digits}f} (-{below:.{digits}f} +{above:.{digits}f})"


def run(job: FitJob, output: Path, progress: Progress = SILENT) -> FitOutcome:
    """Fit the spectrum and its intervals.

    Raises
    ------
    CrossCalError
        Naming what is wrong with the files or the job; FitError if the fit failed.
    """
    from crosscal.xray import fit, read_spectrum
    from crosscal.xray.fitting.engine import Status
    from crosscal.xray.instrument.grouping import group

    response = job.telescope.response()
    plan = job.spectrum
    background = None if plan.background is None else resolve(plan.background)
    spectrum = read_spectrum(resolve(plan.pha), background)
    model = job.model.model()
    with progress.stage("Fitting", total=1 + len(model.free)) as advance:
        found = fit(
            spectrum,
            response,
            model,
            statistic=plan.statistic,
            groups=group(
                spectrum,
                response,
                job.telescope.band,
                method=plan.grouping,
                minimum=plan.min_counts,
                ignored=plan.ignored,
            ),
        )
        advance(1)
        intervals = {}
        for name in found.names if found.status == Status.OK else ():
            intervals[name] = found.interval(name, job.delta)
            advance(1)
    outcome = FitOutcome(found, intervals, spectrum.name or plan.pha.name)
    outcome.write(output)
    return outcome


def demo(output: Path, progress: Progress = SILENT) -> FitOutcome:
    """Fit a simulated spectrum of the built-in example telescope A."""
    from crosscal.config import validate
    from crosscal.xray import fakeit, write_spectrum

    telescope = {"name": "example_a", "arf": "data:xray/example_a.arf", "rmf": "data:xray/example_a.rmf.gz"}
    model = {"nH": 0.05, "Redshift": 0.05, "Abundanc": 0.3, "kT": 6.0, "free": ["kT", "norm", "Abundanc"]}
    content = {
        "job": "xray-fit",
        "output": str(output),
        "telescope": telescope,
        "model": model,
        "spectrum": {"pha": str(output / "simulated.pha")},
    }
    job = validate(FitJob, content, source="demo")
    spectrum = fakeit(job.telescope.response(), job.model.model(), counts=5e4, band=job.telescope.band, seed=1)
    write_spectrum(output / "simulated.pha", spectrum)
    return run(job, output, progress)


PART = Part("xray-fit", FitJob, run, demo, TEMPLATE)
