"""Whole runs with odd settings, damaged inputs, full disks and kills: an answer, or one sentence, and nothing half."""

import copy
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import tomli_w

from crosscal.cli.parts import load_job

from . import harness, small_runs
from .corpus_jobs import CASES
from .harness import Report, attempt
from .mutations import mutate, places

FULL = 60
#: Jobs by part, and the share of the usual number of cases: the two long ones take some 10 s each when they succeed.
CONTENT = {case.part: case.content for case in CASES if not case.tag} | {
    "xray": small_runs.xray,
    "xray-spectra": small_runs.spectra,
    "xray-fit": small_runs.fit,
    "lightcurves": small_runs.lightcurves,
}
SHARE = {"xray": 0.2, "xray-spectra": 0.2}
FACTORS = (0.0, -1.0, 1e-6, 1e-3, 0.5, 2.0, 1e3, 1e6)


def odd(content, rng):
    """Change one or two numbers by a factor, switch a flag, or leave a key out."""
    changed = copy.deepcopy(content)
    for _ in range(int(rng.integers(1, 3))):
        every = [
            p for p in places(changed) if p[0] not in ("job", "output") and p[-1] not in ("draws", "warmup", "chains")
        ]
        *parents, last = every[int(rng.integers(len(every)))]
        inside = changed
        for key in parents:
            inside = inside[key]
        value = inside[last]
        if isinstance(value, bool):
            inside[last] = not value
        elif isinstance(value, int | float):
            factor = FACTORS[int(rng.integers(len(FACTORS)))]
            inside[last] = type(value)(value * factor) if factor else type(value)(0)
        elif isinstance(inside, dict) and rng.random() < 0.5:
            del inside[last]
    return changed


class Runs:
    """A job in a directory of its own that is run again and again into ``run``."""

    def __init__(self, part, directory):
        from crosscal.cli.parts import PARTS

        self.directory, self.content = directory, CONTENT[part](directory)
        self.part = PARTS.get(part)
        self.inputs = {p.relative_to(directory): p.read_bytes() for p in directory.iterdir() if p.is_file()}
        self.write(self.content)

    def write(self, content):
        """Write the job file."""
        (self.directory / "job.toml").write_text(tomli_w.dumps(content))

    def __call__(self, fresh=True):
        """Run the job, as the command line does."""
        from crosscal.cli.runner import run_job

        if fresh:
            shutil.rmtree(self.directory / "run", ignore_errors=True)
        path = self.directory / "job.toml"
        part, job = load_job(str(path))
        run_job(part, job.model_copy(update={"output": self.directory / "run"}), quiet=True, source=path)

    def answers(self):
        """Content of the tables of a finished run, byte by byte."""
        return {p.name: p.read_bytes() for p in (self.directory / "run").glob("*.ecsv")}

    def partial(self):
        """Files that a run has left half-written."""
        return [p for p in (self.directory / "run").rglob("*") if ".partial-" in p.name]


@pytest.fixture(params=sorted(CONTENT))
def runs(request, tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setattr(harness, "SECONDS", 600)
    monkeypatch.setenv("CROSSCAL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    return Runs(request.param, tmp_path)


def cases(runs, slow_scale, full=FULL):
    """How many cases a part gets."""
    return max(2, round(full * SHARE.get(runs.part.name, 1.0) * slow_scale))


@pytest.mark.slow
def test_runs_of_odd_jobs(runs, slow_scale):
    report = Report()
    for k in range(cases(runs, slow_scale)):
        changed = odd(runs.content, np.random.default_rng([7, k])) if k else runs.content
        runs.write(changed)
        attempt(report, runs, f"case {k}:\n{tomli_w.dumps(changed)}")
    assert not report.failures, str(report)
    assert report.accepted > 0
    assert {p: (runs.directory / p).read_bytes() for p in runs.inputs} == runs.inputs


@pytest.mark.slow
def test_runs_of_damaged_inputs(runs, slow_scale):
    """Whatever file is damaged, nothing but a sentence comes out, and the damaged file is left as it is."""
    report = Report()
    for k in range(1, cases(runs, slow_scale)):
        harness.restore(runs.directory, runs.inputs)
        shutil.rmtree(runs.directory / "run", ignore_errors=True)
        runs.write(runs.content)
        label = mutate(runs.directory, runs.inputs, np.random.default_rng([11, k]))
        before = {p: p.read_bytes() for p in runs.directory.iterdir() if p.is_file()}
        attempt(report, runs, f"case {k}: {label}")
        after = {p: p.read_bytes() for p in runs.directory.iterdir() if p.is_file()}
        if after != before:
            report.fail("input changed", f"case {k}: {label}")
        if runs.partial():
            report.fail("half-written files", f"case {k}: {label}: {runs.partial()}")
    assert not report.failures, str(report)


@contextmanager
def full_disk(size):
    """Let no file grow beyond ``size`` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)


@pytest.mark.slow
def test_runs_on_a_full_disk(runs, slow_scale):
    """One sentence, nothing half-written; with room again the same command gives what it would have given."""
    runs()
    expected = runs.answers()
    report = Report()
    for k in range(max(2, cases(runs, slow_scale, 12))):
        size = int(10 ** np.random.default_rng([13, k]).uniform(0, 5))

        def starved(size=size):
            with full_disk(size):
                runs(fresh=True)

        attempt(report, starved, f"case {k}: {size} bytes")
        if runs.partial():
            report.fail("half-written files", f"{size} bytes: {runs.partial()}")
        attempt(report, lambda: runs(fresh=False), f"case {k}: room again after {size} bytes")
        if runs.answers() != expected:
            report.fail("another answer", f"case {k}: {size} bytes")
    assert report.refused > 0
    assert not report.failures, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("runs", ["xray", "xray-spectra"], indirect=True)
def test_interrupted_runs_resume_to_the_same_bits(runs, sent, slow_scale):
    if slow_scale < 0.2:
        pytest.skip("four whole runs in new processes take minutes: only from a fifth of the full size on")
    runs()
    expected = runs.answers()
    command = [sys.executable, "-m", "crosscal", "run", "-q", "job.toml", "-o", "run"]

    def start():
        return subprocess.Popen(
            command, cwd=runs.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
        )

    began = time.monotonic()
    shutil.rmtree(runs.directory / "run")
    _, err = start().communicate()
    whole = time.monotonic() - began
    assert runs.answers() == expected, err
    for k in range(max(1, round(6 * slow_scale))):
        shutil.rmtree(runs.directory / "run")
        process = start()
        time.sleep(whole * np.random.default_rng([17, k]).uniform(0.1, 0.95))
        process.send_signal(sent)
        _, err = process.communicate()
        assert process.returncode in (0, 130, -sent), err
        assert "Traceback" not in err
        if process.returncode == 130:
            assert err.strip() == "crosscal: error: interrupted; the same command resumes where it stopped."
        process = start()
        _, err = process.communicate()
        assert process.returncode == 0, err
        assert runs.answers() == expected, f"kill {k}"
        assert {p: (runs.directory / p).read_bytes() for p in runs.inputs} == runs.inputs
