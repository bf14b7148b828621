"""``job = "xray-fit"``: fit one real spectrum with any model, background and grouping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.stats import chi2

from crosscal.core.errors import ConfigError
from crosscal.core.options import Band, Positive, option, options
from crosscal.datasets import resolve
from crosscal.jobs.options import Job, depends_on, validate
from crosscal.jobs.parts import Part
from crosscal.jobs.stages import Stages
from crosscal.xray.correction.session import files_of, groups_of, read_session, told, with_flags
from crosscal.xray.correction.xcm import Xcm
from crosscal.xray.fitting.fit import fit
from crosscal.xray.fitting.result import FitResult
from crosscal.xray.fitting.simulate import fakeit
from crosscal.xray.fitting.statistics import kind_of
from crosscal.xray.instrument.grouping import Groups, group
from crosscal.xray.instrument.ogip_spectrum import header_files, read_observation
from crosscal.xray.instrument.ogip_write import write_spectrum
from crosscal.xray.instrument.response import Response
from crosscal.xray.instrument.spectrum import Spectrum
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
        OGIP PHA file; not needed if a session is given.
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

    pha: Path | None = option(default=None, example="source.pha", shown=True)
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
        Bands, keV, in which the flux is calculated, as observed and before absorption, with its interval.
    luminosity_bands : list of (low, high)
        Bands, keV in the frame of the source, in which the unabsorbed luminosity is calculated; the model's redshift
        and the cosmology determine the distance.
    cosmology : str
        A name known to astropy.cosmology.
    session : Path
        A save file of XSPEC (.xcm) or a script of Sherpa's save_all (.py), which is read, not executed: its files,
        channels, groups, statistic, and its model with start values and free parameters. Files, band, ignored,
        grouping and statistic of this job take precedence.
    """

    job: Literal["xray-fit"] = "xray-fit"
    delta: Positive = 1.0
    flux_bands: tuple[Band, ...] = option(default=(), example=[[0.5, 2.0], [2.0, 10.0]])
    luminosity_bands: tuple[Band, ...] = option(default=(), example=[[0.5, 2.0]])
    cosmology: str = "Planck18"
    session: Path | None = option(default=None, example="session.xcm")
    telescope: FitTelescope = FitTelescope()
    spectrum: SpectrumFile = SpectrumFile()
    model: Source = Source()

    inputs: ClassVar[tuple[str, ...]] = (
        "telescope.arf",
        "telescope.rmf",
        "spectrum.pha",
        "spectrum.background",
        "session",
    )

    def __post_init__(self) -> None:
        if self.session is None and self.spectrum.pha is None:
            raise ConfigError("no pha", where="[spectrum]", expected="pha, the file to fit, or session")
        if self.session is not None and (self.model != Source() or self.model.rest):
            raise ConfigError("a [model] and a session, which has its own", expected="one of the two")

    @property
    def files(self) -> dict[str, Any]:
        """Arguments of `read_observation`: the job's files, else those of the session."""
        plan, telescope = self.spectrum, self.telescope
        paths = {"pha": plan.pha, "arf": telescope.arf, "rmf": telescope.rmf, "background": plan.background}
        given = {role: None if path is None else resolve(path) for role, path in paths.items()}
        if self.session is not None:
            return files_of(read_session(resolve(self.session)), {**given, "row": plan.row})
        return {**given, "background": given["background"] or "auto", "row": plan.row}

    def linked_inputs(self) -> Mapping[str, Path]:
        """Return the files that the header of the spectrum names and the job does not."""
        if self.session is not None and not resolve(self.session).is_file():
            return {}
        files = self.files
        pha, row = Path(files["pha"]), files["row"]
        saved = {} if self.session is None else {k: v for k, v in files.items() if isinstance(v, Path) and v.is_file()}
        own = {f"session: {role}": path for role, path in saved.items()}
        if not pha.is_file():
            return own
        given = {**files, "rmf": files["rmf"] or files["arf"]}
        wanted = [role for role in ("arf", "rmf", "background") if given[role] in (None, "auto")]
        found = header_files(pha, wanted, row=row, exposure=self.spectrum.exposure)
        return {**own, **{f"spectrum.pha: {role}": path for role, path in found.items()}}


def run(job: FitJob, stages: Stages) -> FitResult:
    """Fit the spectrum and its intervals.

    Raises
    ------
    CrossCalError
        Naming what is wrong with the files or the job; FitError if the fit failed.
    """
    plan, telescope = job.spectrum, job.telescope
    saved = None if job.session is None else read_session(resolve(job.session))
    files = job.files
    spectrum, response = read_observation(
        **files, exposure=plan.exposure, block=telescope.block, name=telescope.name or None
    )
    spectrum = spectrum if saved is None else with_flags(saved, spectrum)
    groups = _groups(job, saved, spectrum, response)
    model = job.model.model() if saved is None else saved.model
    statistic = plan.statistic or (None if saved is None else saved.choice)
    with stages.progress.stage("Fitting", total=1) as advance:
        found = fit(spectrum, response, model, statistic=statistic, groups=groups)
        advance(1)
    if saved is not None:
        found = replace(found, notes=(*found.notes, *told(saved, Path(str(job.session)).name, found)))

    def intervals() -> Mapping[str, tuple[float, float]]:
        with stages.progress.stage("Intervals", total=len(found.names)) as advance:
            return found.with_intervals(job.delta, advance=advance).intervals

    key = depends_on(job, "telescope", "spectrum", "model", "delta", "session")
    bounds = stages.run("Intervals", key=key, work=intervals)
    return with_fluxes(job, replace(found, name=spectrum.name or Path(files["pha"]).name, intervals=bounds))


def _groups(job: FitJob, saved: Xcm | None, spectrum: Spectrum, response: Response) -> Groups:
    """Return the channels and groups of the job, or those of its session where the job says nothing of them."""
    plan, band = job.spectrum, job.telescope.band
    if saved is not None and band is None and not plan.ignored and plan.grouping == "auto":
        return groups_of(saved, spectrum, response)
    if band is None and not isinstance(plan.ignored, str):
        band = BAND
    return group(spectrum, response, band, method=plan.grouping, minimum=plan.min_counts, ignored=plan.ignored)


def with_fluxes(job: FitJob, found: FitResult) -> FitResult:
    """Add the fluxes and luminosities that the job asks for; of a fit without errors it says that there are none."""
    if not (job.flux_bands or job.luminosity_bands):
        return found
    if not (found.names and np.all(np.isfinite(found.covariance))):
        told = "no fluxes or luminosities are calculated, because the fit has no covariance"
        return replace(found, notes=(*found.notes, told))
    level = float(chi2.cdf(job.delta, 1))
    values = [found.flux(b, absorbed=a, level=level, seed=job.seed) for b in job.flux_bands for a in (True, False)]
    values += [found.luminosity(b, cosmology=job.cosmology, level=level, seed=job.seed) for b in job.luminosity_bands]
    low, high = float(found.energy_lo.min()), float(found.energy_hi.max())
    beyond = [v.named for v in values if v.observed[0] < 0.99 * low or v.observed[1] > 1.01 * high]
    told = [f"{', '.join(beyond)}: extrapolated beyond the fitted band of {low:.3g} to {high:.3g} keV"]
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
