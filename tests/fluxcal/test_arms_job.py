"""Arms in job files: the job is the call from Python, tells what was joined, and resumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crosscal import fluxcal
from crosscal.core.errors import ConfigError
from crosscal.fluxcal import FluxcalJob
from crosscal.fluxcal.demo import simulate
from crosscal.fluxcal.figures import night_figures
from crosscal.fluxcal.job import _in_turn, _spread, calibrate_files, make_calibrator
from crosscal.fluxcal.night.exposures import exposures_of
from crosscal.jobs.options import validate
from crosscal.jobs.run import run
from crosscal.jobs.stages import Stages

from .conftest import write_catalogue, write_raw

#: Names and ranges of three arms that overlap by 200 A.
ARMS = (("b", 3900, 5700), ("r", 5500, 7300), ("z", 7100, 8900))


@pytest.fixture(scope="module")
def truth():
    return simulate(seed=8, n_stars=6, n_targets=2, n_pixels=900, snr=40.0)


def write_arm(path, truth, low, high, **changes):
    inside = (truth.frame.grid >= low) & (truth.frame.grid <= high)
    cut = {key: getattr(truth.frame, key)[:, inside] for key in ("flux", "variance", "wavelength")}
    write_raw(path, replace(truth, frame=replace(truth.frame, **cut, **changes)))


@pytest.fixture
def content(tmp_path, truth, filters):
    """A job of two exposures of three arms each."""
    for k in (1, 2):
        for name, low, high in ARMS:
            write_arm(tmp_path / f"{name}0-{k}.fits", truth, low, high, exposure=truth.frame.exposure * k)
    for band in filters:
        np.savetxt(tmp_path / f"{band.name}.dat", np.column_stack([band.wavelength, band.response]))
    return {
        "job": "fluxcal",
        "output": str(tmp_path / "run"),
        "data": {"frames": str(tmp_path / "?0-*.fits"), "arms": ["b0-*.fits", "r0-*.fits", "z0-*.fits"]},
        "catalogue": {
            "path": str(write_catalogue(tmp_path / "stars.csv", truth)),
            "bands": {band.name: band.name for band in filters},
        },
        "filters": {"files": [str(tmp_path / f"{band.name}.dat") for band in filters]},
        "templates": {"library": "demo"},
        "method": {"fwhm": 5.0, "ebv": 0.02},
    }


def same(one, other):
    np.testing.assert_array_equal(one.curve.value, other.curve.value)
    np.testing.assert_array_equal(one.curve.modes, other.curve.modes)
    for key in ("grey", "slope"):
        np.testing.assert_array_equal(*([getattr(h, key) for h in r.held_out] for r in (one, other)))
    assert [(s.name, s.status, s.template, s.scale) for s in one.stars] == [
        (s.name, s.status, s.template, s.scale) for s in other.stars
    ]
    assert one.together == other.together


@pytest.mark.thorough
def test_a_job_of_three_arms_is_the_call_from_python(content, tmp_path):
    job = validate(FluxcalJob, content)
    made = run(content, overwrite=True)
    calibrator = make_calibrator(job)
    for k in (1, 2):
        frames = [fluxcal.read_frame(tmp_path / f"{name}0-{k}.fits") for name, _, _ in ARMS]
        expected = fluxcal.calibrate_arms(calibrator, frames)
        found = {r.info.name: r for r in made.result.results}
        for result in expected:
            same(found[result.info.name], result)
    night = made.result
    assert night.passed
    assert "the arms of 2 exposures calibrated together" in night.answer
    assert "together with r0-1.fits, z0-1.fits" in night.results[0].answer
    directory = tmp_path / "run"
    assert (directory / "figures" / "arms.png").exists()
    assert "calibrated together" in (directory / "report.html").read_text()
    assert "b0-1.fits r0-1.fits z0-1.fits" in (directory / "frames.ecsv").read_text()
    from astropy.io import fits

    assert "one fit with r0-1.fits z0-1.fits" in str(fits.getheader(directory / "frames" / "b0-1_cal.fits")["HISTORY"])
    # A second run finds everything done.
    assert run(content).repeated


@pytest.mark.thorough
def test_exposures_resume_and_can_be_computed_by_an_executor(content, tmp_path, monkeypatch):
    job = validate(FluxcalJob, {**content, "leave_one_out": False, "compute": {"executor": "local", "workers": 1}})
    calibrator = make_calibrator(job)
    (tmp_path / "turn").mkdir()
    in_turn = _in_turn(calibrator, job, Stages(tmp_path / "turn"))
    (tmp_path / "spread").mkdir()
    spread = _spread(job, Stages(tmp_path / "spread"))
    for one, other in zip(in_turn, spread, strict=True):
        for a, b in zip(one, other, strict=True):
            same(a, b)
    monkeypatch.setattr("crosscal.fluxcal.job._exposure", None)
    for one, other in zip(in_turn, _in_turn(calibrator, job, Stages(tmp_path / "turn")), strict=True):
        for a, b in zip(one, other, strict=True):
            same(a, b)


@pytest.mark.thorough
def test_arms_that_cannot_be_read_do_not_stop_the_others(content, tmp_path, truth):
    (tmp_path / "z0-1.fits").write_bytes(b"no FITS file")
    for name in ("r", "z"):
        (tmp_path / f"{name}0-2.fits").write_bytes(b"no FITS file")
    job = validate(FluxcalJob, {**content, "leave_one_out": False, "fallback": False})
    (tmp_path / "run").mkdir()
    night = calibrate_files(make_calibrator(job), job, Stages(tmp_path / "run"))
    assert [r.info.name for r in night.results] == ["b0-1.fits", "b0-2.fits", "r0-1.fits"]
    assert sorted(name.rsplit("/")[-1] for name, _ in night.unread) == ["r0-2.fits", "z0-1.fits", "z0-2.fits"]
    assert night.results[0].together == ("b0-1.fits", "r0-1.fits")
    assert night.results[1].together == ()
    text = " ".join(night.warnings)
    assert "calibrated without z0-1.fits, which could not be read" in text
    assert "calibrated without r0-2.fits, z0-2.fits, which could not be read" in text
    assert "arms" in night_figures(night)
    # Arms of other fibres are no arms of one exposure.
    fibres = replace(truth.frame.fibres, name=np.roll(truth.frame.fibres.name, 1))
    write_arm(tmp_path / "b0-2.fits", truth, *ARMS[0][1:], fibres=fibres)
    write_arm(tmp_path / "r0-2.fits", truth, *ARMS[1][1:])
    made = _in_turn(make_calibrator(job), job, Stages(tmp_path / "run"))
    assert "other names or types of fibres" in made[1][0]
    assert "not a FITS file" in made[1][2]


@pytest.mark.thorough
def test_the_same_stars_are_set_aside_in_all_arms(content, tmp_path):
    job = validate(FluxcalJob, {**content, "leave_one_out": False, "data": {**content["data"], "targets": 0.3}})
    (tmp_path / "run").mkdir()
    night = calibrate_files(make_calibrator(job), job, Stages(tmp_path / "run"))
    aside = {r.info.name: r.info.file.targets for r in night.results}
    for k in (1, 2):
        assert len({aside[f"{name}0-{k}.fits"] for name, _, _ in ARMS}) == 1
    assert all(len(r.targets) == len(aside[r.info.name]) == 2 for r in night.results)


@pytest.mark.parametrize(
    ("names", "arms", "words"),
    [
        (["b-1", "r-1"], ["b-*"], "two arms or more"),
        (["b-1", "r-1"], ["b-*", "r-1"], r"pattern with \*"),
        (["b-1", "r-1", "z-1"], ["b-*", "r-*"], "z-1 matches 0 of the patterns"),
        (["b-1", "r-1"], ["b-*", "*-1"], "b-1 matches 2 of the patterns"),
        (["b-1", "b-2", "r-1"], ["b-*", "r-*"], r"exposure of b-2 has no frame r-\*"),
    ],
)
def test_frames_that_are_no_exposures_are_refused(names, arms, words):
    with pytest.raises(ConfigError, match=words):
        exposures_of(names, arms)


def test_exposures_by_names():
    names = ["r1-a.fits", "b1-b.fits", "b1-a.fits", "r1-b.fits"]
    assert exposures_of(names, ()) == [(0,), (1,), (2,), (3,)]
    assert exposures_of(names, ["b1-*.fits", "r1-*.fits"]) == [(2, 0), (1, 3)]
    # Other characters of a pattern stand for themselves.
    assert exposures_of(["b[1]x", "r[1]x"], ["b[1]*", "r[1]*"]) == [(0, 1)]


@pytest.mark.parametrize(
    ("method", "words"), [({"position": True}, "position = true"), ({"method": "ivar-mean"}, "ivar-mean")]
)
def test_methods_that_arms_do_not_have_are_refused(content, method, words):
    with pytest.raises(ConfigError, match=f"{words}.*data.arms"):
        validate(FluxcalJob, {**content, "method": method})
