"""``crosscal run JOB``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crosscal.cli.tell import announce, finish, listener, voice

if TYPE_CHECKING:
    from crosscal.jobs.options import Job
    from crosscal.jobs.parts import Part


@click.command("run")
@click.argument("job")
@click.option("--output", "-o", help="Run directory; overrides `output` of the job file.")
@click.option("--seed", type=int, help="Random seed; overrides `seed` of the job file.")
@click.option(
    "--set", "changes", multiple=True, metavar="SECTION.KEY=VALUE",
    help="Replace the value of a key of the job file (TOML); may be given several times.",
)  # fmt: skip
@click.option("--workers", type=int, help="Number of worker processes: the same as --set compute.workers=N.")
@click.option("--overwrite", is_flag=True, help="Replace the finished run of another job and repeat completed work.")
@click.option("--check", is_flag=True, help="Only validate the job file and check that its input files exist.")
@click.option("--dry-run", is_flag=True, help="Only report which stages would run or be skipped; write nothing.")
@voice
def command(
    job: str,
    output: str | None,
    seed: int | None,
    changes: tuple[str, ...],
    workers: int | None,
    overwrite: bool,
    check: bool,
    dry_run: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Run the job file JOB (TOML).

    Finished stages are skipped, an interrupted run resumes, and a run that is already complete is not repeated. Paths
    in the job file are relative to its own directory; `data:NAME` is searched for on the data search path (see
    `crosscal data path`). A value given with --set replaces that of the job file and is recorded in the run's job.toml.

    Exit codes: 0, all checks passed; 1, the job or its data cannot be used; 3, the run finished but a check failed (for
    example, the sampler has not converged).
    """
    if not (check or dry_run):
        announce(quiet, f"Running {job}.")
    from crosscal.jobs.run import existing_inputs, plan_job, run_job

    part, loaded = _load(job, changes, workers)
    loaded = replace(
        loaded, output=Path(output) if output else loaded.output, seed=loaded.seed if seed is None else seed
    )
    progress = listener(quiet, verbose)
    if dry_run:
        plan = plan_job(part, loaded, source=Path(job), overwrite=overwrite)
        stages = [{"name": name, "planned": what} for name, what in plan.stages]
        facts = {"complete": plan.complete, "stages": stages, "follows": list(plan.follows)}
        _say(part, loaded, as_json, f"{part.name} job {job}, output {loaded.output}:\n{plan}", facts)
    elif check:
        existing_inputs(loaded, Path(job))
        _say(part, loaded, as_json, f"{job} is a valid {part.name} job; results will be written to {loaded.output}.")
    else:
        finish(run_job(part, loaded, source=Path(job), progress=progress, overwrite=overwrite), as_json)


def _load(job: str, changes: tuple[str, ...], workers: int | None) -> tuple[Part, Job]:
    """Read the job with what the command line changes in it."""
    from crosscal.jobs.changes import parse_change, workers_change
    from crosscal.jobs.parts import load_job

    asked = [parse_change(text) for text in changes]
    if workers is None:
        return load_job(job, asked)
    part, _ = load_job(job, asked)
    return load_job(job, [*asked, workers_change(part.model, workers)])


def _say(part: Part, job: Job, as_json: bool, text: str, facts: dict[str, Any] | None = None) -> None:
    """Print a sentence, or the same as JSON."""
    if as_json:
        text = json.dumps({"part": part.name, "output": str(job.output), "valid": True, **(facts or {})}, indent=1)
    click.echo(text)
