"""The variational bound of a Gaussian process with Student's t noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from crosscal.fluxcal.curve.position import FREEDOM
from crosscal.fluxcal.curve.variational import UPDATES, variational_process


def evidence(covariance, value, noise):
    """ln p(value) of two points by a sum over a fine grid of both fields."""
    half = 8 * np.sqrt(covariance[0, 0])
    f = np.linspace(-half, half, 401)
    grid = np.stack(np.meshgrid(f, f, indexing="ij"), axis=-1)
    density = stats.multivariate_normal(np.zeros(2), covariance).pdf(grid)
    for k in range(2):
        density = density * stats.t(FREEDOM, loc=value[k], scale=np.sqrt(noise[k])).pdf(grid[..., k])
    return float(np.log(density.sum() * (f[1] - f[0]) ** 2))


@pytest.mark.parametrize("value", [(0.1, -0.2), (1.5, 1.2), (6.0, -0.5)])
@pytest.mark.parametrize("scatter", [0.3, 1.0, 3.0])
def test_bound_lies_below_the_evidence_and_near_it(value, scatter):
    covariance = np.array([[1.0, 0.6], [0.6, 1.0]])
    value, noise = np.array(value), np.full(2, scatter**2)
    bound = variational_process(covariance, value, noise)[0]
    exact = evidence(covariance, value, noise)
    assert bound <= exact + 1e-6
    # what the factorised posterior leaves out: of each point a part of a unit of ln
    assert exact - bound < 0.5


def process(rng, n=40):
    place = rng.uniform(-1, 1, (n, 2))
    square = np.sum((place[:, None] - place[None]) ** 2, axis=-1)
    covariance = np.exp(-0.5 * square / 0.4**2)
    field = np.linalg.cholesky(covariance + 1e-9 * np.eye(n)) @ rng.normal(size=n)
    return covariance, field, field + 0.3 * rng.standard_t(FREEDOM, n)


def test_bound_rises_with_each_update_to_its_limit(rng):
    covariance, _, value = process(rng)
    noise = np.full(40, 0.09)
    found = [variational_process(covariance, value, noise, n)[0] for n in (1, 2, 3, UPDATES, 200)]
    assert np.all(np.diff(found) > -1e-9)
    assert found[-1] - found[-2] < 0.1


def test_weights_and_inverse_are_those_of_one_gaussian_process(rng):
    covariance, field, value = process(rng)
    value[3] += 10.0
    _, alpha, inverse = variational_process(covariance, value, np.full(40, 0.09))
    np.testing.assert_allclose(inverse, inverse.T)
    np.testing.assert_allclose(inverse @ value, alpha)
    variance = np.diag(np.linalg.inv(inverse)) - np.diag(covariance)
    # the stray point has nearly no weight
    assert variance[3] > 10 * np.median(variance)
    assert np.std(covariance @ alpha - field) < 0.3
    np.testing.assert_allclose(np.linalg.inv(inverse), covariance + np.diag(variance), atol=1e-9)


def test_strength_of_the_field_is_found(rng):
    """Of four strengths the bound prefers the true one, where there are data enough."""
    covariance, _, value = process(rng, 300)
    trials = {s: variational_process(s**2 * covariance, value, np.full(300, 0.09))[0] for s in (0.0, 0.25, 1.0, 4.0)}
    assert max(trials, key=trials.__getitem__) == 1.0
