"""Whole runs with odd settings, damaged inputs, full disks and kills: an answer, or one sentence, and nothing half."""

import copy
import html
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import tomli_w

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
        from crosscal.jobs.parts import PARTS

        self.directory, self.content = directory, CONTENT[part](directory)
        self.part = PARTS.get(part)
        self.inputs = {p.relative_to(directory): p.read_bytes() for p in directory.iterdir() if p.is_file()}
        self.write(self.content)

    def write(self, content):
        """Write the job file."""
        (self.directory / "job.toml").write_text(tomli_w.dumps(content))

    def __call__(self, fresh=True):
        """Run the job, as the command line does."""
        from crosscal.jobs.run import run

        if fresh:
            shutil.rmtree(self.directory / "run", ignore_errors=True)
        path = self.directory / "job.toml"
        run(path, output=self.directory / "run")

    def answers(self):
        """Content of the tables, figures and report of a finished run, byte by byte, dates and durations aside."""
        place = self.directory / "run"
        found = {str(p.relative_to(place)): p.read_bytes() for k in ("*.ecsv", "figures/*.svg") for p in place.glob(k)}
        report = (place / "report.html").read_text()
        report = re.sub(r"(?s)<details><summary>run.log</summary>.*?</details>", "", report)
        report = re.sub(
            r"\d{4}-\d\d-\d\d \d\d:\d\d UTC|run time \d+ s|(?<=class='num'>)[\d.]+(?=</td></tr>)", "", report
        )
        return {**found, "report.html": re.sub(r"data:image/png;base64,[^\"]*", "", report)}

    def partial(self):
        """What a run has left half-written."""
        return [p for p in (self.directory / "run").rglob("*") if p.name.startswith((".partial-", ".p", ".publishing"))]


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


#: What mathematical typesetting, HTML, TOML and formats of strings could stumble over.
ODD_NAME = "_$x_{$<b>%s\\alpha&amp;"


def renamed(runs):
    """Give an instrument an odd name, in the job and in its inputs."""
    content = copy.deepcopy(runs.content)
    if runs.part.name == "concordance":
        content["prior"]["tau"][ODD_NAME] = content["prior"]["tau"].pop("MOS1")
        before, after = "MOS1", ODD_NAME
    else:
        before, after = "# B ", f"# {ODD_NAME} "
    for name, raw in runs.inputs.items():
        (runs.directory / name).write_bytes(raw.replace(before.encode(), after.encode()))
    return content


@pytest.mark.slow
@pytest.mark.parametrize("runs", ["concordance", "lightcurves"], indirect=True)
def test_any_name_stands_in_tables_figures_and_report(runs):
    runs.write(renamed(runs))
    runs()
    found = runs.answers()
    assert html.escape(ODD_NAME) in found.pop("report.html")
    holders = [name for name, content in found.items() if ODD_NAME.encode() in content]
    drawn = [name for name, content in found.items() if html.escape(ODD_NAME, quote=False).encode() in content]
    assert any(name.endswith(".ecsv") for name in holders)
    assert any(name.endswith(".svg") for name in drawn)


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


def start(runs):
    """Start a run of the job in a process of its own."""
    command = [sys.executable, "-m", "crosscal", "run", "-q", "job.toml", "-o", "run"]
    return subprocess.Popen(
        command, cwd=runs.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def wait_for_events(process, directory, number):
    """Wait until files below a directory have come and gone so many times, or the process has ended."""
    before, seen = set(), 0
    while seen < number and process.poll() is None:
        now = set(os.listdir(directory)) if directory.is_dir() else set()
        for name in (".pending", ".publishing"):
            with suppress(OSError):
                now |= {f"{name}/{f}" for f in os.listdir(directory / name)}
        seen += len(now ^ before)
        before = now
        time.sleep(0.0005)


@pytest.mark.slow
def test_killed_runs_resume_to_the_same_bits(runs, slow_scale):
    """Half of the kills come at random times, half at the n-th change of a file in the run directory."""
    began = time.monotonic()
    _, err = start(runs).communicate()
    whole = time.monotonic() - began
    expected = runs.answers()
    for k in range(max(2, round(7 * slow_scale))):
        rng = np.random.default_rng([17, k])
        sent = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)[k // 2 % 4]
        shutil.rmtree(runs.directory / "run")
        process = start(runs)
        if k % 2:
            wait_for_events(process, runs.directory / "run", int(rng.integers(1, 60)))
        else:
            time.sleep(whole * rng.uniform(0.1, 0.95))
        process.send_signal(sent)
        _, err = process.communicate()
        codes = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130, signal.SIGTERM: 143}
        assert process.returncode in (0, 3, codes[sent]), err
        assert "Traceback" not in err
        _, err = start(runs).communicate()
        assert runs.answers() == expected, f"kill {k}: {err}"
        assert not runs.partial(), f"kill {k}"
        assert {p: (runs.directory / p).read_bytes() for p in runs.inputs} == runs.inputs
