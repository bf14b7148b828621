"""The curvature at a mode."""

import numpy as np
import pytest

from crosscal.inference.laplace import difference_hessian


@pytest.mark.thorough
@pytest.mark.parametrize("units", [1.0, 1e-6, 1e5])
def test_hessian_is_that_of_jax(units):
    """Of a curved density whose parameters have standard deviations of ``units`` and about 1."""
    import jax
    import jax.numpy as jnp

    def density(v):
        x, y, z = v[0] / units, v[1], v[2]
        return x**2 / 2 + jnp.cosh(y - 0.3 * x) + jnp.log1p((z - y) ** 2) + 0.1 * x**4

    at = np.array([0.2 * units, 0.4, 0.5])
    gradient = jax.jit(jax.grad(density))
    found = difference_hessian(lambda v: np.asarray(gradient(v)), at)
    expected = np.asarray(jax.hessian(density)(at))
    sd = np.sqrt(np.diag(expected))
    # The steps are 0.03 sd: their fourth power over 30 times a sixth derivative of order 10.
    np.testing.assert_allclose(found / np.outer(sd, sd), expected / np.outer(sd, sd), atol=1e-6)


def test_a_flat_direction_has_no_curvature():
    found = difference_hessian(lambda v: np.array([2 * v[0], 0.0]), np.array([0.1, 3.0]))
    np.testing.assert_allclose(found, [[2.0, 0.0], [0.0, 0.0]], atol=1e-9)


def test_what_is_not_finite_stays_visible():
    found = difference_hessian(lambda v: np.array([np.nan]), np.zeros(1))
    assert np.isnan(found).all()
