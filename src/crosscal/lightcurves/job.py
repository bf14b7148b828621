"""``job = "lightcurves"``: read, intercalibrate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.jobs.options import depends_on
from crosscal.jobs.parts import Part
from crosscal.jobs.stages import Stages
from crosscal.lightcurves.automatic import Chosen, choose
from crosscal.lightcurves.evidence import kernel_evidences
from crosscal.lightcurves.formats.pycali import write_pycali
from crosscal.lightcurves.intercalibration import assemble, draw_posterior, with_chains
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.options import LightcurvesJob
from crosscal.lightcurves.outliers import remove_outliers
from crosscal.lightcurves.result import Intercalibration
from crosscal.lightcurves.sampling import Draws, KeptDraws
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.synthetic import Truth, simulate
from crosscal.lightcurves.types import LightCurves

#: Draws by which outliers are judged.
_FEW = 50


def run(job: LightcurvesJob, stages: Stages) -> Intercalibration:
    """Read the light curves and intercalibrate them.

    Raises
    ------
    InputError
        If the data or the settings are not possible.
    """
    progress = stages.progress
    with progress.stage("Reading light curves", total=1) as advance:
        curves = job.data.read(job.model.reference)
        advance(1)
    for note in curves.notes:
        progress.message(note)
    for curve in curves.files:
        progress.message(f"{curve.name}: {len(curve)} points of {int((curve.counts > 0).sum())} codes")
    key = depends_on(job, "data", "model", "prior", "sampling", "seed")
    first = curves
    chosen = Chosen(job.settings())
    if chosen.settings.automatic:
        chosen = stages.run(
            "Choosing the model", key=key,
            work=lambda: choose(first, job.settings(), seed=job.seed, progress=progress),
        )  # fmt: skip
    for sentence in chosen.sentences:
        progress.message(sentence)
    model = chosen.settings
    found = stages.run("Sampling", key=key, work=lambda: KeptDraws.of(_draw(job, model, first, stages)))
    draws = found.draws(curves)
    if job.sampling.remove_outliers is not None:
        kept = without_outliers(curves, draws, job.sampling.remove_outliers)
        progress.message(f"{len(curves) - len(kept)} outliers removed")
        if len(kept) < len(curves):
            curves = kept
            again = stages.run(
                "Sampling without outliers", key=key, after=["Sampling"],
                work=lambda: KeptDraws.of(_draw(job, model, kept, stages)),
            )  # fmt: skip
            draws = again.draws(curves)
    result = assemble(curves, draws, job.seed, chosen.sentences)
    if not job.sampling.compare_kernels:
        return result
    rows = stages.run(
        "Comparing kernels",
        key=key,
        work=lambda: kernel_evidences(
            curves, job.sampling.compare_kernels, settings=model, seed=job.seed, progress=progress
        ),
    )
    return replace(result, kernels=tuple(rows))


def _draw(job: LightcurvesJob, settings: Settings, curves: LightCurves, stages: Stages) -> Draws:
    model, plan = Model(curves, settings), job.sampling
    sampler, asked = with_chains(plan.sampler, plan.warmup, plan.chains)
    return draw_posterior(model, sampler, draws=plan.draws, seed=job.seed, progress=stages.progress, options=asked)


def without_outliers(curves: LightCurves, draws: Draws, threshold: float) -> LightCurves:
    """Return the points within ``threshold`` standard deviations of leave-one-out."""
    few = draws.vectors[:: max(1, len(draws.vectors) // _FEW)]
    return remove_outliers(curves, draws.model, few, threshold)[0]


def _simulated() -> tuple[LightCurves, Truth]:
    return simulate(seed=11, codes=("A", "B", "C"), points=(90, 60, 40), lines=1, syserr=(0.0, 0.03, 0.0))


def demo(directory: Path) -> Mapping[str, Any]:
    """Simulate three telescopes with a continuum and a line, whose factors are known."""
    curves, _ = _simulated()
    paths = [str(write_pycali(directory / f"{curve.name}.txt", curve).resolve()) for curve in curves.files]
    return {"data": {"continuum": paths[0], "lines": paths[1:]}, "model": {"systematic_error": True}, "seed": 11}


def truth(result: Intercalibration, directory: Path) -> str:
    """Compare the scales with the simulated ones."""
    _, known = _simulated()
    low, high = np.quantile(result.factors.scale, [0.025, 0.975], axis=0)
    inside = int(np.sum((known.scale >= low) & (known.scale <= high))) - 1
    return f"The true scale lies in the 95 % interval for {inside} of {len(known.scale) - 1} telescopes."


PART = Part("lightcurves", LightcurvesJob, run, demo, truth)
