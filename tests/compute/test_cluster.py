"""Dask: same bits as local, also when a worker is killed; clear errors."""

import importlib
import random
import subprocess
import sys
import threading
import time

import pytest
import sweep_cases
from sweep_cases import Deadly, Failing, Noise, Threads, same

from crosscal.compute import sweep
from crosscal.compute.cluster import DaskExecutor, batches
from crosscal.core.errors import ConfigError, InputError, MissingDependencyError, SweepError

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
psutil = pytest.importorskip("psutil")


@pytest.fixture(scope="module")
def client():
    """A cluster like a user's own, which gives a task up after its second killed worker."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as connected,
    ):
        yield connected


@pytest.fixture
def whole(tmp_path):
    store = sweep_cases.new_store(tmp_path / "whole.zarr")
    sweep(Noise(store.layout), store, "serial")
    return store


@pytest.mark.thorough
@pytest.mark.parametrize("batch", [None, 1, 3])
def test_same_bits_as_serial(client, store, whole, batch):
    report = sweep(Noise(store.layout), store, "dask", client=client, batch=batch, status="status")
    assert (report.computed, report.counts) == (8, {0: 32, 1: 5})
    assert same(store, whole)


def test_by_address(client, store, whole):
    sweep(Noise(store.layout), store, "dask", address=client.scheduler.address)
    assert same(store, whole)


@pytest.mark.thorough
def test_an_own_cluster_has_one_thread_a_worker(store):
    sweep(Threads(Noise(store.layout)), store, "dask", workers=1)
    assert set(store.read("status").tolist()) == {1}


def test_errors_come_back_with_their_type(client, store):
    with pytest.raises(SweepError, match="chunk 3: the task raised ZeroDivisionError: no"):
        sweep(Failing(Noise(store.layout), 3, ZeroDivisionError("no")), store, "dask", client=client)
    task = Failing(Noise(store.layout), 3, InputError("absent", where="acis.arf"))
    with pytest.raises(InputError, match=r"acis\.arf: absent"):
        sweep(task, store, "dask", client=client)


def test_the_chunk_of_a_killed_worker_is_done_by_another(client, store, whole, tmp_path):
    task = Deadly(Noise(store.layout), 4, str(tmp_path / "killed"))
    sweep(task, store, "dask", client=client)
    assert (tmp_path / "killed").exists()
    assert same(store, whole)


def test_a_task_that_always_kills_its_worker_becomes_an_error(client, store):
    with pytest.raises(SweepError, match="kept killing its Dask workers"):
        sweep(Deadly(Noise(store.layout), 4), store, "dask", client=client, batch=1)
    assert store.verify() == []


def kill_workers(times, stop, killed):
    """Kill a random worker process of this process's Dask cluster ``times`` times, also while it starts."""
    choice = random.Random(1)
    while len(killed) < times and not stop.wait(choice.uniform(0.3, 1.5)):
        workers = [p for p in psutil.Process().children() if "multiprocessing.spawn" in " ".join(p.cmdline())]
        if workers:
            victim = choice.choice(workers)
            victim.kill()
            killed.append(victim.pid)


@pytest.mark.slow
def test_killed_at_random_moments_gives_the_same_bits(tmp_path, slow_scale):
    kills = max(3, round(20 * slow_scale))
    n = 100 * kills
    whole = sweep_cases.new_store(tmp_path / "whole", n, 5)
    sweep(Noise(whole.layout), whole, "serial")
    store = sweep_cases.new_store(tmp_path / "store", n, 5)
    stop, killed = threading.Event(), []
    killer = threading.Thread(target=kill_workers, args=(kills, stop, killed))
    killer.start()
    rounds = 0
    # A Dask scheduler gives a task up after four killed workers, rightly; the run is then started again.
    while not store.complete:
        rounds += 1
        try:
            sweep(Noise(store.layout, pause=0.1), store, "dask", workers=2, batch=2)
        except SweepError:
            assert rounds <= kills  # each error needs a kill, as one that comes while a worker is started
    stop.set()
    killer.join()
    assert killed
    assert store.verify() == []
    assert same(store, whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "an integer >= 1"),
        ({"batch": -1}, "an integer >= 1"),
        ({"patience": 0}, "a positive number of seconds"),
        ({"address": "tcp://a:1", "slurm": {}}, "both address and slurm"),
        ({"address": "tcp://a:1", "workers": 2}, "workers and address"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        DaskExecutor(**options)


@pytest.mark.thorough
def test_an_address_where_nobody_answers(store):
    start = time.monotonic()
    with (
        pytest.raises(ConfigError, match="no Dask scheduler answers"),
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
    ):
        sweep(Noise(store.layout), store, "dask", address="tcp://127.0.0.1:9")
    assert time.monotonic() - start < 20


def test_without_dask_the_extra_is_named(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"crosscal\[cluster\]"):
        sweep(Noise(store.layout), store, "dask")


def test_work_that_is_cancelled_on_the_cluster_ends_with_an_error(client, store):
    def cancel():
        while not client.futures:
            time.sleep(0.01)
        client.cancel([distributed.Future(key, client) for key in list(client.futures)])

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(SweepError, match="the work was cancelled there; run the same job again to resume"):
        sweep(Noise(store.layout, pause=0.3), store, "dask", client=client, batch=1)
    canceller.join()
    assert store.verify() == []


@pytest.mark.parametrize(("n", "workers"), [(1, 4), (7, 2), (600, 2), (5000, 64)])
def test_batches_get_smaller_and_hold_every_chunk_once(n, workers):
    cut = batches(range(n), workers)
    sizes = [len(batch) for batch in cut]
    assert [chunk for batch in cut for chunk in batch] == list(range(n))
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) <= 32
    assert sizes[-1] == 1


def test_workers_that_die_at_the_start_are_an_error(store, monkeypatch):
    def die(**_):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(distributed, "LocalCluster", die)
    with pytest.raises(
        SweepError, match=r"could not be started \(Nanny failed to start\.\); run the same job again to resume"
    ):
        sweep(Noise(store.layout), store, "dask", workers=1)


def test_a_scheduler_without_workers_is_told_after_a_while(store):
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(
            SweepError, match=r"no worker stayed at the Dask scheduler tcp://.* for 0\.5 s; .* again to resume\.$"
        ),
    ):
        sweep(Noise(store.layout), store, "dask", address=empty.scheduler_address, patience=0.5)


class Flapping:
    """A connection to workers of which each dies at its start, and is replaced by another."""

    def __init__(self):
        self.number = 0

    def alive(self):
        self.number += 1
        return {f"tcp://worker:{self.number}"}

    def deserted(self, seconds):
        return SweepError(f"after {seconds:g} s and {self.number} looks.")


class Steady(Flapping):
    """A connection to a worker that takes its time."""

    def alive(self):
        super().alive()
        return {"tcp://worker:1"}


class Future:
    def __init__(self, seconds):
        self.seconds = seconds

    def add_done_callback(self, call):
        threading.Timer(self.seconds, call, [self]).start()


def test_workers_that_only_come_and_go_are_none():
    executor = DaskExecutor(patience=0.1)
    with pytest.raises(SweepError, match=r"after 0\.1 s and \d+ looks"):
        list(executor._ended([Future(0.5)], Flapping()))
    slow = Future(0.5)
    assert list(executor._ended([slow], Steady())) == [slow]


def test_a_task_that_workers_cannot_import_is_told(client, store, tmp_path, monkeypatch):
    (tmp_path / "unseen.py").write_text("def task(chunk):\n    return {}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    task = importlib.import_module("unseen").task
    with pytest.raises(SweepError, match=r"cannot be imported in a worker process \(ModuleNotFoundError: .*unseen"):
        sweep(task, store, "dask", client=client)


WITHOUT = """
import sys
sys.modules["crosscal"] = None
from distributed.cli.dask_worker import main
sys.argv = ["dask-worker", {address!r}, "--no-nanny", "--nthreads", "1"]
main()
"""


@pytest.mark.thorough
def test_workers_without_crosscal_are_told(store):
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty:
        code = WITHOUT.format(address=empty.scheduler_address)
        worker = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        try:
            with pytest.raises(
                SweepError, match=r"the Dask workers cannot run the task \(ModuleNotFoundError: .*crosscal"
            ):
                sweep(Noise(store.layout), store, "dask", address=empty.scheduler_address)
        finally:
            worker.kill()
            worker.wait()


@pytest.mark.thorough
def test_a_scheduler_that_is_lost_ends_the_run(store):
    own = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0")
    address = own.scheduler_address

    def close():
        while not store.done().any():
            time.sleep(0.02)
        own.close()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(SweepError, match="the Dask scheduler was lost or the work was cancelled there"):
        sweep(Noise(store.layout, pause=0.5), store, "dask", address=address, batch=1)
    closer.join()
    assert store.done().any()
    assert store.verify() == []
