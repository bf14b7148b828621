"""Chi-square of all templates against explicit least squares; velocities; matching; selection."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.fluxcal.demo import demo_spectrum
from crosscal.fluxcal.stars.lsf import gaussian_smooth
from crosscal.fluxcal.stars.matching import match_index, match_positions
from crosscal.fluxcal.stars.photometry import C_KMS
from crosscal.fluxcal.stars.resample import log_grid
from crosscal.fluxcal.stars.rv import APART, _peaks, cross_correlate
from crosscal.fluxcal.stars.score import fit_continuum, robust_weight, score_templates
from crosscal.fluxcal.stars.selection import select_standards
from crosscal.fluxcal.types import Fibres, StarStatus


def test_batched_chi2_agrees_with_explicit_least_squares(rng):
    n_t, n_grid, n_pix = 12, 900, 800
    wave = log_grid(4000.0, 5200.0, np.log(5200 / 4000) / (n_grid - 1))
    templates = np.stack([demo_spectrum(wave, t, 4.2, -1.0) for t in np.linspace(5800, 6700, n_t)])
    templates = (gaussian_smooth(templates, 4.0) / templates.mean(axis=1, keepdims=True)).astype(np.float32)
    position = np.stack([np.linspace(20.3, 860.7, n_pix), np.linspace(10.9, 850.2, n_pix)])
    x = np.tile(np.linspace(-1, 1, n_pix), (2, 1))
    model = np.stack([np.interp(p, np.arange(n_grid), templates[5]) for p in position])
    data = 1e3 * model * (1 + 0.3 * x) + rng.normal(0, 20, (2, n_pix))
    weight = np.where(rng.random((2, n_pix)) < 0.1, 0.0, 1 / 400.0)
    fast = score_templates(templates, data, weight, x, 5, position)
    for s in range(2):
        for t in range(n_t):
            shifted = np.interp(position[s], np.arange(n_grid), templates[t].astype(float))
            best = fit_continuum(shifted, data[s], weight[s], x[s], 5)
            slow = np.sum(weight[s] * (data[s] - best) ** 2)
            # single precision of deviations from the mean template: 1e-7 of sum(w d^2) = 2e6
            assert fast[s, t] == pytest.approx(slow, abs=0.3)
    assert np.all(np.abs(np.argmin(fast, axis=1) - 5) <= 1)


def test_a_star_without_weight_gets_nan():
    templates = np.ones((3, 50), dtype=np.float32)
    position = np.arange(50.0)[None]
    out = score_templates(templates, np.zeros((1, 50)), np.zeros((1, 50)), position * 0, 2, position)
    assert np.isnan(out).all()


def test_huber_weights():
    w, d, m = np.ones(4), np.array([0.0, 1.0, 10.0, 5.0]), np.zeros(4)
    assert robust_weight(w, d, m, "chi2") is w
    np.testing.assert_allclose(robust_weight(w, d, m, "huber"), [1, 1, 0.1345, 0.269])
    with pytest.raises(UnknownNameError, match="metric"):
        robust_weight(w, d, m, "cauchy")


def simulated_velocities(rng, snr, n):
    step = 2.2e-4
    wave = log_grid(3950.0, 5800.0, step)
    sigma = 3.7 / 2.3548 / 4800 / step
    truth = rng.uniform(-300, 300, n)
    template = gaussian_smooth(demo_spectrum(wave, 6300, 4.2, -1.0), sigma)
    stars = []
    for v in truth:
        own = gaussian_smooth(demo_spectrum(wave / (1 + v / C_KMS), 6300, 4.2, -1.0), sigma)
        own = own / np.median(own) * snr**2
        stars.append(own + rng.normal(0, np.sqrt(own)))
    stars = np.array(stars)
    weights = np.full(stars.shape, 1.0 / snr**2)
    return truth, cross_correlate(stars, weights, template[None] / template.mean(), step), step


def test_velocity_reaches_the_information_bound(rng):
    truth, found, step = simulated_velocities(rng, 20.0, 100)
    assert found.ok.all()
    wave = log_grid(3950.0, 5800.0, step)
    own = gaussian_smooth(demo_spectrum(wave, 6300, 4.2, -1.0), 3.7 / 2.3548 / 4800 / step)
    own /= np.median(own)
    # sigma^-2 = sum (d ln f / d ln lambda)^2 f^2 / var, with var = f / snr^2
    bound = C_KMS * step / np.sqrt(np.sum(np.gradient(np.log(own)) ** 2 * own * 20.0**2))
    # 100 stars: 7 % error of the RMS; correlation is not weighted optimally (measured 1.1)
    assert np.sqrt(np.mean((found.rv - truth) ** 2)) < 1.35 * bound
    assert abs(np.mean(found.rv - truth)) < 0.1 * C_KMS * step


def test_velocity_errors_are_of_the_right_size(rng):
    truth, found, _ = simulated_velocities(rng, 8.0, 80)
    pull = (found.rv - truth)[found.ok] / found.error[found.ok]
    # Zucker's formula counts masked weights as pixels: within a factor 1.7 for these lines
    assert 0.5 < np.std(pull) < 1.7


def test_noise_has_no_velocity(rng):
    _, found, _ = simulated_velocities(rng, 20.0, 1)
    step = 2.2e-4
    wave = log_grid(3950.0, 5800.0, step)
    template = demo_spectrum(wave, 6300, 4.2, -1.0)[None] * 1e20
    noise = 100 + rng.normal(0, 10, (40, wave.size))
    out = cross_correlate(noise, np.full(noise.shape, 0.01), template, step)
    assert out.ok.mean() < 0.2
    assert found.ok.all()


def test_the_prior_decides_between_peaks_of_like_height():
    lags = np.arange(-100, 101)
    step = 2e-4  # 60 km/s
    near = 0.5 * np.exp(-0.5 * ((lags - 8) / 2.0) ** 2) + 0.505 * np.exp(-0.5 * ((lags + 60) / 2.0) ** 2)
    args = (near[None, None], lags, step, 0.0, 5000.0, np.array([500]), 3.0)
    assert _peaks(*args, np.inf).rv[0] == pytest.approx(-60 * 60, rel=0.02)
    found = _peaks(*args, 200.0)
    assert found.rv[0] == pytest.approx(480, rel=0.02)
    assert found.ok[0]


def test_a_velocity_whose_error_is_larger_than_peaks_are_apart_is_none():
    lags, step = np.arange(-100, 101), 2e-4
    ok = []
    for width in (2.0, 30.0):
        near = 0.2 * np.exp(-0.5 * ((lags - 8) / width) ** 2)
        found = _peaks(near[None, None], lags, step, 0.0, 3000.0, np.array([500]), 3.0, np.inf)
        assert (found.error[0] < APART) == (width == 2.0)
        ok.append(bool(found.ok[0]))
    assert ok == [True, False]


def fibres(ra, dec):
    n = len(ra)
    z = np.zeros(n)
    return Fibres(np.array([f"f{k}" for k in range(n)]), np.array(ra), np.array(dec), z, z, np.array(["C"] * n))


def test_matching(truth):
    cat = truth.catalogue
    shift = 0.3 / 3600
    found = match_positions(fibres(cat.ra[:3], cat.dec[:3] + shift), cat)
    assert found.row.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.separation, 0.3, atol=1e-6)
    far = match_positions(fibres([10.0], [10.0]), cat)
    assert far.row.tolist() == [-1]
    assert far.separation[0] > 1e5
    double = match_positions(fibres([cat.ra[0]] * 2, [cat.dec[0], cat.dec[0] + shift]), cat)
    assert double.duplicate.tolist() == [False, True]
    blended = replace(cat, ra=np.where(np.arange(len(cat)) == 1, cat.ra[0], cat.ra), dec=cat.dec.copy())
    blended.dec[1] = cat.dec[0] + shift
    assert match_positions(fibres(cat.ra[:1], cat.dec[:1]), blended).ambiguous.all()
    moving = replace(cat, pm_dec=np.full(len(cat), 1000.0))
    found = match_positions(fibres(cat.ra[:1], cat.dec[:1] + 20 / 3600), moving, epoch=2020.0)
    assert found.row[0] == 0
    assert found.separation[0] < 0.01
    assert match_index(fibres(cat.ra[:2], cat.dec[:2]), cat).row.tolist() == [0, 1]
    with pytest.raises(InputError, match="radius"):
        match_positions(fibres([1.0], [1.0]), cat, radius=0)
    with pytest.raises(InputError, match="no fibre has a position"):
        match_positions(fibres([np.nan], [np.nan]), cat)
    with pytest.raises(InputError, match="matching by index"):
        match_index(fibres(np.zeros(50), np.zeros(50)), cat)


def test_selection_gives_reasons(truth):
    frame = truth.frame
    flux, variance = frame.flux.copy(), frame.variance.copy()
    variance[0] = np.nan
    flux[1] = 0.0
    spoiled = replace(frame, flux=flux, variance=variance)
    cat = truth.catalogue
    keep = cat.name != frame.fibres.name[2]
    columns = ("name", "ra", "dec", "pm_ra", "pm_dec", "ebv", "magnitude", "error")
    small = replace(cat, **{k: getattr(cat, k)[keep].copy() for k in columns})
    small.magnitude[small.name == frame.fibres.name[3]] = np.nan
    stars = select_standards(spoiled, small)
    status = [s.status for s in stars[:5]]
    assert status == [
        StarStatus.NO_SIGNAL,
        StarStatus.LOW_SNR,
        StarStatus.NOT_IN_CATALOGUE,
        StarStatus.NO_BANDS,
        StarStatus.USED,
    ]
    assert "no finite pixel" in stars[0].reason
    none = replace(frame, fibres=frame.fibres.retyped(np.arange(len(frame.fibres)), "P"))
    assert select_standards(none, cat) == []
    with pytest.raises(UnknownNameError, match="matching"):
        select_standards(frame, cat, match="name")


def test_a_check_without_a_measurement_says_so():
    from crosscal.fluxcal.quality import Quality, _most

    checks = (_most("loo grey", "leave-one-out grey RMS", np.nan, 0.8, " mag"), _most("rms", "scatter", 0.4, 0.3))
    assert checks[0].why == "leave-one-out grey RMS: not measured"
    assert str(Quality(checks)).splitlines() == [f"-    {checks[0].why}", "FAIL scatter 0.4 (> 0.3)"]
    assert Quality(checks[:1]).passed
