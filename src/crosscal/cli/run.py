"""``crosscal run JOB``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click


@click.command("run")
@click.argument("job")
@click.option("--output", "-o", help="Run directory; overrides `output` of the job file.")
@click.option("--seed", type=int, help="Random seed; overrides `seed` of the job file.")
@click.option("--overwrite", is_flag=True, help="Replace the finished run of another job and repeat completed work.")
@click.option("--quiet", "-q", is_flag=True, help="Do not show progress bars.")
@click.option("--check", is_flag=True, help="Only validate the job file and check that its input files exist.")
def command(job: str, output: str | None, seed: int | None, overwrite: bool, quiet: bool, check: bool) -> None:
    """Run the job file JOB (TOML).

    Finished stages are skipped, an interrupted run resumes, and a run that is already complete is not repeated. Paths
    in the job file are relative to its own directory; `data:NAME` is looked for on the data search path (see `crosscal
    data path`).

    Exit codes: 0, all checks passed; 1, the job or its data cannot be used; 3, the run finished but a check failed (for
    example, the sampler has not converged).
    """
    from crosscal.cli.tell import finish, listener
    from crosscal.jobs.parts import load_job
    from crosscal.jobs.run import existing_inputs, run_job

    part, loaded = load_job(job)
    loaded = replace(
        loaded, output=Path(output) if output else loaded.output, seed=loaded.seed if seed is None else seed
    )
    if check:
        existing_inputs(loaded, Path(job))
        click.echo(f"{job} is a valid {part.name} job; results will be written to {loaded.output}.")
        return
    finish(run_job(part, loaded, source=Path(job), progress=listener(quiet), overwrite=overwrite))
