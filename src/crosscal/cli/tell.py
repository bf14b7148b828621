"""What the command line prints of a run."""

from __future__ import annotations

import click

from crosscal.compute.progress import display
from crosscal.core.progress import SILENT, Progress
from crosscal.jobs.run import Run

#: The exit code of a run that finished but failed one of its checks.
CHECK_FAILED = 3


def listener(quiet: bool) -> Progress:
    """Return the display of progress, none if ``quiet``."""
    return SILENT if quiet else display()


def finish(run: Run) -> None:
    """Print the answer, the failed checks, the warnings and where everything is; exit with 3 if a check failed."""
    if run.repeated:
        click.echo("Already complete (same settings and inputs); nothing to do.")
    click.echo()
    click.echo(run.answer)
    for check in run.checks:
        if not check.passed:
            click.echo(f"  check failed: {check.name}: {check.why}")
    for warning in run.warnings:
        click.echo(f"  warning: {warning}")
    click.echo()
    click.echo(f"Results in {run.directory} ({len(run.captions)} figures, {run.seconds:.0f} s).")
    click.echo(f"Report: {run.report}")
    if not run.passed:
        raise SystemExit(CHECK_FAILED)
