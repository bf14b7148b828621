"""The surroundings of a worker: one thread each, as many workers as there are processors for us, no main script."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

# Workers share the processors among themselves; threads inside them would fight, and could change sums.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "NPROC": "1",  # XLA's thread pool on a CPU
    "JAX_ENABLE_X64": "true",
}
_XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


def worker_environment() -> dict[str, str]:
    """Return the variables that a worker process starts with, beside the inherited ones."""
    flags = os.environ.get("XLA_FLAGS", "")
    if _XLA_ONE_THREAD not in flags:
        flags = f"{flags} {_XLA_ONE_THREAD}".strip()
    # The worker finds the modules that this process finds, also those beside a script.
    paths = [path or os.getcwd() for path in sys.path]
    return {**ONE_THREAD, "XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def available_cpus() -> int:
    """Return how many processors this process may use (Slurm's allotment, affinity, or all)."""
    allotted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if allotted.isdigit() and int(allotted) > 0:
        return int(allotted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def main_left_alone() -> Iterator[None]:
    """Keep Python from running the main script again in each worker process that is spawned meanwhile.

    A script without ``if __name__ == "__main__"`` would otherwise start its sweep in every worker. Tasks never live
    in the main script, so workers do not miss it.
    """
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__file__", "__spec__") if getattr(main, name, None) is not None}
    for name in hidden:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


@contextmanager
def ctrl_c_held() -> Iterator[None]:
    """Keep Ctrl-C from processes and threads that are started meanwhile: this one decides what it means."""
    resource_tracker.ensure_running()  # started later, it would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
