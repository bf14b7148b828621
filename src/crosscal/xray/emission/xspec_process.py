"""The XSPEC library in a process of its own, which may die without taking this one with it.

Messages in both directions: length and text of a JSON header, length and bytes of an array of float64.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np

import crosscal
from crosscal.core.errors import InputError, MissingDependencyError
from crosscal.core.reading import read_text
from crosscal.xray.emission.component import Array
from crosscal.xray.emission.xspec_library import read_definitions

_LENGTH = struct.Struct("<q")
_PROGRAM = "from crosscal.xray.emission.xspec_worker import main; main()"


class WorkerDied(Exception):
    """The process ended while it ran a model; the text says how."""


def send(stream: IO[bytes], header: Mapping[str, Any], array: Array | None = None) -> None:
    """Write a message."""
    text = json.dumps(header).encode()
    body = b"" if array is None else np.ascontiguousarray(array, dtype="<f8").tobytes()
    stream.write(_LENGTH.pack(len(text)) + text + _LENGTH.pack(len(body)) + body)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], Array] | None:
    """Read a message; None at the end of the stream."""
    parts = []
    for _ in range(2):
        head = stream.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack(head)
        part = stream.read(length)
        if len(part) < length:
            return None
        parts.append(part)
    return json.loads(parts[0]), np.frombuffer(parts[1], dtype="<f8")


@cache
def library() -> RemoteLibrary:
    """Return the XSPEC library of this process.

    Raises
    ------
    MissingDependencyError
        If it is not installed or cannot be loaded.
    """
    return RemoteLibrary()


class RemoteLibrary:
    """XSPEC's functions, run in a worker process that is started at the first use and again after it died."""

    def __init__(self) -> None:
        if find_spec("xspectrampoline") is None:
            raise _missing()
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._owner = 0

    @cached_property
    def definitions(self) -> dict[str, dict[str, Any]]:
        """The models with their functions, types and parameters."""
        answer, _ = self._ask({"ask": "definitions"})
        return read_definitions(read_text(Path(answer["path"])))

    def call(
        self, function: str, edges: Array, parameters: Array, flux: Array, abundances: str, strings: Mapping[str, str]
    ) -> Array:
        """Run a model function for rows of parameters (m, p) and inputs (m, n); return (m, n).

        Raises
        ------
        WorkerDied
            If the function ended its process.
        InputError
            If the function is not in the library.
        """
        header = {
            "ask": "call", "function": function, "shape": [*parameters.shape, edges.size], "abundances": abundances,
            "strings": dict(strings),
        }  # fmt: skip
        _, out = self._ask(header, np.concatenate([edges, parameters.ravel(), flux.ravel()]))
        return out.reshape(len(parameters), edges.size - 1).copy()

    def _ask(self, header: Mapping[str, Any], array: Array | None = None) -> tuple[dict[str, Any], Array]:
        with self._lock:
            worker = self._running()
            assert worker.stdin is not None
            assert worker.stdout is not None
            try:
                send(worker.stdin, header, array)
                found = receive(worker.stdout)
            except OSError:
                found = None
            if found is None:
                self._worker = None
                raise WorkerDied(_ending(worker))
        answer, out = found
        if "missing" in answer:
            raise _missing()
        if "error" in answer:
            raise InputError(answer["error"], where="XSPEC library")
        return answer, out

    def _running(self) -> subprocess.Popen[bytes]:
        # A forked process must not talk through the pipes of its parent.
        if self._worker is None or self._owner != os.getpid() or self._worker.poll() is not None:
            root = str(Path(crosscal.__file__).parent.parent)
            path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
            self._worker = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
            self._owner = os.getpid()
            atexit.register(_end, self._worker)
        return self._worker


def _missing() -> MissingDependencyError:
    return MissingDependencyError("xspectrampoline", extra="xspec", purpose="XSPEC models other than CrossCal's own")


def _end(worker: subprocess.Popen[bytes]) -> None:
    for stream in (worker.stdin, worker.stdout):
        if stream is not None:
            stream.close()
    worker.kill()
    worker.wait()


def _ending(worker: subprocess.Popen[bytes]) -> str:
    """Say how a worker ended."""
    code = worker.wait()
    _end(worker)
    if code < 0:
        return signal.strsignal(-code) or f"signal {-code}"
    return f"exit code {code}"
