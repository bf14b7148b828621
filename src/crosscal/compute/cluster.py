"""Chunks on a Dask cluster: a scheduler elsewhere, worker processes here, or Slurm jobs."""

from __future__ import annotations

import operator
import queue
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from crosscal.compute import slurm
from crosscal.compute.environment import available_cpus, ctrl_c_held, main_left_alone, worker_environment
from crosscal.compute.job import ChunkJob, Outcome
from crosscal.core.errors import ConfigError, CrossCalError, MissingDependencyError, SweepError

# A task costs the scheduler about 2 ms, so several chunks share one.
_LARGEST_BATCH = 32
# After so many seconds without a result, at most, it is looked whether there are workers.
_LOOK_EVERY = 5.0
_SETTINGS = {
    # Each worker's sampling profiler costs time, for a page of the dashboard that nobody opens here.
    "distributed.worker.profile.enabled": False,
    # Dask fixes a threshold that makes glibc map and clear new pages for each array above 128 kB: a fifth more time.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    # After so long a worker that does not come back is replaced by a new one.
    "distributed.deploy.lost-worker-timeout": "10s",
}
# The job is sent once, however large it is.
_ANY_SIZE = {"distributed.admin.large-graph-warning-threshold": "1TB"}


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
    patience : float
        After so many seconds without any worker (and without a Slurm job that waits or runs) the sweep ends with an
        error.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        slurm: Mapping[str, Any] | None = None,
        client: Any = None,
        batch: int | None = None,
        patience: float = 60.0,
    ) -> None:
        where = "executor 'dask'"
        for name, value in (("workers", workers), ("batch", batch)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name} = {value!r}", where=where, expected="an integer >= 1")
        if isinstance(patience, bool) or not isinstance(patience, (int, float)) or not patience > 0:
            raise ConfigError(f"patience = {patience!r}", where=where, expected="a positive number of seconds")
        given = [n for n, v in (("address", address), ("slurm", slurm), ("client", client)) if v is not None]
        if len(given) > 1:
            raise ConfigError(f"both {' and '.join(given)}", where=where, expected="only one of them")
        if workers is not None and given:
            raise ConfigError(f"workers and {given[0]}", where=where, expected="workers for a local cluster only")
        self.address, self.workers, self.slurm, self.client, self.batch = address, workers, slurm, client, batch
        self.patience = patience

    def run(self, job: ChunkJob, chunks: Sequence[int]) -> Iterator[Outcome]:
        """Do all chunks; closing the iterator cancels what is left."""
        if not chunks:
            return
        distributed, payload = _distributed(), job.pickled()
        with self._connected(distributed) as connection:
            client = connection.client
            cut = batches(chunks, connection.workers()) if self.batch is None else _equal(chunks, self.batch)
            with _dask_settings(_ANY_SIZE):
                # The scheduler keeps it for workers that start later; workers hand it to each other.
                sent = client.submit(bytes, payload, pure=False)
                # By its name: where it cannot be imported that is an error, and not the end of a worker or scheduler.
                run = client.submit(resolve_name, "crosscal.compute.worker:run_batch", pure=False)
                futures = [client.submit(operator.call, run, sent, batch, pure=False) for batch in cut]
            try:
                for future in self._ended(futures, connection):
                    yield from _outcomes(future, distributed)
                    future.release()
            finally:
                client.cancel([sent, run, *futures])

    def _ended(self, futures: Sequence[Any], connection: Connection) -> Iterator[Any]:
        """Yield futures as they end.

        Raises
        ------
        SweepError
            If for a while there is no worker that could end one.
        """
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for future in futures:
            future.add_done_callback(ended.put)
        since, before = time.monotonic(), set[str]()
        every = min(_LOOK_EVERY, self.patience / 3)
        left = len(futures)
        while left:
            try:
                future = ended.get(timeout=every)
            except queue.Empty:
                now = connection.alive()
                # A worker that only comes and goes, because it has other versions or dies at its start, is none.
                if before & now:
                    since = time.monotonic()
                elif time.monotonic() - since > self.patience:
                    raise connection.deserted(self.patience) from None
                before = now
            else:
                since, left = time.monotonic(), left - 1
                yield future

    @contextmanager
    def _connected(self, distributed: Any) -> Iterator[Connection]:
        with ExitStack() as stack:
            if self.client is not None:
                yield Connection(self.client)
            elif self.address is not None:
                try:
                    client = stack.enter_context(distributed.Client(self.address, set_as_default=False))
                except (OSError, ValueError) as error:
                    raise ConfigError(
                        f"no Dask scheduler answers ({error})",
                        where=f"address {self.address!r}",
                        expected="the address of a running scheduler",
                    ) from error
                yield Connection(client)
            else:
                stack.enter_context(_dask_settings(_SETTINGS))
                stack.enter_context(main_left_alone())  # to the end, because dead workers are replaced
                cluster = stack.enter_context(self._own_cluster(distributed))
                client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
                yield Connection(client) if self.slurm is None else SlurmConnection(client, cluster, self.slurm)

    def _own_cluster(self, distributed: Any) -> Any:
        if self.slurm is not None:
            return slurm.start(self.slurm)
        workers = self.workers or available_cpus()
        try:
            with ctrl_c_held():
                cluster = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address=":0",
                    env=worker_environment(),
                )
        except RuntimeError as error:
            raise SweepError(
                f"the Dask workers could not be started ({error}); run the same job again to resume."
            ) from error
        # A nanny gives up where the process that it restarts is killed too; the cluster must not end up empty.
        cluster.adapt(minimum=workers, maximum=workers)
        return cluster


@dataclass(frozen=True)
class Connection:
    """A client, and who is there to work for it."""

    client: Any

    def workers(self) -> int:
        """Return how many workers to cut the work for."""
        return max(1, sum(self.client.nthreads().values()))

    def alive(self) -> set[str]:
        """Return the names of those who work, or will."""
        try:
            return set(self.client.nthreads())
        except OSError:  # the scheduler is gone, as the futures will say
            return set()

    def deserted(self, seconds: float) -> SweepError:
        """Return the error for a scheduler that has had no worker for that long."""
        address = self.client.scheduler.address
        return SweepError(
            f"no worker stayed at the Dask scheduler {address} for {seconds:g} s; their logs say why (they need the "
            "Python, Dask and CrossCal of this process); run the same job again to resume."
        )


@dataclass(frozen=True)
class SlurmConnection(Connection):
    """A client, and the Slurm jobs that are or become its workers."""

    cluster: Any
    options: Mapping[str, Any]

    def workers(self) -> int:
        return int(self.options.get("jobs", 1)) * slurm.processes(self.options)

    def alive(self) -> set[str]:
        return super().alive() or slurm.living_jobs(self._jobs())

    def deserted(self, seconds: float) -> SweepError:
        jobs = ", ".join(self._jobs()) or "none was submitted"
        return SweepError(
            f"all Slurm jobs ended without a working Dask worker ({jobs}); see their "
            "output files slurm-*.out, then run the same job again to resume."
        )

    def _jobs(self) -> list[str]:
        return [job.job_id for job in list(self.cluster.workers.values()) if getattr(job, "job_id", None)]


def _outcomes(future: Any, distributed: Any) -> list[Outcome]:
    try:
        outcomes: list[Outcome] = future.result()
    except distributed.KilledWorker as error:
        raise SweepError(f"the task kept killing its Dask workers ({error}).") from error
    except CancelledError as error:
        raise SweepError(
            "the Dask scheduler was lost or the work was cancelled there; run the same job again to resume."
        ) from error
    except CrossCalError:
        raise
    except Exception as error:  # the job catches what the task raises: this is from around it
        reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(" :.")
        raise SweepError(
            f"the Dask workers cannot run the task ({reason}); they need the same Python, Dask and CrossCal as this "
            "process."
        ) from error
    return outcomes


def _equal(chunks: Sequence[int], size: int) -> list[list[int]]:
    return [list(chunks[k : k + size]) for k in range(0, len(chunks), size)]


def _dask_settings(settings: Mapping[str, Any]) -> Any:
    import dask

    return dask.config.set(settings)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise MissingDependencyError("distributed", extra="cluster", purpose="Dask clusters") from None
    return distributed
