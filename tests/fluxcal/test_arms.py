"""Arms of one exposure calibrated together: one model per star, curves that agree where the arms overlap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crosscal import fluxcal
from crosscal.core.errors import InputError
from crosscal.fluxcal.curve.arms import joined, smooth_arms, split_curve, split_vector
from crosscal.fluxcal.curve.smoothing import extrapolate, smooth_throughput
from crosscal.fluxcal.demo import simulate
from crosscal.fluxcal.stars.selection import select_standards
from crosscal.fluxcal.stars.xp import XpSpectrum, source_id
from crosscal.fluxcal.types import StarStatus

from .test_xp import UNIT, xp_of

#: The second arm has another throughput and exposure time.
FACTOR, EXPOSURE = 1.7, 900.0


@pytest.fixture(scope="module")
def exposure():
    """A frame cut into two arms that overlap by 300 A, with noise of their own, and the simulation."""
    truth = simulate(seed=8, n_stars=10, n_targets=4, n_pixels=900, snr=40.0)
    frame, rng = truth.frame, np.random.default_rng(4)
    arms = []
    for name, low, high, factor, seconds in (
        ("b", 3900, 6400, 1.0, frame.exposure),
        ("r", 6100, 8700, FACTOR, EXPOSURE),
    ):
        inside = (frame.grid >= low) & (frame.grid <= high)
        scale = factor * seconds / frame.exposure
        variance = frame.variance[:, inside] * scale**2
        noise = np.nan_to_num(np.sqrt(variance)) * rng.normal(size=variance.shape)
        arms.append(
            replace(
                frame, name=f"{name}.fits", exposure=seconds, wavelength=frame.wavelength[:, inside],
                flux=frame.flux[:, inside] * scale + noise, variance=2 * variance,
            )
        )  # fmt: skip
    return truth, arms


@pytest.fixture(scope="module")
def calibrator(exposure, library, filters, options):
    return fluxcal.Calibrator(exposure[0].catalogue, library, filters, options)


@pytest.fixture(scope="module")
def together(exposure, calibrator):
    return fluxcal.calibrate_arms(calibrator, exposure[1])


@pytest.fixture(scope="module")
def apart(exposure, calibrator):
    return [calibrator.calibrate(frame) for frame in exposure[1]]


def step(results, truth):
    """Error of ln C in the first arm minus that in the second, mean over the overlap."""
    errors = []
    for result, factor in zip(results, (1.0, FACTOR), strict=True):
        wave = result.curve.wavelength
        inside = (wave > 6130) & (wave < 6370)
        true = np.interp(wave, truth.frame.grid, truth.curve) / factor
        errors.append(np.mean(np.log(result.curve.value / true)[inside]))
    return errors[0] - errors[1]


@pytest.mark.thorough
def test_arms_share_stars_templates_and_losses(together):
    blue, red = together
    assert blue.passed
    assert red.passed
    for one, other in zip(blue.stars, red.stars, strict=True):
        for key in ("name", "status", "template", "teff", "rv", "scale", "chi2", "dof"):
            assert getattr(one, key) == getattr(other, key)
        assert one.model.size == blue.curve.value.size
        assert other.model.size == red.curve.value.size
    np.testing.assert_array_equal(blue.curve.coefficients, red.curve.coefficients)


def test_a_field_that_is_not_tried_is_told(together, calibrator):
    assert calibrator.options.position == "auto"
    assert all(any("no field over the plate" in w for w in one.warnings) for one in together)


@pytest.mark.thorough
def test_curves_agree_where_arms_overlap(exposure, together, apart):
    truth, _ = exposure
    # Ten stars, a few hundred pixels of S/N 28: noise of 0.1 per cent.
    assert abs(step(together, truth)) < 0.003
    assert abs(step(apart, truth)) > 2 * abs(step(together, truth))


def test_errors_of_arms_are_correlated(together):
    blue, red = (r.curve for r in together)
    inside = [(c.wavelength > 6130) & (c.wavelength < 6370) for c in (blue, red)]
    modes = [c.modes[:, i].mean(axis=1) for c, i in zip((blue, red), inside, strict=True)]
    # What arms share is the level of the fibres' losses: their difference is known much better than either.
    assert np.linalg.norm(modes[0] - modes[1]) < 0.2 * np.linalg.norm(modes[0])


def test_colours_of_held_out_stars_across_arms(exposure, together, apart):
    def colours(results):
        g = np.array([h.offset[0] for h in results[0].held_out])
        i = np.array([h.offset[2] for h in results[1].held_out])
        return g - i

    truth = exposure[0]
    fibres = [h.fibre for h in together[0].held_out]
    # A fibre that loses more light in the red makes a star too blue: by its slope over the 2900 A between the bands.
    lost = -truth.slope[fibres] * (7650 - 4750) / 1000
    left = colours(together) - lost
    # What is left is noise of magnitudes of 0.015 in each band, and of the curve of nine stars.
    assert np.std(left) < 0.05
    assert np.std(left) < 0.5 * np.std(colours(together))
    assert len(together[0].held_out) == len(apart[0].held_out)


def test_a_star_without_blue_signal_is_used(exposure, calibrator):
    _, (blue, red) = exposure
    flux = blue.flux.copy()
    flux[0] = np.random.default_rng(1).normal(size=flux.shape[1]) * np.sqrt(np.nan_to_num(blue.variance[0]))
    dark = replace(blue, flux=flux)
    options = replace(calibrator.options, snr_floor=3.0)
    covered = calibrator.library.coverage(calibrator.filters) >= options.coverage
    assert select_standards(dark, calibrator.catalogue, usable=covered)[0].status == StarStatus.LOW_SNR
    results = fluxcal.calibrate_arms(calibrator, [dark, red], loo=False)
    assert results[0].stars[0].status == results[1].stars[0].status != StarStatus.LOW_SNR


def test_vectors_and_curves_are_split_as_they_were_joined(together):
    pair = [r.vectors[0] for r in together]
    whole = joined(pair)
    for one, again in zip(pair, split_vector(whole), strict=True):
        for key in ("wavelength", "value", "model", "modes", "mismatch", "good"):
            np.testing.assert_array_equal(getattr(one, key), getattr(again, key))
    assert joined(pair[:1]) is pair[0]
    assert split_vector(pair[0]) == [pair[0]]
    curve = together[0].curve
    assert split_curve(curve, (0,)) == [curve]
    first, second = split_curve(curve, (0, 100))
    assert first.value.size + second.value.size == curve.value.size


def test_each_arm_is_smoothed_by_itself():
    wave = np.concatenate([np.linspace(4000, 6000, 300), np.linspace(5800, 8000, 280)])
    value = np.concatenate([np.linspace(1, 2, 300), np.linspace(5, 3, 280)])
    value[-20:] = np.nan
    variance = np.full(wave.size, 1e-4)
    whole = smooth_arms((0, 300), wave, value, variance, "spline", 120.0, reach=300.0)
    for cut in (slice(0, 300), slice(300, None)):
        own = extrapolate(
            wave[cut], smooth_throughput(wave[cut], value[cut], variance[cut], "spline", 120.0), 300.0, 120.0
        )
        np.testing.assert_array_equal(whole.value[cut], own.value)
        # Modes of one arm are zero in the other, so that their sums agree.
        np.testing.assert_allclose(np.sum(whole.modes[:, cut] ** 2, axis=0), np.sum(own.modes**2, axis=0), rtol=1e-12)


def test_frames_that_are_no_arms_are_refused(exposure, calibrator, together):
    _, (blue, red) = exposure
    with pytest.raises(InputError, match="1 frame"):
        fluxcal.calibrate_arms(calibrator, [blue])
    with pytest.raises(InputError, match="order of their wavelengths"):
        fluxcal.calibrate_arms(calibrator, [red, blue])
    other = replace(red, fibres=red.fibres.retyped([0], "P"))
    with pytest.raises(InputError, match="same fibres"):
        fluxcal.calibrate_arms(calibrator, [blue, other])
    with pytest.raises(InputError, match="calibrated already"):
        fluxcal.calibrate_arms(calibrator, [together[0].apply().frame, red])
    for change, text in (({"position": True}, "position"), ({"method": "ivar-mean"}, "throughput")):
        wrong = fluxcal.Calibrator(
            calibrator.catalogue, calibrator.library, calibrator.filters, replace(calibrator.options, **change)
        )
        with pytest.raises(InputError, match=text):
            fluxcal.calibrate_arms(wrong, [blue, red])


@pytest.mark.thorough
def test_xp_spectra_set_the_shape_in_every_arm(exposure, library, filters, options):
    truth, arms = exposure
    numbers = np.array([f"Gaia DR3 {1000 + k}" for k in range(len(truth.catalogue.name))])
    catalogue = replace(truth.catalogue, name=numbers)
    stars = fluxcal.calibrate_arms(fluxcal.Calibrator(catalogue, library, filters, options), arms, loo=False)[0].stars
    xp = {}
    for star in stars:
        nodes, flux, _ = xp_of(truth, star.fibre)
        xp[source_id(star.name)] = XpSpectrum(nodes, UNIT * flux, UNIT**2 * np.diag((0.005 * flux) ** 2))
    calibrator = fluxcal.Calibrator(catalogue, library, filters, options, xp=xp)
    for result in fluxcal.calibrate_arms(calibrator, arms, loo=False):
        assert all("Gaia XP" in star.template for star in result.used)
        assert any("XP spectra set the broad shape" in note for note in result.warnings)
