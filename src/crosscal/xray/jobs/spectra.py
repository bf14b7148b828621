"""``job = "xray-spectra"``: one shared phi(E) from the full likelihood of all spectra."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Lt

from crosscal.core.errors import ConfigError
from crosscal.core.options import Positive, option, options
from crosscal.datasets import read_correction, resolve
from crosscal.inference.posterior import Posterior
from crosscal.jobs.options import Job, depends_on
from crosscal.jobs.parts import Part
from crosscal.jobs.stages import Stages
from crosscal.xray.correction.infer_spectra import infer_spectra
from crosscal.xray.correction.observations import observations_of
from crosscal.xray.correction.observations_io import listed_files, read_observations
from crosscal.xray.correction.result import CalibrationResult
from crosscal.xray.jobs.options import ModifierChoice, Sampling, Simulation, Source, Telescope, Trusted, modifier_choice
from crosscal.xray.jobs.outcome import XrayOutcome
from crosscal.xray.jobs.simulation import simulated_clusters

FREE = ("kT", "norm", "Abundanc")
SPLINE = {"name": "spline", "knots": 10, "low": 0.7, "high": 7.0}


@options
class SpectraInference(Sampling):
    """From spectra to the posterior of phi(E).

    Attributes
    ----------
    observations : Path
        Table of spectra (ECSV, CSV, FITS): source, telescope, pha, arf, rmf, background, nH, Redshift, ...; and
        band_low, band_high (keV) if a spectrum has its own band.
    modifier : table
        Family of phi(E) with its options (see `crosscal list modifiers`).
    sampler : str
        Sampler of the posterior (see `crosscal list samplers`).
    tau : float or str
        Prior sd of the area, or a telescope of the IACHEC matrix; by default that of the telescope's name.
    norm_scatter : float
        Scatter of ln norm between the telescopes.
    prior_correction : Path
        correction.nc of another run (a function of energy), used as an independent measurement.
    most_left_out : float
        Largest fraction of sources that may be excluded because a parameter of their reference fit reaches a limit.
    """

    observations: Path | None = option(default=None, example="observations.ecsv", shown=True)
    modifier: ModifierChoice = option(factory=lambda: modifier_choice(SPLINE), example=SPLINE, shown=True)
    sampler: Literal["nuts", "importance", "laplace", "nested"] = "nuts"
    tau: float | str | None = option(default=None, example=0.05)
    norm_scatter: Positive | None = option(default=None, example=0.02)
    prior_correction: Path | None = option(default=None, example="runs/concordance/correction_acis.nc")
    most_left_out: Annotated[float, Ge(0), Lt(1)] = 0.2


@options
class SpectraJob(Job):
    """Infer the correction of an effective area directly from spectra; the parameters of every source are free.

    Attributes
    ----------
    ensemble : int
        Number of corrected ARFs drawn from the posterior.
    """

    job: Literal["xray-spectra"] = "xray-spectra"
    ensemble: Annotated[int, Ge(0)] = 100
    telescope: Telescope
    trusted: Trusted
    model: Source = Source(free=FREE)
    inference: SpectraInference = SpectraInference()
    simulation: Simulation | None = None

    inputs: ClassVar[tuple[str, ...]] = (
        "telescope.arf",
        "telescope.rmf",
        "trusted.arf",
        "trusted.rmf",
        "inference.observations",
        "inference.prior_correction",
    )

    def __post_init__(self) -> None:
        if (self.inference.observations is None) == (self.simulation is None):
            raise ConfigError("give either inference.observations or a [simulation] table")
        if self.simulation is None and not (self.telescope.name and self.trusted.name):
            raise ConfigError("give telescope.name and trusted.name, as the table of observations names them")

    def linked_inputs(self) -> Mapping[str, Path]:
        """Return the files that the table of spectra names, and those of the user's own functions."""
        code = {f"inference.modifier: {text}": path for text, path in self.inference.modifier.code().items()}
        if self.inference.observations is None:
            return code
        files = listed_files(resolve(self.inference.observations))
        return {**code, **{f"inference.observations: {role}": path for role, path in files.items()}}


def run(job: SpectraJob, stages: Stages) -> XrayOutcome:
    """Infer phi(E) from all spectra; draws of an earlier run with the same settings are not drawn again.

    Raises
    ------
    CrossCalError
        Naming what is wrong with the files or the job.
    """
    telescope, model = job.telescope.response(), job.model.model()
    plan = job.inference
    clusters = simulated_clusters(job, telescope, model)
    if clusters is not None:
        observations, (trusted, corrected) = observations_of(clusters), clusters.telescopes
    else:
        assert plan.observations is not None
        bands = {t.name: t.band for t in (job.trusted, job.telescope)}
        responses = job.trusted.responses(telescope, job.telescope.name)
        observations = read_observations(resolve(plan.observations), model, bands=bands, responses=responses)
        trusted, corrected = job.trusted.name, job.telescope.name
    prior = None if plan.prior_correction is None else read_correction(resolve(plan.prior_correction))
    draws = stages.directory / "posterior.nc"

    def infer(posterior: Posterior | None = None) -> CalibrationResult:
        return infer_spectra(
            observations,
            plan.modifier.modifier(),
            trusted=trusted,
            corrected=corrected,
            most_left_out=plan.most_left_out,
            sampler=plan.sampler,
            tau=plan.tau,
            norm_scatter=plan.norm_scatter,
            prior_correction=prior,
            seed=job.seed,
            progress=stages.progress,
            posterior=posterior,
            **plan.options,
        )

    calibration = stages.run(
        "Inference",
        key=depends_on(job, "telescope", "trusted", "model", "inference", "simulation", "seed"),
        files=[draws.name],
        work=infer,
        save=lambda result: result.posterior_draws.write(draws),
        load=lambda: infer(Posterior.read(draws)),
    )
    return XrayOutcome(calibration, telescope, job.telescope.band, clusters, ensemble=job.ensemble)


#: The demonstration: 20 clusters seen by the built-in example telescopes.
DEMO: dict[str, Any] = {
    "seed": 1,
    "telescope": {"name": "example_b", "arf": "data:xray/example_b.arf", "rmf": "data:xray/example_b.rmf.gz"},
    "trusted": {"name": "example_a", "arf": "data:xray/example_a.arf", "rmf": "data:xray/example_a.rmf.gz"},
    "model": {"nH": 0.05, "Abundanc": 0.3, "Redshift": 0.05, "free": ["kT", "norm", "Abundanc"]},
    "simulation": {"sources": 20, "injected": {"A": 0.12, "mu": 1.8, "sigma": 0.9}},
}

PART = Part("xray-spectra", SpectraJob, run, DEMO)
