"""Frames on an executor: the results of a run in turn, resumable, with frames that cannot be read told."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from crosscal.compute import Store
from crosscal.fluxcal import FluxcalJob
from crosscal.fluxcal.job import _in_turn, _numbered, _spread, make_calibrator
from crosscal.fluxcal.night.spread import FOLDER, STORE, FrameTask, spread_frames
from crosscal.jobs.options import validate
from crosscal.jobs.run import run
from crosscal.jobs.stages import Stages


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        if isinstance(a, str):
            assert a == b
            continue
        np.testing.assert_array_equal(a.curve.value, b.curve.value)
        np.testing.assert_array_equal(a.curve.modes, b.curve.modes)
        assert [s.status for s in a.stars] == [s.status for s in b.stars]


@pytest.mark.thorough
def test_spread_frames_are_those_in_turn_and_resume(content, tmp_path, monkeypatch):
    job = validate(FluxcalJob, content)
    (tmp_path / "turn").mkdir()
    in_turn = _in_turn(make_calibrator(job), job, Stages(tmp_path / "turn"))
    assert "WAVELA" in in_turn[1]
    task = FrameTask(job, tmp_path / "spread" / FOLDER, make_calibrator, _numbered)
    assert pickle.loads(pickle.dumps(task)).file(3) == task.file(3)
    task.folder.parent.mkdir()
    names = ["a.fits", "broken.fits", "b.fits"]

    def stopped(calibrator, job, number):
        if number == 2:
            raise KeyboardInterrupt
        return _numbered(calibrator, job, number)

    stages = Stages(tmp_path / "spread")
    with pytest.raises(KeyboardInterrupt):
        spread_frames(replace(task, one=stopped), names, {"k": 1}, stages, "serial", {})
    assert Store.open(tmp_path / "spread" / STORE).is_done(0)
    done = []

    def counted(calibrator, job, number):
        done.append(number)
        return _numbered(calibrator, job, number)

    same(spread_frames(replace(task, one=counted), names, {"k": 1}, stages, "serial", {}), in_turn)
    assert done == [2]
    same(spread_frames(task, names, {"k": 1}, Stages(tmp_path / "spread"), "serial", {}), in_turn)


def test_workers_mean_local_processes(content):
    job = validate(FluxcalJob, {**content, "compute": {"workers": 2}})
    assert job.compute.executor == "local"
    assert job.compute.rest == {"workers": 2}
    assert validate(FluxcalJob, content).compute.executor == "serial"


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one(content, tmp_path):
    # Workers have one thread of linear algebra each; this process may have several, which round differently.
    alone = run({**content, "compute": {"executor": "local", "workers": 1}}).result
    both = run({**content, "compute": {"executor": "local", "workers": 2}}, output=tmp_path / "two").result
    same(alone.results, both.results)
    assert both.unread == alone.unread


def test_a_job_spreads_its_frames(content, tmp_path, monkeypatch):
    job = validate(FluxcalJob, {**content, "compute": {"workers": 1}})
    monkeypatch.setattr("crosscal.fluxcal.job.spread_frames", lambda task, names, *rest: [task, names, *rest])
    task, names, key, _, executor, options = _spread(job, Stages(tmp_path))
    assert names == ["a.fits", "broken.fits", "b.fits"]
    assert len(key["frames"]) == 3
    assert (executor, options) == ("local", {"workers": 1})
    assert task.folder == tmp_path / FOLDER
