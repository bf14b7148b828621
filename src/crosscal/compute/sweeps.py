"""Fill a store: every chunk that is not done is computed by a worker, which writes it itself."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosscal.compute.executors import make_executor
from crosscal.compute.job import ChunkJob, Executor, Task, count_values
from crosscal.compute.store import Store
from crosscal.core.errors import ConfigError, UnknownNameError
from crosscal.core.progress import SILENT, Progress


@dataclass(frozen=True)
class SweepReport:
    """What a sweep did.

    Attributes
    ----------
    chunks : int
        Chunks of this sweep (all of the store, or of the chosen part).
    computed, skipped : int
        Computed now; found done.
    seconds : float
        Elapsed time.
    counts : dict of int to int
        How often each value of the status variable occurs in these chunks.
    """

    chunks: int
    computed: int
    skipped: int
    seconds: float
    counts: dict[int, int] = field(default_factory=dict)


def sweep(
    task: Task,
    store: Store,
    executor: str | Executor = "local",
    *,
    progress: Progress = SILENT,
    name: str = "sweep",
    status: str | None = None,
    part: tuple[int, int] | None = None,
    **options: Any,
) -> SweepReport:
    """Compute all chunks of ``store`` that are not done.

    The result depends on the task and the chunk number only. Any number of workers, any order and any interruption
    give the same bits on processors of one kind, in chunks of one length. A BLAS may round the last digit differently
    on another kind of processor, for another shape of matrix (a chunk of another length), and with another number of
    threads: workers use one each, ``"serial"`` those of this process.

    Parameters
    ----------
    task : callable
        ``task(chunk: int) -> {variable: array}`` for all variables of the store, arrays of shape
        ``store.layout.shape(chunk) + ...``. A module-level function or a picklable object of an importable
        class; it holds no store. Numerical trouble is a value of a status variable, not an exception.
    store : Store
        Open for writing.
    executor : str or Executor
        ``"serial"``, ``"local"``, ``"dask"``, another registered name, or an object.
    progress : Progress
        Receives the progress; none is shown by default (``crosscal.compute.display()`` shows bars).
    name : str
        What this stage of progress is called.
    status : str, optional
        An integer variable to count, for the report.
    part : (k, n), optional
        Do only chunks k, k + n, k + 2 n, ...: one task of a job array (see :func:`array_part`).
    **options
        Options of the executor (``workers=4``).

    Raises
    ------
    KeyboardInterrupt
        When the user interrupts; its message says that the store resumes.
    SweepError
        If the task raises, or keeps killing its workers.
    StoreError
        If a chunk cannot be written.
    """
    if status is not None and status not in store.names:
        raise UnknownNameError("variable", status, store.names, where=str(store.path))
    if not store.writable:
        store = Store.open(store.path, writable=True)
    start = time.monotonic()
    mine = _chosen(len(store.layout), part)
    done = store.done()[mine]
    todo = [int(k) for k in mine[~done]]
    counts: Counter[int] = Counter()
    if status is not None:
        for chunk in mine[done]:
            counts.update(count_values(store.read_chunk(int(chunk), [status])[status]))
    runner = make_executor(executor, **options)
    finished = 0
    if len(todo) < len(mine):
        progress.message(f"{len(mine) - len(todo)} of {len(mine)} chunks already complete")
    with progress.stage(name, total=len(mine)) as advance:
        advance(len(mine) - len(todo))
        try:
            if todo:
                with closing(runner.run(ChunkJob(task, store.path, status), todo)) as outcomes:  # type: ignore[type-var]
                    for outcome in outcomes:
                        counts.update(outcome.counts)
                        finished += 1
                        advance(1)
        except KeyboardInterrupt:
            left = len(todo) - finished
            raise KeyboardInterrupt(
                f"interrupted: {left} of {len(mine)} chunks remain; run the same job again to resume {store.path}"
            ) from None
    if store.complete:
        store.tidy()
    return SweepReport(
        len(mine), finished, len(mine) - len(todo), time.monotonic() - start, dict(sorted(counts.items()))
    )


def _chosen(n: int, part: tuple[int, int] | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    if part is None:
        return np.arange(n)
    k, parts = part
    if not 0 <= k < parts:
        raise ConfigError(f"part {k} of {parts}", where="sweep", expected="(k, n) with 0 <= k < n")
    return np.arange(k, n, parts)


def array_part(environment: Mapping[str, str] | None = None) -> tuple[int, int] | None:
    """Return which part of a Slurm job array this process is, as ``(k, n)``; None outside an array.

    It reads ``SLURM_ARRAY_TASK_ID``, ``_MIN``, ``_COUNT`` and ``_STEP`` as ``sbatch --array=MIN-MAX[:STEP]`` sets
    them, from ``environment`` (that of the process by default).

    Raises
    ------
    ConfigError
        If the array is not a regular range.
    """
    values = os.environ if environment is None else environment
    if "SLURM_ARRAY_TASK_ID" not in values:
        return None
    try:
        number = int(values["SLURM_ARRAY_TASK_ID"])
        low, count = int(values["SLURM_ARRAY_TASK_MIN"]), int(values["SLURM_ARRAY_TASK_COUNT"])
        stride = int(values.get("SLURM_ARRAY_TASK_STEP", 1))
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{error}", where="Slurm job array", expected="integer SLURM_ARRAY_TASK_* values") from None
    k, rest = divmod(number - low, stride)
    if rest or not 0 <= k < count:
        raise ConfigError(
            f"task {number} of an array of {count} from {low}",
            where="Slurm job array",
            expected="a regular range such as --array=0-9",
        )
    return k, count
