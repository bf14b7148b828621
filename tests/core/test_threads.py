"""Products of matrices on one thread, and the threads that come back afterwards."""

from __future__ import annotations

import threading

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from crosscal.core.threads import on_one_thread, one_thread


def threads() -> set[int]:
    """Numbers of threads of the BLAS libraries."""
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture
def two():
    """BLAS with two threads, where it can have them."""
    with threadpool_limits(2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("BLAS has one thread on this machine")
        yield


def test_a_function_is_limited_and_gives_the_threads_back(two):
    @one_thread
    def inside(again: int) -> list[set[int]]:
        return [threads(), *(inside(again - 1) if again else [])]

    assert inside(2) == [{1}] * 3
    assert threads() == {2}

    @one_thread
    def fails() -> None:
        raise ValueError("an error")

    with pytest.raises(ValueError, match="an error"):
        fails()
    assert threads() == {2}


def test_callers_in_several_threads_take_turns():
    entered, seen = threading.Event(), []

    def other() -> None:
        with on_one_thread():
            entered.set()
            seen.append(threads())

    worker = threading.Thread(target=other)
    with on_one_thread():
        worker.start()
        assert not entered.wait(0.05)
        assert threads() == {1}
    worker.join(10)
    assert seen == [{1}]
