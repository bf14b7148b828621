"""What runs inside Dask workers."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from distributed import WorkerPlugin, get_worker

from crosscal.compute.job import ChunkJob, Outcome


class JobPlugin(WorkerPlugin):
    """Brings the job to every worker of a cluster once, also to those that start (or restart) later."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.job: ChunkJob | None = None

    def setup(self, worker: Any) -> None:
        """Unpack the job; Dask calls this on each worker."""
        self.job = pickle.loads(self._payload)


def run_batch(plugin: str, chunks: Sequence[int]) -> list[Outcome]:
    """Do some chunks with the job of the plugin of that name."""
    found: Any = get_worker().plugins[plugin]
    return [found.job(chunk) for chunk in chunks]
