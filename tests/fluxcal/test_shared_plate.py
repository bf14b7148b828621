"""The field over the plate that frames share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crosscal.fluxcal import kspecdr
from crosscal.fluxcal.calibrator import Calibrator
from crosscal.fluxcal.curve.position import PLATE_RADIUS, PlatePrior
from crosscal.fluxcal.curve.shared_plate import FrameStars, SharedField, fit_shared, gather
from crosscal.fluxcal.demo import simulate
from crosscal.fluxcal.frames.files import read_curve
from crosscal.fluxcal.job import calibrate_files
from crosscal.fluxcal.job_options import FluxcalJob
from crosscal.fluxcal.night.night import NightCalibration
from crosscal.fluxcal.night.shared import calibrate_frames, share_plate
from crosscal.jobs.options import validate
from crosscal.jobs.stages import Stages

from .conftest import write_catalogue, write_raw

PRIOR = PlatePrior(sd=(0.0, 0.08), scale=0.4, gradient_sd=0.08)


def pattern(position):
    """A fixed chromatic loss over the plate, RMS 0.06 in ln per 1000 A."""
    x, y = np.asarray(position).T / PLATE_RADIUS
    return 0.12 * np.sin(2.5 * x) * np.cos(2.0 * y)


def plates(rng, n=10, n_stars=12, amplitude=1.0, scatter=0.02, exposures=1):
    """Frames of ``n`` configurations with other stars at other places; each has its own level."""
    frames = []
    for q in range(n):
        position = rng.uniform(-1.7e5, 1.7e5, (n_stars, 2))
        slope = amplitude * pattern(position) + rng.normal(0, scatter, n_stars)
        for _ in range(exposures):
            value = np.column_stack([rng.normal(0, 0.2, n_stars), slope + rng.normal() * 0.1])
            names = tuple(f"c{q}s{k}" for k in range(n_stars))
            frames.append(FrameStars(names, position, value, np.full((n_stars, 2), 0.003), 0.7))
    return frames


def test_a_pattern_that_plates_share_is_found_with_its_stated_error(rng):
    new = rng.uniform(-1.6e5, 1.6e5, (200, 2))
    plate = fit_shared(gather(plates(rng)), PRIOR)
    assert plate is not None
    field = plate.term(0).fields[1]
    assert isinstance(field, SharedField)
    assert field.common_sd > 0
    error = plate.term(0).at(*new.T)[:, 1] - pattern(new)
    # a constant belongs to the curve
    error -= error.mean()
    assert np.std(error) < 0.4 * np.std(pattern(new))
    sd = plate.term(0).sd(*new.T)[:, 1]
    # 200 places of a field with a dozen independent patches
    assert np.mean(np.abs(error) < sd) > 0.5


@pytest.mark.slow
def test_no_pattern_does_no_harm(rng):
    moved = []
    for _ in range(6):
        plate = fit_shared(gather(plates(rng, amplitude=0.0)), PRIOR)
        field = None if plate is None else plate.term(0)
        new = rng.uniform(-1.6e5, 1.6e5, (50, 2))
        moved.append(0.0 if field is None else float(np.std(field.at(*new.T)[:, 1])))
    # the scatter of single fibres is 0.02
    assert np.median(moved) < 0.005
    assert max(moved) < 0.02


def test_two_configurations_share_nothing(rng):
    assert fit_shared(gather(plates(rng, n=2, exposures=3)), PRIOR) is None


def test_a_star_that_is_left_out_is_left_out_of_every_frame(rng):
    frames = plates(rng, n=5, n_stars=8)
    # the same star in two configurations
    frames[1] = replace(frames[1], names=("c0s0", *frames[1].names[1:]))
    data = gather(frames)
    plate = fit_shared(data, PRIOR)
    out = data.star == "c0s0"
    assert out.sum() == 2
    order, reduced = plate.orders[1], plate.term(0, {"c0s0"}).fields[1]
    covariance = np.linalg.inv(order.inverse)
    value = covariance @ order.alpha
    inside = np.ix_(~out, ~out)
    np.testing.assert_allclose(reduced.inverse, np.linalg.inv(covariance[inside]), rtol=1e-5, atol=1e-5)
    # the constants' vague priors make the matrix ill-conditioned: 1e-5 of weights of order 10
    np.testing.assert_allclose(reduced.alpha, np.linalg.solve(covariance[inside], value[~out]), atol=1e-4)
    assert reduced.own.sum() == 7


def test_exposures_of_one_configuration_are_one_measurement(rng):
    once, often = plates(np.random.default_rng(5), n=3), plates(np.random.default_rng(5), n=3, exposures=1)
    often = [replace(f, value=f.value + shift) for f in often for shift in (0.0, 0.3, -0.1)]
    one, many = gather(once), gather(often)
    assert list(many.frame) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert list(many.star) == list(one.star)
    for q in range(3):
        inside = one.configuration == q
        difference = many.value[inside] - one.value[inside]
        np.testing.assert_allclose(difference - difference.mean(axis=0), 0, atol=1e-12)


def test_frames_without_positions_or_stars_have_no_configuration():
    empty = FrameStars((), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2)), 0.5)
    lost = FrameStars(("a",), np.full((1, 2), np.nan), np.zeros((1, 2)), np.ones((1, 2)), 0.5)
    data = gather([empty, lost])
    assert list(data.frame) == [-1, -1]
    assert data.tangent.size == 0


def test_a_frame_joins_groups_that_had_no_star_in_common():
    def frame(*names):
        place = np.array([(1000.0 * ord(n), 0.0) for n in names])
        return FrameStars(names, place, np.zeros((len(names), 2)), np.ones((len(names), 2)), 0.5)

    assert list(gather([frame("a", "b"), frame("c"), frame("d"), frame("b", "c")]).frame) == [0, 0, 1, 0]


@pytest.fixture(scope="module")
def night():
    """Four simulated frames, each of another field, with a common chromatic pattern over the plate."""
    made = []
    for seed in range(4):
        truth = simulate(seed=40 + seed, n_stars=12, n_targets=2, n_pixels=400, slope_sd=0.01, grey_sd=0.05)
        frame = truth.frame
        x = (frame.grid - 0.5 * (frame.grid[0] + frame.grid[-1])) / 1000.0
        fibres = frame.fibres
        # fields two degrees apart, so that no star of one is in another; plates have the same size
        names = np.array([f"f{seed}{n}" for n in fibres.name])
        place = np.column_stack([fibres.x, fibres.y])
        loss = np.exp(pattern(place)[:, None] * x)
        move = 4.0 * seed
        frame = replace(
            frame,
            flux=frame.flux * loss,
            variance=frame.variance * loss**2,
            fibres=replace(fibres, name=names, ra=fibres.ra + move),
            name=f"f{seed}.fits",
            mjd=60000.0 + seed,
        )
        catalogue = truth.catalogue
        catalogue = replace(catalogue, name=np.array([f"f{seed}{n}" for n in catalogue.name]), ra=catalogue.ra + move)
        made.append(replace(truth, frame=frame, catalogue=catalogue))
    return made


@pytest.fixture(scope="module")
def catalogue(night):
    parts = [t.catalogue for t in night]
    joined = {
        key: np.concatenate([getattr(p, key) for p in parts])
        for key in ("name", "ra", "dec", "magnitude", "error", "pm_ra", "pm_dec", "ebv")
    }
    return replace(parts[0], **joined)


@pytest.fixture(scope="module")
def chosen(options):
    return replace(options, position=True, position_scale=0.5, slope_order=1)


@pytest.fixture(scope="module")
def calibrator(catalogue, library, filters, chosen):
    return Calibrator(catalogue, library, filters, chosen)


@pytest.fixture(scope="module")
def results(night, calibrator):
    """The frames one by one, no star held out."""
    return [calibrator.calibrate(t.frame, loo=False) for t in night]


@pytest.mark.thorough
def test_frames_together_predict_held_out_stars_better(night, calibrator, results, tmp_path):
    frames = [t.frame for t in night]
    spread = {}
    for shared in (False, True):
        made = NightCalibration(
            tuple(share_plate(calibrator, results) if shared else [calibrator.held_out(r) for r in results])
        )
        assert made.passed, made.diagnostics
        slope = np.array([h.slope for r in made.results for h in r.held_out])
        assert slope.size >= 44
        spread[shared] = np.sqrt(np.mean(slope**2))
    assert spread[True] < 0.85 * spread[False]
    # what a frame's file holds gives the same curve for each fibre again
    result = made.results[0]
    back = read_curve(result.apply().write(tmp_path / "f0_cal.fits"))
    places = frames[0].fibres.x, frames[0].fibres.y
    np.testing.assert_allclose(back.plate.at(*places), result.curve.plate.at(*places), atol=1e-12)
    np.testing.assert_allclose(back.plate.sd(*places), result.curve.plate.sd(*places), atol=1e-9)
    field = result.curve.plate.fields[1]
    assert result.curve.plate.sd(np.nan, 0.0)[0, 1] == field.prior_sd
    assert field.gradient.shape == (2,)


@pytest.mark.slow
def test_targets_are_not_learned_from(calibrator, results):
    hidden = [set() for _ in results]
    hidden[0] = {s.name for s in results[1].used[:6]}
    free = share_plate(calibrator, results, loo=False)
    aside = share_plate(calibrator, results, hidden, loo=False)
    n = len(free[0].curve.plate.fields[1].alpha)
    assert len(aside[0].curve.plate.fields[1].alpha) == n - 6
    assert len(aside[1].curve.plate.fields[1].alpha) == n


@pytest.mark.slow
def test_job_and_list_share_the_field(night, catalogue, filters, calibrator, tmp_path):
    paths = [write_raw(tmp_path / f"f{k}red.fits", t) for k, t in enumerate(night[:3])]
    content = {"job": "fluxcal", "output": str(tmp_path / "run"), "seed": 1}
    write_catalogue(tmp_path / "stars.csv", replace(night[0], catalogue=catalogue))
    content |= {
        "data": {"frames": [str(p) for p in paths], "targets": 0.2},
        "catalogue": {"path": str(tmp_path / "stars.csv"), "bands": {f.name: f.name for f in filters}},
        "leave_one_out": False,
    }
    (tmp_path / "run").mkdir()
    made = calibrate_files(calibrator, validate(FluxcalJob, content), Stages(tmp_path / "run"))
    assert all(isinstance(r.curve.plate.fields[1], SharedField) for r in made.results)
    assert all(len(r.targets) >= 2 for r in made.results)
    together = replace(night[0], catalogue=catalogue)
    csv = write_catalogue(tmp_path / "stars.csv", together)
    directory = tmp_path / "filters"
    directory.mkdir()
    for f in filters:
        np.savetxt(directory / f"{f.name}.dat", np.column_stack([f.wavelength, f.response]))
    arguments = {
        "CALIBFLUX_CATALOG": str(csv),
        "CALIBFLUX_FILTERS": [f.name for f in filters],
        "CALIBFLUX_FILTER_DIR": str(directory),
        "CALIBFLUX_TEMPLATES": "demo",
        "CALIBFLUX_FWHM": 5.0,
        "CALIBFLUX_POSITION": True,
    }
    missing = tmp_path / "missing.fits"
    outcomes = kspecdr.calibrate_list([*paths[:2], missing, *paths[2:]], arguments, tmp_path / "out")
    assert [o.calibrated for o in outcomes] == [True, True, False, True]
    assert isinstance(read_curve(outcomes[0].output).plate.fields[1], SharedField)


@pytest.mark.thorough
def test_a_lone_frame_stands_alone(night, calibrator):
    alone = calibrate_frames(calibrator, [night[0].frame]).results[0]
    single = calibrator.calibrate(night[0].frame)
    np.testing.assert_array_equal(alone.curve.value, single.curve.value)
    assert [h.slope for h in alone.held_out] == [h.slope for h in single.held_out]
