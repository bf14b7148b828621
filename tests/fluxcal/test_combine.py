"""Combination, smoothing, plate term, covariance, application: unbiased, robust, covered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crosscal.core.errors import ConfigError, InputError, UnknownNameError
from crosscal.fluxcal.curve.apply import apply_curve, band_error
from crosscal.fluxcal.curve.combine import combine
from crosscal.fluxcal.curve.curve import MAG, compress, polynomials
from crosscal.fluxcal.curve.smoothing import smooth_throughput
from crosscal.fluxcal.night.night import transfer_function
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.types import CalibrationVector, Fibres, Frame

WAVE = np.linspace(5000.0, 7000.0, 600)
TRUE = 0.02 * np.exp(-(((WAVE - 6000) / 1500) ** 2))


def vectors(rng, n=8, snr=20.0, grey=0.2, slope=0.0, quiet=False, xy=None, tilt=(0.0, 0.0)):
    """Stars whose counts are model x throughput x losses + noise."""
    x = (WAVE - 6000.0) / 1000.0
    out = []
    for k in range(n):
        model = np.full(WAVE.size, 300.0 * rng.uniform(0.7, 1.4)) * (WAVE / 6000) ** -1.0
        a, b = rng.normal(0, grey), rng.normal(0, slope)
        place = xy[k] if xy is not None else (0.0, 0.0)
        b += tilt[0] * place[0] / 2e5 + tilt[1] * place[1] / 2e5
        clean = model * TRUE * 10 ** (-0.4 * (a + b * x))
        sd = np.full(WAVE.size, np.median(clean) / snr)
        rate = clean + (0 if quiet else rng.normal(0, 1, WAVE.size) * sd)
        good = np.ones(WAVE.size, dtype=bool)
        good[200:230] = False
        value = model / rate
        out.append(
            CalibrationVector(
                WAVE, value, value**2 * (sd / rate) ** 2, good & (rate > 0) if snr > 50 else good, f"s{k}", rate, sd**2,
                model, np.zeros(WAVE.size), np.zeros((3, WAVE.size)), *place,
            )
        )  # fmt: skip
    return out


def test_noiseless_stars_give_the_truth(rng):
    curve = combine(vectors(rng, quiet=True, grey=0.0), smooth_scale=200.0)
    inside = curve.covered
    assert inside.all()
    # the spline with 200 A knots follows a Gaussian of 1500 A to 1e-4; the gap is bridged to 1e-3
    np.testing.assert_allclose(curve.value * TRUE, 1.0, atol=1e-3)
    assert curve.bridged[200:230].all()
    assert not curve.bridged[:200].any()
    assert curve.n_stars[0] == 8
    assert curve.n_stars[210] == 0


@pytest.mark.parametrize("snr", [3.0, 5.0, 10.0, 20.0])
def test_throughput_is_unbiased_and_the_old_mean_is_not(rng, snr):
    ours, old = [], []
    for _ in range(12):
        stars = vectors(rng, n=8, snr=snr, grey=0.0)
        clean = slice(20, 190)
        ours.append(np.mean((combine(stars, order=0).value * TRUE)[clean]) - 1)
        positive = [replace(v, good=v.good & (v.rate > 0)) for v in stars]
        old.append(np.mean((combine(positive, method="ivar-mean", smooth="none").value * TRUE)[clean]) - 1)
    # 12 x 8 x 170 pixels: standard error of the mean 0.3 % at S/N 3
    assert abs(np.mean(ours)) < 0.01
    if snr <= 5:
        assert np.mean(old) < -0.05


def test_one_star_passes_through(rng):
    curve = combine(vectors(rng, n=1, quiet=True, grey=0.0), smooth_scale=200.0)
    np.testing.assert_allclose(curve.value * TRUE, 1.0, atol=1e-3)
    assert "only one star" in curve.warnings[0]
    # a single fibre's losses are unknown: 0.25 mag
    assert np.sqrt(curve.total_variance / curve.value**2).min() > 0.2


def test_grey_losses_average_and_the_outlier_is_named(rng):
    stars = vectors(rng, n=9, grey=0.05)
    bad = stars[4]
    stars[4] = replace(bad, rate=bad.rate * 0.1, rate_variance=bad.rate_variance * 0.01)
    curve = combine(stars)
    assert curve.rejected == (4,)
    assert curve.rejected_why == ("grey",)
    assert abs(np.median(np.log(curve.value * TRUE))) < 0.06  # 0.05 mag / sqrt(8), three sigma
    tilted = vectors(rng, n=9, grey=0.05)
    x = (WAVE - 6000) / 1000
    tilted[2] = replace(tilted[2], rate=tilted[2].rate * np.exp(0.6 * x))
    assert combine(tilted).rejected_why == ("slope",)


def test_cosmic_rays_are_clipped(rng):
    stars = vectors(rng, n=6, snr=30.0, grey=0.0)
    stars[0].rate[100] *= 30
    stars[1].rate[300] *= 50
    curve = combine(stars, smooth="none")
    assert abs(curve.value[100] * TRUE[100] - 1) < 0.08
    assert abs(curve.value[300] * TRUE[300] - 1) < 0.08


def test_a_bright_star_does_not_decide_the_colour(rng):
    stars = vectors(rng, n=7, snr=20.0, grey=0.0)
    x = (WAVE - 6000) / 1000
    bright = stars[0]
    stars[0] = replace(bright, rate=bright.rate * np.exp(0.08 * x), rate_variance=bright.rate_variance / 400)
    slope = np.polyfit(x, np.log(combine(stars).value * TRUE), 1)[0]
    assert abs(slope) < 0.02  # its 0.08 / 7, while inverse variances would give 0.08


def test_smoothings_agree_on_smooth_truth(rng):
    stars = vectors(rng, n=6, snr=40.0, grey=0.0)
    values = {s: combine(stars, smooth=s, smooth_scale=150.0) for s in ("spline", "savgol", "none")}
    for kind, curve in values.items():
        error = np.abs(curve.value * TRUE - 1)
        assert np.median(error) < (0.012 if kind == "none" else 0.006), kind
        assert np.isfinite(curve.value).all()
        assert np.all(curve.value[200:230] > 0)  # the gap is bridged, never zero
    assert np.median(values["none"].variance) > np.median(values["savgol"].variance)


def test_smoothing_of_few_pixels_and_unknown_name():
    t = np.full(20, np.nan)
    t[:3] = 1.0
    done = smooth_throughput(np.arange(20.0) + 4000, t, np.ones(20), "spline", 10.0)
    assert np.isnan(done.value[3:]).all()
    with pytest.raises(UnknownNameError, match="smoothing"):
        smooth_throughput(np.arange(20.0), t, t, "median", 1.0)


def frame_at(xy, counts=100.0, wave=WAVE, exposure=10.0):
    n = len(xy)
    zeros = np.zeros(n)
    fibres = Fibres(np.array(["a"] * n), zeros, zeros, xy[:, 0], xy[:, 1], np.array(["P"] * n))
    flux = np.full((n, wave.size), counts)
    return Frame(flux, flux.copy(), np.tile(wave, (n, 1)), fibres, exposure)


def test_application_follows_the_equations(rng):
    curve = combine(vectors(rng, n=5, snr=30.0, grey=0.1))
    frame = frame_at(np.zeros((1, 2)))
    total, independent = apply_curve(frame, curve), apply_curve(frame, curve, variance="independent")
    rate = 10.0
    np.testing.assert_allclose(total.flux[0], curve.value * rate)
    np.testing.assert_allclose(total.variance[0], curve.value**2 * 1.0 + rate**2 * curve.total_variance)
    np.testing.assert_allclose(independent.variance[0], curve.value**2 * 1.0 + rate**2 * curve.variance)
    weight = np.full(WAVE.size, 1.0 / WAVE.size)
    explicit = np.diag(independent.variance[0]) + np.outer(total.flux[0], total.flux[0]) * (curve.modes.T @ curve.modes)
    expected = np.sqrt(weight @ explicit @ weight)
    assert band_error(total.flux[0], independent.variance[0], curve.modes, weight) == pytest.approx(expected)
    with pytest.raises(InputError, match="calibrated already"):
        apply_curve(total, curve)
    with pytest.raises(InputError, match="variance 'x'"):
        apply_curve(frame, curve, variance="x")
    with pytest.raises(InputError, match="does not overlap"):
        apply_curve(frame_at(np.zeros((1, 2)), wave=WAVE + 5000), curve)


def test_fibres_on_other_grids_keep_flux_density(rng):
    curve = combine(vectors(rng, n=5, quiet=True, grey=0.0), smooth_scale=200.0)
    other = WAVE + 0.37
    frame = frame_at(np.zeros((1, 2)))
    frame = replace(frame, wavelength=np.stack([WAVE]), flux=frame.flux)
    both = Frame(
        np.vstack([frame.flux, frame.flux]), np.vstack([frame.variance] * 2), np.stack([WAVE, other]),
        Fibres(*(np.repeat(getattr(frame.fibres, k), 2) for k in ("name", "ra", "dec", "x", "y", "type"))), 10.0,
    )  # fmt: skip
    flux = apply_curve(both, curve).flux
    np.testing.assert_allclose(flux[1, 1:-1], np.interp(other, WAVE, flux[0])[1:-1], rtol=1e-4)


def test_compress_keeps_the_covariance(rng):
    modes = rng.normal(size=(30, 80)) * np.geomspace(1, 1e-4, 30)[:, None]
    small = compress(modes)
    assert len(small) < 20
    full = modes.T @ modes
    assert np.abs(small.T @ small - full).max() < 1e-3 * np.abs(full).max()
    assert compress(np.zeros((2, 5))).shape == (0, 5)


def test_transfer_function_of_neighbours(rng):
    curves = [combine(vectors(rng, n=6, grey=0.1, snr=30.0)) for _ in range(4)]
    curve = transfer_function(curves, [0.0, 0.01, 0.02, 0.5], 0.015)
    logs = np.log([c.value for c in curves[:3]])
    assert np.all(np.abs(np.log(curve.value) - logs.mean(axis=0)) < np.ptp(logs) + 0.01)
    # the spread between frames is in the covariance
    assert np.median(np.sum(curve.modes**2, axis=0)) > 0.5 * np.var(logs[:, 300])
    one = transfer_function(curves[:1], [0.0], 0.1)
    np.testing.assert_allclose(one.value, curves[0].value)
    assert np.sum(one.modes**2, axis=0).min() > (0.09 * MAG) ** 2
    with pytest.raises(InputError, match="no neighbouring curve"):
        transfer_function([], [], 0.0)
    short = replace(curves[0], wavelength=WAVE[:-1])
    with pytest.raises(InputError, match="different grids"):
        transfer_function([curves[0], short], [0, 0], 0.0)


def test_refusals(rng):
    stars = vectors(rng, n=3)
    with pytest.raises(UnknownNameError, match="combination"):
        combine(stars, method="median")
    with pytest.raises(InputError, match="no calibration vector"):
        combine([])
    with pytest.raises(InputError, match="no star has a good pixel"):
        combine([replace(v, good=np.zeros(WAVE.size, dtype=bool)) for v in stars])
    basis = polynomials(WAVE, 2)
    assert abs(basis[2] @ basis[0]) < 1e-6 * WAVE.size


@pytest.mark.parametrize(
    "choice",
    [
        {"match": "name"}, {"metric": "l1"}, {"method": "mode"}, {"smooth": "box"}, {"law": "x"}, {"radius": 0.0},
        {"ebv": -1.0}, {"fwhm": 0.0}, {"coverage": 0.0}, {"slope_order": 9}, {"mask": ((2.0, 1.0),)},
    ],
)  # fmt: skip
def test_options_refuse(choice):
    with pytest.raises((ConfigError, UnknownNameError)):
        Options(**choice)


def test_options_take_quantities():
    from astropy import units as u

    options = Options(fwhm=0.4 * u.nm, radius=0.025 * u.arcmin, smooth_scale=20 * u.nm, rv_limit=5e5 * u.m / u.s)
    assert (options.fwhm, options.radius, options.smooth_scale, options.rv_limit) == pytest.approx((4, 1.5, 200, 500))
    with pytest.raises(InputError, match="Options, fwhm: a quantity in s; expected one in angstrom"):
        Options(fwhm=4 * u.s)


def test_stars_without_velocity_are_used_at_rest_or_rejected(truth, library, filters, options):
    from crosscal.fluxcal.calibrator import Calibrator
    from crosscal.fluxcal.types import StarStatus

    frame = truth.frame
    flux = frame.flux.copy()
    level = np.median(flux[0])
    flux[0] = level * (1 + 0.0 * flux[0]) + rng_like(flux[0]) * 0.2 * level
    spoiled = replace(frame, flux=flux)
    required = replace(options, rv_required=True)
    strict = Calibrator(truth.catalogue, library, filters, required).calibrate(spoiled, loo=False)
    assert strict.stars[0].status == StarStatus.RV_FAILED
    kept = Calibrator(truth.catalogue, library, filters, options).calibrate(spoiled, loo=False)
    assert kept.stars[0].status != StarStatus.RV_FAILED
    assert kept.stars[0].rv == 0.0
    assert np.isnan(kept.stars[0].rv_error)


def rng_like(values):
    return np.random.default_rng(8).normal(size=values.size)
