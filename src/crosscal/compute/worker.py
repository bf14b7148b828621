"""A worker process of the executor "local": ``python -m crosscal.compute.worker``.

It reads a pickled job, then chunk numbers, on standard input, and answers each on standard output; both are pipes
to the process that started it. At the end of its input (its parent closed it, or died) it exits.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
from typing import Any, BinaryIO

from crosscal.core.errors import CrossCalError, SweepError

_LENGTH = struct.Struct("<Q")


def send(stream: BinaryIO, message: bytes) -> None:
    """Write one message."""
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def receive(stream: BinaryIO) -> bytes:
    """Read one message.

    Raises
    ------
    EOFError
        If the other side is gone.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return _exactly(stream, length)


def _exactly(stream: BinaryIO, n: int) -> bytes:
    content = stream.read(n)
    if len(content) < n:
        raise EOFError
    return content


def _answer(job: Any, chunk: int) -> Any:
    try:
        return job(chunk)
    except CrossCalError as error:
        return error


class _Unusable:
    """Stands for a job that could not be unpacked: the reason is the answer to everything."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __call__(self, chunk: int) -> Any:
        return SweepError(self._reason)


def main() -> int:
    """Serve until the input ends."""
    # The pipes get numbers of their own: a task may print, and must not read.
    inward = os.fdopen(os.dup(0), "rb")
    outward = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    try:
        payload = receive(inward)
        try:
            job = pickle.loads(payload)
        except (AttributeError, ImportError, pickle.UnpicklingError) as error:
            job = _Unusable(f"the task cannot be imported in a worker process ({error}).")
        while True:
            chunk = int(receive(inward))
            send(outward, pickle.dumps(_answer(job, chunk)))
    except (EOFError, BrokenPipeError):
        return 0


if __name__ == "__main__":
    sys.exit(main())
