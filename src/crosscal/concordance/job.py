"""``job = "concordance"``: read a comparison, fit it, test it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.concordance.fitting import conclude, conduct_tests, explore
from crosscal.concordance.model import make_model
from crosscal.concordance.options import ConcordanceJob
from crosscal.concordance.result import ConcordanceFit
from crosscal.concordance.synthetic import published_like
from crosscal.core.files import write_ecsv
from crosscal.core.tables import ResultTable
from crosscal.datasets import resolve
from crosscal.jobs.options import depends_on
from crosscal.jobs.parts import Part
from crosscal.jobs.stages import Stages


def run(job: ConcordanceJob, stages: Stages) -> ConcordanceFit:
    """Read, sample and test a comparison.

    Raises
    ------
    InputError
        If data, model and names do not fit together.
    """
    progress = stages.progress
    with progress.stage("Reading the comparison", total=1) as advance:
        data = job.data.read()
        job.require_known(data)
        bands = {name: (low, high) for name, (low, high) in job.bands.items()}
        prior, shrinkage = job.prior.build(data, bands)
        model = make_model(data, prior, job.noise, job.sources)
        advance(1)
    for instrument, amount in shrinkage.items():
        progress.message(f"Area draws of {instrument}: correlation shrunk by {100 * amount:.0f} %.")
    stated = depends_on(job, "data", "prior", "noise", "sources", "bands", "sampling", "seed")
    found = stages.run("Sampling", key=stated, work=lambda: explore(model, job.sampling, job.seed, progress))
    tests = stages.run(
        "Checks",
        key=depends_on(job, "checks"),
        work=lambda: conduct_tests(model, found, job.checks, job.seed, progress),
        after=("Sampling",),
    )
    arfs = dict(zip(job.arf.instruments, (resolve(f) for f in job.arf.files), strict=True))
    return replace(conclude(model, found, tests, job.seed), band_energies=bands, arfs=arfs)


def demo(directory: Path) -> Mapping[str, Any]:
    """Simulate three cameras that see 94 sources, with the published XCAL hyper-parameters (hard band)."""
    case = published_like("XCAL_hard", tau=0.05, seed=8)
    data = case.data
    table = ResultTable({"instrument": [data.channel_names[i] for i in data.row]})
    table["source"] = [data.columns[j][0] for j in data.column]
    table["log_flux"] = data.log_rate
    write_ecsv(directory / "data.ecsv", table)
    known = {"instrument": list(data.channel_names), "true_factor": np.exp(case.b), "true_sigma": np.sqrt(case.s)}
    write_ecsv(directory / "truth.ecsv", ResultTable(known))
    return {
        "seed": 8,
        "data": {"path": str((directory / "data.ecsv").resolve()), "log_flux": "log_flux"},
        "prior": {"tau": 0.05},
        "noise": {"beta": 0.028**2},
    }


def truth(result: ConcordanceFit, directory: Path) -> str:
    """Say for how many instruments the true ratios of areas lie in their intervals."""
    case = published_like("XCAL_hard", tau=0.05, seed=8)
    low, high = np.quantile(result.relative, [0.025, 0.975], axis=0)
    true = case.b - case.b.mean()
    inside = int(np.sum((true >= low) & (true <= high)))
    return f"The true ratios of the areas lie in the 95 % intervals for {inside} of {len(true)} instruments."


PART = Part("concordance", ConcordanceJob, run, demo, truth)
