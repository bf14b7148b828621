"""Chunks on a Dask cluster: a scheduler elsewhere, worker processes here, or Slurm jobs."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from crosscal.compute import slurm
from crosscal.compute.environment import available_cpus, worker_environment
from crosscal.compute.job import ChunkJob, Outcome
from crosscal.core.errors import ConfigError, MissingDependencyError, SweepError

# A task costs the scheduler about 2 ms, so several chunks share one.
_LARGEST_BATCH = 32
# How often the job is sent to workers of which one dies while it is.
_SENDINGS = 5
_SETTINGS = {
    # Each worker's sampling profiler costs time, for a page of the dashboard that nobody opens here.
    "distributed.worker.profile.enabled": False,
    # Dask fixes a threshold that makes glibc map and clear new pages for each array above 128 kB: a fifth more time.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    # After so long a worker that does not come back is replaced by a new one.
    "distributed.deploy.lost-worker-timeout": "10s",
}


def batches(chunks: Sequence[int], workers: int) -> list[list[int]]:
    """Cut chunks into batches that get smaller towards the end, so that workers finish together.

    Each is a quarter of a worker's share of what remains (guided self-scheduling, Polychronopoulos & Kuck 1987).
    """
    result, start = [], 0
    while start < len(chunks):
        size = min(max((len(chunks) - start) // (4 * workers), 1), _LARGEST_BATCH)
        result.append(list(chunks[start : start + size]))
        start += size
    return result


class DaskExecutor:
    """Chunks on a Dask cluster: a running scheduler, processes on this machine, or Slurm jobs.

    Parameters
    ----------
    address : str, optional
        A running scheduler ("tcp://host:8786"). Its workers must see the store's path and have CrossCal
        installed.
    workers : int, optional
        Worker processes to start on this machine where nothing else is given; as many as processors by default.
    slurm : mapping, optional
        Options of ``dask_jobqueue.SLURMCluster`` (``queue``, ``account``, ``cores``, ``memory``, ``walltime``, ...)
        for one Slurm job; ``jobs`` is the number of jobs. Jobs that end (at their time limit) are replaced.
    client : distributed.Client, optional
        A connected client to use (it is not closed).
    batch : int, optional
        Chunks a Dask task; by default many at first and few towards the end.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        slurm: Mapping[str, Any] | None = None,
        client: Any = None,
        batch: int | None = None,
    ) -> None:
        where = "executor 'dask'"
        for name, value in (("workers", workers), ("batch", batch)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name} = {value!r}", where=where, expected="an integer >= 1")
        given = [n for n, v in (("address", address), ("slurm", slurm), ("client", client)) if v is not None]
        if len(given) > 1:
            raise ConfigError(f"both {' and '.join(given)}", where=where, expected="only one of them")
        if workers is not None and given:
            raise ConfigError(f"workers beside {given[0]}", where=where, expected="workers for a local cluster only")
        self.address, self.workers, self.slurm, self.client, self.batch = address, workers, slurm, client, batch

    def run(self, job: ChunkJob, chunks: Sequence[int]) -> Iterator[Outcome]:
        """Do all chunks; closing the iterator cancels what is left."""
        if not chunks:
            return
        distributed = _distributed()
        with self._connected(distributed) as connection:
            name = f"crosscal-{uuid.uuid4().hex}"
            _send_job(connection.client, job, name)
            try:
                yield from self._collect(connection, name, chunks)
            finally:
                with suppress(OSError):  # the scheduler is gone, and the plugin with it
                    connection.client.unregister_worker_plugin(name)

    def _collect(self, connection: _Connection, plugin: str, chunks: Sequence[int]) -> Iterator[Outcome]:
        from distributed import KilledWorker, as_completed

        from crosscal.compute.dask_worker import run_batch

        client, reasons = connection.client, []
        cut = batches(chunks, connection.workers) if self.batch is None else _equal(chunks, self.batch)
        futures = [client.submit(run_batch, plugin, batch, pure=False) for batch in cut]

        def give_up(reason: str) -> None:
            reasons.append(reason)
            client.cancel(futures)

        with ExitStack() as stack:
            stack.callback(client.cancel, futures)
            if connection.slurm_cluster is not None:
                stack.enter_context(slurm.Watch(connection.slurm_cluster, give_up))
            for future in as_completed(futures, loop=client.loop):
                try:
                    outcomes = future.result()
                except KilledWorker as error:
                    raise SweepError(f"the task kept killing its Dask workers ({error}).") from error
                except CancelledError as error:
                    reason = reasons[0] if reasons else "the Dask scheduler was lost or the work was cancelled there"
                    raise SweepError(f"{reason}; the same job resumes.") from error
                future.release()
                yield from outcomes

    @contextmanager
    def _connected(self, distributed: Any) -> Iterator[_Connection]:
        with ExitStack() as stack:
            cluster = None
            if self.client is not None:
                client = self.client
            elif self.address is not None:
                try:
                    client = stack.enter_context(distributed.Client(self.address, set_as_default=False))
                except (OSError, ValueError) as error:
                    raise ConfigError(
                        f"no Dask scheduler answers ({error})",
                        where=f"address {self.address!r}",
                        expected="the address of a running scheduler",
                    ) from error
            else:
                import dask

                stack.enter_context(dask.config.set(_SETTINGS))
                stack.enter_context(_main_left_alone())
                cluster = stack.enter_context(self._own_cluster(distributed))
                client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
            if self.slurm is None:
                yield _Connection(client, max(1, sum(client.nthreads().values())))
            else:
                workers = int(self.slurm.get("jobs", 1)) * slurm.processes(self.slurm)
                yield _Connection(client, workers, cluster)

    def _own_cluster(self, distributed: Any) -> Any:
        if self.slurm is not None:
            return slurm.start(self.slurm)
        workers = self.workers or available_cpus()
        try:
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=":0",
                env=worker_environment(),
            )
        except RuntimeError as error:
            raise SweepError(f"the Dask workers could not be started ({error}); the same job resumes.") from error
        # A nanny gives up where the process that it restarts is killed too; the cluster must not end up empty.
        cluster.adapt(minimum=workers, maximum=workers)
        return cluster


def _send_job(client: Any, job: ChunkJob, name: str) -> None:
    """Bring the job to all workers; one that dies meanwhile breaks the broadcast, and its successor is sent the job."""
    from crosscal.compute.dask_worker import JobPlugin

    for left in reversed(range(_SENDINGS)):
        try:
            client.register_plugin(JobPlugin(job.pickled()), name=name)
            return
        except OSError as error:
            if not left:
                raise SweepError(f"the Dask workers could not be reached ({error}); the same job resumes.") from error


def _equal(chunks: Sequence[int], size: int) -> list[list[int]]:
    return [list(chunks[k : k + size]) for k in range(0, len(chunks), size)]


@dataclass(frozen=True)
class _Connection:
    """A client, how many workers to expect, and the cluster to watch if it is of Slurm jobs."""

    client: Any
    workers: int
    slurm_cluster: Any = None


@contextmanager
def _main_left_alone() -> Iterator[None]:
    """Keep Python from running the main script again in each worker process that Dask spawns.

    A script without ``if __name__ == "__main__"`` would otherwise start its sweep in every worker. Tasks never live
    in the main script, so workers do not miss it. The whole run is covered because dead workers are replaced.
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


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise MissingDependencyError("distributed", extra="cluster", purpose="Dask clusters") from None
    return distributed
