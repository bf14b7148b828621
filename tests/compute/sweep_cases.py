"""Tasks and stores of the tests, importable by worker processes; run as a script it fills a store.

python sweep_cases.py STORE EXECUTOR POINTS CHUNK PAUSE
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crosscal.compute import ChunkLayout, Store, Variable, sweep
from crosscal.core.random import point_seeds

VARIABLES = {
    "kT": Variable(("point", "parameter"), unit="keV", description="fitted temperature"),
    "statistic": Variable(("point",), "float32"),
    "status": Variable(("point",), "int8", description="0 good"),
}


@dataclass(frozen=True)
class Noise:
    """Random numbers that depend on the point only, plus a matrix product (where BLAS threads could matter)."""

    layout: ChunkLayout
    seed: int = 1
    pause: float = 0.0

    def __call__(self, chunk: int) -> dict[str, np.ndarray]:
        if self.pause:
            time.sleep(self.pause)
        points = self.layout.flat(chunk)
        rows = np.stack([np.random.default_rng(int(s)).normal(size=64) for s in point_seeds(self.seed, points)])
        mixing = np.random.default_rng(self.seed).normal(size=(64, 2))
        return {
            "kT": np.exp(0.1 * rows @ mixing),
            "statistic": (rows**2).sum(axis=1).astype(np.float32),
            "status": (points % 7 == 3).astype(np.int8),
        }


@dataclass(frozen=True)
class Deadly:
    """Kills its worker on one chunk: always, or only as long as a marker file does not exist."""

    inner: Noise
    chunk: int
    marker: str = ""

    def __call__(self, chunk: int) -> dict[str, np.ndarray]:
        if chunk == self.chunk and not (self.marker and Path(self.marker).exists()):
            if self.marker:
                Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner(chunk)


@dataclass(frozen=True)
class Failing:
    """Raises on one chunk."""

    inner: Noise
    chunk: int
    error: BaseException

    def __call__(self, chunk: int) -> dict[str, np.ndarray]:
        if chunk == self.chunk:
            raise self.error
        return self.inner(chunk)


@dataclass(frozen=True)
class Chatty:
    """Prints to standard output and reads standard input, as a task should not but may."""

    inner: Noise

    def __call__(self, chunk: int) -> dict[str, np.ndarray]:
        print("a task that prints")
        assert sys.stdin.read() == ""
        return self.inner(chunk)


@dataclass(frozen=True)
class Threads:
    """Stores how many threads a worker would use, in the place of a status."""

    inner: Noise

    def __call__(self, chunk: int) -> dict[str, np.ndarray]:
        values = self.inner(chunk)
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")
        most = max(int(os.environ.get(name, 99)) for name in names)
        return {**values, "status": np.full_like(values["status"], most)}


def contents(n: int = 37, chunk: int = 5) -> dict:
    """Arguments of ``Store.create`` after the path."""
    return {
        "variables": VARIABLES,
        "coords": {
            "A": ("point", np.linspace(-0.2, 0.2, n)),
            "parameter": np.array(["kT", "norm"]),
        },
        "chunk": {"point": chunk},
        "job": {"task": "noise", "seed": 1},
        "provenance": {"inputs": {"arf": "0" * 64}},
        "attrs": {"title": "noise"},
    }


def new_store(path: Path, n: int = 37, chunk: int = 5) -> Store:
    return Store.open_or_create(path, **contents(n, chunk))


def same(one: Store, two: Store) -> bool:
    """Whether two complete stores hold the same bits."""
    return all(one.read(n).tobytes() == two.read(n).tobytes() for n in VARIABLES)


def main(target: str, kind: str, points: str, length: str, wait: str) -> None:
    # Whatever the process that started this one does with Ctrl-C (in the background it is ignored).
    signal.signal(signal.SIGINT, signal.default_int_handler)
    store = new_store(Path(target), int(points), int(length))
    print("begun", flush=True)
    options = {} if kind == "serial" else {"workers": 2}
    sweep(Noise(store.layout, pause=float(wait)), store, kind, **options)


if __name__ == "__main__":
    # By its name, because workers cannot import what is called __main__.
    import sweep_cases

    sweep_cases.main(*sys.argv[1:])
