"""What runs in worker processes. It loads nothing heavy by itself: threads are limited before NumPy is there."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from crosscal.core.errors import SweepError

if TYPE_CHECKING:
    from crosscal.compute.job import ChunkJob, Outcome

# Shared with the process that started this one: the pickled job, and which chunk each worker is at.
_payload: Any = None
_at: Any = None


def prepare(payload: Any, at: Any, environment: Mapping[str, str]) -> None:
    """Make this process a worker of the executor "local"; its name is its number."""
    global _payload, _at
    _payload, _at = payload, at
    os.environ.update(environment)
    # A task may print; what the run itself prints stays clean.
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def work(chunk: int) -> Outcome:
    """Do one chunk."""
    _at[int(multiprocessing.current_process().name)] = chunk
    return _job()(chunk)


@cache
def _job() -> ChunkJob:
    return unpacked(bytes(_payload))


@lru_cache(maxsize=1)
def unpacked(payload: bytes) -> ChunkJob:
    """Return the job of these bytes; SweepError if its task cannot be imported here."""
    try:
        job: ChunkJob = pickle.loads(payload)
    except Exception as error:  # whatever the modules that are imported now may raise
        reason = f"{type(error).__name__}: {error}".rstrip(" :.")
        raise SweepError(f"the task cannot be imported in a worker process ({reason}).") from error
    return job


def run_batch(payload: bytes, chunks: Sequence[int]) -> list[Outcome]:
    """Do some chunks in a Dask worker."""
    job = unpacked(payload)
    return [job(chunk) for chunk in chunks]
