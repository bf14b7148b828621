"""Damaged job files of every part: validated or refused with one sentence; inputs are never overwritten."""

import copy
import hashlib
import os
import string
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosscal.core.errors import CrossCalError
from crosscal.core.options import hints
from crosscal.jobs.parts import PARTS, load_job

from . import corpus_fluxcal
from .corpus_jobs import CASES
from .harness import Report, attempt
from .mutations import change_nested, places, scramble, scramble_text

FULL = 500


@pytest.fixture(params=[pytest.param(case, id=case.id) for case in CASES])
def case(request):
    return request.param


def plain(value):
    """Leave out what TOML cannot hold."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [plain(v) for v in value if v is not None]
    return value


def damaged(content, rng):
    """Return the text of a damaged job file, as bytes."""
    kind = rng.random()
    if kind < 0.75:
        changed = copy.deepcopy(content)
        for _ in range(int(rng.integers(1, 3))):
            changed = change_nested(changed, rng)
        return tomli_w.dumps(plain(changed) if isinstance(changed, dict) else {}).encode()
    text = tomli_w.dumps(content).encode()
    return scramble_text(text, rng) if kind < 0.9 else scramble(text, rng)


def used(case, path):
    """Load a job file and do with it what a run does first."""
    part, job = load_job(str(path))
    if part.name == case.part:
        case.use(job)
    return job


def sweep(case, n, directory, seed):
    content = case.content(directory)
    path = directory / "job.toml"
    path.write_text(tomli_w.dumps(content))
    used(case, path)
    before = {p: p.read_bytes() for p in directory.rglob("*") if p.is_file() and p != path}
    report = Report()
    for k in range(n):
        text = damaged(content, np.random.default_rng([seed, k]))
        path.write_bytes(text)
        attempt(report, lambda: used(case, path), f"case {k} (seed {seed}):\n{text.decode('utf-8', 'replace')[:3000]}")
    assert {p: p.read_bytes() for p in before} == before
    return report


def test_lists_of_frames_do_not_overwrite_inputs(tmp_path):
    from crosscal.fluxcal.kspecdr import calibrate_list

    catalogue = corpus_fluxcal._catalogue(".csv")(tmp_path)
    frame = corpus_fluxcal._frame(tmp_path)
    second = tmp_path / "0001red_cal.fits"
    second.write_bytes(frame.read_bytes())
    for frames, arguments in (
        ([frame, second], {"CALIBFLUX_CATALOG": str(catalogue)}),
        ([frame], {"CALIBFLUX_CATALOG": str(second)}),
    ):
        before = digests(tmp_path)
        with pytest.raises(CrossCalError, match="would overwrite an input"):
            calibrate_list(frames, arguments)
        assert digests(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = " + "[" * 10_000 + "]" * 10_000, "tables or lists are nested too deeply"),
        ("x = " + "{a = " * 3_000 + "1" + "}" * 3_000, "tables or lists are nested too deeply"),
        ("job = 'xray'\nseed = " + "9" * 5_000, "an integer of thousands of digits"),
        (None, "the job file is a pipe or a device; expected a regular file"),
    ],
)
def test_job_files_that_no_parser_takes(text, sentence, tmp_path):
    path = tmp_path / "job.toml"
    if text is None:
        os.mkfifo(path)
    else:
        path.write_text(text)
    with pytest.raises(CrossCalError, match=rf"job\.toml: {sentence}"):
        load_job(str(path))


def test_every_part_has_a_case():
    assert {c.part for c in CASES} == set(PARTS.names())


def test_damaged_jobs(case, tmp_path):
    report = sweep(case, 25, tmp_path, seed=1)
    assert not report.failures, str(report)
    assert report.refused > 0


@pytest.mark.slow
def test_damaged_jobs_many_times(case, tmp_path, slow_scale):
    report = sweep(case, max(10, round(FULL * slow_scale)), tmp_path, seed=2)
    assert not report.failures, str(report)
    assert report.cases == report.refused + report.accepted


VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(string.printable + "\u00e9\u2028", max_size=20)
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


@pytest.mark.thorough
@settings(
    max_examples=40, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(data=st.data())
def test_any_value_anywhere_is_validated_or_refused(case, data, tmp_path):
    """Hypothesis puts values of every type at every key; only validation, no reading."""
    from crosscal.jobs.options import validate

    content = case.content(tmp_path) if not (tmp_path / "job.toml").exists() else {}
    (tmp_path / "job.toml").write_text("")
    content = content or CONTENTS.setdefault(case.id, {})
    CONTENTS[case.id] = content
    changed = copy.deepcopy(content)
    *parents, last = data.draw(st.sampled_from(places(changed)))
    inside = changed
    for key in parents:
        inside = inside[key]
    inside[last] = data.draw(VALUES)
    report = Report()
    attempt(report, lambda: validate(PARTS.get(case.part).model, changed, source=tmp_path / "job.toml"), str(changed))
    assert not report.failures, str(report)


CONTENTS: dict = {}


# ---- outputs never replace inputs -------------------------------------------------------------------


def digests(directory):
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(directory.rglob("*")) if p.is_file()}


def path_fields(annotation, prefix=""):
    """Return the dotted names of all keys of a job's options that hold paths."""
    if isinstance(annotation, type) and is_dataclass(annotation):
        return [p for f in fields(annotation) for p in path_fields(hints(annotation)[f.name], f"{prefix}{f.name}.")]
    if annotation is Path:
        return [prefix.rstrip(".")]
    return [name for argument in get_args(annotation) for name in path_fields(argument, prefix)]


@pytest.mark.parametrize("part", list(PARTS))
def test_every_path_of_a_job_is_known_as_an_input(part):
    """Else it would not be meant from the job file's directory, not be recorded with its hash and not be protected."""
    model = PARTS.get(part).model
    found = set(path_fields(model)) - {"output"}
    assert found <= set(model.inputs)
    # What more is named lies in tables with free keys, whose types are not stated.
    assert all(key.startswith("library.modifier.") for key in set(model.inputs) - found)


#: What a run of each part writes; inputs under these names in the run directory must be refused or survive.
OUTPUTS = (
    "job.toml", "provenance.json", "outcome.json", "run.log", "report.html", "summary.ecsv", "correction.nc",
    "correction.ecsv", "stages.json", "clusters.ecsv", "emulator.npz", "posterior.nc", "fluxes.ecsv",
    "input/continuum.txt", "frames/0001red_cal.fits", "figures/spectrum.png", "quality.txt", "frames.ecsv",
)  # fmt: skip


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_input_in_the_place_of_an_output_survives(case, name, tmp_path, monkeypatch):
    """It is refused before anything is written."""
    from crosscal.jobs.options import input_paths
    from crosscal.jobs.run import run

    monkeypatch.chdir(tmp_path)
    content = case.content(tmp_path)
    (tmp_path / "job.toml").write_text(tomli_w.dumps(content))
    _, job = load_job(str(tmp_path / "job.toml"))
    key, path = next(iter(input_paths(job).items()))
    target = tmp_path / "run" / name
    target.parent.mkdir(parents=True)
    target.write_bytes(path.read_bytes())
    parents = key.split("[")[0].split(".")
    inside = content
    for parent in parents[:-1]:
        inside = inside[parent]
    inside[parents[-1]] = [f"run/{name}"] if isinstance(inside[parents[-1]], list) else f"run/{name}"
    (tmp_path / "job.toml").write_text(tomli_w.dumps(content))
    before = target.read_bytes()
    with pytest.raises(CrossCalError, match=r"overwrite|inside the run directory"):
        run(tmp_path / "job.toml")
    assert target.read_bytes() == before
