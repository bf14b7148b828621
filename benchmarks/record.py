"""One line of the benchmark table."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """A measured value, its peer's value from the same run, and the goal.

    ``ratio`` is given by the benchmark (its meaning is in ``name``); ``passed`` is None where there is no goal or
    the peer was not installed (then ``note`` says "skipped: ...").
    """

    name: str
    part: str
    value: float | None
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    goal: str = ""
    passed: bool | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the record as a JSON-ready mapping: NumPy's scalars become Python's."""
        return {key: getattr(value, "item", lambda v=value: v)() for key, value in asdict(self).items()}


def cpu_seconds(work: Callable[[], T], *, repeat: int = 1) -> tuple[float, T]:
    """Return the CPU-seconds (user + system, with waited-for children) of the fastest of ``repeat`` runs."""

    def clock() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    best, result = float("inf"), None
    for _ in range(repeat):
        start = clock()
        result = work()
        best = min(best, clock() - start)
    return best, result  # type: ignore[return-value]


def wall_seconds(work: Callable[[], T]) -> tuple[float, T]:
    """Return the elapsed seconds of one run and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def peak_bytes() -> int:
    """Return the largest resident set of this process so far.

    The kernel's ``ru_maxrss`` would begin with the memory of the process that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
