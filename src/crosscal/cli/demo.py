"""``crosscal demo [PART]``."""

from __future__ import annotations

from pathlib import Path

import click

from crosscal.cli.tell import announce, finish, listener, voice


@click.command("demo")
@click.argument("part", default="xray")
@click.option("--output", "-o", help="Directory for the results [crosscal-demo-PART].")
@voice
def command(part: str, output: str | None, quiet: bool, verbose: bool, as_json: bool) -> None:
    """Run PART (xray, concordance, lightcurves, fluxcal) on built-in data, offline.

    The answer is printed; tables, figures and files are in the directory of results.
    """
    from crosscal.jobs.parts import PARTS

    name = PARTS.name_of(part, where="crosscal demo")
    directory = Path(output) if output else Path(f"crosscal-demo-{name}")
    announce(quiet, f"Demonstration of {name} on built-in data; the results will be in {directory}.")
    from crosscal.jobs.run import demo

    finish(demo(PARTS.get(name), directory, progress=listener(quiet, verbose)), as_json)
