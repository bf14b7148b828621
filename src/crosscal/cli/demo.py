"""``crosscal demo [PART]``."""

from __future__ import annotations

import click

from crosscal.cli.parts import PARTS
from crosscal.config import JobResult
from crosscal.core.progress import Progress
from crosscal.core.provenance import record


@click.command("demo")
@click.argument("part", default="xray")
@click.option("--output", "-o", help="Directory of the results [crosscal-demo-PART].")
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def command(part: str, output: str | None, quiet: bool) -> None:
    """Run PART (xray, concordance, lightcurves, fluxcal) on built-in data, offline.

    The answer is printed; tables, figures and files are in the directory of results.
    """
    from crosscal.cli.runner import demo_output, execute

    chosen = PARTS.get(part, where="crosscal demo")
    directory = demo_output(chosen.name, output)

    def work(progress: Progress) -> JobResult:
        return chosen.demo(directory, progress)

    execute(chosen.name, work, directory, provenance=record(config={"demo": chosen.name}), quiet=quiet)
