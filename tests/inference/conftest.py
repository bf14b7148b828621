import numpy as np
import pytest


@pytest.fixture(scope="module")
def gaussian():
    """A correlated Gaussian likelihood with Gaussian priors: posterior and evidence are known exactly."""
    import jax.numpy as jnp
    import numpyro.distributions as dist
    from scipy.stats import multivariate_normal

    from crosscal.inference.problem import Problem

    noise = np.array([[1.0, 0.9], [0.9, 1.0]])
    prior_sd, data = np.array([3.0, 2.0]), np.array([1.0, -0.5])
    precision = jnp.asarray(np.linalg.inv(noise))
    constant = -0.5 * np.linalg.slogdet(2 * np.pi * noise)[1]

    def log_likelihood(params):
        r = params["x"] - data
        return constant - 0.5 * r @ precision @ r

    problem = Problem(
        {"x": dist.Normal(jnp.zeros(2), jnp.asarray(prior_sd)).to_event(1)},
        log_likelihood,
        dims={"x": ["axis"]},
        coords={"axis": ["first", "second"]},
        units={"x": "keV"},
        derived=lambda params: {"total": params["x"].sum()},
        pointwise=lambda params: -0.5 * (params["x"] - data) ** 2,
    )
    covariance = np.linalg.inv(np.linalg.inv(noise) + np.diag(prior_sd**-2.0))
    mean = covariance @ np.linalg.inv(noise) @ data
    evidence = multivariate_normal(np.zeros(2), noise + np.diag(prior_sd**2)).logpdf(data)
    return problem, mean, covariance, evidence
