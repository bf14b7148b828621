"""``kill -9`` at 20 random moments of a library run: the resumed library equals an undisturbed one bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from crosscal.compute.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")]
SCRIPT = Path(__file__).with_name("kill_case.py")


@pytest.fixture(scope="module")
def build():
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import kill_case
    finally:
        sys.path.pop(0)
    return kill_case.build


@pytest.fixture(scope="module")
def undisturbed(build, tmp_path_factory):
    return build(tmp_path_factory.mktemp("kills") / "whole.zarr", "serial")


def kill_something(path, executor, choice):
    """Start or resume the run and kill its main process or one of its workers; return whether something was killed."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), executor], stdout=subprocess.PIPE, start_new_session=True
    )
    process.stdout.readline()
    time.sleep(choice.uniform(0.5, 6.0))
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    victim = choice.choice([process.pid, *(c.pid for c in children)])
    killed = process.poll() is None
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        killed = False
    if victim == process.pid or choice.random() < 0.5:
        # Then the whole session, as a batch system does at its time limit.
        time.sleep(choice.uniform(0.0, 0.3))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=300)
    process.stdout.close()
    return killed


@pytest.mark.parametrize("executor", ["local", "dask"])
def test_killed_library_resumes_to_the_same_bits(build, undisturbed, executor, tmp_path, slow_scale):
    if executor == "dask":
        pytest.importorskip("distributed")
    path, choice = tmp_path / f"{executor}.zarr", random.Random(20)
    wanted = max(3, round(20 * slow_scale))
    kills = rounds = 0
    while kills < wanted and rounds < 60:
        rounds += 1
        if path.exists() and Store.open(path).complete:
            # Finished too early: some chunks are computed again, in the middle of which it is killed again.
            Store.open(path, writable=True).forget(choice.sample(range(60), 40))
        kills += kill_something(path, executor, choice)
    assert kills == wanted
    assert Store.open(path).verify() == []
    library = build(path, "serial")
    for name in undisturbed.dataset.data_vars:
        assert np.array_equal(library.dataset[name], undisturbed.dataset[name], equal_nan=True), name
