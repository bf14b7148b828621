"""The likelihood against dense algebra, its gradient against differences, linear parameters against least squares."""

import numpy as np
import pytest

from crosscal.core.errors import InputError
from crosscal.lightcurves.kernels.registry import processes
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.synthetic import simulate
from crosscal.lightcurves.types import LightCurves


@pytest.fixture(scope="module")
def curves():
    return simulate(seed=9, points=(25, 14, 9), lines=1, codes=("A", "B", "C"))[0]


def inside(model, rng):
    """A random vector in the middle of the prior."""
    lay = model.layout
    x = lay.fixed.copy()
    share = rng.uniform(0.3, 0.7, lay.size)
    x[lay.free] = (lay.low + share * (lay.high - lay.low))[lay.free]
    return x


@pytest.mark.parametrize("name", processes())
@pytest.mark.parametrize("marginal", [True, False])
def test_against_dense_matrices(curves, dense, rng, name, marginal):
    settings = Settings(kernel=name, systematic_error=True, error_scale=True)
    model = Model(curves, settings, marginal=None if marginal else [])
    for _ in range(3):
        x = inside(model, rng)
        expected = sum(dense(model, x, i, shifts=tuple(model.marginal))[0] for i in range(2))
        # Both are sums of some 100 terms of order one; the Kalman form is the better conditioned.
        assert model.log_likelihood(x) == pytest.approx(expected, abs=1e-7)


@pytest.mark.thorough
@pytest.mark.parametrize("name", processes())
@pytest.mark.parametrize("marginal", [True, False])
def test_gradient(curves, rng, name, marginal):
    settings = Settings(kernel=name, systematic_error=True, error_scale=True)
    model = Model(curves, settings, marginal=None if marginal else [])
    x = inside(model, rng)
    value, gradient = model.value_and_gradient(x)
    assert value == pytest.approx(model.log_likelihood(x), abs=1e-10)
    for p in model.sampled:
        step = np.zeros_like(x)
        step[p] = 1e-6
        numeric = (model.log_likelihood(x + step) - model.log_likelihood(x - step)) / 2e-6
        # Central differences at 1e-6 of values of order 100: rounding leaves some 1e-7 relative to the value.
        assert gradient[p] == pytest.approx(numeric, rel=2e-5, abs=2e-5), model.layout.labels[p]


def test_marginal_is_the_integral(curves, rng):
    """Integrating one shift numerically gives the marginal likelihood."""
    explicit = Model(curves, Settings(), marginal=[])
    one = Model(curves, Settings(), marginal=[1])
    x = inside(explicit, rng)
    place = one.layout.shift[1]
    centre = one.linear(x)[0]
    grid = centre.mean[1] + np.sqrt(centre.covariance[1, 1]) * np.linspace(-9, 9, 2001)
    values = []
    for g in grid:
        x[place] = g
        values.append(explicit.log_likelihood(x))
    values = np.array(values)
    peak = values.max()
    width = one.layout.high[place] - one.layout.low[place]
    integral = peak + np.log(np.trapezoid(np.exp(values - peak), grid)) - np.log(width)
    assert one.log_likelihood(x) == pytest.approx(integral, abs=1e-6)


def test_linear_parameters_are_generalised_least_squares(curves, dense, rng):
    model = Model(curves, Settings())
    x = inside(model, rng)
    _, inverse, H = dense(model, x, 0, shifts=tuple(model.marginal))
    found = model.linear(x)[0]
    curve = curves.continuum
    y = np.exp(x[model.layout.scale])[curve.code] * curve.flux / model.norm.factors[0][curve.code]
    covariance = np.linalg.inv(H.T @ inverse @ H)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-8)
    np.testing.assert_allclose(found.mean, covariance @ H.T @ inverse @ y, rtol=1e-8)


def test_equal_times_are_allowed(dense, rng):
    t = np.array([0.0, 1.0, 1.0, 2.0, 2.0, 5.0])
    f = 1 + 0.1 * rng.standard_normal(6)
    curves = LightCurves.from_arrays({"A": (t, f, 0 * t + 0.05), "B": (t, 1.2 * f, 0 * t + 0.05)})
    model = Model(curves, Settings())
    x = inside(model, rng)
    expected = dense(model, x, 0, shifts=tuple(model.marginal))[0]
    assert model.log_likelihood(x) == pytest.approx(expected, abs=1e-9)
    assert np.all(np.isfinite(model.value_and_gradient(x)[1]))


def test_held_shift_cannot_be_marginalised(curves):
    with pytest.raises(InputError, match="held"):
        Model(curves, Settings(), marginal=[0])


@pytest.mark.filterwarnings("ignore:overflow")
def test_undefined_likelihood_is_minus_infinity(curves):
    model = Model(curves, Settings())
    x = model.layout.fixed.copy()
    x[model.layout.kernel] = 1e4  # overflows
    assert model.log_likelihood(x) == -np.inf
    value, gradient = model.value_and_gradient(x)
    assert value == -np.inf
    assert not gradient.any()
    with pytest.raises(InputError, match="not defined"):
        model.linear(x)


def test_pycali_vectors_round_trip(curves, rng):
    model = Model(curves, Settings(systematic_error=True, error_scale=True))
    x = inside(model, rng)
    np.testing.assert_allclose(model.from_pycali(model.to_pycali(x)), x, atol=1e-14)
