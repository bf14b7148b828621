"""``crosscal run JOB``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("run")
@click.argument("job")
@click.option("--output", "-o", help="Run directory, instead of the job file's `output`.")
@click.option("--seed", type=int, help="Seed, instead of the job file's.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
@click.option("--check", is_flag=True, help="Only validate the job file and look for its input files.")
def command(job: str, output: str | None, seed: int | None, quiet: bool, check: bool) -> None:
    """Run the job file JOB (TOML).

    Finished stages are skipped, an interrupted run resumes. Paths in the job file are meant from its own directory;
    `data:NAME` is looked for on the data search path (see `crosscal data path`). The exit code is 1 if the job file is
    wrong or if a quality gate of the result failed.
    """
    from crosscal.cli.parts import load_job
    from crosscal.cli.runner import existing_inputs, run_job

    part, loaded = load_job(job)
    changes = {"output": Path(output) if output else loaded.output, "seed": loaded.seed if seed is None else seed}
    loaded = loaded.model_copy(update=changes)
    if check:
        existing_inputs(loaded, Path(job))
        click.echo(f"{job} is a valid {part.name} job; its results would go to {loaded.output}.")
        return
    result = run_job(part, loaded, quiet=quiet, source=Path(job))
    if getattr(result, "passed", True) is False:
        raise SystemExit(1)
