"""Displays of progress: bars in a terminal or a notebook, plain lines in a batch log.

Library code only knows :class:`crosscal.core.progress.Progress`; a user (or the command line) passes one of these.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from crosscal.core.progress import Advance, Progress, listen


@dataclass
class _Count:
    """How far a stage is."""

    name: str
    total: int | None
    done: int = 0
    start: float = field(default_factory=time.monotonic)
    shown: float = field(default_factory=time.monotonic)

    def text(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        share = f" ({100 * self.done / self.total:.0f} %)" if self.total else ""
        return f"{self.done}{of}{share}, {time.monotonic() - self.start:.0f} s"

    def due(self, every: float) -> bool:
        now = time.monotonic()
        if now - self.shown < every:
            return False
        self.shown = now
        return True


class Bars:
    """Bars in a terminal; stages may be nested.

    Parameters
    ----------
    console : rich.console.Console, optional
        Standard error if not given, so that results on standard output stay clean.
    """

    def __init__(self, console: Any = None) -> None:
        if console is None:
            from rich.console import Console

            console = Console(stderr=True)
        self._console = console
        self._display: Any = None
        self._open = 0

    def _started(self) -> Any:
        from rich import progress as rich

        if self._display is None:
            self._display = rich.Progress(
                rich.TextColumn("{task.description}"),
                rich.BarColumn(),
                rich.MofNCompleteColumn(),
                rich.TimeElapsedColumn(),
                rich.TimeRemainingColumn(),
                console=self._console,
            )
            self._display.start()
        return self._display

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Show a bar while the context lasts; it stays on the screen afterwards."""
        display = self._started()
        self._open += 1
        bar = display.add_task(name, total=total)

        def advance(n: int = 1) -> None:
            display.update(bar, advance=n)

        try:
            yield advance
        finally:
            self._open -= 1
            if self._open == 0:
                display.stop()
                self._display = None

    def message(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, markup=False, highlight=False)


class Lines:
    """A plain line now and then, for batch logs.

    Parameters
    ----------
    stream : text file, optional
        Standard error if not given.
    every : float
        Least seconds between two lines of a stage (its first and last are always written).
    """

    def __init__(self, stream: TextIO | None = None, *, every: float = 10.0) -> None:
        self._stream = stream
        self._every = every

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Write lines while the context lasts."""
        count = _Count(name, total)

        def advance(n: int = 1) -> None:
            count.done += n
            if count.due(self._every):
                self.message(f"{name}: {count.text()}")

        self.message(f"{name}: begun")
        try:
            yield advance
        finally:
            self.message(f"{name}: {count.text()}")

    def message(self, text: str) -> None:
        """Write a line."""
        print(text, file=self._stream or sys.stderr, flush=True)


class Notebook:
    """One HTML bar a stage in a Jupyter notebook; needs no widgets."""

    def __init__(self, *, every: float = 0.2) -> None:
        self._every = every

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Show a bar below the cell while the context lasts."""
        from html import escape

        from IPython.display import HTML, display

        count = _Count(name, total)

        def bar() -> Any:
            value = "" if total is None else f' value="{count.done}" max="{max(total, 1)}"'
            return HTML(f"{escape(name)} <progress{value}></progress> {count.text()}")

        handle = display(bar(), display_id=True)

        def advance(n: int = 1) -> None:
            count.done += n
            if count.due(self._every):
                handle.update(bar())

        try:
            yield advance
        finally:
            handle.update(bar())

    def message(self, text: str) -> None:
        """Print a line below the cell."""
        print(text)


def display() -> Progress:
    """Return what suits the place: a notebook's bars, a terminal's bars, or plain lines."""
    if "ipykernel" in sys.modules:
        return Notebook()
    return Bars() if sys.stderr.isatty() else Lines()


def show_progress(on: bool = True) -> None:
    """Show bars (or lines, without a terminal) of all long work of this process, in notebooks and scripts.

    Parameters
    ----------
    on : bool
        False ends it: functions that take ``progress=`` are silent by default.
    """
    listen(display() if on else None)
