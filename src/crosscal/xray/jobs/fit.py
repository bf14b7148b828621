"""``job = "xray-fit"``: fit one real spectrum with any model, background and grouping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.stats import chi2

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
from crosscal.xray.instrument.ogip_spectrum import header_files, read_observation
from crosscal.xray.instrument.ogip_write import write_spectrum
from crosscal.xray.jobs.options import Count, Source, Telescope

BAND = (0.7, 7.0)


@options
class FitTelescope(Telescope):
    """The telescope of the spectrum.

    Attributes
    ----------
    arf : Path
        OGIP ARF; by default the file that ANCRFILE names, relative to the spectrum.
    rmf : Path
        OGIP RMF; by default the file that RESPFILE names.
    band : (low, high)
        Energy range in keV; channels that overlap it are used, as with `notice` in XSPEC and Sherpa. By default 0.7
        to 7.0, or all channels if `ignored` is given as in XSPEC.
    block : int
        Number of the matrix in a file with several, from 1; by default the one valid at the time of the spectrum.
    """

    arf: Path | None = option(default=None, example="source.arf")  # type: ignore[assignment]
    rmf: Path | None = option(default=None, example="source.rmf")
    band: Band | None = option(default=None, example=[0.7, 7.0], shown=True)  # type: ignore[assignment]
    block: Count | None = option(default=None, example=1)


@options
class SpectrumFile:
    """The spectrum to fit.

    Attributes
    ----------
    pha : Path
        OGIP PHA file.
    row : int
        Number of the spectrum in a type II file, from 1.
    background : Path
        Background spectrum, fitted with the source (wstat); by default the file named by BACKFILE; "none" ignores it.
    exposure : float
        Exposure time in seconds, if EXPOSURE is missing or wrong in the file.
    statistic : str
        "cstat", "wstat", "pgstat", "chi2", "chi2-gehrels" or "chi2-model"; by default chosen to suit the data.
    grouping : str
        "auto" uses the grouping in the file, if there is one, "file" requires it; "none" does not group channels,
        "counts" groups them to min_counts, "optimal" follows Kaastra & Bleeker (2016).
    min_counts : int
        Minimum counts per group.
    ignored : list of (low, high), or str
        Excluded energy ranges, keV; or as in XSPEC: "**-0.5 7.0-**".
    """

    pha: Path = option(example="source.pha")
    row: Count | None = option(default=None, example=1)
    background: Path | None = option(default=None, example="background.pha")
    exposure: Positive | None = option(default=None, example=10000.0)
    statistic: str | None = option(default=None, example="cstat")
    grouping: Literal["auto", "none", "counts", "optimal", "file"] = "auto"
    min_counts: Count = 25
    ignored: str | tuple[Band, ...] = option(default=(), example=[[1.7, 2.0]])

    def __post_init__(self) -> None:
        if self.statistic is not None:
            kind_of(self.statistic)


@options
class FitJob(Job):
    """Fit one spectrum.

    Attributes
    ----------
    delta : float
        Increase of the statistic at the ends of the intervals: 1.0 for 68 %, 2.706 for 90 %.
    flux_bands : list of (low, high)
        Bands, keV, in which the flux is given as observed and before absorption, at the probability of the intervals.
    luminosity_bands : list of (low, high)
        Bands, keV in the frame of the source, in which the luminosity before absorption is given; the model's redshift
        and cosmology decide the distance.
    cosmology : str
        A name known to astropy.cosmology.
    """

    job: Literal["xray-fit"] = "xray-fit"
    delta: Positive = 1.0
    flux_bands: tuple[Band, ...] = option(default=(), example=[[0.5, 2.0], [2.0, 10.0]])
    luminosity_bands: tuple[Band, ...] = option(default=(), example=[[0.5, 2.0]])
    cosmology: str = "Planck18"
    telescope: FitTelescope = FitTelescope()
    spectrum: SpectrumFile
    model: Source = Source()

    inputs: ClassVar[tuple[str, ...]] = ("telescope.arf", "telescope.rmf", "spectrum.pha", "spectrum.background")

    def linked_inputs(self) -> Mapping[str, Path]:
        """Return the files that the header of the spectrum names and the job does not."""
        plan, telescope = self.spectrum, self.telescope
        if not resolve(plan.pha).is_file():
            return {}
        given = {"arf": telescope.arf, "rmf": telescope.rmf or telescope.arf, "background": plan.background}
        wanted = [role for role, path in given.items() if path is None]
        found = header_files(resolve(plan.pha), wanted, row=plan.row, exposure=plan.exposure)
        return {f"spectrum.pha: {role}": path for role, path in found.items()}


def run(job: FitJob, stages: Stages) -> FitResult:
    """Fit the spectrum and its intervals.

    Raises
    ------
    CrossCalError
        Naming what is wrong with the files or the job; FitError if the fit failed.
    """
    plan, telescope = job.spectrum, job.telescope
    spectrum, response = read_observation(
        resolve(plan.pha),
        None if telescope.arf is None else resolve(telescope.arf),
        None if telescope.rmf is None else resolve(telescope.rmf),
        "auto" if plan.background is None else resolve(plan.background),
        row=plan.row,
        exposure=plan.exposure,
        block=telescope.block,
        name=telescope.name or None,
    )
    model = job.model.model()
    band = BAND if telescope.band is None and not isinstance(plan.ignored, str) else telescope.band
    groups = group(spectrum, response, band, method=plan.grouping, minimum=plan.min_counts, ignored=plan.ignored)
    with stages.progress.stage("Fitting", total=1) as advance:
        found = fit(spectrum, response, model, statistic=plan.statistic, groups=groups)
        advance(1)

    def intervals() -> Mapping[str, tuple[float, float]]:
        with stages.progress.stage("Intervals", total=len(found.names)) as advance:
            return found.with_intervals(job.delta, advance=advance).intervals

    key = depends_on(job, "telescope", "spectrum", "model", "delta")
    bounds = stages.run("Intervals", key=key, work=intervals)
    return with_fluxes(job, replace(found, name=spectrum.name or plan.pha.name, intervals=bounds))


def with_fluxes(job: FitJob, found: FitResult) -> FitResult:
    """Add the fluxes and luminosities that the job asks for; of a fit without errors it says that there are none."""
    if not (job.flux_bands or job.luminosity_bands):
        return found
    if not (found.names and np.all(np.isfinite(found.covariance))):
        told = "no fluxes or luminosities are given, because the fit has no covariance"
        return replace(found, notes=(*found.notes, told))
    level = float(chi2.cdf(job.delta, 1))
    values = [found.flux(b, absorbed=a, level=level, seed=job.seed) for b in job.flux_bands for a in (True, False)]
    values += [found.luminosity(b, cosmology=job.cosmology, level=level, seed=job.seed) for b in job.luminosity_bands]
    low, high = float(found.energy_lo.min()), float(found.energy_hi.max())
    beyond = [v.named for v in values if v.observed[0] < 0.99 * low or v.observed[1] > 1.01 * high]
    told = [f"extrapolated by the model, as the fit used {low:.3g} to {high:.3g} keV: {', '.join(beyond)}"]
    return replace(found, fluxes=tuple(values), notes=(*found.notes, *(told if beyond else [])))


def demo(directory: Path) -> Mapping[str, Any]:
    """Simulate a spectrum of the built-in example telescope A."""
    content = {
        "telescope": {"name": "example_a", "arf": "data:xray/example_a.arf", "rmf": "data:xray/example_a.rmf.gz"},
        "model": {"nH": 0.05, "Redshift": 0.05, "Abundanc": 0.3, "kT": 6.0, "free": ["kT", "norm", "Abundanc"]},
        "spectrum": {"pha": str((directory / "simulated.pha").resolve())},
    }
    job = validate(FitJob, {**content, "job": "xray-fit", "output": "demo"}, source="demo")
    spectrum = fakeit(job.telescope.response(), job.model.model(), counts=5e4, band=BAND, seed=1)
    write_spectrum(directory / "simulated.pha", spectrum)
    return content


PART = Part("xray-fit", FitJob, run, demo)
