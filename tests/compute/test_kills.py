"""``kill -9`` at random moments: the resumed result equals an undisturbed one bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sweep_cases
from sweep_cases import Noise, same

from crosscal.compute import Store, sweep


def killed_run(path, executor, points, moment, at_work):
    """Start a run, and kill it ``moment`` seconds after it began (or its first chunk); return whether it still ran."""
    command = [sys.executable, sweep_cases.__file__, str(path), executor, str(points), "5", "0.02"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    process.stdout.readline()
    store = Store.open(path)
    before = store.done().sum()
    while at_work and process.poll() is None and store.done().sum() == before:
        time.sleep(0.05)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return process.returncode == -signal.SIGKILL


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("executor", "kills"),
    [
        ("local", 2),
        pytest.param("local", 20, marks=pytest.mark.slow),
        pytest.param("serial", 20, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, executor, kills, slow_scale):
    kills = min(kills, max(3, round(20 * slow_scale)))
    # Two workers take 10 ms a chunk of 5 and live 0.3 s on average: never enough to finish before the last kill.
    points = 5 * 60 * kills
    choice = random.Random(kills)
    path = tmp_path / "killed.zarr"
    for k in range(kills):
        assert killed_run(path, executor, points, choice.uniform(0, 0.6), at_work=k % 2 == 1)
    store = sweep_cases.new_store(path, points, 5)
    assert 0 < store.done().sum() < len(store.layout)
    assert store.verify() == []
    sweep(Noise(store.layout), store, "serial")
    whole = sweep_cases.new_store(tmp_path / "whole.zarr", points, 5)
    sweep(Noise(whole.layout), whole, "serial")
    assert same(store, whole)


def stressed(directory, kills):
    script = Path(__file__).with_name("kill_stress.py")
    run = subprocess.run([sys.executable, str(script), str(directory), str(kills)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its writers")
def test_no_write_is_lost(tmp_path):
    assert stressed(tmp_path, 10)["kills"] == 10


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its writers")
def test_no_write_is_lost_in_a_thousand_kills(tmp_path, slow_scale):
    """``CROSSCAL_KILLS`` sets another number."""
    kills = int(os.environ.get("CROSSCAL_KILLS", str(round(1000 * slow_scale))))
    report = stressed(tmp_path, kills)
    assert report["kills"] == kills
    assert report["stores_done"] > 0 or kills < 1000  # a few kills need not let a store finish
