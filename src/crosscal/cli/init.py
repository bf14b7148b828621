"""``crosscal init PART [FILE]``."""

from __future__ import annotations

from pathlib import Path

import click

from crosscal.core.errors import InputError
from crosscal.core.files import write_text
from crosscal.jobs.parts import PARTS


@click.command("init")
@click.argument("part", default="xray")
@click.argument("file", required=False)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def command(part: str, file: str | None, force: bool) -> None:
    """Write a commented job file for PART to FILE [PART.toml]; `-` prints it."""
    chosen = PARTS.get(part, where="crosscal init")
    if file == "-":
        click.echo(chosen.template, nl=False)
        return
    target = Path(file or f"{chosen.name}.toml")
    if target.exists() and not force:
        raise InputError("the file exists", where=str(target), expected="a new file name, or --force")
    write_text(target, chosen.template)
    click.echo(f"Wrote {target}. Edit the file names and the model, then type `crosscal run {target}`.")
