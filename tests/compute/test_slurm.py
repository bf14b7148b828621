"""Slurm: job scripts and refusals against stand-ins; whole runs where a cluster is installed (marker slow)."""

import shutil
import subprocess
import sys
import threading

import pytest
import sweep_cases
from sweep_cases import Noise, same

from crosscal.compute import slurm, sweep
from crosscal.compute.cluster import SlurmConnection
from crosscal.core.errors import ConfigError, MissingDependencyError, SweepError

dask_jobqueue = pytest.importorskip("dask_jobqueue")

QUIET = {"scheduler_options": {"dashboard_address": ":0"}}
OPTIONS = {"cores": 1, "memory": "400MB", "walltime": "00:05:00", **QUIET}


def answer(monkeypatch, code=0, stdout="", stderr=""):
    """Stand in for Slurm's commands; returns what they were asked."""
    asked = []

    def run(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, code, stdout, stderr)

    monkeypatch.setattr(slurm.subprocess, "run", run)
    return asked


def test_job_script_has_one_thread_a_process(monkeypatch):
    asked, adapted = answer(monkeypatch), []
    monkeypatch.setattr(dask_jobqueue.SLURMCluster, "adapt", lambda self, **how: adapted.append(how))
    with slurm.start({"jobs": 2, "cores": 4, "memory": "8GB", "queue": "short", **QUIET}) as cluster:
        script = cluster.job_script()
    assert adapted == [{"minimum_jobs": 2, "maximum_jobs": 2}]
    assert asked[0][:2] == ["sbatch", "--test-only"]
    for line in ("#SBATCH -p short", "#SBATCH --cpus-per-task=4", "export NUMBA_NUM_THREADS=1", "--nworkers 4"):
        assert line in script
    assert "--nthreads 1" in script


def test_a_refused_job_is_an_error_at_once(monkeypatch):
    answer(monkeypatch, 1, stderr="sbatch: error: invalid partition specified: nosuch\n")
    with pytest.raises(ConfigError, match=r"Slurm refuses the job \(invalid partition specified: nosuch\)"):
        slurm.start({"queue": "nosuch", **OPTIONS})


def test_a_machine_without_slurm_is_an_error(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="there is no sbatch"):
        slurm.start(OPTIONS)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # dask's, of a cluster never made
def test_unknown_options_are_refused():
    with pytest.raises(ConfigError, match="dask-jobqueue refuses these options"):
        slurm.start({"colour": "red", **OPTIONS})


def test_without_dask_jobqueue_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(MissingDependencyError, match="dask-jobqueue"):
        slurm.start(OPTIONS)


def test_living_jobs_are_counted(monkeypatch):
    asked = answer(monkeypatch, stdout="12\n13\n")
    assert slurm.living_jobs([]) == set()
    assert asked == []
    assert slurm.living_jobs(["12", "13", "14"]) == {"12", "13"}
    assert asked[0][-1] == "12,13,14"


class Cluster:
    """A stand-in for SLURMCluster."""

    workers = {"a": type("Job", (), {"job_id": "12"})()}  # noqa: RUF012


class Client:
    """A stand-in for a client that sees these workers."""

    def __init__(self, workers):
        self.workers = workers

    def nthreads(self):
        return self.workers


@pytest.mark.parametrize(("workers", "listed", "alive"), [({}, "", set()), ({"a": 1}, "", {"a"}), ({}, "12", {"12"})])
def test_a_job_that_waits_counts_as_a_worker(monkeypatch, workers, listed, alive):
    answer(monkeypatch, stdout=listed)
    connection = SlurmConnection(Client(workers), Cluster(), {"jobs": 3, "cores": 4})
    assert connection.alive() == alive
    assert connection.workers() == 12
    assert "(12)" in str(connection.deserted(60.0))


def on_a_cluster(test):
    """Mark a test that needs Slurm's daemons (docs/howto/slurm.md says how to install a one-node cluster)."""
    absent = shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True).returncode != 0
    return pytest.mark.slow(pytest.mark.skipif(absent, reason="no Slurm cluster answers here")(test))


@on_a_cluster
def test_a_run_on_a_real_cluster_gives_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Slurm writes its logs here
    store, whole = (sweep_cases.new_store(tmp_path / name) for name in ("store", "whole"))
    sweep(Noise(store.layout), store, "dask", slurm={"jobs": 2, **OPTIONS})
    sweep(Noise(whole.layout), whole, "serial")
    assert same(store, whole)


@on_a_cluster
def test_cancelled_jobs_are_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store, whole = (sweep_cases.new_store(tmp_path / name, 400, 5) for name in ("store", "whole"))
    name = "crosscal-test-cancel"
    timer = threading.Timer(8, subprocess.run, [["scancel", f"--name={name}"]])
    timer.start()
    sweep(Noise(store.layout, pause=0.3), store, "dask", slurm={"jobs": 1, "job_name": name, **OPTIONS})
    timer.join()
    sweep(Noise(whole.layout), whole, "serial")
    assert same(store, whole)


@on_a_cluster
def test_jobs_that_never_become_workers_end_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = sweep_cases.new_store(tmp_path / "store")
    with pytest.raises(
        SweepError, match=r"all Slurm jobs ended without a working Dask worker .*run the same job again to resume"
    ):
        sweep(Noise(store.layout), store, "dask", slurm={"jobs": 1, "python": "/bin/false", **OPTIONS}, patience=12)
