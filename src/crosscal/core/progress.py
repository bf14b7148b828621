"""How long work tells how far it is, without knowing who listens.

Library code takes ``progress: Progress = SILENT`` and writes

    with progress.stage("Sampling", total=4000) as advance:
        ...
        advance(50)

The command line passes a listener that draws bars; notebooks and tests may pass their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

Advance = Callable[[int], None]


@runtime_checkable
class Progress(Protocol):
    """A listener to long work."""

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Open a named stage of ``total`` steps (None if unknown); yields a function that counts steps done."""
        ...

    def message(self, text: str) -> None:
        """Say one line of news ("412 of 500 chunks were already done")."""
        ...


def _nothing(n: int = 1) -> None:
    """Count steps that are not shown."""


class Silent:
    """The default of all library functions: ignores everything, until a user asks for a display by `listen`."""

    def __init__(self) -> None:
        self.listener: Progress | None = None
        self._open = False

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Open a stage that is not shown, or one of the display; steps of steps are not shown."""
        if self.listener is None or self._open:
            yield _nothing
            return
        self._open = True
        try:
            with self.listener.stage(name, total) as advance:
                yield advance
        finally:
            self._open = False

    def message(self, text: str) -> None:
        """Ignore the news, or hand it to the display."""
        if self.listener is not None:
            self.listener.message(text)

    def __repr__(self) -> str:
        return "SILENT"


SILENT = Silent()


def listen(listener: Progress | None) -> None:
    """Let ``listener`` watch all long work of this process that is not given another one; None ends it."""
    SILENT.listener = listener
