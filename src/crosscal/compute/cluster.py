"""Chunks on a Dask cluster: a scheduler elsewhere, worker processes here, or Slurm jobs."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from crosscal.compute.environment import available_cpus, worker_environment
from crosscal.compute.job import ChunkJob, Outcome
from crosscal.core.errors import ConfigError, MissingDependencyError, SweepError

# A task costs the scheduler about 2 ms; several chunks share it, but few enough to spread over the workers.
_BATCHES_PER_WORKER = 8
_LARGEST_BATCH = 32


class DaskExecutor:
    """Chunks on a Dask cluster: a running scheduler, processes on this machine, or Slurm jobs.

    Parameters
    ----------
    address : str, optional
        A running scheduler ("tcp://host:8786"). Its workers must see the store's path and have CrossCal
        installed.
    workers : int, optional
        Worker processes to start on this machine (or in Slurm jobs) where no address is given.
    slurm : mapping, optional
        Options of ``dask_jobqueue.SLURMCluster`` (``queue``, ``account``, ``cores``, ``memory``, ``walltime``, ...)
        for one Slurm job; ``jobs`` is the number of jobs.
    client : distributed.Client, optional
        A connected client to use (it is not closed).
    batch : int, optional
        Chunks a Dask task; by default a few tasks a worker.
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
        with self._connected() as (client, workers):
            from crosscal.compute.dask_worker import JobPlugin

            name = f"crosscal-{uuid.uuid4().hex}"
            client.register_plugin(JobPlugin(job.pickled()), name=name)
            try:
                yield from self._collect(client, name, chunks, workers)
            finally:
                client.unregister_worker_plugin(name)

    def _collect(self, client: Any, plugin: str, chunks: Sequence[int], workers: int) -> Iterator[Outcome]:
        from distributed import KilledWorker, as_completed

        from crosscal.compute.dask_worker import run_batch

        size = self.batch or max(1, min(_LARGEST_BATCH, len(chunks) // (_BATCHES_PER_WORKER * workers)))
        batches = [list(chunks[k : k + size]) for k in range(0, len(chunks), size)]
        futures = [client.submit(run_batch, plugin, batch, pure=False) for batch in batches]
        try:
            for future in as_completed(futures, loop=client.loop):
                try:
                    outcomes = future.result()
                except KilledWorker as error:
                    raise SweepError(f"the task kept killing its Dask workers ({error}).") from error
                future.release()
                yield from outcomes
        finally:
            client.cancel(futures)

    @contextmanager
    def _connected(self) -> Iterator[tuple[Any, int]]:
        """Give a client and the number of workers to expect."""
        distributed = _distributed()
        with ExitStack() as stack:
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
                cluster = stack.enter_context(self._own_cluster(distributed))
                client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
            yield client, self._expected(client)

    def _expected(self, client: Any) -> int:
        if self.slurm is not None:
            return int(self.slurm.get("jobs", 1)) * _processes(self.slurm)
        return max(1, sum(client.nthreads().values()))

    def _own_cluster(self, distributed: Any) -> Any:
        if self.slurm is None:
            return distributed.LocalCluster(
                n_workers=self.workers or available_cpus(),
                threads_per_worker=1,
                dashboard_address=":0",
                env=worker_environment(),
            )
        try:
            from dask_jobqueue import SLURMCluster
        except ImportError:
            raise MissingDependencyError("dask-jobqueue", extra="cluster", purpose="Slurm jobs") from None
        options = dict(self.slurm)
        jobs = int(options.pop("jobs", 1))
        options["processes"] = _processes(self.slurm)
        exports = [f"export {name}={shlex.quote(value)}" for name, value in worker_environment().items()]
        options["job_script_prologue"] = [*exports, *options.get("job_script_prologue", [])]
        try:
            cluster = SLURMCluster(**options)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"dask-jobqueue refuses these options ({error})",
                where="executor 'dask', table slurm",
                expected="options of SLURMCluster, such as cores = 8 and memory = '16GB'",
            ) from error
        cluster.scale(jobs=jobs)
        return cluster


def _processes(slurm: Mapping[str, Any]) -> int:
    # One thread a process, as everywhere: as many processes as cores unless said otherwise.
    return int(slurm.get("processes", slurm.get("cores", 1)))


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise MissingDependencyError("distributed", extra="cluster", purpose="Dask clusters") from None
    return distributed
