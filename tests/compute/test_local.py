"""Worker processes: they may die, print, fail to start; they use one thread each."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import sweep_cases
from sweep_cases import Chatty, Deadly, Failing, Noise, Threads, same

from crosscal.compute import Store, sweep
from crosscal.compute.environment import available_cpus, worker_environment
from crosscal.compute.local import Local, _Context, _Pool
from crosscal.core.errors import ConfigError, InputError, SweepError


@pytest.fixture
def whole(tmp_path):
    store = sweep_cases.new_store(tmp_path / "whole.zarr")
    sweep(Noise(store.layout), store, "serial")
    return store


def test_the_chunk_of_a_killed_worker_is_done_by_another(store, whole, tmp_path):
    task = Deadly(Noise(store.layout), 4, str(tmp_path / "killed"))
    report = sweep(task, store, "local", workers=2, status="status")
    assert (tmp_path / "killed").exists()
    assert report.computed == 8
    assert same(store, whole)


def test_a_task_that_always_kills_its_worker_becomes_an_error(store):
    with pytest.raises(
        SweepError, match=r"chunk 4: the task killed its worker 2 times, signal 9 \(often because it ran out of memory"
    ):
        sweep(Deadly(Noise(store.layout), 4), store, "local", workers=2, attempts=2)
    assert not store.is_done(4)
    assert store.verify() == []


def test_errors_come_back_with_their_type_and_place(store):
    with pytest.raises(SweepError, match="chunk 3: the task raised ZeroDivisionError: no") as error:
        sweep(Failing(Noise(store.layout), 3, ZeroDivisionError("no")), store, "local", workers=2)
    assert "sweep_cases.py" in error.value.__notes__[0]
    with pytest.raises(SweepError, match=r"chunk 3: the task raised MemoryError\."):
        sweep(Failing(Noise(store.layout), 3, MemoryError()), store, "local", workers=1)


def test_a_task_may_print_and_look_at_its_input(store, whole, capfd):
    sweep(Chatty(Noise(store.layout)), store, "local", workers=1)
    assert same(store, whole)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "a task that prints" in printed.err


def test_workers_use_one_thread_each(store):
    sweep(Threads(Noise(store.layout)), store, "local", workers=2)
    assert set(store.read("status").tolist()) == {1}
    assert "--xla_cpu_multi_thread_eigen=false" in worker_environment()["XLA_FLAGS"]


def test_flags_of_the_user_are_kept(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    flags = worker_environment()["XLA_FLAGS"]
    assert flags == "--xla_dump_to=x --xla_cpu_multi_thread_eigen=false"
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert worker_environment()["XLA_FLAGS"] == flags


def test_processors_are_those_allotted(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "7")
    assert available_cpus() == 7


def test_tasks_that_cannot_travel_are_refused(store):
    with pytest.raises(InputError, match="cannot be sent to another process"):
        sweep(lambda chunk: {}, store, "local", workers=1)

    def nested(chunk):
        return {}

    nested.__module__ = "__main__"
    with pytest.raises(InputError, match="defined in the main script"):
        sweep(nested, store, "local", workers=1)


def test_a_task_that_workers_cannot_import_is_told(store, tmp_path, monkeypatch):
    import importlib

    (tmp_path / "vanishing.py").write_text("def task(chunk):\n    return {}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    task = importlib.import_module("vanishing").task
    (tmp_path / "vanishing.py").unlink()
    with pytest.raises(SweepError, match=r"cannot be imported in a worker process \(ModuleNotFoundError: .*vanishing"):
        sweep(task, store, "local", workers=1)


def test_a_worker_that_cannot_be_started_is_told(store, monkeypatch):
    def refuse(*_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.util.spawnv_passfds", refuse)
    with pytest.raises(SweepError, match=r"cannot be started \(.*temporarily unavailable"):
        sweep(Noise(store.layout), store, "local", workers=2)


def test_where_there_are_no_semaphores_it_is_told(store, monkeypatch):
    def refuse():
        raise NotImplementedError("system provides too few semaphores")

    monkeypatch.setattr("concurrent.futures.process._check_system_limits", refuse)
    with pytest.raises(SweepError, match=r"cannot be started \(.*too few semaphores"):
        sweep(Noise(store.layout), store, "local", workers=2)


def test_workers_that_die_at_their_start_are_told(store, monkeypatch, capfd):
    """One that lacks a module is not said to lack memory, and its own words are there."""
    monkeypatch.setattr(
        sys, "path", [p for p in sys.path if "site-packages" not in p and not Path(p, "crosscal").is_dir()]
    )
    with pytest.raises(
        SweepError, match=r"3 times in a row a worker process died before any finished a chunk, exit code 1"
    ):
        sweep(Noise(store.layout), store, "local", workers=2)
    assert "ModuleNotFoundError: No module named 'crosscal'" in capfd.readouterr().err


@pytest.mark.parametrize("executor", ["serial", "local"])
def test_a_task_that_exits_is_an_error(store, executor):
    with pytest.raises(SweepError, match=r"chunk 3: the task raised SystemExit: 7\."):
        sweep(Failing(Noise(store.layout), 3, SystemExit(7)), store, executor)


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 1.5}, {"workers": True}, {"attempts": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match="an integer >= 1"):
        Local(**options)


def test_workers_killed_from_outside_are_replaced(store, whole):
    """By the signal with which a pool ends what is left of it, and before it has done anything."""
    psutil = pytest.importorskip("psutil")

    def kill_one():
        while not (workers := [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]):
            time.sleep(0.01)
        os.kill(workers[0].pid, signal.SIGTERM)

    killer = threading.Thread(target=kill_one)
    killer.start()
    report = sweep(Noise(store.layout, pause=0.1), store, "local", workers=2)
    killer.join()
    assert report.computed == 8
    assert same(store, whole)


@pytest.mark.thorough
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_death_while_another_process_is_started_does_not_hang(store, whole, monkeypatch, when):
    """A pool that sees a death does not end a process that it is just starting, waits for it, and closes its pipes."""
    make, deaths = _Context.Process, []

    def first_dies(first):
        deaths.append(first)
        first.kill()
        first.join()
        time.sleep(0.5)  # the pool's thread sees it

    def process(self, *args, **keywords):
        made = make(self, *args, **keywords)
        if len(self.started) == 2 and not deaths:

            def start():
                del made.start  # which would be pickled
                steps = [lambda: first_dies(self.started[0]), made.start]
                for step in steps if when == "before" else reversed(steps):
                    step()

            made.start = start
        return made

    monkeypatch.setattr(_Context, "Process", process)
    report = sweep(Noise(store.layout), store, "local", workers=2)
    assert len(deaths) == 1
    assert report.computed == 8
    assert same(store, whole)


@pytest.mark.parametrize("error", [OSError("handle is closed"), ValueError("bad value(s) in fds_to_keep")])
def test_a_pool_whose_pipes_were_closed_while_a_process_was_started_is_replaced(store, whole, monkeypatch, error):
    """As `_submitted` says; a start that fails while all live is an error of its own."""
    submit, failed = ProcessPoolExecutor.submit, []

    def once(self, *args):
        future = submit(self, *args)
        if not failed:
            failed.append(True)
            (first, *_) = self._mp_context.started
            first.kill()
            first.join()
            raise error
        return future

    monkeypatch.setattr(ProcessPoolExecutor, "submit", once)
    assert sweep(Noise(store.layout), store, "local", workers=2).computed == 8
    assert same(store, whole)


@pytest.mark.parametrize("error", [OSError("no more processes"), ValueError("not of the pool")])
def test_an_error_while_all_processes_live_is_no_death(store, monkeypatch, error):
    def fails(self, *args):
        raise error

    monkeypatch.setattr(ProcessPoolExecutor, "submit", fails)
    with pytest.raises((SweepError, ValueError), match=str(error)):
        sweep(Noise(store.layout), store, "local", workers=2)


def test_of_a_pool_that_started_nothing_no_death_is_known():
    assert _Pool(b"", 3).first_death() == (None, -signal.SIGTERM)


def test_no_chunks_need_no_worker():
    assert list(Local(2).run(None, [])) == []


@pytest.mark.parametrize("executor", ["local", pytest.param("dask", marks=pytest.mark.slow)])
def test_scripts_need_no_main_guard(tmp_path, executor):
    """The classic trap of process pools: a script that is imported again by each of its workers."""
    if executor == "dask":
        pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {os.path.dirname(sweep_cases.__file__)!r})
            import sweep_cases
            from crosscal.compute import sweep
            print("started")
            store = sweep_cases.new_store({str(tmp_path / "a.zarr")!r})
            sweep(sweep_cases.Noise(store.layout), store, {executor!r}, workers=2)
            assert __file__.endswith("script.py")
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "started\n"
    assert Store.open(tmp_path / "a.zarr").complete


@pytest.mark.thorough
def test_workers_end_with_their_parent(tmp_path):
    psutil = pytest.importorskip("psutil")
    path = tmp_path / "a.zarr"
    command = [sys.executable, sweep_cases.__file__, str(path), "local", "4000", "2", "0.05"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"begun\n"
    store = Store.open(path)
    while not store.done().any():
        assert parent.poll() is None
    children = psutil.Process(parent.pid).children()
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
