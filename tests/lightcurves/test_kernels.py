"""Every registered kernel: state space against closed form, derivatives against differences."""

import numpy as np
import pytest

from crosscal.core.errors import UnknownNameError
from crosscal.lightcurves.kernels.base import Kernel
from crosscal.lightcurves.kernels.registry import KERNELS, kernel, processes

LAGS = np.array([0.0, 1e-4, 0.3, 2.0, 10.0, 50.0, 400.0, 5000.0])


def parameters(process, share):
    extra = [p.low + share * (p.high - p.low) for p in process.parameters[2:]]
    return np.array([np.log(0.1), np.log(20.0), *extra])


@pytest.fixture(params=processes())
def process(request):
    return kernel(request.param)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_state_space_gives_the_covariance(process, share):
    theta = parameters(process, share)
    h = np.array(process.observation)
    found = np.einsum("i,nij,jk,k->n", h, process.transition(theta, LAGS), process.stationary(theta), h)
    expected = process.covariance(theta, LAGS)
    # CARMA at its prior corners loses digits in the difference of nearly equal exponentials.
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * expected[0])


def test_variance_is_sigma_squared_tau(process):
    theta = parameters(process, 0.4)
    np.testing.assert_allclose(process.covariance(theta, np.zeros(1)), 0.1**2 * 20, rtol=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.45, 0.7])
def test_derivatives(process, share):
    theta = parameters(process, share)
    step = 1e-6
    basis = np.eye(len(theta)) * step

    def differences(call):
        return np.stack([(call(theta + s) - call(theta - s)) / (2 * step) for s in basis])

    dt = LAGS[:-1]
    numeric = differences(lambda t: process.transition(t, dt))
    np.testing.assert_allclose(
        process.transition_gradient(theta, dt), numeric, atol=1e-7 * max(1, np.abs(numeric).max())
    )
    A = process.transition(theta, dt)
    weights = np.random.default_rng(1).normal(size=A.shape)
    found = process.transition_adjoint(theta, dt, A, weights)
    expected = np.einsum("tjik,jik->t", process.transition_gradient(theta, dt), weights)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    numeric = differences(process.stationary)
    np.testing.assert_allclose(process.stationary_gradient(theta), numeric, atol=1e-8 * max(1, np.abs(numeric).max()))
    numeric = differences(lambda t: np.asarray(process.white(t), dtype=float))
    np.testing.assert_allclose(process.white_gradient(theta), numeric, atol=1e-9)


def test_noise_of_every_step_is_a_covariance(process):
    theta = parameters(process, 0.35)
    A, P0 = process.transition(theta, LAGS), process.stationary(theta)
    Q = P0 - A @ P0 @ np.swapaxes(A, 1, 2)
    assert np.linalg.eigvalsh(Q).min() > -1e-12 * np.trace(P0)


def test_registry():
    assert isinstance(kernel("DRW"), Kernel)
    assert kernel(kernel("sho")).names == ("log_sigma", "log_tau", "log_quality")
    with pytest.raises(UnknownNameError, match="matern32"):
        kernel("matern-32")
    assert all(line.endswith((".", "}", ")")) or line for line in KERNELS.describe().values())
