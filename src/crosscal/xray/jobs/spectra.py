"""``job = "xray-spectra"``: one shared phi(E) from the full likelihood of all spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from crosscal.config import JobModel, Part, StrictModel
from crosscal.core.progress import SILENT, Progress
from crosscal.datasets import read_correction, resolve
from crosscal.xray.jobs.options import ModifierChoice, Simulation, Source, Telescope
from crosscal.xray.jobs.outcome import XrayOutcome
from crosscal.xray.jobs.simulation import simulated_clusters

TEMPLATE = """\
# Learn the correction of an effective area from the spectra themselves: every source's parameters are free.
job = "xray-spectra"
output = "runs/spectra"
seed = 1

[telescope]                          # the one to be corrected; its name as in the table of observations
name = "acis"
arf = "acis.arf"
rmf = "acis.rmf"
band = [0.7, 7.0]                    # keV

[trusted]
name = "pn"
arf = "pn.arf"
rmf = "pn.rmf"
band = [0.7, 7.0]

[model]
expression = "TBabs*apec"
nH = 0.05
Abundanc = 0.3
Redshift = 0.05
free = ["kT", "norm", "Abundanc"]    # of each source

[inference]
observations = "observations.ecsv"   # columns source, telescope, pha, arf, rmf, background, nH, Redshift, ...
                                     # and band_low, band_high (keV) where a spectrum has a band of its own
modifier = { name = "spline", knots = 10, low = 0.7, high = 7.0 }
# tau = 0.05                         # prior sd of the area; by default the IACHEC value of the telescope
# prior_correction = "runs/concordance/correction_acis.nc"   # what another method found, against energy
# norm_scatter = 0.02                # scatter of ln norm between the telescopes
# draws = 750
# chains = 4

# [simulation]                       # instead of inference.observations: simulated clusters with a planted error
# sources = 60
# planted = { modifier = "gaussian", A = 0.1, mu = 1.8, sigma = 1.0 }
"""


class SpectraInference(StrictModel):
    """From spectra to the posterior of phi(E)."""

    observations: Path | None = Field(None, description="a table of spectra (ECSV, CSV or FITS)")
    modifier: ModifierChoice = ModifierChoice.model_validate({"name": "spline", "knots": 10, "low": 0.7, "high": 7.0})
    sampler: Literal["nuts", "importance", "laplace", "nested"] = "nuts"
    tau: float | str | None = None
    norm_scatter: float | None = Field(None, gt=0)
    prior_correction: Path | None = Field(None, description="correction.nc of another run, against energy")
    most_left_out: float = Field(
        0.2, ge=0, lt=1, description="share of the sources that may be left out as their trusted fit ends on a limit"
    )
    draws: int | None = Field(None, gt=0)
    warmup: int | None = Field(None, gt=0)
    chains: int | None = Field(None, gt=0)

    @property
    def options(self) -> dict[str, int]:
        """Options for the sampler that were given."""
        return {k: v for k in ("draws", "warmup", "chains") if (v := getattr(self, k)) is not None}


class SpectraJob(JobModel):
    """Learn the correction of a telescope's effective area from spectra."""

    job: Literal["xray-spectra"] = "xray-spectra"
    telescope: Telescope
    trusted: Telescope
    model: Source = Source(free=("kT", "norm", "Abundanc"))
    inference: SpectraInference = SpectraInference()
    simulation: Simulation | None = None
    ensemble: int = Field(100, ge=0, description="number of corrected ARFs drawn from the posterior")

    inputs: ClassVar[tuple[str, ...]] = (
        "telescope.arf",
        "telescope.rmf",
        "trusted.arf",
        "trusted.rmf",
        "inference.observations",
        "inference.prior_correction",
    )

    @model_validator(mode="after")
    def _one_source_of_spectra(self) -> SpectraJob:
        if (self.inference.observations is None) == (self.simulation is None):
            raise ValueError("give either inference.observations or a [simulation] table")
        if self.simulation is None and not (self.telescope.name and self.trusted.name):
            raise ValueError("give telescope.name and trusted.name, as the table of observations names them")
        return self


def run(job: SpectraJob, output: Path, progress: Progress = SILENT) -> XrayOutcome:
    """Run the job and write its results into ``output``.

    Raises
    ------
    CrossCalError
        Naming what is wrong with the files or the job.
    """
    from crosscal.xray import infer_spectra
    from crosscal.xray.correction.observations import observations_of
    from crosscal.xray.correction.observations_io import read_observations

    telescope, model = job.telescope.response(), job.model.model()
    plan = job.inference
    clusters = simulated_clusters(job, telescope, model)
    if clusters is not None:
        observations, (trusted, corrected) = observations_of(clusters), clusters.telescopes
    else:
        assert plan.observations is not None
        bands = {t.name: t.band for t in (job.trusted, job.telescope)}
        observations = read_observations(resolve(plan.observations), model, bands=bands)
        trusted, corrected = job.trusted.name, job.telescope.name
    calibration = infer_spectra(
        observations,
        plan.modifier.modifier(),
        trusted=trusted,
        corrected=corrected,
        most_left_out=plan.most_left_out,
        sampler=plan.sampler,
        tau=plan.tau,
        norm_scatter=plan.norm_scatter,
        prior_correction=None if plan.prior_correction is None else read_correction(resolve(plan.prior_correction)),
        seed=job.seed,
        progress=progress,
        **plan.options,
    )
    outcome = XrayOutcome(calibration, telescope, job.telescope.band, clusters)
    with progress.stage("Writing results", total=1) as advance:
        outcome.write(output, draws=job.ensemble)
        advance(1)
    return outcome


#: The demonstration: 20 clusters seen by the built-in example telescopes.
DEMO: dict[str, Any] = {
    "job": "xray-spectra",
    "telescope": {"name": "example_b", "arf": "data:xray/example_b.arf", "rmf": "data:xray/example_b.rmf.gz"},
    "trusted": {"name": "example_a", "arf": "data:xray/example_a.arf", "rmf": "data:xray/example_a.rmf.gz"},
    "model": {"nH": 0.05, "Abundanc": 0.3, "Redshift": 0.05, "free": ["kT", "norm", "Abundanc"]},
    "inference": {"draws": 500},
    "simulation": {"sources": 20, "planted": {"A": 0.12, "mu": 1.8, "sigma": 0.9}},
}


def demo(output: Path, progress: Progress = SILENT) -> XrayOutcome:
    """Find an error planted in the built-in example telescope B from the spectra of 20 clusters."""
    from crosscal.config import validate, write_toml

    job = validate(SpectraJob, {**DEMO, "output": str(output), "seed": 1}, source="demo")
    write_toml(output / "job.toml", job)
    return run(job, output, progress)


PART = Part("xray-spectra", SpectraJob, run, demo, TEMPLATE)
