"""A display of progress: bars in a terminal or a notebook, plain lines in a batch log.

Library code only knows :class:`crosscal.core.progress.Progress`; a user (or the command line) passes this one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tqdm

from crosscal.core.progress import Advance, Progress, listen

_LINE = "{desc}: {n_fmt} of {total_fmt} ({percentage:.0f} %), {elapsed}"
_LINE_WITHOUT_TOTAL = "{desc}: {n_fmt}, {elapsed}"


class _Lines(tqdm.tqdm):
    """A new line now and then in place of a bar that is drawn over itself."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        # Closing (at position 0) writes an end of line of its own.
        self.fp.write(str(self) if pos == 0 else f"{self}\n")


class Display:
    """Shows each stage of work on standard error, so that results on standard output stay clean.

    Parameters
    ----------
    bars : bool
        Bars of tqdm; otherwise lines, for files.
    every : float
        Least seconds between two lines of a stage (its first and last are always written).
    """

    def __init__(self, *, bars: bool, every: float = 10.0) -> None:
        self._bars = bars
        self._every = every

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Show how far a stage is while the context lasts."""
        kind: Any = _Lines
        options: dict[str, Any] = {"desc": name, "total": total, "file": sys.stderr, "disable": sys.stderr is None}
        if self._bars:
            from tqdm.auto import tqdm as kind  # type: ignore[no-redef]

            options["dynamic_ncols"] = True
        else:
            options |= {"mininterval": self._every, "bar_format": _LINE_WITHOUT_TOTAL if total is None else _LINE}
        with kind(**options) as bar:
            yield bar.update

    def message(self, text: str) -> None:
        """Write a line, above the bars where there are any."""
        if sys.stderr is None:
            return
        if self._bars:
            tqdm.tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)


def display() -> Progress:
    """Return what suits the place: bars in a notebook or a terminal, or plain lines."""
    return Display(bars="ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty()))


def show_progress(on: bool = True) -> None:
    """Show bars (or lines, without a terminal) of all long work of this process, in notebooks and scripts.

    Parameters
    ----------
    on : bool
        False ends it: functions that take ``progress=`` are silent by default.

    Examples
    --------
    >>> crosscal.show_progress()  # doctest: +SKIP
    """
    listen(display() if on else None)
