"""Every registered divergence: zero for equal posteriors, positive else, differentiable, and right for Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm

from crosscal.xray.correction.divergence import DIVERGENCES, Cloud

pytestmark = pytest.mark.thorough


def cloud(q, seed, n=3, samples=4000):
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(n, q))
    root = np.tril(rng.normal(size=(n, q, q))) * 0.3 + np.eye(q)
    draws = mean[:, None] + rng.standard_normal((n, samples, q)) @ np.swapaxes(root, 1, 2)
    return Cloud(jnp.asarray(mean), jnp.asarray(root @ np.swapaxes(root, 1, 2)), jnp.asarray(draws))


@pytest.mark.parametrize("q", [2, *(pytest.param(q, marks=pytest.mark.thorough) for q in (1, 3))])
@pytest.mark.parametrize("name", list(DIVERGENCES))
def test_is_a_divergence(name, q):
    term = DIVERGENCES.get(name)
    p, other = cloud(q, 1), cloud(q, 2)
    np.testing.assert_allclose(term(p, p), 0, atol=1e-9)
    assert np.all(np.asarray(term(p, other)) > 0)
    assert term(p, other).shape == (3,)

    def moved(shift):
        return term(p, Cloud(p.mean + shift, p.covariance, p.samples + shift)).sum()

    assert moved(0.5) > moved(0.1)
    gradient = jax.grad(moved)(0.3)
    difference = (moved(0.3 + 1e-5) - moved(0.3 - 1e-5)) / 2e-5
    np.testing.assert_allclose(gradient, difference, rtol=1e-4)
    assert DIVERGENCES.describe()[name]


def test_gaussian_formulas():
    p, q = cloud(3, 1), cloud(3, 2)
    scale = np.sqrt(np.mean(np.diagonal(p.covariance, axis1=1, axis2=2), axis=0))
    for i in range(3):
        m, c = np.asarray(p.mean[i]), np.asarray(p.covariance[i])
        n, d = np.asarray(q.mean[i]), np.asarray(q.covariance[i])
        inverse = np.linalg.inv(d)
        kl = 0.5 * (
            np.trace(inverse @ c) + (n - m) @ inverse @ (n - m) - 3 + np.log(np.linalg.det(d) / np.linalg.det(c))
        )
        np.testing.assert_allclose(DIVERGENCES.get("kl")(p, q)[i], kl, rtol=1e-10)
        a, b = c / np.outer(scale, scale), d / np.outer(scale, scale)
        w2 = np.sum(((m - n) / scale) ** 2) + np.trace(a + b - 2 * np.real(sqrtm(sqrtm(a) @ b @ sqrtm(a))))
        np.testing.assert_allclose(DIVERGENCES.get("wasserstein2")(p, q)[i], w2, rtol=1e-8)


def test_sliced_wasserstein_is_wasserstein_in_one_dimension():
    p, q = cloud(1, 1, samples=40000), cloud(1, 2, samples=30000)
    # Sampling noise of means and sds of 3e4 draws: 1 %.
    np.testing.assert_allclose(
        DIVERGENCES.get("sliced-wasserstein")(p, q), DIVERGENCES.get("wasserstein2")(p, q), rtol=0.05, atol=2e-3
    )
