"""``job = "xray-fit"``: fit one real spectrum with any model, background and grouping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from crosscal.core.options import Band, Positive, option, options
from crosscal.datasets import resolve
from crosscal.jobs.options import Job, depends_on, validate
from crosscal.jobs.parts import Part
from crosscal.jobs.stages import Stages
from crosscal.xray.fitting.fit import fit
from crosscal.xray.fitting.result import FitResult
from crosscal.xray.fitting.simulate import fakeit
from crosscal.xray.fitting.statistics import kind_of
from crosscal.xray.instrument.grouping import group
from crosscal.xray.instrument.ogip_spectrum import read_spectrum
from crosscal.xray.instrument.ogip_write import write_spectrum
from crosscal.xray.jobs.options import Count, Source, Telescope


@options
class SpectrumFile:
    """The spectrum to fit.

    Attributes
    ----------
    pha : Path
        OGIP PHA file.
    background : Path
        Fitted together with the source (wstat).
    statistic : str
        "cstat", "wstat", "pgstat", "chi2", "chi2-gehrels" or "chi2-model"; by default what suits the data.
    grouping : str
        "counts" joins channels to min_counts, "optimal" follows Kaastra & Bleeker, "file" uses the file's own flags.
    min_counts : int
        Least counts in a group.
    ignored : list of (low, high)
        Ranges inside the band that are left out, keV.
    """

    pha: Path = option(example="source.pha")
    background: Path | None = option(None, example="background.pha")
    statistic: str | None = option(None, example="cstat")
    grouping: Literal["none", "counts", "optimal", "file"] = "none"
    min_counts: Count = 25
    ignored: tuple[Band, ...] = option((), example=[[1.7, 2.0]])

    def __post_init__(self) -> None:
        if self.statistic is not None:
            kind_of(self.statistic)


@options
class FitJob(Job):
    """Fit one spectrum.

    Attributes
    ----------
    delta : float
        Rise of the statistic that bounds the intervals: 1.0 for 68 %, 2.706 for 90 %.
    """

    job: Literal["xray-fit"] = "xray-fit"
    delta: Positive = 1.0
    telescope: Telescope
    spectrum: SpectrumFile
    model: Source = Source()

    inputs: ClassVar[tuple[str, ...]] = ("telescope.arf", "telescope.rmf", "spectrum.pha", "spectrum.background")


def run(job: FitJob, stages: Stages) -> FitResult:
    """Fit the spectrum and its intervals.

    Raises
    ------
    CrossCalError
        Naming what is wrong with the files or the job; FitError if the fit failed.
    """
    response = job.telescope.response()
    plan = job.spectrum
    background = None if plan.background is None else resolve(plan.background)
    spectrum = read_spectrum(resolve(plan.pha), background)
    model = job.model.model()
    groups = group(
        spectrum, response, job.telescope.band, method=plan.grouping, minimum=plan.min_counts, ignored=plan.ignored
    )
    with stages.progress.stage("Fitting", total=1) as advance:
        found = fit(spectrum, response, model, statistic=plan.statistic, groups=groups)
        advance(1)

    def intervals() -> Mapping[str, tuple[float, float]]:
        with stages.progress.stage("Intervals", total=len(found.names)) as advance:
            return found.with_intervals(job.delta, advance=advance).intervals

    key = depends_on(job, "telescope", "spectrum", "model", "delta")
    bounds = stages.run("Intervals", key=key, work=intervals)
    return replace(found, name=spectrum.name or plan.pha.name, intervals=bounds)


def demo(directory: Path) -> Mapping[str, Any]:
    """Simulate a spectrum of the built-in example telescope A."""
    content = {
        "telescope": {"name": "example_a", "arf": "data:xray/example_a.arf", "rmf": "data:xray/example_a.rmf.gz"},
        "model": {"nH": 0.05, "Redshift": 0.05, "Abundanc": 0.3, "kT": 6.0, "free": ["kT", "norm", "Abundanc"]},
        "spectrum": {"pha": str((directory / "simulated.pha").resolve())},
    }
    job = validate(FitJob, {**content, "job": "xray-fit", "output": "demo"}, source="demo")
    spectrum = fakeit(job.telescope.response(), job.model.model(), counts=5e4, band=job.telescope.band, seed=1)
    write_spectrum(directory / "simulated.pha", spectrum)
    return content


PART = Part("xray-fit", FitJob, run, demo)
