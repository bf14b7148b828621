"""``crosscal demo [PART]``."""

from __future__ import annotations

import click

from crosscal.cli.parts import PARTS


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
    execute(chosen.name, lambda progress: chosen.demo(directory, progress), directory, quiet=quiet)
