"""``crosscal demo [PART]``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo")
@click.argument("part", default="xray")
@click.option("--output", "-o", help="Directory for the results [crosscal-demo-PART].")
@click.option("--quiet", "-q", is_flag=True, help="Do not show progress bars.")
def command(part: str, output: str | None, quiet: bool) -> None:
    """Run PART (xray, concordance, lightcurves, fluxcal) on built-in data, offline.

    The answer is printed; tables, figures and files are in the directory of results.
    """
    from crosscal.cli.tell import finish, listener
    from crosscal.jobs.parts import PARTS
    from crosscal.jobs.run import demo

    chosen = PARTS.get(part, where="crosscal demo")
    directory = Path(output) if output else Path(f"crosscal-demo-{chosen.name}")
    finish(demo(chosen, directory, progress=listener(quiet)))
