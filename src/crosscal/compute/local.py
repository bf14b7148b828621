"""Worker processes on this machine that may die without loss."""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

from crosscal.compute.environment import available_cpus, worker_environment
from crosscal.compute.job import ChunkJob, Outcome
from crosscal.compute.worker import receive, send
from crosscal.core.errors import ConfigError, SweepError


class Local:
    """Worker processes on this machine; a chunk whose worker is killed is given to another one.

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
        if chunks:
            pool = _Pool(job.pickled(), chunks, self.attempts)
            yield from pool.outcomes(min(self.workers or available_cpus(), len(chunks)))


class _Worker:
    """One process and the pipes to it."""

    def __init__(self, payload: bytes) -> None:
        # Its own process group: Ctrl-C reaches only the parent, which then decides.
        group: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "crosscal.compute.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **worker_environment()},
            **group,
        )
        self._payload: bytes | None = payload

    def ask(self, chunk: int) -> Outcome | Exception:
        """Have a chunk done; EOFError or OSError if the process dies meanwhile."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self._payload is not None:
            send(self.process.stdin, self._payload)  # type: ignore[arg-type]
            self._payload = None
        send(self.process.stdin, str(chunk).encode())  # type: ignore[arg-type]
        return pickle.loads(receive(self.process.stdout))  # type: ignore[arg-type]

    def end(self) -> int:
        """Kill the process if it lives, reap it, and return its exit code."""
        self.process.kill()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # bytes that a dead process will never read
        return code


class _Pool:
    """Threads that each attend one worker process, around a common list of chunks."""

    def __init__(self, payload: bytes, chunks: Sequence[int], attempts: int) -> None:
        self._payload = payload
        self._todo = deque(chunks)
        self._total = len(chunks)
        self._attempts = attempts
        self._deaths: Counter[int] = Counter()
        self._results: queue.SimpleQueue[Outcome | Exception] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._stopped = False

    def outcomes(self, n: int) -> Iterator[Outcome]:
        threads = [threading.Thread(target=self._attend, daemon=True) for _ in range(n)]
        try:
            for thread in threads:
                thread.start()
            for _ in range(self._total):
                result = self._next_result()
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            self._stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _next_result(self) -> Outcome | Exception:
        while True:
            try:
                # A wait without limit could not be interrupted on every system.
                return self._results.get(timeout=1.0)
            except queue.Empty:
                continue

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for worker in self._workers:
                worker.process.kill()

    def _hire(self) -> _Worker | None:
        with self._lock:
            if self._stopped:
                return None
            try:
                worker = _Worker(self._payload)
            except OSError as error:
                raise SweepError(f"worker processes cannot be started ({error}).") from error
            self._workers.add(worker)
            return worker

    def _dismiss(self, worker: _Worker) -> int:
        with self._lock:
            self._workers.discard(worker)
        return worker.end()

    def _attend(self) -> None:
        worker: _Worker | None = None
        try:
            while self._todo and not self._stopped:
                if worker is None and (worker := self._hire()) is None:
                    return
                try:
                    chunk = self._todo.popleft()
                except IndexError:  # another thread took the last one
                    return
                try:
                    self._results.put(worker.ask(chunk))
                except (EOFError, OSError):
                    code = self._dismiss(worker)
                    worker = None
                    self._died(chunk, code)
        except Exception as error:  # whatever it is belongs to the caller's thread, not to this one
            self._results.put(error)
        finally:
            if worker is not None:
                self._dismiss(worker)

    def _died(self, chunk: int, code: int) -> None:
        self._deaths[chunk] += 1
        if self._deaths[chunk] < self._attempts:
            # First in line: should this chunk be the killer, the run ends soon and not last of all.
            self._todo.appendleft(chunk)
            return
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        hint = " (signal 9 often means that memory ran out)" if code == -9 else ""
        self._results.put(
            SweepError(f"chunk {chunk}: the task killed its worker {self._deaths[chunk]} times, {how}{hint}.")
        )
