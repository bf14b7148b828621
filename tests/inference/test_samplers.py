"""Every sampler against a posterior that is known exactly: one table of cases drives the checks."""

import numpy as np
import pytest

from crosscal.core.errors import FitError, InputError, UnknownNameError
from crosscal.inference.laplace import find_mode
from crosscal.inference.registry import SAMPLERS, sample

OPTIONS = {
    "laplace": {"draws": 4000},
    "importance": {"draws": 4000},
    "nuts": {"draws": 1000, "chains": 4},
    "nested": {"live_points": 500},
    "gibbs": {},
}


def test_every_registered_sampler_is_tested():
    assert set(SAMPLERS) == set(OPTIONS)


@pytest.fixture(scope="module", params=["laplace", "importance", "nuts", "nested"])
def result(request, gaussian):
    return sample(gaussian[0], request.param, seed=4, **OPTIONS[request.param])


def test_moments_are_the_exact_ones(result, gaussian):
    _, mean, covariance, _ = gaussian
    draws = result.draws("x")
    effective = max(result.summary(["x"])["ess_bulk"].min(), 400)
    sd = np.sqrt(np.diag(covariance))
    # Monte Carlo error of a mean is sd / sqrt(ESS), of an sd is sd / sqrt(2 ESS): 4.5 of them.
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(effective))
    assert np.all(np.abs(draws.std(axis=0) / sd - 1) < 4.5 / np.sqrt(2 * effective))
    correlation = covariance[0, 1] / sd.prod()
    assert abs(np.corrcoef(draws.T)[0, 1] - correlation) < 4.5 * (1 - correlation**2) / np.sqrt(effective)


def test_evidence_is_the_exact_one(result, gaussian):
    if result.method == "nuts":
        assert result.log_evidence is None
        return
    # Laplace is exact here; the others state their error.
    assert abs(result.log_evidence - gaussian[3]) < 4 * (result.log_evidence_error or 1e-4) + 1e-4


def test_result_carries_names_units_derived_and_verdict(result):
    assert result.names == ("x", "total")
    assert result.converged, result.messages
    table = result.summary()
    assert list(table["parameter"]) == ["x[0]", "x[1]", "total"]
    assert list(table["unit"]) == ["keV", "keV", ""]
    np.testing.assert_allclose(result.draws("total"), result.draws("x").sum(axis=1))
    assert list(result.tree["posterior"]["axis"].values) == ["first", "second"]


def test_draws_depend_on_the_seed_only(gaussian):
    problem = gaussian[0]
    one = sample(problem, "nuts", seed=9, draws=50, warmup=50, chains=2, workers=1)
    two = sample(problem, "nuts", seed=9, draws=50, warmup=50, chains=2, workers=2)
    np.testing.assert_array_equal(one.draws("x"), two.draws("x"))


def test_nuts_without_preconditioning_starts_from_the_prior(gaussian):
    problem, mean, covariance, _ = gaussian
    found = sample(problem, "nuts", seed=1, draws=500, chains=2, precondition=False)
    assert np.all(np.abs(found.mean("x") - mean) < 5 * np.sqrt(np.diag(covariance) / 200))


def test_nuts_reports_short_chains(gaussian):
    found = sample(gaussian[0], "nuts", seed=1, draws=50, warmup=100, chains=2)
    assert not found.converged
    assert "bulk ESS below 400" in " ".join(found.messages)


def test_importance_says_when_it_fails():
    import jax.numpy as jnp
    import numpyro.distributions as dist

    from crosscal.inference.problem import Problem

    def ring(params):  # mass far from its mode's Gaussian
        return -0.5 * ((jnp.sum(params["x"] ** 2) ** 0.5 - 30.0) / 0.02) ** 2

    problem = Problem({"x": dist.Uniform(-40 * jnp.ones(2), 40 * jnp.ones(2)).to_event(1)}, ring)
    found = sample(problem, "importance", seed=1, draws=500)
    assert not found.converged
    assert found.messages


def test_gibbs_agrees_and_needs_conditionals(gaussian):
    from dataclasses import replace

    problem, mean, covariance, _ = gaussian
    precision = np.linalg.inv(covariance)

    def update(k):
        def draw(rng, state):
            x = np.array(state["x"])
            other = 1 - k
            centre = mean[k] - precision[k, other] / precision[k, k] * (x[other] - mean[other])
            x[k] = rng.normal(centre, precision[k, k] ** -0.5)
            return {"x": x}

        return draw

    found = sample(replace(problem, conditionals={"0": update(0), "1": update(1)}), "gibbs", seed=2, draws=2500)
    ess = found.summary()["ess_bulk"].min()
    assert np.all(np.abs(found.mean("x") - mean) < 4.5 * np.sqrt(np.diag(covariance) / ess))
    with pytest.raises(InputError, match="no conditionals"):
        sample(problem, "gibbs")


def test_nested_refuses_many_dimensions_and_priors_without_icdf():
    import jax.numpy as jnp
    import numpyro.distributions as dist

    from crosscal.inference.problem import Problem

    with pytest.raises(InputError, match="20 parameters; expected at most 15"):
        sample(Problem({"x": dist.Normal(jnp.zeros(20), 1.0)}, lambda p: 0.0), "nested")
    with pytest.raises(InputError, match="no inverse cumulative distribution"):
        sample(Problem({"x": dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2))}, lambda p: 0.0), "nested")


def test_an_impossible_density_is_a_fit_error():
    import jax.numpy as jnp
    import numpyro.distributions as dist

    from crosscal.inference.problem import Problem

    with pytest.raises(FitError, match="finite posterior density"):
        find_mode(Problem({"x": dist.Normal()}, lambda p: jnp.nan * p["x"]))


def test_a_flat_direction_is_reported():
    import numpyro.distributions as dist

    from crosscal.inference.problem import Problem

    flat = Problem({"x": dist.Normal()}, lambda p: 0.5 * p["x"] ** 2)  # the likelihood undoes the prior
    assert not find_mode(flat).well_curved
    assert "flat in some direction" in sample(flat, "laplace", draws=100).messages[0]


def test_unknown_samplers_are_refused(gaussian):
    with pytest.raises(UnknownNameError, match="expected 'nuts'"):
        sample(gaussian[0], "nutz")
