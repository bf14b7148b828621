"""E(B-V) of a field: its stars mend a wrong map, a right one stays, and its error is in the curve's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crosscal import fluxcal
from crosscal.fluxcal.demo import simulate
from crosscal.fluxcal.stars import reddening as module
from crosscal.fluxcal.stars.colours import reddened
from crosscal.fluxcal.stars.reddening import OFFSETS, average, field_reddening, posterior, star_estimates


def calibrated(truth, library, filters, told, **options):
    catalogue = replace(truth.catalogue, ebv=np.full(len(truth.catalogue), told))
    chosen = fluxcal.Options(fwhm=5.0, **options)
    return fluxcal.Calibrator(catalogue, library, filters, chosen).calibrate(truth.frame, loo=False)


@pytest.fixture(scope="module")
def dusty():
    return simulate(seed=3, n_stars=6, n_targets=0, n_pixels=700, snr=40.0, ebv=0.3)


def ends(result, truth):
    """Error of ln C at the blue end relative to the middle, and its stated standard deviation."""
    curve, wave = result.curve, result.curve.wavelength
    blue, middle = wave < 4150, (wave > 6000) & (wave < 6500)
    error = np.log(curve.value / truth.curve)
    modes = curve.modes[:, blue].mean(axis=1) - curve.modes[:, middle].mean(axis=1)
    return error[blue].mean() - error[middle].mean(), np.sqrt(np.sum(modes**2))


@pytest.mark.thorough
def test_stars_mend_a_wrong_map(dusty, library, filters, tmp_path):
    wrong = calibrated(dusty, library, filters, 0.02, reddening="map")
    fitted = calibrated(dusty, library, filters, 0.02)
    field = fitted.reddening
    # six stars: 0.02 that all templates share, 0.03 / sqrt(6) of each star
    assert abs(field.stars - 0.3) < 2 * field.stars_error < 0.08
    assert abs(field.used - 0.3) < 2 * field.error
    assert field.map == 0.02
    assert all(s.ebv == pytest.approx(field.used) for s in fitted.used)
    assert "check the map" in " ".join(fitted.warnings)
    assert f"E(B-V) = {field.used:.3f}" in fitted.answer
    assert abs(ends(fitted, dusty)[0]) < 0.5 * abs(ends(wrong, dusty)[0])
    # the map as it is: used, and told
    assert wrong.reddening.used == 0.02
    assert any("the map is used" in w for w in wrong.warnings)
    # where the result goes, the value goes
    fitted.apply().write(tmp_path / "cal.fits")
    from astropy.io import fits

    history = "\n".join(str(line) for line in fits.getheader(tmp_path / "cal.fits")["HISTORY"])
    assert f"fluxcal: E(B-V) = {field.used:.3f} +/- {field.error:.3f} (map 0.020" in history
    assert fitted.frame_summary()["ebv_stars"] == field.stars


@pytest.mark.thorough
def test_a_right_map_stays(dusty, library, filters):
    fitted, exact = (calibrated(dusty, library, filters, 0.3, **kind) for kind in ({}, {"ebv_error": 0.0}))
    assert abs(fitted.reddening.used - 0.3) < 0.02
    assert not any("check the map" in w for w in fitted.warnings)
    assert exact.reddening.used == 0.3
    assert exact.reddening.error == 0
    assert not exact.stars[0].dust.any()
    # the error of E(B-V) is one more error of the curve, as large as that of its stars: it does not average out
    np.testing.assert_allclose(fitted.curve.modes[-1], np.mean([s.dust for s in fitted.used], axis=0), atol=1e-12)
    assert len(fitted.curve.modes) > 1


@pytest.mark.thorough
def test_the_error_is_that_of_a_change_of_the_map(dusty, library, filters):
    # one pass: the throughput, by which a second one shapes templates, would move too
    stated = {"reddening": "map", "ebv_error": 0.03, "second_terms": 0}
    at, more = (calibrated(dusty, library, filters, e, **stated) for e in (0.3, 0.33))
    for star, other in zip(at.stars, more.stars, strict=True):
        # velocities, found with templates of other colours, differ by 3 km/s: 1e-3 in lines
        np.testing.assert_allclose(star.dust, np.log(other.model / star.model), atol=2e-3)
    assert max(np.ptp(s.dust) for s in at.stars) > 0.01


def test_the_prior():
    # a right map: the narrow part holds the value, the stars add little
    mean, sd = posterior(0.02, 0.03, 0.1, 0.014, True)
    assert abs(mean) < 0.01
    assert sd < 0.016
    # a wrong one gives way to the stars
    mean, sd = posterior(0.15, 0.03, 0.1, 0.014, True)
    assert mean == pytest.approx(0.145, abs=0.01)
    assert sd == pytest.approx(0.03, abs=0.006)
    # without a map no negative E(B-V); without stars the prior alone
    assert posterior(-0.2, 0.03, 0.0, 0.01, False)[0] > 0
    assert posterior(np.nan, np.nan, 0.1, 0.014, True)[1] > 0.014
    with_zero = field_reddening((-0.2, 0.03), 0.0, None, True, fit=True)
    assert with_zero.used >= 0


def test_the_prior_is_normalised():
    # the evidence of stars at the map: integral of the mixture with a flat likelihood
    offset = np.arange(-1.0, 1.0, 0.0005)
    for level in (0.0, 0.3):
        own = 1e3
        mean, sd = posterior(0.0, own, level, 0.02, True)
        part = offset[(offset + level >= 0)]
        broad = np.exp(-0.5 * (part / module.BROAD) ** 2)
        second = np.sum(broad * part**2) / broad.sum()
        first = np.sum(broad * part) / broad.sum()
        expected = 0.9 * 0.02**2 + 0.1 * second - (0.1 * first) ** 2
        assert sd**2 == pytest.approx(expected, rel=0.02)
        assert mean == pytest.approx(0.1 * first, abs=1e-3)


def test_estimates_and_their_average():
    centre = np.array([0.1, 0.2, -0.9])
    colour = [((OFFSETS[:, None] - c) / 0.05) ** 2 for c in centre]
    mean, sd = star_estimates(np.zeros((3, 1)), np.ones(3), colour)
    np.testing.assert_allclose(mean[:2], centre[:2], atol=1e-6)
    np.testing.assert_allclose(sd[:2], 0.05, rtol=1e-3)
    assert np.isnan(mean[2]), "beyond the offsets that are tried"
    # one wrong star of seven hardly moves the mean
    values = np.array([0.1] * 6 + [0.6])
    own, error = average(values, np.full(7, 0.01), 3700.0)
    assert abs(own - 0.1) < 0.02
    assert error > module.COMMON_FLOOR
    assert average(values, np.full(7, 0.01), 5700.0)[1] > module.RED_FLOOR
    assert np.isnan(average(np.full(2, np.nan), np.full(2, np.nan), 3700.0)[0])


def test_reddened_magnitudes_between_nodes(library, filters):
    found = reddened(library, tuple(filters), np.array([-0.05, 0.13, 0.4]), "fitzpatrick99")
    for row, ebv in zip(found, (-0.05, 0.13, 0.4), strict=True):
        # magnitudes are computed in single precision, 0.1 mmag; the parabola adds as much
        np.testing.assert_allclose(row, library.magnitudes(filters, ebv), atol=4e-4)


def test_a_field_without_colours_keeps_the_map(truth, library, filters):
    one = replace(truth.catalogue, bands=truth.catalogue.bands[:1], magnitude=truth.catalogue.magnitude[:, :1],
                  error=truth.catalogue.error[:, :1])  # fmt: skip
    result = fluxcal.Calibrator(one, library, filters[:1], fluxcal.Options(fwhm=5.0)).calibrate(truth.frame, loo=False)
    assert np.isnan(result.reddening.stars)
    assert result.reddening.used == pytest.approx(0.02, abs=0.005)
