"""Draws of a Gaussian."""

import numpy as np
import pytest

from crosscal.core.errors import InputError
from crosscal.inference.gaussian import gaussian_posterior

MEAN = {"kT": 6.0, "curve": np.array([1e-3, 2e-3])}
ROOT = np.array([[0.5, 0.0, 0.0], [1e-4, 2e-4, 0.0], [0.0, 1e-4, 0.0]])
COVARIANCE = ROOT @ ROOT.T  # of rank 2


def test_the_draws_have_the_mean_and_the_covariance():
    found = gaussian_posterior(MEAN, COVARIANCE, draws=20000, seed=3)
    values = found.matrix()[1]
    scale = np.sqrt(np.diag(COVARIANCE))
    # 20000 draws: means to 0.007 sd, correlations to 0.007.
    np.testing.assert_allclose((values.mean(axis=0) - [6.0, 1e-3, 2e-3]) / scale, 0, atol=0.035)
    np.testing.assert_allclose(
        np.cov(values.T) / np.outer(scale, scale), COVARIANCE / np.outer(scale, scale), atol=0.04
    )
    assert found.draws("curve").shape == (20000, 2)


def test_the_seed_decides():
    one, two, other = (gaussian_posterior(MEAN, COVARIANCE, draws=5, seed=s).matrix()[1] for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.eye(2), r"shape \(2, 2\)"),
        (np.full((3, 3), np.nan), "not finite"),
        (np.diag([1.0, -1.0, 1.0]) + 2 * (np.ones((3, 3)) - np.eye(3)), "negative eigenvalue"),
    ],
)
def test_what_is_no_covariance(covariance, message):
    with pytest.raises(InputError, match=message):
        gaussian_posterior(MEAN, covariance)
