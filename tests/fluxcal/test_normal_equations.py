"""The compiled sums over pixels against explicit matrices, one star and one pixel after the other."""

import numpy as np

from crosscal.core.robust import huber_weights
from crosscal.fluxcal.curve.normal_equations import HUBER, TEMPLATE_ERROR, spline_sums, star_sums
from crosscal.fluxcal.curve.smoothing import _design, _nonzero, _penalty, _penalty_bands, smooth_throughput

WAVE = np.linspace(5000.0, 7000.0, 400)


def test_spline_sums_are_those_of_the_design_matrix(rng):
    key = WAVE.tobytes()
    dense = _design(key, 120.0).toarray()
    n = dense.shape[1]
    weight, gradient = rng.uniform(0, 2, WAVE.size), rng.normal(size=WAVE.size)
    bands, right = spline_sums(*_nonzero(key, 120.0), weight, gradient, n)
    full = dense.T @ (weight[:, None] * dense)
    for offset in range(4):
        np.testing.assert_allclose(bands[offset, : n - offset], np.diagonal(full, -offset), rtol=1e-12)
    assert np.all(np.triu(full, 4) == 0)
    np.testing.assert_allclose(right, dense.T @ gradient, rtol=1e-11, atol=1e-13)


def test_penalty_is_of_second_differences():
    second = np.diff(np.eye(9), 2, axis=0)
    np.testing.assert_array_equal(_penalty(9).toarray(), second.T @ second)
    for offset in range(4):
        expected = np.diagonal(second.T @ second, -offset)
        np.testing.assert_array_equal(_penalty_bands(9)[offset, : 9 - offset], expected)


def test_star_sums_are_those_of_explicit_least_squares(rng):
    n_star, basis = 3, np.stack([np.ones(WAVE.size), (WAVE - 6000) / 1000])
    c = rng.normal(0, 0.2, (n_star, 2))
    model, curve = rng.uniform(50, 200, (n_star, WAVE.size)), rng.uniform(0.5, 2, WAVE.size)
    curve[7] = np.nan
    modes, variance = rng.normal(0, 0.02, (n_star, 4, WAVE.size)), rng.uniform(50, 90, (n_star, WAVE.size))
    rate = curve * model * np.exp(c @ basis) + 4 * rng.normal(size=model.shape) * np.sqrt(variance)
    pixels = rng.uniform(size=model.shape) > 0.2
    rate[~pixels] = np.nan
    normal, gradient, cross = star_sums(rate, variance, model, curve, basis, c, pixels, modes)
    for s in range(n_star):
        use = pixels[s] & np.isfinite(curve)
        predicted = (curve * model[s] * np.exp(c[s] @ basis))[use]
        weight = 1 / (variance[s, use] + (TEMPLATE_ERROR * predicted) ** 2)
        residual = rate[s, use] - predicted
        scaled = residual * np.sqrt(weight)
        assert np.any(np.abs(scaled) > HUBER)
        weight *= huber_weights(scaled, HUBER)
        design = predicted * basis[:, use]
        np.testing.assert_allclose(normal[s], design @ (weight[:, None] * design.T), rtol=1e-12)
        np.testing.assert_allclose(gradient[s], design @ (weight * residual), rtol=1e-10)
        np.testing.assert_allclose(cross[s], (design * weight * predicted) @ modes[s][:, use].T, rtol=1e-9)


def test_spline_without_errors_has_the_same_value(rng):
    throughput = np.exp(-(((WAVE - 6000) / 1500) ** 2)) * rng.normal(1, 0.05, WAVE.size)
    throughput[100:140] = np.nan
    variance = np.full(WAVE.size, 0.05**2)
    whole = smooth_throughput(WAVE, throughput, variance, "spline", 150.0)
    value = smooth_throughput(WAVE, throughput, variance, "spline", 150.0, errors=False)
    np.testing.assert_array_equal(value.value, whole.value)
    assert len(whole.modes) > 4
    assert len(value.modes) == 0
