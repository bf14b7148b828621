"""Worker processes on this machine that may die without loss."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext
from typing import Any, Literal

from crosscal.compute import worker
from crosscal.compute.environment import available_cpus, ctrl_c_held, main_left_alone, worker_environment
from crosscal.compute.job import ChunkJob, Outcome
from crosscal.core.errors import ConfigError, SweepError


class Local:
    """Worker processes on this machine; what they were at when one is killed is handed out again.

    Parameters
    ----------
    workers : int, optional
        Number of processes; as many as processors if not given.
    attempts : int
        After so many deaths of workers over one chunk the sweep ends with an error.
    """

    def __init__(self, workers: int | None = None, attempts: int = 3) -> None:
        for name, value in (("workers", workers), ("attempts", attempts)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name} = {value!r}", where="executor 'local'", expected="an integer >= 1")
        self.workers = workers
        self.attempts = attempts

    def run(self, job: ChunkJob, chunks: Sequence[int]) -> Iterator[Outcome]:
        """Do all chunks; closing the iterator kills the workers (the store does not mind)."""
        left = dict.fromkeys(chunks)
        payload = job.pickled() if left else b""
        deaths: Counter[int | None] = Counter()  # None: in a row, before a chunk was taken or ended from outside
        while left:
            pool = _Pool(payload, min(self.workers or available_cpus(), len(left)))
            try:
                for outcome in pool.outcomes(list(left)):
                    del left[outcome.chunk]
                    deaths.pop(None, None)
                    yield outcome
            except BrokenProcessPool:
                chunk, code = pool.first_death()
                deaths[chunk] += 1
                if deaths[chunk] >= self.attempts:
                    raise _gave_up(chunk, code, self.attempts) from None


def _gave_up(chunk: int | None, code: int, times: int) -> SweepError:
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    if code == -signal.SIGKILL:
        how += " (often because it ran out of memory)"
    if chunk is not None:
        return SweepError(f"chunk {chunk}: the task killed its worker {times} times, {how}.")
    why = "" if code < 0 else "; its standard error says why"
    return SweepError(f"{times} times in a row a worker process died before any finished a chunk, {how}{why}.")


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except (OSError, NotImplementedError) as error:  # no more processes, files or memory; no semaphores here
        raise SweepError(f"worker processes cannot be started ({error}).") from error


class _Context(SpawnContext):
    """Starts processes that share nothing with this one, numbers them, and remembers them."""

    def __init__(self) -> None:
        self.started: list[Any] = []

    def Process(self, *args: Any, **keywords: Any) -> Any:  # type: ignore[override]
        process = super().Process(*args, **keywords)
        process.name = str(len(self.started))
        self.started.append(process)
        return process


class _Pool:
    """A standard pool, which is lost when one of its processes dies; which chunk that was at is known here."""

    def __init__(self, payload: bytes, n: int) -> None:
        context = _Context()
        self._processes = context.started
        with _reported():
            # Both live in memory that the processes share: nothing is left behind by whatever is killed.
            shared, self._at = context.RawArray("B", len(payload)), context.RawArray("q", [-1] * n)
            memoryview(shared).cast("B")[:] = payload
            self._pool = ProcessPoolExecutor(n, context, worker.prepare, (shared, self._at, worker_environment()))

    def outcomes(self, chunks: Sequence[int]) -> Iterator[Outcome]:
        """Yield what is finished.

        Raises
        ------
        BrokenProcessPool
            If a worker died.
        """
        try:
            with main_left_alone(), ctrl_c_held(), _reported():  # as long as processes are started
                futures = self._submitted(chunks)
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            # The pool ends the processes that it knew when one died, and waits for one that was just being started.
            self._end("terminate")
            raise
        except BaseException:
            self._end("kill")
            raise
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _submitted(self, chunks: Sequence[int]) -> list[Any]:
        try:
            return [self._pool.submit(worker.work, chunk) for chunk in chunks]
        except (OSError, ValueError) as error:
            # When a process has died the pool closes its pipes, which one that is just being started needs. By then
            # their numbers may be those of other files, given twice, which is a ValueError.
            if any(process.pid and process.exitcode is not None for process in self._processes):
                raise BrokenProcessPool("a process died while another was started") from error
            raise

    def _end(self, how: Literal["terminate", "kill"]) -> None:
        for process in self._processes:
            if process.pid:
                getattr(process, how)()

    def first_death(self) -> tuple[int | None, int]:
        """Return the chunk (None if unknown) and the exit code of the process whose death ended the pool."""
        for process, chunk in zip(self._processes, self._at, strict=False):  # not all need have been started
            if process.exitcode not in (None, -signal.SIGTERM):  # with which the pool ends the others
                return (chunk if chunk >= 0 else None), process.exitcode
        return None, -signal.SIGTERM
