"""The loop: same bits everywhere, resumes, counts, parts, interruption."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
import sweep_cases
from sweep_cases import Failing, Noise, same

from crosscal.compute import EXECUTORS, Store, array_part, make_executor, sweep
from crosscal.compute.serial import Serial
from crosscal.core.errors import ConfigError, InputError, SweepError, UnknownNameError

EXPECTED_COUNTS = {0: 32, 1: 5}  # of 37 points, those with point % 7 == 3 have status 1


class Listener:
    """Remembers what it was told."""

    def __init__(self):
        self.stages, self.said, self.steps = [], [], 0

    @contextmanager
    def stage(self, name, total=None):
        self.stages.append((name, total))

        def advance(n=1):
            self.steps += n

        yield advance

    def message(self, text):
        self.said.append(text)


def test_serial_sweep_fills_counts_and_tells(store):
    listener = Listener()
    report = sweep(Noise(store.layout), store, "serial", progress=listener, name="library", status="status")
    assert (report.chunks, report.computed, report.skipped) == (8, 8, 0)
    assert report.counts == EXPECTED_COUNTS
    assert (listener.stages, listener.steps, listener.said) == ([("library", 8)], 8, [])


def test_done_chunks_are_not_computed_again(store):
    store.write_chunk(2, Noise(store.layout)(2))
    calls = Counter()

    def task(chunk):
        calls[chunk] += 1
        return Noise(store.layout)(chunk)

    listener = Listener()
    report = sweep(task, store, "serial", progress=listener, status="status")
    assert sorted(calls) == [0, 1, 3, 4, 5, 6, 7]
    assert (report.computed, report.skipped, report.counts) == (7, 1, EXPECTED_COUNTS)
    assert listener.steps == 8
    assert listener.said == ["1 of 8 chunks already complete"]
    assert sweep(task, store, "serial").computed == 0


def test_a_chunk_that_someone_else_finished_meanwhile_is_counted_not_repeated(store):
    def task(chunk):
        if chunk == 0:
            Store.open(store.path, writable=True).write_chunk(1, Noise(store.layout)(1))
        assert chunk != 1
        return Noise(store.layout)(chunk)

    assert sweep(task, store, "serial", status="status").counts == EXPECTED_COUNTS


def test_any_number_of_workers_gives_the_same_bits(tmp_path):
    stores = {}
    for name, executor, options in [
        ("serial", "serial", {}),
        ("three", "local", {"workers": 3}),
    ]:
        stores[name] = sweep_cases.new_store(tmp_path / name)
        report = sweep(Noise(stores[name].layout), stores[name], executor, status="status", **options)
        assert report.counts == EXPECTED_COUNTS
    assert same(stores["serial"], stores["three"])


def test_chunk_length_changes_rounding_at_most(tmp_path):
    fine, coarse = (sweep_cases.new_store(tmp_path / f"{n}", 37, n) for n in (3, 20))
    for each in (fine, coarse):
        sweep(Noise(each.layout), each, "serial")
    np.testing.assert_array_equal(fine.read("status"), coarse.read("status"))
    # A BLAS may add the 64 terms of a product of 3 rows in another order than those of 20.
    np.testing.assert_allclose(fine.read("kT"), coarse.read("kT"), rtol=64 * np.finfo(float).eps * 10)
    np.testing.assert_allclose(fine.read("statistic"), coarse.read("statistic"), rtol=2 * np.finfo(np.float32).eps)


def test_parts_of_a_job_array_make_the_whole(tmp_path, store):
    sizes = []
    for k in range(3):
        report = sweep(Noise(store.layout), store, "serial", part=(k, 3), status="status")
        sizes.append(report.chunks)
    assert sizes == [3, 3, 2]
    whole = sweep_cases.new_store(tmp_path / "whole")
    sweep(Noise(whole.layout), whole, "serial")
    assert same(store, whole)
    with pytest.raises(ConfigError, match="part 3 of 3"):
        sweep(Noise(store.layout), store, "serial", part=(3, 3))


def test_array_part_reads_slurm_variables():
    def variables(number, low, count, stride):
        values = {"ID": number, "MIN": low, "COUNT": count, "STEP": stride}
        return {f"SLURM_ARRAY_TASK_{k}": str(v) for k, v in values.items()}

    assert array_part({}) is None
    assert array_part(variables(0, 0, 4, 1)) == (0, 4)
    assert array_part(variables(7, 1, 4, 2)) == (3, 4)
    with pytest.raises(ConfigError, match="regular range"):
        array_part(variables(6, 1, 4, 2))
    with pytest.raises(ConfigError, match="regular range"):
        array_part(variables(9, 0, 4, 1))
    with pytest.raises(ConfigError, match="SLURM_ARRAY_TASK_MIN"):
        array_part({"SLURM_ARRAY_TASK_ID": "0"})


def test_a_store_opened_for_reading_is_swept_all_the_same(store):
    sweep(Noise(store.layout), Store.open(store.path), "serial")
    assert store.complete


def test_errors_of_a_task_name_the_chunk_and_keep_the_rest(store):
    task = Failing(Noise(store.layout), 3, ZeroDivisionError("division by zero"))
    with pytest.raises(SweepError, match="chunk 3: the task raised ZeroDivisionError: division by zero") as error:
        sweep(task, store, "serial")
    assert "sweep_cases.py" in error.value.__notes__[0]
    assert store.done().tolist() == [True] * 3 + [False] * 5
    with pytest.raises(InputError, match=r"acis\.arf: absent"):
        sweep(Failing(Noise(store.layout), 3, InputError("absent", where="acis.arf")), store, "serial")


def test_wrong_arguments_are_refused(store):
    with pytest.raises(UnknownNameError, match="'status'"):
        sweep(Noise(store.layout), store, "serial", status="stats")
    with pytest.raises(UnknownNameError, match="'local'"):
        sweep(Noise(store.layout), store, "locl")
    with pytest.raises(UnknownNameError, match="'workers'"):
        sweep(Noise(store.layout), store, "local", worker=2)
    with pytest.raises(ConfigError, match="options workers with an executor object"):
        sweep(Noise(store.layout), store, Serial(), workers=2)
    assert not store.done().any()


def test_registry_lists_executors_with_a_description():
    assert set(EXECUTORS.names()) >= {"serial", "local", "dask"}
    assert all(EXECUTORS.describe().values())
    given = Serial()
    assert make_executor(given) is given


def test_interrupting_leaves_a_store_that_resumes(store):
    def task(chunk):
        if chunk == 4:
            raise KeyboardInterrupt
        return Noise(store.layout)(chunk)

    with pytest.raises(KeyboardInterrupt, match=r"4 of 8 chunks remain; run the same job again to resume .*case\.zarr"):
        sweep(task, store, "serial")
    assert store.done().tolist() == [True] * 4 + [False] * 4


@pytest.mark.thorough
@pytest.mark.parametrize("executor", [pytest.param("serial", marks=pytest.mark.slow), "local"])
def test_ctrl_c_ends_a_run_at_once_and_it_resumes(tmp_path, executor):
    path = tmp_path / "a.zarr"
    # As from a shell that runs it in the background, or a CI runner: such a child inherits that Ctrl-C is ignored.
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, sweep_cases.__file__]
    command += [str(path), executor, "400", "2", "0.02"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **pipes, start_new_session=True)
    assert process.stdout.readline() == "begun\n"
    store = Store.open(path, writable=True)
    limit = time.monotonic() + 60
    while not store.done().any() and time.monotonic() < limit:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # to the workers too, as a terminal sends it
    _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert "chunks remain; run the same job again to resume" in errors
    assert errors.count("Traceback") == 1  # none of a worker
    done = store.done()
    assert 0 < done.sum() < done.size
    time.sleep(0.1)
    np.testing.assert_array_equal(store.done(), done)  # no worker lives on
    sweep(Noise(store.layout), store, "serial")
    whole = sweep_cases.new_store(tmp_path / "whole", 400, 2)
    sweep(Noise(whole.layout), whole, "serial")
    assert same(store, whole)
