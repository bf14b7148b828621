"""The compiled sums over pixels against explicit matrices, one star and one pixel after the other."""

import numpy as np
import pytest

from crosscal.core.robust import huber_weights, mad_sd
from crosscal.fluxcal.curve.gauge import gauge
from crosscal.fluxcal.curve.normal_equations import HUBER, TEMPLATE_ERROR, log_spline, star_sums
from crosscal.fluxcal.curve.smoothing import _design, _nonzero, _penalty_bands, smooth_throughput

WAVE = np.linspace(5000.0, 7000.0, 400)


def test_spline_is_that_of_dense_gauss_newton(rng):
    key = WAVE.tobytes()
    dense = _design(key, 120.0).toarray()
    n = dense.shape[1]
    second = np.diff(np.eye(n), 2, axis=0)
    data, weight = np.exp(np.sin(WAVE / 200.0)) + rng.normal(0, 0.1, WAVE.size), rng.uniform(0, 2, WAVE.size)
    data[50:90], weight[50:90] = np.nan, 0.0
    start, strength = np.clip(np.nan_to_num(data, nan=1.0), 0.05, None), 0.3
    beta, bands = log_spline(*_nonzero(key, 120.0), data, weight, start, strength * _penalty_bands(n))
    penalty = strength * second.T @ second

    def normal(diagonal):
        return dense.T @ (diagonal[:, None] * dense) + penalty

    slow = np.linalg.solve(normal(weight * start**2), dense.T @ (weight * start**2 * np.log(start)))
    for _ in range(12):
        model = np.exp(dense @ slow)
        residual = np.where(weight > 0, data - model, 0.0)
        matrix = normal(weight * model**2)
        slow = slow + np.linalg.solve(matrix, dense.T @ (weight * model * residual) - penalty @ slow)
    # It ends with a step shorter than 1e-6.
    np.testing.assert_allclose(beta, slow, rtol=0, atol=1e-6)
    for offset in range(4):
        # Of the last step, which was shorter than 1e-6.
        np.testing.assert_allclose(bands[offset, : n - offset], np.diagonal(matrix, -offset), rtol=1e-5)


def test_spline_without_data_is_refused():
    nothing = np.zeros(WAVE.size)
    key = WAVE.tobytes()
    n = _design(key, 120.0).shape[1]
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        log_spline(*_nonzero(key, 120.0), nothing, nothing, nothing + 1, np.zeros((4, n)))


def test_robust_means_are_those_of_explicit_loops(rng):
    values, noise = rng.standard_t(2, (9, 3)), rng.uniform(0.01, 0.3, (9, 3))
    keep = np.array([True] * 8 + [False])
    mean, share = gauge(values, noise, keep)
    assert not share[~keep].any()
    for k in range(3):
        own, own_noise = values[keep, k], noise[keep, k]
        square = max(float(mad_sd(own)) ** 2 - np.median(own_noise), 1e-8) + own_noise
        centre = np.median(own)
        for _ in range(20):
            weight = huber_weights((own - centre) / np.sqrt(square), 2.0) / square
            centre = np.sum(weight * own) / np.sum(weight)
        np.testing.assert_allclose(mean[k], centre, rtol=0, atol=1e-8)
        np.testing.assert_allclose(share[keep, k], weight / weight.sum(), rtol=1e-6)


def test_star_sums_are_those_of_explicit_least_squares(rng):
    n_star, basis = 3, np.stack([np.ones(WAVE.size), (WAVE - 6000) / 1000])
    c = rng.normal(0, 0.2, (n_star, 2))
    model, curve = rng.uniform(50, 200, (n_star, WAVE.size)), rng.uniform(0.5, 2, WAVE.size)
    curve[7] = np.nan
    modes, variance = rng.normal(0, 0.02, (n_star, 4, WAVE.size)), rng.uniform(50, 90, (n_star, WAVE.size))
    rate = curve * model * np.exp(c @ basis) + 4 * rng.normal(size=model.shape) * np.sqrt(variance)
    pixels = rng.uniform(size=model.shape) > 0.2
    rate[~pixels] = np.nan
    normal, gradient, cross = star_sums(rate, variance, model, curve, basis, np.exp(c @ basis), pixels, modes)
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
