"""Every sampler against a posterior that is known exactly: one table of cases drives the checks."""

import numpy as np
import pytest

from crosscal.core.errors import FitError, InputError, UnknownNameError
from crosscal.inference.laplace import find_mode
from crosscal.inference.registry import SAMPLERS, SamplerOptions, options_of, sample

OPTIONS = {
    "laplace": {"draws": 4000},
    "importance": {"draws": 4000},
    "population": {"draws": 4000},
    "nuts": {"draws": 1000, "chains": 4},
    "nested": {"live_points": 500},
    "gibbs": {},
}


def test_every_registered_sampler_is_tested():
    assert set(SAMPLERS) == set(OPTIONS)


@pytest.fixture(scope="module", params=["laplace", "importance", "population", "nuts", "nested"])
def result(request, gaussian):
    return sample(gaussian[0], request.param, seed=4, **OPTIONS[request.param])


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_evidence_is_the_exact_one(result, gaussian):
    if result.method == "nuts":
        assert result.log_evidence is None
        return
    # Laplace is exact here; the others state their error.
    assert abs(result.log_evidence - gaussian[3]) < 4 * (result.log_evidence_error or 1e-4) + 1e-4


@pytest.mark.thorough
def test_result_carries_names_units_derived_and_verdict(result):
    assert result.names == ("x", "total")
    assert result.converged, result.messages
    table = result.summary()
    assert list(table["parameter"]) == ["x[first]", "x[second]", "total"]
    assert list(table["unit"]) == ["keV", "keV", ""]
    np.testing.assert_allclose(result.draws("total"), result.draws("x").sum(axis=1))
    assert list(result.tree["posterior"]["axis"].values) == ["first", "second"]


@pytest.mark.thorough
def test_draws_depend_on_the_seed_only(gaussian):
    problem = gaussian[0]
    one = sample(problem, "nuts", seed=9, draws=50, warmup=50, chains=2, workers=1)
    two = sample(problem, "nuts", seed=9, draws=50, warmup=50, chains=2, workers=2)
    np.testing.assert_array_equal(one.draws("x"), two.draws("x"))


@pytest.mark.thorough
def test_nuts_without_preconditioning_starts_from_the_prior(gaussian):
    problem, mean, covariance, _ = gaussian
    found = sample(problem, "nuts", seed=1, draws=500, chains=2, precondition=False)
    assert np.all(np.abs(found.mean("x") - mean) < 5 * np.sqrt(np.diag(covariance) / 200))


@pytest.mark.thorough
def test_nuts_reports_short_chains(gaussian):
    found = sample(gaussian[0], "nuts", seed=1, draws=50, warmup=100, chains=2)
    assert not found.converged
    assert "bulk ESS below 400" in " ".join(found.messages)


@pytest.fixture
def ring():
    """Mass on a thin circle: far from the Gaussian at a mode, and more than twenty components can follow."""
    import jax.numpy as jnp
    import numpyro.distributions as dist

    from crosscal.inference.problem import Problem

    def log_likelihood(params):
        return -0.5 * ((jnp.sum(params["x"] ** 2) ** 0.5 - 30.0) / 0.02) ** 2

    return Problem({"x": dist.Uniform(-40 * jnp.ones(2), 40 * jnp.ones(2)).to_event(1)}, log_likelihood)


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "options"), [("importance", {}), ("population", {"rounds": 6})])
def test_weighted_samplers_say_when_they_fail(ring, name, options):
    found = sample(ring, name, seed=1, draws=500, **options)
    assert not found.converged
    assert found.messages


def bimodal():
    """Two unequal modes and a parameter at the limit of its prior, with moments and evidence in closed form."""
    import jax.numpy as jnp
    import numpyro.distributions as dist
    from scipy.stats import expon

    from crosscal.inference.problem import Problem

    centres, widths, shares = np.array([[-3.0, 1.0], [2.5, -2.0]]), np.array([0.3, 0.15]), np.array([0.7, 0.3])

    def log_likelihood(params):
        steps = (params["x"] - centres) / widths[:, None]
        parts = jnp.log(shares) - 0.5 * jnp.sum(steps**2, axis=1) - 2 * jnp.log(widths) - jnp.log(2 * jnp.pi)
        return jax.scipy.special.logsumexp(parts) - params["s"] / 0.05

    import jax

    priors = {"x": dist.Uniform(-8 * jnp.ones(2), 8 * jnp.ones(2)).to_event(1), "s": dist.Uniform(0.0, 1.0)}
    # The likelihood of s is 0.05 times the density of an exponential of mean 0.05, all of it below 1.
    evidence = -2 * np.log(16.0) + np.log(0.05 * expon(scale=0.05).cdf(1.0))
    return Problem(priors, log_likelihood), shares @ centres, evidence


@pytest.mark.thorough
def test_population_finds_both_modes_and_their_shares():
    problem, mean, evidence = bimodal()
    found = sample(problem, "population", seed=3)
    assert found.converged, found.messages
    assert abs(found.log_evidence - evidence) < 4 * found.log_evidence_error
    effective = float(found.tree["sample_stats"]["effective_size"][0, 0])
    left = np.mean(found.draws("x")[:, 0] < 0)
    # Four binomial standard deviations, of the weights and of the resampling together.
    assert abs(left - 0.7) < 4 * np.sqrt(0.21 * (1 / effective + 1 / 4000))
    assert np.all(np.abs(found.mean("x") - mean) < 4 * found.sd("x") * np.sqrt(1 / effective + 1 / 4000))
    assert abs(found.mean("s") - 0.05) < 4 * 0.05 * np.sqrt(1 / effective + 1 / 4000)


@pytest.mark.thorough
def test_population_keeps_the_likelihood_of_each_datum(gaussian):
    found = sample(gaussian[0], "population", seed=5, draws=300)
    each = found.tree["log_likelihood"]["data"].values[0]
    # The fixture's own formula, with its data (1.0, -0.5).
    np.testing.assert_allclose(each, -0.5 * (found.draws("x") - np.array([1.0, -0.5])) ** 2, rtol=1e-12, atol=1e-12)


@pytest.mark.thorough
def test_population_depends_on_the_seed_only(gaussian):
    one, two, other = (sample(gaussian[0], "population", seed=seed, draws=200) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.draws("x"), two.draws("x"))
    assert not np.array_equal(one.draws("x"), other.draws("x"))


def test_population_refuses_many_dimensions():
    import jax.numpy as jnp
    import numpyro.distributions as dist

    from crosscal.inference.problem import Problem

    with pytest.raises(InputError, match="13 parameters; expected at most 12"):
        sample(Problem({"x": dist.Normal(jnp.zeros(13), 1.0)}, lambda p: 0.0), "population")


def test_a_mixture_is_a_density_and_draws_what_it_says():
    from scipy.stats import multivariate_t

    from crosscal.inference.mixture import StudentMixture

    roots = np.array([[[1.0, 0.0], [0.5, 0.3]], [[0.2, 0.0], [0.0, 2.0]]])
    mixture = StudentMixture(np.array([0.3, 0.7]), np.array([[0.0, 1.0], [4.0, -1.0]]), roots, 6.0)
    x = np.random.default_rng(0).normal(size=(50, 2)) * 3
    slow = sum(
        s * multivariate_t(c, r @ r.T, df=6.0).pdf(x)
        for s, c, r in zip(mixture.shares, mixture.centres, roots, strict=True)
    )
    np.testing.assert_allclose(np.exp(mixture.log_density(x)), slow, rtol=1e-12)
    drawn = mixture.draw(np.random.default_rng(1), 20_000)
    assert abs(np.mean(drawn[:, 0] > 2) - 0.7) < 0.02  # the components overlap little; 6 standard errors
    refitted = StudentMixture.fitted(drawn, np.full(20_000, 5e-5), 2, np.random.default_rng(2))
    assert abs(refitted.log_density(drawn).mean() - mixture.log_density(drawn).mean()) < 0.01
    guarded = mixture.guarded()
    assert np.exp(mixture.log_density(x) - guarded.log_density(x)).max() <= 1 / 0.9 + 1e-12


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
    with pytest.raises(UnknownNameError, match="unknown option 'drawss'; expected 'draws'"):
        sample(gaussian[0], "laplace", drawss=3)


@pytest.mark.slow
def test_population_is_calibrated_where_signs_are_ambiguous(slow_scale):
    """Truths from the prior, data that know x^2 and x y: two solutions each time; ranks of both must be flat."""
    import jax.numpy as jnp
    import numpyro.distributions as dist

    from crosscal.inference.diagnostics import simulation_based_calibration
    from crosscal.inference.problem import Problem

    errors = np.array([0.3, 0.2])

    def draw(rng):
        truth = {"x": rng.normal(), "y": rng.uniform(-1.0, 1.0)}
        mean = np.array([truth["x"] ** 2, truth["x"] * truth["y"]])
        return truth, mean + errors * rng.standard_normal(2)

    def fit(data, seed):
        def log_likelihood(p):
            return -0.5 * jnp.sum(((jnp.stack([p["x"] ** 2, p["x"] * p["y"]]) - data) / errors) ** 2)

        priors = {"x": dist.Normal(0.0, 1.0), "y": dist.Uniform(-1.0, 1.0)}
        found = sample(Problem(priors, log_likelihood), "population", seed=seed, draws=1000)
        assert found.converged, found.messages
        return found

    replicates = max(20, round(200 * slow_scale))
    found = simulation_based_calibration(draw, fit, replicates=replicates, seed=11, n_draws=99)
    assert found.failures == 0
    # Two parameters: the smaller of two p-values falls below 0.005 once in 100 runs.
    assert np.all(found.p_values() > 0.005)


def test_type_checkers_know_every_option_of_every_sampler():
    assert set(SamplerOptions.__annotations__) == {name for method in SAMPLERS for name in options_of(method) or ()}
