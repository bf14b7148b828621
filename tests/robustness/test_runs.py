"""Whole runs of jobs with odd but readable settings: an answer, or one sentence; never a foreign error."""

import copy
import shutil

import numpy as np
import pytest
import tomli_w

from crosscal.cli.parts import load_job

from . import harness
from .corpus_jobs import CASES
from .harness import Report, attempt
from .mutations import places

FULL = 60
#: Runs on tiny inputs; those of the X-ray libraries take minutes each.
PARTS = ("concordance", "lightcurves", "fluxcal", "xray-fit")
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


@pytest.mark.slow
@pytest.mark.parametrize("case", [pytest.param(c, id=c.id) for c in CASES if c.part in PARTS and not c.tag])
def test_runs_of_odd_jobs(case, tmp_path, slow_scale, monkeypatch):
    from crosscal.cli.runner import run_job

    monkeypatch.setattr(harness, "SECONDS", 240)
    monkeypatch.setenv("CROSSCAL_CACHE", str(tmp_path / "cache"))
    content = case.content(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    path = tmp_path / "job.toml"
    report = Report()

    def run():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        part, job = load_job(str(path))
        run_job(part, job.model_copy(update={"output": tmp_path / "run"}), quiet=True)

    for k in range(max(2, round(FULL * slow_scale))):
        changed = odd(content, np.random.default_rng([7, k])) if k else content
        path.write_text(tomli_w.dumps(changed))
        attempt(report, run, f"case {k}:\n{path.read_text()}")
    assert not report.failures, str(report)
    assert {p: p.read_bytes() for p in before} == before
