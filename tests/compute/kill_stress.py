"""Many kills of a process that creates and fills stores, and a check after each that nothing was lost.

    python kill_stress.py DIRECTORY KILLS [SEED]

prints one JSON record. Writers are forked from this process, which itself never touches zarr, so a thousand kills
take minutes and not an hour of imports.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sweep_cases
import zarr  # noqa: F401  (loaded before the forks)

from crosscal.compute import Store, sweep

POINTS, CHUNK = 4000, 100


def forked(work: Callable[[], None]) -> int:
    """Run ``work`` in a fork of this process and return the fork's number."""
    assert threading.active_count() == 1  # a fork of a threaded process may hang
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def write(path: Path) -> None:
    store = sweep_cases.new_store(path, POINTS, CHUNK)
    sweep(sweep_cases.Noise(store.layout), store, "serial")


def check(path: Path, known: Path) -> None:
    """Fail unless every chunk that was done before still is, and all that are done hold the right bits."""
    before = np.load(known) if known.exists() else None
    store = Store.open(path)
    done = store.done()
    task = sweep_cases.Noise(store.layout)
    if before is not None:
        assert (done | ~before).all(), "a done chunk was lost"
    for chunk in np.flatnonzero(done):
        expected = task(int(chunk))
        for name, values in store.read_chunk(int(chunk)).items():
            assert values.tobytes() == expected[name].tobytes(), f"chunk {chunk} of {name} differs"
    np.save(known, done)
    if store.complete:
        shutil.rmtree(path)
        known.unlink()


def stress(directory: Path, kills: int, seed: int = 1) -> dict[str, int]:
    """Kill ``kills`` writers; return how many kills, finished stores and finished writers there were."""
    choice = random.Random(seed)
    path, known = directory / "a.zarr", directory / "known.npy"
    report = {"kills": 0, "writers_done": 0, "stores_done": 0}
    while report["kills"] < kills:
        child = forked(lambda: write(path))
        time.sleep(choice.uniform(0, 0.06))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert killed or os.WEXITSTATUS(status) == 0, "a writer failed"
        report["kills" if killed else "writers_done"] += 1
        if path.exists():
            _, status = os.waitpid(forked(lambda: check(path, known)), 0)
            assert status == 0, "a check failed"
            report["stores_done"] += not path.exists()
    _, status = os.waitpid(forked(lambda: write(path)), 0)
    assert status == 0, "the last writer failed"
    _, status = os.waitpid(forked(lambda: check(path, known)), 0)
    assert status == 0, "the last check failed"
    assert not path.exists(), "the last store is not complete"
    return report


if __name__ == "__main__":
    print(json.dumps(stress(Path(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[3:4]))))
