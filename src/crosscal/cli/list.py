"""``crosscal list [FAMILY]``."""

from __future__ import annotations

import click

from crosscal.core.registry import Registry

#: Family name to the registry that holds it; one line a family.
FAMILIES = Registry(
    "family",
    {
        "parts": "crosscal.jobs.parts:PARTS",
        "samplers": "crosscal.inference.registry:SAMPLERS",
        "report-sections": "crosscal.report.sections:SECTIONS",
        "executors": "crosscal.compute.executors:EXECUTORS",
        "modifiers": "crosscal.xray.modifiers.registry:MODIFIERS",
        "models": "crosscal.xray.emission.registry:MODELS",
        "kernels": "crosscal.lightcurves.kernels.registry:KERNELS",
        "layouts": "crosscal.lightcurves.formats.registry:LAYOUTS",
        "emulators": "crosscal.emulator.registry:EMULATORS",
        "divergences": "crosscal.xray.correction.divergence:DIVERGENCES",
        "templates": "crosscal.fluxcal.stars.template_files:LIBRARIES",
        "frame-layouts": "crosscal.fluxcal.frames.layouts.registry:LAYOUTS",
        "concordance-routes": "crosscal.concordance.routes:ROUTES",
    },
)


@click.command("list")
@click.argument("family", required=False)
def command(family: str | None) -> None:
    """List the members of FAMILY with one line each; without FAMILY, the families."""
    from rich.console import Console
    from rich.table import Table

    from crosscal.xray.modifiers.examples import job_lines

    table = Table(box=None, show_header=False, pad_edge=False)
    if family is None:
        for name in FAMILIES:
            table.add_row(name, ", ".join(FAMILIES.get(name).names()))
    else:
        registry = FAMILIES.get(family, where="crosscal list")
        for row in registry.describe().items():
            table.add_row(row[0], row[1].replace("``", "`"))
    Console(markup=False, emoji=False).print(table)
    if family == "modifiers":
        click.echo("\nIn a job file, under [library]; a parameter without a range stays at its default:")
        for name in registry:
            click.echo("\n" + "\n".join(f"    {line}" for line in job_lines(name)))
