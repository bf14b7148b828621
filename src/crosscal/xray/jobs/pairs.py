"""``job = "xray"``: (fits of spectra ->) library -> emulator -> inference -> bias -> corrected ARF."""

from __future__ import annotations

from typing import Any

from crosscal.core.files import write_ecsv
from crosscal.core.frozen import load_value, save_value
from crosscal.datasets import read_correction, resolve
from crosscal.inference.posterior import Posterior
from crosscal.jobs.options import depends_on
from crosscal.jobs.parts import Part
from crosscal.jobs.stages import Stages
from crosscal.xray.correction.emulate import CalibrationEmulator
from crosscal.xray.correction.fit_pairs import FittedSpectra, fit_spectra, pairs_of
from crosscal.xray.correction.hierarchical import HierarchicalModel
from crosscal.xray.correction.infer import infer_model
from crosscal.xray.correction.observations_io import read_observations
from crosscal.xray.correction.pairs import PairedSources
from crosscal.xray.correction.pairs_io import read_pairs, write_pairs
from crosscal.xray.correction.train import train, with_fits
from crosscal.xray.jobs.outcome import XrayOutcome
from crosscal.xray.jobs.pairs_options import XrayJob
from crosscal.xray.jobs.simulation import simulated_clusters
from crosscal.xray.library.generate import build_library

#: Off-grid points on which the emulator is checked for the report.
CHECKED = 500


def run(job: XrayJob, stages: Stages) -> XrayOutcome:
    """Build the library, train the emulator, infer the correction; finished stages are not repeated.

    Raises
    ------
    CrossCalError
        Naming what is wrong with the files or the job.
    """
    telescope = job.telescope.response()
    model = job.model.model().replace(free=job.library.free)
    clusters = simulated_clusters(job, telescope, model)
    if clusters is not None:
        pairs = clusters.pairs()
    elif job.inference.observations is not None:
        pairs = fit_stage(job, telescope, model, stages)
    else:
        assert job.inference.pairs is not None
        trusted = "" if job.trusted is None else job.trusted.name
        pairs = read_pairs(
            resolve(job.inference.pairs),
            trusted=trusted,
            corrected=job.telescope.name,
            confidence=job.inference.confidence,
            response=telescope,
        )
    library = build(job, telescope, model, stages)
    emulator, validation = emulate(job, library, stages)
    calibration = infer_stage(job, emulator, pairs, stages)
    return XrayOutcome(calibration, telescope, job.telescope.band, clusters, library, validation, ensemble=job.ensemble)


def fit_stage(job: XrayJob, telescope: Any, model: Any, stages: Stages) -> PairedSources:
    """Fit all spectra of the table, fits.zarr, and write fits.ecsv and pairs.ecsv; an interrupted run goes on."""
    assert job.inference.observations is not None
    assert job.trusted is not None
    reference, trusted, corrected = job.trusted, job.trusted.name, job.telescope.name
    bands = {t.name: t.band for t in (job.trusted, job.telescope)}
    table, place = resolve(job.inference.observations), stages.directory

    def fits() -> FittedSpectra:
        own = reference.responses(telescope, corrected)
        observed = [o for o in read_observations(table, model, bands=bands, responses=own) if o.telescope in bands]
        return fit_spectra(
            observed,
            store=place / "fits.zarr",
            executor=job.compute.executor,
            progress=stages.progress,
            **job.compute.rest,
        )

    def work() -> PairedSources:
        found = fits()
        write_ecsv(place / "fits.ecsv", found.table())
        pairs = pairs_of(found, trusted, corrected)
        write_pairs(place / "pairs.ecsv", pairs)
        return pairs

    named = depends_on(job, "inference")
    key = depends_on(job, "telescope", "trusted", "model") | {
        "free": list(job.library.free),
        "observations": named["inference"]["observations"],
        "spectra": named.get("linked"),
    }
    return stages.run(
        "Fits",
        key=key,
        files=["fits.zarr", "fits.ecsv", "pairs.ecsv"],
        work=work,
        load=lambda: pairs_of(fits(), trusted, corrected),
        resumes=True,
    )


def build(job: XrayJob, telescope: Any, model: Any, stages: Stages) -> Any:
    """Build or resume the library, library.zarr."""
    plan, name = job.library, "library.zarr"

    def work() -> Any:
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
            store=stages.directory / name,
            executor=job.compute.executor,
            progress=stages.progress,
            **job.compute.rest,
        )

    key = depends_on(job, "telescope", "model", "library", "seed")
    return stages.run("Library", key=key, files=[name], work=work, load=work, resumes=True)


def emulate(job: XrayJob, library: Any, stages: Stages) -> tuple[CalibrationEmulator, Any]:
    """Train the emulator on the library and check it on newly simulated points, or load both."""
    path, checked = stages.directory / "emulator.npz", stages.directory / "stages" / "emulator-check.npz"

    def work() -> tuple[CalibrationEmulator, Any]:
        plan = job.emulator
        found = train(
            library,
            plan.kind,
            telescope=job.telescope.name,
            fresh=plan.validation,
            seed=job.seed,
            progress=stages.progress,
        )
        return found, found.validate(CHECKED) if found.simulator is not None else None

    if job.emulator.kind == "exact":
        return train(library, "exact", telescope=job.telescope.name), None

    def save(product: tuple[CalibrationEmulator, Any]) -> None:
        product[0].save(path)
        save_value(checked, product[1])

    return stages.run(
        "Emulator",
        key=depends_on(job, "emulator", "seed"),
        files=[path.name, "stages/emulator-check.npz"],
        after=["Library"],
        work=work,
        save=save,
        load=lambda: (
            with_fits(CalibrationEmulator.load(path, modifier=library.modifier), library),
            load_value(checked),
        ),
    )


def infer_stage(job: XrayJob, emulator: CalibrationEmulator, pairs: PairedSources, stages: Stages) -> Any:
    """Sample the posterior, or load its draws; the diagnostics are made from them."""
    plan = job.inference
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
    draws = stages.directory / "posterior.nc"

    def sample(posterior: Posterior | None = None) -> Any:
        options = {} if posterior is not None else plan.options
        return infer_model(
            model, sampler=plan.sampler, seed=job.seed, progress=stages.progress, posterior=posterior, **options
        )

    return stages.run(
        "Inference",
        key=depends_on(job, "inference", "simulation", "trusted", "emulator", "seed"),
        files=[draws.name],
        after=[
            *(["Fits"] if plan.observations is not None else []),
            "Library" if job.emulator.kind == "exact" else "Emulator",
        ],
        work=sample,
        save=lambda result: result.posterior_draws.write(draws),
        load=lambda: sample(Posterior.read(draws)),
    )


#: The demonstration: the built-in example telescopes, one with an injected error.
DEMO: dict[str, Any] = {
    "seed": 1,
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
    "simulation": {"sources": 40, "injected": {"A": 0.12, "mu": 1.8, "sigma": 0.9}},
}

PART = Part("xray", XrayJob, run, DEMO)
