"""What surrounds a command: signals that end it, and standard streams that may be closed, full or of any encoding."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end: files and workers are cleaned up as after Ctrl-C.

    Attributes
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM (batch systems) and SIGHUP (a closed terminal) end the block as Ctrl-C does, by `Stopped`.

    A signal that the parent process ignores stays ignored (``nohup``). Once one has come, further ones are ignored, so
    that the clean-up is not cut short; SIGKILL remains.
    """
    owner = os.getpid()
    numbers = (signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: Any) -> None:
        if os.getpid() != owner:  # a forked worker, which has nothing to clean up
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for each in taken:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    main_thread = threading.current_thread() is threading.main_thread()
    taken = [n for n in numbers if main_thread and signal.getsignal(n) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


class _Forgiving(io.FileIO):
    """A stream for news: where it cannot be written, the news is lost and the work goes on."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


def prepare_streams() -> None:
    """Open closed standard streams on nothing, and let no encoding and no full disk under stderr stop a run.

    A closed stream would hand its number to the next file that is opened, into which messages would then be written.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr.fileno() == 2:
        raw = io.BufferedWriter(_Forgiving(2, "wb", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, sys.stderr.encoding, "backslashreplace", line_buffering=True)


def output_problem() -> OSError | None:
    """Return why standard output cannot be written, or None; where it cannot, it is led to nothing."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return error
    return None
