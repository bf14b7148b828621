"""``job = "lightcurves-survey"``: every source of a survey, on any executor, resumable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.errors import DataFileError
from crosscal.core.provenance import record
from crosscal.core.random import generator
from crosscal.jobs.options import depends_on, plain
from crosscal.jobs.parts import Part
from crosscal.jobs.stages import Stages
from crosscal.lightcurves.survey.one import RECORD_SIZE, WARNED, SurveyTask
from crosscal.lightcurves.survey.options import SurveyJob
from crosscal.lightcurves.survey.result import SurveyResult
from crosscal.lightcurves.survey.shared import Population, populations, with_prior
from crosscal.lightcurves.synthetic import simulate

STORE = "sources.zarr"
#: Sources of the demonstration, and the scale of its second telescope.
_SOURCES, _SCALE = 12, 1.15


def run(job: SurveyJob, stages: Stages) -> SurveyResult:
    """Intercalibrate every source; a source that fails is counted and told, and does not stop the others.

    Raises
    ------
    InputError
        If the table of sources cannot be used.
    """
    from crosscal.compute import Store

    with stages.progress.stage("Finding sources", total=1) as advance:
        sources = job.data.listed()
        advance(1)
    if not sources:
        raise DataFileError("no source", where=str(job.data.sources or job.data.table), expected="at least one row")
    stages.progress.message(f"{len(sources)} sources")
    data, plan = job.data, job.sampling
    task = SurveyTask(
        sources, data.selection, job.settings(), data.time_range, data.season_gap, data.unit, data.time_unit,
        plan.sampler, plan.draws, job.seed, plan.chunk,
    )  # fmt: skip
    path = stages.directory / STORE
    key = depends_on(job, "data", "model", "prior", "sampling", "seed")
    store = stages.run(
        "Sources", key=key, files=[STORE], work=lambda: swept(task, path, job, stages),
        load=lambda: Store.open(path), resumes=True,
    )  # fmt: skip
    arrays = {name: np.concatenate([store.read_chunk(k, [name])[name] for k in range(len(task.layout))])
              for name in ("status", "seconds", "record")}  # fmt: skip
    records = tuple(json.loads(bytes(row).rstrip(b"\0")) for row in arrays["record"])
    known: tuple[Population, ...] = ()
    if job.results.shared_prior:
        known = populations(records, (arrays["status"] <= WARNED) & np.array(["codes" in r for r in records]))
        records = tuple(with_prior(record, known) if "codes" in record else record for record in records)
    return SurveyResult(
        task, arrays["status"], arrays["seconds"], records, job.results.worst, job.results.curves,
        record(config={"part": "lightcurves-survey", "sources": len(sources)}, seed=job.seed),
        job.results.shared_prior, known,
    )  # fmt: skip


def swept(task: SurveyTask, path: Path, job: SurveyJob, stages: Stages) -> Any:
    """Fill or resume the store of records."""
    from crosscal.compute import Store, Variable, sweep

    variables = {
        "status": Variable(("source",), "int16", description="status of the source"),
        "seconds": Variable(("source",), unit="s", description="processor time"),
        "record": Variable(("source", "byte"), "uint8", description="JSON text, filled up with zeros"),
    }
    described = {k: v for k, v in asdict(task).items() if k not in ("sources", "settings", "selection")}
    store = Store.open_or_create(
        path, variables, {"source": np.array([source.name for source in task.sources])}, {"source": task.chunk},
        sizes={"byte": RECORD_SIZE},
        job={**described, "sources": [asdict(s) for s in task.sources], "model": plain(job.model),
             "prior": plain(job.prior), "selection": plain(job.data.selection)},
    )  # fmt: skip
    sweep(
        task, store, job.compute.executor, progress=stages.progress, name="sources", status="status",
        **job.compute.rest,
    )  # fmt: skip
    return store


def demo(directory: Path) -> Mapping[str, Any]:
    """Simulate sources seen by two telescopes, one of them with a file that cannot be read."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = ["source,file"]
    for k in range(_SOURCES):
        scale = _SCALE * np.exp(0.02 * generator(5, k).standard_normal())
        curves, _ = simulate(seed=100 + k, codes=("A", "B"), points=60, scale=(1.0, float(scale)), shift=(0.0, 0.0))
        curve = curves.continuum
        lines = [f"{t:.6f},{f:.8g},{e:.6g},{curve.codes[c]}"
                 for t, f, e, c in zip(curve.time, curve.flux, curve.error, curve.code, strict=True)]  # fmt: skip
        (directory / f"source{k:02d}.csv").write_text("time,flux,error,telescope\n" + "\n".join(lines) + "\n")
        rows.append(f"S{k:02d},source{k:02d}.csv")
    (directory / "broken.csv").write_text("time,flux\nno,number\n")
    rows.append("broken,broken.csv")
    table = directory / "sources.csv"
    table.write_text("\n".join(rows) + "\n")
    return {
        "data": {"sources": str(table.resolve())},
        "model": {"reference": "A"},
        "compute": {"executor": "serial"},
        "seed": 5,
    }


def truth(result: SurveyResult, directory: Path) -> str:
    """Compare the median scale with the simulated one."""
    found = float(np.median(result.scales()["B"]))
    return f"The median scale of B is {found:.3f}; {_SCALE:g} with a scatter of 2 % was simulated."


PART = Part("lightcurves-survey", SurveyJob, run, demo, truth)
