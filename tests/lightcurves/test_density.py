"""The density outside JAX and the recursion for many vectors against the slow paths that they replace."""

import numpy as np
import pytest

from crosscal.inference.jaxconfig import enable_x64
from crosscal.lightcurves.density import Density
from crosscal.lightcurves.kernels.registry import KERNELS
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.problem import make_problem
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.synthetic import simulate


@pytest.fixture(scope="module")
def curves():
    return simulate(seed=1, codes=("A", "B", "C"), points=(30, 20, 5), lines=1)[0]


@pytest.mark.thorough
@pytest.mark.parametrize("kernel", KERNELS.names())
def test_many_vectors_at_once_equal_one_by_one(curves, kernel):
    model = Model(curves, Settings(kernel=kernel, systematic_error=True, error_scale=True))
    density = Density(model)
    vectors = model.full(density.constrain(density.draw_prior(3, 70)))
    values, linear = model.many(vectors)
    # The order of sums differs: some hundred terms of size 1 to 100.
    np.testing.assert_allclose(values, [model.log_likelihood(x) for x in vectors], rtol=1e-11, atol=1e-9)
    for s in (0, 65, 69):
        for (mean, covariance), one in zip(linear, model.linear(vectors[s]), strict=True):
            np.testing.assert_allclose(mean[s], one.mean, rtol=1e-9)
            np.testing.assert_allclose(covariance[s], one.covariance, rtol=1e-9)
    # A vector has the same bits whatever stands beside it.
    np.testing.assert_array_equal(model.many(vectors[65:66])[0], values[65:66])


def test_pieces_of_a_light_curve_follow_each_other(curves, monkeypatch):
    model = Model(curves, Settings(kernel="matern32"))
    density = Density(model)
    vectors = model.full(density.constrain(density.draw_prior(3, 5)))
    whole = model.many(vectors)[0]
    monkeypatch.setattr("crosscal.lightcurves.file_model.PIECE", 7)
    np.testing.assert_allclose(model.many(vectors)[0], whole, rtol=1e-12)


@pytest.mark.thorough
def test_density_equals_that_of_the_problem(curves):
    enable_x64()
    model = Model(curves, Settings(systematic_error=True, error_scale=True))
    density, problem = Density(model), make_problem(model)
    vectors = density.draw_prior(2, 4)
    for u, value in zip(vectors, density(vectors), strict=True):
        params = density.named(density.constrain(u))
        assert value == pytest.approx(float(problem.log_density(problem.unconstrain(params))), abs=1e-8)
        np.testing.assert_allclose(density.unconstrain(density.constrain(u)), u, atol=1e-9)


def test_gradient_of_the_density(curves):
    model = Model(curves, Settings(systematic_error=True))
    density = Density(model)
    for u in density.draw_prior(5, 2):
        value, gradient = density.value_and_gradient(u)
        assert value == pytest.approx(density(u[None])[0], abs=1e-9)
        h = 1e-5
        steps = [
            (density.value_and_gradient(u + h * e)[0] - density.value_and_gradient(u - h * e)[0]) / (2 * h)
            for e in np.eye(density.size)
        ]
        np.testing.assert_allclose(gradient, steps, rtol=1e-5, atol=1e-5 * np.abs(gradient).max())


def test_coordinates_of_systematic_errors_are_normal_where_the_data_only_limit_them(curves):
    """A half-normal of the scale is standard normal; any scale gives the same density up to the Jacobian."""
    model = Model(curves, Settings(systematic_error=True))
    density = Density(model)
    u = density.draw_prior(5, 3)
    v, mode = density.constrain(u), density.mode(density.constrain(u[0]), 1)
    other = density.rescaled(mode)
    assert other.scaled.any()
    w = other.unconstrain(v)
    np.testing.assert_allclose(other.constrain(w), v, rtol=1e-9)
    step = 1e-5
    for k in range(3):
        ends = [other.constrain(w[k] + sign * step) for sign in (1, -1)]
        jacobian = np.log((ends[0] - ends[1]) / (2 * step)).sum()
        share = (v[k] - density.low) / density.width
        of_logit = np.log(density.width * share * (1 - share)).sum()
        assert other(w[k : k + 1])[0] - jacobian == pytest.approx(density(u[k : k + 1])[0] - of_logit, abs=1e-6)
        value, gradient = other.value_and_gradient(w[k])
        assert value == pytest.approx(other(w[k : k + 1])[0], abs=1e-9)
        numeric = [
            (other(w[k : k + 1] + step * e)[0] - other(w[k : k + 1] - step * e)[0]) / (2 * step)
            for e in np.eye(other.size)
        ]
        np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-5 * np.abs(gradient).max())


def test_a_vector_where_nothing_is_defined_has_no_density(curves):
    model = Model(curves, Settings(systematic_error=True))
    density = Density(model)
    bad = np.full((2, density.size), np.nan)
    bad[1] = density.draw_prior(1, 1)
    values = density(bad)
    assert values[0] == -np.inf
    assert np.isfinite(values[1])
