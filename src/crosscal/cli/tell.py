"""What the command line prints of a run."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import click

from crosscal.cli.lines import say, shown
from crosscal.core.progress import Advance, Progress

if TYPE_CHECKING:
    from crosscal.jobs.finished import Run

#: The exit code of a run that finished but failed one of its checks.
CHECK_FAILED = 3
_LOG = logging.getLogger("crosscal")


def voice(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how much it tells: ``--quiet``, ``--verbose``, ``--json``."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, and nothing else, on stdout."),
        click.option("--verbose", "-v", is_flag=True, help="Print more: inputs, stage times, debug messages."),
        click.option("--quiet", "-q", is_flag=True, help="Print only warnings and the outcome, no progress."),
    ):
        function = option(function)
    return function


def announce(quiet: bool, text: str) -> None:
    """Say at once, before anything heavy is imported, what begins."""
    if not quiet:
        say(text, err=True, signs=False)


class _Handler(logging.Handler):
    """Messages of CrossCal's loggers on standard error, above the bars of progress."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        self._show(shown(self.format(record), sys.stderr))


class Told(Progress):
    """Progress of the command line: bars or lines for stages, the logger ``crosscal`` for messages."""

    def __init__(self, stages: Progress | None) -> None:
        self._stages = stages

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Show a stage, or nothing."""
        return _unseen() if self._stages is None else self._stages.stage(name, total)

    def message(self, text: str) -> None:
        """Log a line of news."""
        _LOG.info(text)


def _nothing(n: int) -> None:
    """Count steps that are not shown."""


@contextmanager
def _unseen() -> Iterator[Advance]:
    yield _nothing


def listener(quiet: bool, verbose: bool = False) -> Progress:
    """Return the display of progress and set the level of the logger ``crosscal``.

    The level is WARNING if ``quiet``, DEBUG if ``verbose``, else INFO. Messages go to standard error; those of level
    DEBUG carry time and name of their logger.

    Raises
    ------
    ConfigError
        If both are asked for.
    """
    from crosscal.compute.progress import display
    from crosscal.core.errors import ConfigError

    if quiet and verbose:
        raise ConfigError("--quiet and --verbose", where="crosscal", expected="one of them")
    shown = display()
    for handler in [h for h in _LOG.handlers if isinstance(h, _Handler)]:
        _LOG.removeHandler(handler)
    handler = _Handler(shown.message)
    style = "%(asctime)s %(name)s: %(message)s" if verbose else "%(message)s"
    handler.setFormatter(logging.Formatter(style, "%H:%M:%S"))
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    return Told(None if quiet else shown)


def finish(run: Run, as_json: bool = False) -> None:
    """Print the answer, the failed checks, the warnings and where everything is; exit with 3 if a check failed."""
    if as_json:
        click.echo(json.dumps(outcome(run), indent=1))
    else:
        _tell(run)
    if not run.passed:
        raise SystemExit(CHECK_FAILED)


def outcome(run: Run) -> dict[str, Any]:
    """Return what ``--json`` prints of a run."""
    return {
        "part": run.part,
        "answer": run.answer,
        "passed": run.passed,
        "checks": [{"name": c.name, "passed": bool(c.passed), "why": c.why} for c in run.checks],
        "warnings": list(run.warnings),
        "repeated": run.repeated,
        "seconds": round(run.seconds, 1),
        "directory": str(run.directory),
        "report": str(run.report),
        "figures": list(run.captions),
        "citations": list(run.citations),
    }


def _tell(run: Run) -> None:
    if run.repeated:
        say("Already complete (same settings and inputs); nothing to do.")
    say()
    say(run.answer)
    for check in run.checks:
        if not check.passed:
            say(f"  check failed: {check.name}: {check.why}")
    failed = {check.why for check in run.checks if not check.passed}
    for warning in run.warnings:
        if warning not in failed:
            say(f"  warning: {warning}")
    say()
    figures = f"{len(run.captions)} figure{'s' * (len(run.captions) != 1)}"
    say(f"Results in {run.directory} ({figures}, {run.seconds:.0f} s).", signs=False)
    say(f"Report: {run.report}", signs=False)
