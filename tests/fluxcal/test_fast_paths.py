"""Fast paths against slow explicit ones: curves without each star, fields without a star, medians of others, apply."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crosscal import fluxcal
from crosscal.core.robust import mad_sd
from crosscal.fluxcal.curve.apply import apply_curve
from crosscal.fluxcal.curve.curve import polynomials
from crosscal.fluxcal.curve.downdate import MANY, curves_without_each
from crosscal.fluxcal.curve.loo import combine_with, leave_one_out
from crosscal.fluxcal.curve.outliers import others_of
from crosscal.fluxcal.curve.position import PLATE_RADIUS, Field, PlatePrior, PlateTerm
from crosscal.fluxcal.demo import simulate
from crosscal.fluxcal.stars.resample import pixel_edges


@pytest.fixture(scope="module")
def many():
    """A frame of more stars than are combined anew."""
    return simulate(seed=6, n_stars=MANY + 3, n_targets=1, n_pixels=400, snr=40.0)


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "plate"])
def combined(many, library, filters, request):
    options = fluxcal.Options(fwhm=14.0, ebv=0.02, position=request.param, position_grey_sd=0.1)
    return fluxcal.Calibrator(many.catalogue, library, filters, options).calibrate(many.frame, loo=False)


@pytest.mark.thorough
def test_curves_without_a_star_are_those_of_a_new_combination(many, combined):
    vectors, curve, options = combined.vectors, combined.curve, combined.options
    fast = curves_without_each(vectors, curve, options, lambda k: None)
    inside = curve.covered
    place = many.frame.fibres
    for k in range(0, len(vectors), 9):
        slow = combine_with([v for j, v in enumerate(vectors) if j != k], options, many.frame.airmass)
        x, y = place.x[combined.used[k].fibre], place.y[combined.used[k].fibre]
        shapes = polynomials(curve.wavelength, 2)

        def log(one, shapes=shapes, x=x, y=y):
            field = 0.0 if one.plate is None else one.plate.at(x, y, 3)[0] @ shapes
            return (np.log(one.value) - field)[inside]

        moved = np.sqrt(np.mean((log(slow) - log(curve)) ** 2))
        apart = np.sqrt(np.mean((log(fast[k]) - log(slow)) ** 2))
        # Second order in a star's weight of 1 / 28: a small part of what the star itself moves the curve by, to which
        # a new choice of the field's strength adds.
        assert apart < (0.35 if options.position else 0.15) * moved + 3e-4


@pytest.mark.slow
def test_held_out_stars_agree_with_new_combinations(many, combined, filters, monkeypatch):
    given = (many.frame, combined.used, combined.vectors, combined.curve, many.catalogue, filters, combined.options)
    fast = leave_one_out(*given)
    monkeypatch.setattr("crosscal.fluxcal.curve.loo.MANY", 1000)
    slow = leave_one_out(*given)
    for key, tolerance in (("grey", 0.02), ("slope", 0.004)):
        one, other = (np.array([getattr(h, key) for h in found]) for found in (fast, slow))
        # Fibres scatter by 0.15 mag and 0.03 mag per 1000 A: an eighth of that bounds what the choice of a field does.
        assert np.max(np.abs(one - other)) < tolerance


def test_a_field_without_a_star_is_conditioned_on_the_others():
    rng = np.random.default_rng(3)
    place = rng.uniform(-1, 1, (7, 2))
    value = rng.normal(size=7)
    square = np.sum((place[:, None] - place[None]) ** 2, axis=-1)
    covariance = np.exp(-0.5 * square / 0.09) + 0.2 * np.eye(7)
    inverse = np.linalg.inv(covariance)
    field = Field(place, place.mean(axis=0), inverse @ value, inverse, 1.0, 0.3, 0.0, np.zeros(2))
    others = np.arange(7) != 4
    part = np.linalg.inv(covariance[np.ix_(others, others)])
    found = field.without(*(place[4] * PLATE_RADIUS))
    # Both are exact: rounding only.
    np.testing.assert_allclose(found.alpha[others], part @ value[others], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.inverse[np.ix_(others, others)], part, rtol=1e-9, atol=1e-10)
    assert abs(found.alpha[4]) < 1e-10
    assert field.without(1e9, 1e9) is field


@pytest.mark.parametrize("n", [3, 4, 5, 8, 13])
def test_medians_of_the_others(n):
    values = np.round(np.random.default_rng(n).normal(size=n), 1)
    centre, own = others_of(values)
    rest = [np.delete(values, k) for k in range(n)]
    np.testing.assert_array_equal(centre, [np.median(r) for r in rest])
    # The last bit of a mean of two may differ.
    np.testing.assert_allclose(own, [mad_sd(r) for r in rest], rtol=1e-12, atol=1e-15)


def explicit(frame, curve, k, correlated):
    """Calibrated flux and variance of one fibre, term by term."""
    wave, grid, inside = frame.wavelength[k], curve.wavelength, curve.covered
    part = grid[inside]
    value = np.exp(np.interp(wave, part, np.log(curve.value[inside]), left=np.nan, right=np.nan))
    spread = np.interp(wave, part, (curve.variance / curve.value**2)[inside])
    modes = [np.interp(wave, part, m[inside]) for m in curve.modes]
    if curve.plate is not None:
        shapes = np.stack([np.interp(wave, grid, s) for s in polynomials(grid, len(curve.plate.fields) - 1)])
        x, y = frame.fibres.x[k], frame.fibres.y[k]
        value = value * np.exp(-curve.plate.at(x, y)[0] @ shapes)
        modes += [sd * s for sd, s in zip(curve.plate.sd(x, y)[0], shapes, strict=True)]
    if correlated:
        spread = spread + np.sum(np.square(modes), axis=0)
    width = np.interp(wave, grid, np.diff(pixel_edges(grid))) / np.diff(pixel_edges(wave)) / frame.exposure
    flux = value * width * frame.flux[k]
    return flux, (value * width) ** 2 * frame.variance[k] + flux**2 * spread


@pytest.mark.parametrize("own_grids", [False, True])
@pytest.mark.parametrize("variance", ["total", "independent"])
@pytest.mark.parametrize("plate", [False, True])
def test_every_fibre_is_calibrated_as_one_alone(many, combined, own_grids, variance, plate):
    frame, curve = many.frame, combined.curve
    rng = np.random.default_rng(1)
    if own_grids:
        frame = replace(frame, wavelength=frame.wavelength * (1 + 1e-3 * rng.uniform(-1, 1, (len(frame.flux), 1))))
    noise = np.linspace(0.01, 0.02, curve.value.size) ** 2
    curve = replace(curve, variance=noise * curve.value**2, plate=None)
    if plate:
        place = rng.uniform(-1, 1, (5, 2))
        fields = [
            Field(place, np.zeros(2), rng.normal(size=5), np.eye(5), 0.1, 0.3, 0.02, np.zeros(2)) for _ in range(3)
        ]
        curve = replace(curve, plate=PlateTerm(tuple(fields), PlatePrior((0.1, 0.1, 0.1))))
    made = apply_curve(frame, curve, variance=variance)
    for k in range(0, len(frame.flux), 7):
        flux, spread = explicit(frame, curve, k, variance == "total")
        known = np.isfinite(flux)
        # The same sums in another order; modes between nodes are interpolated alike.
        np.testing.assert_allclose(made.flux[k][known], flux[known], rtol=1e-9)
        np.testing.assert_allclose(made.variance[k][known], spread[known], rtol=1e-9)
        assert np.isnan(made.variance[k][~known]).all()
