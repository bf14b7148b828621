"""One chunk's work: compute it and write it. This is what executors send to workers."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from crosscal.compute.store import Store
from crosscal.core.errors import CrossCalError, InputError, SweepError

Task = Callable[[int], Mapping[str, ArrayLike]]


@dataclass(frozen=True)
class Outcome:
    """What a worker reports of a finished chunk; the results themselves are in the store."""

    chunk: int
    counts: dict[int, int] = field(default_factory=dict)


@dataclass
class ChunkJob:
    """Compute a chunk and write it to the store, in whatever process this is called.

    Parameters
    ----------
    task : callable
        ``task(chunk) -> {name: array}``; importable by name and picklable.
    path : Path
        The store.
    status : str or None
        An integer variable whose values are counted.
    """

    task: Task
    path: Path
    status: str | None = None
    _store: Store | None = field(default=None, repr=False)

    def __call__(self, chunk: int) -> Outcome:
        """Do one chunk.

        Raises
        ------
        SweepError
            If the task raised something that is not an error of this project.
        """
        if self._store is None:
            self._store = Store.open(self.path, writable=True)
        if self._store.is_done(chunk):  # by a worker that died before it could say so
            return Outcome(chunk, self._counted(self._store.read_chunk(chunk, self._counted_names())))
        try:
            values = self.task(chunk)
        except CrossCalError:
            raise
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}".rstrip(" :.")
            failure = SweepError(f"chunk {chunk}: the task raised {reason}.")
            failure.add_note(traceback.format_exc())  # the cause itself does not travel between processes
            raise failure from error
        self._store.write_chunk(chunk, values)
        return Outcome(chunk, self._counted(values))

    def _counted_names(self) -> list[str]:
        return [self.status] if self.status else []

    def _counted(self, values: Mapping[str, ArrayLike]) -> dict[int, int]:
        return count_values(values[self.status]) if self.status else {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None}

    def pickled(self) -> bytes:
        """Return the bytes that recreate this job in another process.

        Raises
        ------
        InputError
            If the task is a lambda, a nested function, or holds something that cannot travel.
        """
        module = getattr(self.task, "__module__", None) or type(self.task).__module__
        if module == "__main__":
            raise InputError(
                "the task is defined in the main script or notebook",
                where="sweep",
                expected="a function or class in an importable module (or executor='serial')",
            )
        try:
            return pickle.dumps(self, protocol=pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InputError(
                f"the task cannot be sent to another process ({error})",
                where="sweep",
                expected="a module-level function or an object of plain data",
            ) from error


def count_values(values: ArrayLike) -> dict[int, int]:
    """Return how often each integer occurs."""
    found, number = np.unique(np.asarray(values), return_counts=True)
    return {int(k): int(n) for k, n in zip(found, number, strict=True)}


class Executor(Protocol):
    """Runs a job over chunks, somewhere; yields outcomes as they come, in any order."""

    def run(self, job: ChunkJob, chunks: Sequence[int]) -> Iterator[Outcome]:
        """Do all ``chunks``. Closing the iterator early stops the workers."""
        ...
