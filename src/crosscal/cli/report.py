"""``crosscal report RUN_DIR``."""

from __future__ import annotations

import click


@click.command("report")
@click.argument("directory")
def command(directory: str) -> None:
    """Write report.html into the run directory DIRECTORY again, from its files."""
    from crosscal.report import write_report

    click.echo(write_report(directory))
