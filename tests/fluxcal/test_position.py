"""Losses that are smooth over the plate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crosscal.fluxcal.curve.apply import apply_curve
from crosscal.fluxcal.curve.combine import combine
from crosscal.fluxcal.curve.curve import MAG, polynomials
from crosscal.fluxcal.curve.loo import plate_prior
from crosscal.fluxcal.curve.position import PLATE_RADIUS, PlatePrior, fit_plate
from crosscal.fluxcal.options import Options

from .test_combine import TRUE, WAVE, frame_at, vectors

SLOPES = PlatePrior(sd=(0.0, 0.05), scale=0.3, gradient_sd=0.05)


def draw(rng, place, prior, n=1):
    """Slopes at places (n, 2) in micrometre, drawn from a prior's field."""
    r = place / PLATE_RADIUS
    square = np.sum((r[:, None] - r[None]) ** 2, axis=-1)
    covariance = prior.sd[1] ** 2 * np.exp(-0.5 * square / prior.scale**2) + prior.gradient_sd**2 * r @ r.T
    return rng.multivariate_normal(np.zeros(len(r)), covariance, size=n, method="svd")


def test_gradient_is_found_and_applied(rng):
    xy = rng.uniform(-1.6e5, 1.6e5, (14, 2))
    stars = vectors(rng, n=14, snr=30.0, grey=0.1, slope=0.02, xy=xy, tilt=(0.0, 0.15))
    prior = PlatePrior(sd=(0.0, 1e-3 * MAG), gradient_sd=0.1 * MAG)
    plain, fitted = combine(stars), combine(stars, plate=prior)
    assert plain.plate is None
    assert fitted.plate is not None
    gradient = -fitted.plate.gradient / MAG
    # 0.02 mag scatter of 14 slopes over positions with RMS 0.46: 0.012, prior shrinkage 5 %
    assert gradient[1] == pytest.approx(0.15, abs=0.05)
    assert abs(gradient[0]) < 0.05
    frame = frame_at(xy[:1] * 0 + [[0.0, 1.6e5]])
    flat = apply_curve(frame, fitted).flux[0] / apply_curve(frame, plain).flux[0]
    x = (WAVE - 6000) / 1000
    change = np.polyfit(x, -2.5 * np.log10(flat), 1)[0]
    assert change == pytest.approx(-0.15 * 0.8, abs=0.06)


def test_field_predicts_other_fibres_with_its_stated_error(rng):
    before, error, sd, without = [], [], [], 0
    for _ in range(150):
        place = rng.uniform(-1.8e5, 1.8e5, (20, 2))
        true = draw(rng, place, SLOPES)[0]
        measured = true + rng.normal(0, 0.025, 20)
        c = np.column_stack([np.zeros(20), measured])
        made = fit_plate(*place[:15].T, c[:15], np.full((15, 2), 0.003), SLOPES)
        if made is None:
            without += 1
            continue
        # the level of the stars belongs to the curve
        level = np.mean(measured[:15] - made.at(*place[:15].T)[:, 1])
        error += list(true[15:] - level - made.at(*place[15:].T)[:, 1])
        before += list(true[15:] - np.mean(measured[:15]))
        sd += list(made.sd(*place[15:].T)[:, 1])
    assert without < 15
    error, sd = np.array(error), np.array(sd)
    assert np.std(error) < 0.75 * np.std(before)
    # binomial error of 150 frames 0.04, and strength and scatter are chosen, not known
    assert np.mean(np.abs(error) < sd) == pytest.approx(0.683, abs=0.1)


def test_mean_and_error_agree_with_the_dense_formulas(rng):
    place = rng.uniform(-1.8e5, 1.8e5, (12, 2))
    c = np.column_stack([np.zeros(12), draw(rng, place, SLOPES)[0] + rng.normal(0, 0.01, 12)])
    made = fit_plate(*place.T, c, np.full((12, 2), 0.003), SLOPES)
    field = made.fields[1]
    new = rng.uniform(-1.8e5, 1.8e5, (3, 2)) / PLATE_RADIUS
    # Rasmussen & Williams eq. 2.25, 2.26 with the joint covariance written out
    both = np.concatenate([field.place, new])
    joint = field.kernel(both, both)
    k, s, ss = joint[:12, :12], joint[12:, :12], joint[12:, 12:]
    noise = np.linalg.inv(field.inverse) - k
    np.testing.assert_allclose(noise - noise[0, 1], np.diag(np.diag(noise) - noise[0, 1]), atol=1e-6)
    mean, sd = field.at(new)
    target = np.linalg.solve(field.inverse, field.alpha)
    np.testing.assert_allclose(mean, s @ np.linalg.solve(k + noise, target), atol=1e-8)
    np.testing.assert_allclose(sd**2, np.diag(ss - s @ np.linalg.solve(k + noise, s.T)), rtol=1e-5)


def test_a_stray_fibre_does_not_bend_the_field(rng):
    place = rng.uniform(-1.8e5, 1.8e5, (15, 2))
    c = np.column_stack([np.zeros(15), draw(rng, place, SLOPES)[0]])
    clean = fit_plate(*place.T, c, np.full((15, 2), 0.003), SLOPES).at(*place.T)[:, 1]
    c[4, 1] += 1.0
    spoiled = fit_plate(*place.T, c, np.full((15, 2), 0.003), SLOPES).at(*place.T)[:, 1]
    others = np.arange(15) != 4
    change = (spoiled - np.mean(spoiled[others])) - (clean - np.mean(clean[others]))
    assert np.max(np.abs(change[others])) < 0.1


def test_no_field_where_there_is_none(rng):
    xy = rng.uniform(-1.6e5, 1.6e5, (25, 2))
    found = 0
    for _ in range(20):
        c = np.column_stack([np.zeros(25), rng.normal(0, 0.005, 25)])
        found += fit_plate(*xy.T, c, np.full((25, 2), 0.005), SLOPES) is not None
    assert found <= 4
    three = fit_plate(*xy[:3].T, np.zeros((3, 2)), np.ones((3, 2)), SLOPES)
    assert three is None


def test_unknown_positions_have_the_prior(rng):
    xy = rng.uniform(-1.6e5, 1.6e5, (15, 2))
    c = np.column_stack([np.zeros(15), draw(rng, xy, SLOPES)[0]])
    plate = fit_plate(*xy.T, c, np.full((15, 2), 0.003), SLOPES)
    assert plate.at(np.nan, 0.0)[0, 1] == 0.0
    assert plate.sd(np.nan, 0.0)[0, 1] == plate.fields[1].sd
    assert np.all(plate.at(*xy.T)[:, 0] == 0.0)


def test_the_prior_gradient_stays_where_stars_say_nothing(rng):
    xy = rng.uniform(-1.6e5, 1.6e5, (8, 2))
    expected = np.array([0.0, 0.1])
    c = np.column_stack([np.zeros(8), xy / 2e5 @ expected + rng.normal(0, 0.002, 8)])
    errors = np.full((8, 2), 0.002)
    tight = PlatePrior(sd=(0.0, 1e-3), gradient_sd=1e-3, gradient_mean=(0.0, 0.1))
    plate = fit_plate(*xy.T, c, errors, tight)
    np.testing.assert_allclose(plate.gradient, expected, atol=0.005)
    plain = fit_plate(*xy.T, c, errors, replace(tight, gradient_mean=(0.0, 0.0)))
    assert plain is None or plain.gradient[1] < 0.05


def test_a_target_takes_the_loss_of_its_neighbours(rng):
    # two groups of fibres, one with half the light of the other
    xy = np.concatenate([rng.uniform(0.9e5, 1.1e5, (8, 2)), -rng.uniform(0.9e5, 1.1e5, (8, 2))])
    stars = vectors(rng, n=16, snr=40.0, grey=0.03, xy=xy)
    dimmed = [
        replace(v, rate=v.rate * 0.5, value=v.value * 2, rate_variance=v.rate_variance * 0.25) if k >= 8 else v
        for k, v in enumerate(stars)
    ]
    curve = combine(dimmed, plate=PlatePrior(sd=(0.3, 0.02)))
    frame = frame_at(np.array([[1.0e5, 1.0e5], [-1.0e5, -1.0e5]]), counts=100.0)
    frame = replace(frame, flux=np.stack([TRUE, 0.5 * TRUE]) * 1e4 * frame.exposure)
    flux = apply_curve(frame, curve).flux
    # the mean of 8 stars of 0.03 mag each, and the shrinkage of the field
    np.testing.assert_allclose(np.median(flux, axis=1), 1e4, rtol=0.06)


def test_prior_of_options():
    options = Options(position=True, position_sd=0.1, position_grey_sd=0.2, slope_order=2)
    low, high = plate_prior(options, 1.0), plate_prior(options, np.sqrt(2.0))
    assert low.sd == (0.2 * MAG, 0.1 * MAG, 0.025 * MAG)
    assert high.gradient_sd == pytest.approx(0.1 * MAG)  # tan z = 1
    assert low.gradient_sd < 0.2 * high.gradient_sd
    assert polynomials(WAVE, 2).shape[0] == len(low.sd)
