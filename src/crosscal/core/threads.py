"""Linear algebra on one thread: the same bits however many threads a machine gives to BLAS."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

F = TypeVar("F", bound=Callable[..., Any])

#: The limit belongs to the whole process, so that one of Python's threads at a time works under it.
_LOCK = threading.RLock()


@functools.cache
def _libraries() -> ThreadpoolController:
    """The libraries of NumPy and SciPy; to look for them takes milliseconds."""
    import_module("scipy.linalg")
    return ThreadpoolController()


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Let products of matrices run on one thread meanwhile.

    BLAS divides a product among its threads, and the order of a sum, so its last digits, follow the division. The
    libraries of NumPy and SciPy are limited (OpenBLAS, BLIS, MKL), and have their threads back afterwards.
    """
    with _LOCK, _libraries().limit(limits=1, user_api="blas"):
        yield


def one_thread(function: F) -> F:
    """Let a function run :func:`on_one_thread`; a decorator."""

    @functools.wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        with on_one_thread():
            return function(*args, **kwargs)

    return limited  # type: ignore[return-value]
