"""A wrong standard is found among few, told, and never carries the scale; the curve beyond a masked end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from crosscal import fluxcal
from crosscal.fluxcal.curve.loo import HeldOut
from crosscal.fluxcal.curve.outliers import disagreement, far_away, odd_stars
from crosscal.fluxcal.curve.smoothing import Smooth, extrapolate
from crosscal.fluxcal.demo import simulate
from crosscal.fluxcal.quality import judge
from crosscal.fluxcal.types import StarFit, StarStatus


def shifted(truth, n, error=1.0):
    """The catalogue with the first ``n`` fibres' stars fainter by ``error`` mag."""
    names = truth.frame.fibres.name[:n]
    magnitude = truth.catalogue.magnitude.copy()
    magnitude[np.isin(truth.catalogue.name, names)] += error
    return replace(truth.catalogue, magnitude=magnitude), set(names)


@pytest.mark.parametrize(("n", "wrong"), [(3, 1), (5, 1), (5, 2), pytest.param(12, 1, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("error", [1.0, pytest.param(-1.0, marks=pytest.mark.thorough)])
def test_wrong_stars_are_rejected(n, wrong, error, library, filters):
    truth = simulate(seed=4, n_stars=n, n_targets=1, n_pixels=600, snr=40.0, grey_sd=0.08)
    options = fluxcal.Options(fwhm=5.0, ebv=0.02)
    right = fluxcal.Calibrator(truth.catalogue, library, filters, options).calibrate(truth.frame, loo=False)
    catalogue, names = shifted(truth, wrong, error)
    made = fluxcal.Calibrator(catalogue, library, filters, options).calibrate(truth.frame)
    assert {s.name for s in made.stars if s.status == StarStatus.GREY_OUTLIER} >= names
    assert made.passed
    assert f"({wrong} rejected)" in made.answer
    assert all(any(f"star {name} was rejected" in w for w in made.warnings) for name in names)
    inside = made.curve.covered & right.curve.covered
    ratio = np.median(made.curve.value[inside] / right.curve.value[inside])
    # Without a star the mean of the fibres' losses moves by about its share of 0.08 mag.
    assert abs(2.5 * np.log10(ratio)) < 0.12


def test_history_says_why_stars_were_rejected(tmp_path, library, filters):
    truth = simulate(seed=4, n_stars=5, n_targets=1, n_pixels=600, snr=40.0, grey_sd=0.08)
    catalogue, names = shifted(truth, 1)
    made = fluxcal.calibrate(truth.frame, catalogue, library, filters, fwhm=5.0, ebv=0.02)
    lines = list(fits.getheader(made.apply().write(tmp_path / "cal.fits"))["HISTORY"])
    assert lines[0] == "fluxcal: flux scale from 4 of 5 standard stars"
    assert any(f"fluxcal {names.copy().pop()} rejected: throughput far" in line for line in lines)


def test_two_stars_that_disagree_fail(library, filters):
    truth = simulate(seed=4, n_stars=2, n_targets=1, n_pixels=600, snr=40.0, grey_sd=0.05)
    catalogue, _ = shifted(truth, 1, 1.5)
    made = fluxcal.calibrate(truth.frame, catalogue, library, filters, fwhm=5.0, ebv=0.02)
    assert not made.passed
    assert "no third star shows" in made.quality.reason
    assert disagreement(np.zeros((3, 1)), ["a", "b", "c"], 4.0) == ""


def test_more_than_half_are_always_kept():
    rng = np.random.default_rng(1)
    for _ in range(50):
        n = int(rng.integers(1, 12))
        values = rng.standard_cauchy(n)
        out = far_away(values, np.zeros(n), 0.1, 3.0, np.ones(n, dtype=bool))
        assert out.sum() <= max((n - 1) // 2, 0)


def test_a_spectrum_that_no_template_fits_and_a_stray_velocity():
    def star(k, chi2=100.0, rv=20.0):
        return StarFit(k, f"s{k}", StarStatus.USED, rv=rv + k, rv_error=2.0, chi2=chi2, dof=100)

    stars = [*(star(k) for k in range(9)), star(9, chi2=900.0)]
    assert odd_stars(stars, 3.5) == {9: StarStatus.TEMPLATE_OUTLIER}
    stars = [*(star(k) for k in range(9)), star(9, chi2=200.0, rv=590.0)]
    assert odd_stars(stars, 3.5) == {9: StarStatus.VELOCITY_OUTLIER}
    assert odd_stars(stars[5:], 3.5) == {}, "a few stars say nothing about one that is fast"
    for rv, chi2 in ((-420.0, 200.0), (-590.0, 110.0)):
        assert odd_stars([*stars[:9], star(9, chi2, rv)], 3.5) == {}, "right standards of the halo are fast"


def test_colours_that_all_err_alike_are_told():
    def held(colour):
        return HeldOut(0, "s", 30.0, np.array([colour, 0.0]), 0.0, colour, 0.0)

    assert any("colours of held-out stars" in w for w in judge([], None, [held(-0.05)] * 6, fluxcal.Limits()).warnings)
    assert not judge([], None, [held(-0.01)] * 6, fluxcal.Limits()).warnings


def test_extrapolation_is_a_line_with_a_growing_error():
    wave = np.arange(5000.0, 7001.0, 2.0)
    true = np.exp(1e-4 * (wave - 6000) - 4e-7 * (wave - 6000) ** 2)
    value = np.where(wave < 6700, true, np.nan)
    smooth = Smooth(value, np.where(wave < 6700, 0.0, np.nan), np.zeros((0, wave.size)))
    made = extrapolate(wave, smooth, 200.0, 120.0)
    assert np.isfinite(made.value).sum() == np.sum(wave < 6700) + 100
    beyond = (wave >= 6700) & np.isfinite(made.value)
    sd = np.sqrt(np.sum(made.modes**2, axis=0))
    assert np.all(np.diff(sd[beyond]) > 0)
    # The constant curvature of this curve is the very one that the error stands for.
    error = np.abs(np.log(made.value / true))[beyond]
    assert np.all(error < 2 * sd[beyond])
    assert np.all(sd[beyond] < 3 * error + 1e-3)
    assert extrapolate(wave, smooth, 0.0, 120.0) is smooth


def test_a_frame_that_ends_in_a_masked_band_has_flux_there(tmp_path, library, filters):
    truth = simulate(seed=4, n_stars=6, n_targets=2, n_pixels=800, snr=40.0)
    mask = (*fluxcal.Options().mask, (8500.0, 8800.0))
    made = fluxcal.calibrate(truth.frame, truth.catalogue, library, filters, fwhm=5.0, ebv=0.02, mask=mask)
    curve = made.curve
    beyond = truth.frame.grid > 8500.0
    assert curve.extrapolated[beyond].all()
    assert np.isfinite(curve.value[beyond]).all()
    np.testing.assert_array_less(
        np.abs(np.log(curve.value / truth.curve))[beyond], 4 * np.sqrt(curve.total_variance / curve.value**2)[beyond]
    )
    assert any("extrapolated" in w for w in made.warnings)
    path = made.apply().write(tmp_path / "cal.fits")
    mask_hdu = fits.getdata(path, "MASK")
    assert set(np.unique(mask_hdu[:, beyond])) <= {1, 2}
    assert not np.any(mask_hdu[:, ~beyond] == 2)
    assert np.array_equal(fluxcal.read_curve(path).extrapolated, curve.extrapolated)
    none = replace(made.options, extrapolation=0.0)
    bare = fluxcal.calibrate(truth.frame, truth.catalogue, library, filters, options=none, loo=False).curve
    assert not np.isfinite(bare.value[beyond]).any()
