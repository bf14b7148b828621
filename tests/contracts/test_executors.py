"""Every executor: each chunk once, the serial bits, the task's error by name, and a store that resumes."""

import importlib.util
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest

from crosscal.compute import EXECUTORS, make_executor, sweep
from crosscal.compute.job import ChunkJob
from crosscal.core.errors import InputError, SweepError, UnknownNameError

# Worker processes import the tasks by this name; they inherit the module search path.
_CASES = str(Path(__file__).parents[1] / "compute")
if _CASES not in sys.path:
    sys.path.insert(0, _CASES)

import sweep_cases  # noqa: E402

#: Options with which each executor works on two processors; Dask is given a cluster that its tests share.
OPTIONS = {"serial": {}, "local": {"workers": 2}, "dask": {}}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two Dask workers, where Dask is installed."""
    if importlib.util.find_spec("distributed") is None:
        yield
        return
    import distributed

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as made,
        distributed.Client(made, set_as_default=False) as client,
    ):
        OPTIONS["dask"] = {"client": client}
        yield


@pytest.fixture(params=list(EXECUTORS))
def name(request):
    if request.param == "dask":
        pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    return request.param


@pytest.fixture
def store(tmp_path):
    return sweep_cases.new_store(tmp_path / "case.zarr", n=17, chunk=4)


def test_every_executor_is_tested():
    assert set(EXECUTORS) == set(OPTIONS)


def test_each_chunk_is_done_once_and_counted(name, store, tmp_path):
    task = sweep_cases.Noise(store.layout)
    runner = make_executor(name, **OPTIONS[name])
    outcomes = list(runner.run(ChunkJob(task, store.path, "status"), range(len(store.layout))))
    assert sorted(outcome.chunk for outcome in outcomes) == list(range(len(store.layout)))
    assert sum(sum(outcome.counts.values()) for outcome in outcomes) == 17
    serial = sweep_cases.new_store(tmp_path / "serial.zarr", n=17, chunk=4)
    sweep(task, serial, "serial")
    assert sweep_cases.same(store, serial)


def test_nothing_to_do_starts_nothing(name, store):
    job = ChunkJob(sweep_cases.Noise(store.layout), store.path)
    assert list(make_executor(name, **OPTIONS[name]).run(job, [])) == []


@pytest.mark.parametrize("error", [InputError("bad", where="point 9"), ZeroDivisionError("by nothing")])
def test_an_error_of_the_task_arrives_and_the_rest_resumes(name, store, error):
    task = sweep_cases.Noise(store.layout)
    failing = sweep_cases.Failing(task, 2, error)
    expected = (InputError, "point 9: bad") if isinstance(error, InputError) else (SweepError, "chunk 2.*by nothing")
    with pytest.raises(expected[0], match=expected[1]):
        sweep(failing, store, name, **OPTIONS[name])
    assert 2 in store.pending()
    sweep(task, store, name, **OPTIONS[name])
    assert store.complete


def test_closing_early_leaves_whole_chunks(name, store):
    task = sweep_cases.Noise(store.layout)
    outcomes = make_executor(name, **OPTIONS[name]).run(ChunkJob(task, store.path), range(len(store.layout)))
    first = next(iter(outcomes)).chunk
    outcomes.close()
    for chunk in np.flatnonzero(store.done()):
        expected = task(int(chunk))
        for variable, values in store.read_chunk(int(chunk)).items():
            np.testing.assert_array_equal(values, expected[variable])
    assert store.is_done(first)


def test_unknown_options_are_answered_with_the_known_ones(name):
    known = list(inspect.signature(EXECUTORS.get(name)).parameters)
    with pytest.raises(UnknownNameError, match=f"executor '{name}'.*unknown option 'workrs'") as refused:
        make_executor(name, workrs=2)
    assert all(option in refused.value.known for option in known)
