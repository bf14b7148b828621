"""The store and the executors: memory of a long sweep, cost of a chunk, Dask against local processes."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import Record, cpu_seconds, peak_bytes, wall_seconds
from crosscal.compute import ChunkLayout, Store, Variable, sweep
from crosscal.core.random import point_seeds

PART = "compute"
NAMES = ("kT", "norm", "kT_error", "norm_error", "covariance", "statistic", "bias", "goodness", "ratio")
VARIABLES = {**{n: Variable(("point",)) for n in NAMES}, "status": Variable(("point",), "int8")}
WORKERS = 2


@dataclass(frozen=True)
class Fill:
    """Ten variables of cheap random numbers, or of as much work a chunk as ``rounds`` matrix products."""

    layout: ChunkLayout
    rounds: int = 0

    def __call__(self, chunk: int) -> dict[str, np.ndarray]:
        points = self.layout.flat(chunk)
        seeds = point_seeds(1, points[:, None], np.arange(len(NAMES)))
        values = seeds.astype(float) / 2.0**64
        square = np.outer(values[:128, 0], values[:128, 1])
        for _ in range(self.rounds):
            square = np.tanh(square @ square)
        values[0, 0] += square[0, 0]
        return {**dict(zip(NAMES, values.T, strict=True)), "status": np.zeros(len(points), np.int8)}


def new_store(path: Path, points: int, chunk: int) -> Store:
    """Make an empty store of ten variables."""
    axis = np.linspace(0, 1, points)
    return Store.create(path, VARIABLES, {"A": ("point", axis), "mu": ("point", axis)}, chunk, job={"bench": "fill"})


def stream(path: str, points: int, executor: str) -> None:
    """Fill a store and print the peak memory of this process and of its largest child, in bytes (a subprocess)."""
    import resource

    from crosscal.compute import sweep

    store = new_store(Path(path), points, 5000)
    options: dict[str, Any] = {} if executor == "serial" else {"workers": WORKERS}
    sweep(Fill(store.layout), store, executor, status="status", **options)
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps([peak_bytes(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit]))


def memory(folder: Path, points: int) -> list[Record]:
    """Peak memory of streaming a store of ``points`` points."""
    found = []
    for executor in ("serial", "local"):
        path = folder / f"stream-{executor}"
        call = f"from benchmarks.compute_store import stream; stream({str(path)!r}, {points}, {executor!r})"
        run = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
        own, child = json.loads(run.stdout)
        total = own + (WORKERS * child if executor == "local" else 0)
        found.append(
            Record(
                f"peak memory of a sweep of {points:g} points x 10 variables, {executor}",
                PART,
                total / 1e6,
                "MB",
                goal="< 2000",
                passed=total < 2e9,
                note="all processes" if executor == "local" else "",
            )
        )
        shutil.rmtree(path)
    return found


def chunk_cost(folder: Path, points: int) -> list[Record]:
    """CPU time to write and read a chunk of ten variables, beside HDF5 with compression and checksum."""
    import h5py

    store = new_store(folder / "cost", points, 5000)
    task = Fill(store.layout)
    chunks = [task(k) for k in range(len(store.layout))]

    def write() -> None:
        for k, values in enumerate(chunks):
            store.write_chunk(k, values)

    def write_hdf5() -> None:
        with h5py.File(folder / "cost.h5", "w") as file:
            for name, variable in VARIABLES.items():
                file.create_dataset(
                    name,
                    (points,),
                    variable.dtype,
                    chunks=(5000,),
                    compression="gzip",
                    compression_opts=1,
                    fletcher32=True,
                )
            for k, values in enumerate(chunks):
                for name, array in values.items():
                    file[name][store.layout.slices(k)] = array
                file.flush()

    ours, _ = cpu_seconds(write, repeat=3)
    theirs, _ = cpu_seconds(write_hdf5, repeat=3)
    reading, _ = cpu_seconds(lambda: [store.read(name) for name in store.names], repeat=3)
    n = len(chunks)
    return [
        Record(
            "writing a chunk of 5000 points x 10 variables (ratio: peer / ours)",
            PART,
            1e3 * ours / n,
            "CPU ms",
            "h5py, one writer",
            1e3 * theirs / n,
            theirs / ours,
        ),
        Record("reading such a chunk with its checksums", PART, 1e3 * reading / n, "CPU ms"),
    ]


def against_dask(folder: Path, chunks: int, rounds: int, repeat: int) -> list[Record]:
    """Total cost of the same chunks on two local processes and on a Dask LocalCluster of two workers.

    The cost of starting and ending is that of a sweep of two chunks, and told apart.
    """
    if importlib.util.find_spec("distributed") is None:
        return [Record("Dask against local processes", PART, None, "s", "local", note="skipped: distributed is absent")]
    stores: dict[str, Store] = {}
    best = {(executor, n): (np.inf, np.inf) for executor in ("local", "dask") for n in (2, chunks)}
    for number in range(repeat):  # in turn, because other work on the machine comes and goes
        for executor, n in best:
            store = stores[executor] = new_store(folder / f"{executor}-{n}-{number}", 500 * n, 500)
            run = partial(sweep, Fill(store.layout, rounds), store, executor, workers=WORKERS)
            elapsed, (used, _) = wall_seconds(partial(cpu_seconds, run))
            before = best[executor, n]
            best[executor, n] = (min(before[0], elapsed), min(before[1], used))
    same = all(stores["local"].read(n).tobytes() == stores["dask"].read(n).tobytes() for n in VARIABLES)
    name = f"{chunks} chunks on a Dask LocalCluster of 2 workers (ratio: Dask / local)"
    found = []
    for k, unit in enumerate(("s", "CPU s")):
        ours, theirs = (best[executor, chunks][k] - best[executor, 2][k] for executor in ("dask", "local"))
        start, peer_start = (best[executor, 2][k] for executor in ("dask", "local"))
        note = (
            f"{'same bits' if same else 'BITS DIFFER'}; best of {repeat}; besides, two chunks with start and end: "
            f"{start:.1f} {unit}, local {peer_start:.1f} {unit}"
        )
        goal = "" if k else "same bits, ratio <= 1.1"
        passed = None if k else same and ours <= 1.1 * theirs
        peer = "executor local, 2 workers"
        found.append(Record(name, PART, ours, unit, peer, theirs, ours / theirs, goal, passed, note))
    return found


def overhead(folder: Path, chunks: int) -> list[Record]:
    """Elapsed time a chunk that an executor adds where the task itself takes nearly none."""
    found = []
    for executor in ("serial", "local", "dask"):
        if executor == "dask" and importlib.util.find_spec("distributed") is None:
            continue
        options: dict[str, Any] = {} if executor == "serial" else {"workers": WORKERS}
        times = []
        for n in (2, chunks):
            store = new_store(folder / f"overhead-{executor}-{n}", 2 * n, 2)
            used, _ = wall_seconds(
                lambda e=executor, s=store, o=options: sweep(Fill(s.layout), s, e, **o)  # type: ignore[misc]
            )
            times.append(used)
        found.append(
            Record(
                f"a tiny chunk of 10 variables, written, by executor {executor}",
                PART,
                1e3 * (times[1] - times[0]) / (chunks - 2),
                "ms",
                note=f"start and end {times[0]:.1f} s",
            )
        )
    return found


def records(quick: bool) -> list[Record]:
    """All figures of this module."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [
            *memory(folder, 100_000 if quick else 1_000_000),
            *chunk_cost(folder, 100_000 if quick else 200_000),
            *overhead(folder, 100 if quick else 300),
            *against_dask(folder, 50 if quick else 110, 100 if quick else 200, 1 if quick else 3),
        ]
