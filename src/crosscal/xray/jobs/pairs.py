"""``job = "xray"``: library -> emulator -> inference -> bias -> corrected ARF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crosscal.config import Part
from crosscal.core.files import sha256
from crosscal.core.progress import SILENT, Progress
from crosscal.core.stages import Stages
from crosscal.datasets import read_correction, resolve
from crosscal.xray.jobs.options import XrayJob
from crosscal.xray.jobs.outcome import XrayOutcome
from crosscal.xray.jobs.simulation import simulated_clusters

TEMPLATE = """\
# Learn the correction of a telescope's effective area from sources that a trusted telescope saw as well.
job = "xray"
output = "runs/xray"                 # the run directory, relative to where you start crosscal
seed = 1

[telescope]                          # the one to be corrected
name = "acis"                        # a row of the IACHEC uncertainty matrix (acis, pn, mos, ...) sets its prior
arf = "acis.arf"                     # relative to this file; "data:NAME" looks in the data search path
rmf = "acis.rmf"
band = [0.7, 7.0]                    # keV

# [trusted]                          # only for [simulation]
# name = "pn"
# arf = "pn.arf"
# rmf = "pn.rmf"
# band = [0.7, 7.0]

[model]                              # XSPEC's names; parameters that are not free keep these values
expression = "TBabs*apec"
nH = 0.05                            # 1e22 / cm2
Abundanc = 0.3
Redshift = 0.05
# abundances = "angr"                # solar abundances of the plasma
# absorption_abundances = "wilm"     # and of the absorber
# interp = "spline"                  # between plasma temperatures; "xspec" interpolates linearly as XSPEC does
# plasma = "built-in"                # or a directory of AtomDB files, or a table of `crosscal data build-plasma`

[library]                            # simulate with the modified, fit with the nominal calibration
modifier = "gaussian"                # `crosscal list modifiers`; options: { name = "gaussian", n = 2 }
A = { min = -0.2, max = 0.2, n = 9 }
mu = { min = 0.7, max = 7.0, n = 11 }             # keV
sigma = { min = 0.3, max = 2.0, n = 7 }           # keV
kT = { min = 1.0, max = 15.0, n = 20, scale = "log" }      # true temperatures, keV
# design = "grid"                    # or "sobol", "latin-hypercube" with `points`
# points = 1024
counts = 5e4                         # expected counts in the band
noise = "asimov"                     # or "poisson" with `realisations`
# realisations = 10
free = ["kT", "norm", "Abundanc"]

[emulator]
kind = "auto"                        # `crosscal list emulators`; auto keeps the one that validates better
# validation = 500                   # off-grid points simulated afresh

[inference]
pairs = "clusters.ecsv"              # N sources: source, kT_NAME, kT_err_NAME (or kT_err_lo_, kT_err_hi_), ...
# quantities = ["kT", "norm"]        # by default all that pairs and emulator share
# sampler = "auto"                   # `crosscal list samplers`
# scatter = 0.03                     # scale of the prior of intrinsic scatter, 0: none
# cross_norm = 0.1                   # prior sd of ln of the relative normalisation, 0: none
# tau = 0.05                         # prior sd of the effective area; by default the IACHEC value of the telescope
# prior_correction = "runs/concordance/correction_acis.nc"   # what another method found, against energy

# [simulation]                       # instead of inference.pairs: simulated clusters with a planted error
# sources = 40
# kT = [2.0, 12.0]
# counts = 5e4
# planted = { modifier = "gaussian", A = 0.1, mu = 1.8, sigma = 1.0 }

[compute]
executor = "local"                   # `crosscal list executors`
# workers = 2
"""


def run(job: XrayJob, output: Path, progress: Progress = SILENT) -> XrayOutcome:
    """Run the job and write its results into ``output``; finished stages are not done again.

    Raises
    ------
    CrossCalError
        Naming what is wrong with the files or the job.
    """
    stages = Stages(output, progress)
    telescope = job.telescope.response()
    model = job.model.model().replace(free=job.library.free)
    clusters = simulated_clusters(job, telescope, model)
    pairs_path = write_simulated(clusters, output) if clusters is not None else resolve(_given(job))
    library = build(job, telescope, model, output, progress)
    emulator = emulate(job, library, stages, output, progress)
    calibration = infer_stage(job, emulator, pairs_path, stages, output, progress)
    outcome = XrayOutcome(calibration, telescope, job.telescope.band, clusters, library, emulator)
    with progress.stage("Writing results", total=1) as advance:
        outcome.write(output, draws=job.ensemble)
        advance(1)
    return outcome


def _given(job: XrayJob) -> Path:
    assert job.inference.pairs is not None
    return job.inference.pairs


def write_simulated(clusters: Any, output: Path) -> Path:
    """Write the pairs of simulated clusters and return the path."""
    from crosscal.xray import write_pairs

    return write_pairs(output / "clusters.ecsv", clusters.pairs())


def build(job: XrayJob, telescope: Any, model: Any, output: Path, progress: Progress) -> Any:
    """Build or resume the library in ``output/library.zarr``."""
    from crosscal.xray import build_library

    plan = job.library
    return build_library(
        telescope,
        model,
        plan.theta_design(job.seed),
        kT=plan.temperatures().values,
        band=job.telescope.band,
        counts=plan.counts,
        noise=plan.noise,
        realisations=plan.realisations,
        seed=job.seed,
        store=output / "library.zarr",
        executor=job.compute.executor,
        progress=progress,
        **job.compute.rest,
    )


def emulate(job: XrayJob, library: Any, stages: Stages, output: Path, progress: Progress) -> Any:
    """Train the emulator on the library, or load it."""
    from crosscal.xray import CalibrationEmulator, train

    path = output / "emulator.npz"
    return stages.run(
        "Emulator",
        key={"library": library.job, "emulator": job.emulator.model_dump(mode="json"), "seed": job.seed},
        files=[path.name],
        work=lambda: train(
            library,
            job.emulator.kind,
            telescope=job.telescope.name,
            fresh=job.emulator.validation,
            seed=job.seed,
            progress=progress,
        ),
        save=lambda emulator: emulator.save(path),
        load=lambda: CalibrationEmulator.load(path, modifier=library.modifier),
    )


def infer_stage(job: XrayJob, emulator: Any, pairs_path: Path, stages: Stages, output: Path, progress: Progress) -> Any:
    """Sample the posterior, or load its draws; the diagnostics are made from them."""
    from crosscal.inference.posterior import Posterior
    from crosscal.xray import read_pairs
    from crosscal.xray.correction.external import described
    from crosscal.xray.correction.hierarchical import HierarchicalModel
    from crosscal.xray.correction.infer import infer_model

    plan = job.inference
    pairs = read_pairs(pairs_path)
    shared = [q for q in pairs.quantities if q in emulator.quantities]
    model = HierarchicalModel(
        pairs.only(*(plan.quantities or shared)),
        emulator,
        latent=plan.latent,
        scatter=plan.scatter or None,
        cross_norm=plan.cross_norm or None,
        tau=plan.tau,
        prior_correction=None if plan.prior_correction is None else read_correction(resolve(plan.prior_correction)),
    )
    draws = output / "posterior.nc"

    def sample(posterior: Posterior | None = None) -> Any:
        options = {} if posterior is not None else plan.options
        return infer_model(
            model, sampler=plan.sampler, seed=job.seed, progress=progress, posterior=posterior, **options
        )

    return stages.run(
        "Inference",
        key={
            "pairs": sha256(pairs_path),
            "inference": plan.model_dump(mode="json", exclude={"pairs", "prior_correction"}),
            "prior_correction": described(model.prior_correction),
            "seed": job.seed,
        },
        files=[draws.name],
        after=["Emulator"],
        work=sample,
        save=lambda result: result.posterior_draws.write(draws),
        load=lambda: sample(Posterior.read(draws)),
    )


#: The demonstration: the built-in example telescopes, one with a planted error.
DEMO = {
    "job": "xray",
    "telescope": {"name": "example_b", "arf": "data:xray/example_b.arf", "rmf": "data:xray/example_b.rmf.gz"},
    "trusted": {"name": "example_a", "arf": "data:xray/example_a.arf", "rmf": "data:xray/example_a.rmf.gz"},
    "model": {"nH": 0.05, "Abundanc": 0.3, "Redshift": 0.05},
    "library": {
        "A": {"min": -0.25, "max": 0.25, "n": 9},
        "mu": {"min": 0.7, "max": 5.0, "n": 17},
        "sigma": {"min": 0.4, "max": 2.0, "n": 9},
        "kT": {"min": 1.0, "max": 16.0, "n": 20, "scale": "log"},
        "free": ["kT", "norm", "Abundanc"],
    },
    "inference": {"cross_norm": 0.02},
    "simulation": {"sources": 40, "planted": {"A": 0.12, "mu": 1.8, "sigma": 0.9}},
}


def demo(output: Path, progress: Progress = SILENT) -> XrayOutcome:
    """Plant an error in the built-in example telescope B, and find it from 40 simulated clusters."""
    from crosscal.config import validate, write_toml

    job = validate(XrayJob, {**DEMO, "output": str(output), "seed": 1}, source="demo")
    write_toml(output / "job.toml", job)
    return run(job, output, progress)


PART = Part("xray", XrayJob, run, demo, TEMPLATE)

__all__ = ["PART", "TEMPLATE", "demo", "run"]
