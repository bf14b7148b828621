"""The hierarchical model against brute-force integration, its samplers against each other, and its verb."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.correction.bias import TemperatureBias
from crosscal.xray.correction.emulate import OUTPUTS, CalibrationEmulator
from crosscal.xray.correction.hierarchical import ROWS, HierarchicalModel
from crosscal.xray.correction.infer import infer, standardised_residuals
from crosscal.xray.correction.pairs import MOST_POINTWISE
from crosscal.xray.correction.point import minimise_divergence
from crosscal.xray.correction.simulate import simulate_pairs

TRUE = {"A": 0.1, "mu": 1.7, "sigma": 0.93}


@pytest.fixture(scope="module")
def pairs(amplitude_only):
    kT = np.geomspace(2, 12, 30)
    return simulate_pairs(amplitude_only, {"A": 0.12}, kT, relative_error=0.03, scatter=0.01, cross_norm=1.05, seed=3)


@pytest.mark.thorough
def test_marginal_equals_brute_force_in_one_dimension(amplitude_only):
    emulator = amplitude_only.only("kT")
    pairs = simulate_pairs(emulator, {"A": 0.1}, [2.0, 5.0, 11.0], relative_error=[[[0.02]], [[0.05]]], seed=1)
    model = HierarchicalModel(pairs, emulator, scatter=0.03)
    params = {"A": jnp.asarray(0.07), "scatter": jnp.asarray(0.02)}
    fast = np.asarray(model.pointwise(params))
    for i in range(3):
        t0, t1 = pairs.values[:, i, 0]
        s0, s1 = pairs.sd[:, i, 0]

        def integrand(t, t0=t0, t1=t1, s0=s0, s1=s1):
            f = float(model.expected(params, jnp.array([[t]]))[0, 0])
            return norm.pdf(t0, t, s0) * norm.pdf(t1, f, np.hypot(s1, 0.02 * f)) * t0 / t

        slow = np.log(quad(integrand, t0 - 7 * s0, t0 + 7 * s0, epsabs=0, epsrel=1e-6)[0])
        # The map, the scatter and the prior 1/T bend over errors of 5 %: Laplace's method is good to some 1e-3.
        assert fast[i] == pytest.approx(slow, abs=6e-3)


@pytest.mark.slow
def test_marginal_equals_sampling_of_the_truth_in_three_dimensions(amplitude_only, pairs):
    model = HierarchicalModel(pairs.take([0, 20]), amplitude_only)
    params = {"A": jnp.asarray(0.1), "scatter": jnp.asarray(0.015), "ln_cross_norm": jnp.asarray(0.03)}
    fast = np.asarray(model.pointwise(params))
    rng = np.random.default_rng(1)
    for i in range(2):
        small = model.pairs.take([i])
        truth = multivariate_normal(small.values[0, 0], small.covariance[0, 0]).rvs(60_000, random_state=rng)
        one = HierarchicalModel(small, amplitude_only)
        expected = np.asarray(jax.vmap(lambda x, one=one: one.expected(params, x[None])[0])(jnp.asarray(truth)))
        noise = np.asarray(one.noise(params, jnp.asarray(expected)))
        r = small.values[1, 0] - expected
        log = (
            -0.5 * np.einsum("na,nab,nb->n", r, np.linalg.inv(noise), r) - 0.5 * np.linalg.slogdet(2 * np.pi * noise)[1]
        )
        prior = np.prod(small.values[0, 0, :2] / truth[:, :2], axis=1)
        weights = np.exp(log - log.max()) * prior
        slow = np.log(weights.mean()) + log.max()
        error = weights.std() / weights.mean() / np.sqrt(len(weights))
        assert fast[i] == pytest.approx(slow, abs=5 * error + 2e-3)


@pytest.mark.thorough
def test_gradient_of_the_marginal(emulator, pairs):
    model = HierarchicalModel(simulate_pairs(emulator, TRUE, np.geomspace(2, 12, 8), seed=2), emulator)
    problem = model.problem()
    density = jax.jit(problem.log_density)
    point = np.asarray(
        problem.unconstrain({"A": 0.08, "mu": 2.0, "sigma": 1.0, "scatter": 0.02, "ln_cross_norm": 0.01})
    )
    gradient = np.asarray(jax.grad(density)(point))
    # The curvature is Gauss-Newton's, so that the derivative of the mode is good to a per cent of a small term.
    for k in range(point.size):
        step = 1e-5 * np.eye(point.size)[k]
        difference = (density(point + step) - density(point - step)) / 2e-5
        assert gradient[k] == pytest.approx(float(difference), rel=1e-2, abs=5e-3)


@pytest.mark.slow
def test_posterior_recovers_the_injected_correction(amplitude_only, pairs):
    result = infer(pairs, amplitude_only, tau=0.1, seed=1, sampler="importance")
    a = result.posterior_draws.draws("A")
    assert abs(a.mean() - 0.12) < 3 * a.std()
    assert a.std() < 0.02
    assert abs(np.exp(result.posterior_draws.mean("ln_cross_norm")) - 1.05) < 0.05
    assert result.diagnostics.p_value > 0.01
    assert result.diagnostics.identified
    assert "constrained modes" in str(result.diagnostics)
    low, high = result.correction.interval(0.95)
    injected = amplitude_only.factor(result.energy, np.array([[0.12]]))[0]
    assert np.all((injected >= low - 1e-12) & (injected <= high + 1e-12))
    assert "effective area of other" in result.answer
    names = set(result.summary()["parameter"])
    assert names == {"A", "scatter", "ln_cross_norm"}
    ratio = result.temperature_bias([8.0]).ratio
    truth = amplitude_only.temperature_bias([[0.12]], [8.0])[0, 0]
    assert abs(ratio.mean() - truth) < 4 * ratio.std()
    residuals = standardised_residuals(result.model, result.posterior_draws, n=50)
    # 90 numbers of unit variance: their rms is 1 +- 0.075.
    assert np.sqrt(np.mean(residuals**2)) == pytest.approx(1, abs=0.25)


@pytest.mark.thorough
def test_very_many_sources_are_taken_some_at_a_time(amplitude_only):
    emulator = amplitude_only.only("kT")
    pairs = simulate_pairs(emulator, {"A": 0.1}, np.geomspace(2, 12, 2 * ROWS + 5), relative_error=0.05, seed=4)
    model = HierarchicalModel(pairs, emulator)
    params = {"A": jnp.asarray(0.08), "scatter": jnp.asarray(0.02)}
    np.testing.assert_allclose(model.pointwise(params), model._marginal(params), rtol=1e-12)
    assert model.problem().pointwise is not None
    n = MOST_POINTWISE + 1
    repeated = replace(
        pairs.take(np.zeros(1, int)),
        names=tuple(map(str, range(n))),
        values=np.repeat(pairs.values[:, :1], n, axis=1),
        covariance=np.repeat(pairs.covariance[:, :1], n, axis=1),
    )
    assert HierarchicalModel(repeated, emulator).problem().pointwise is None


@pytest.mark.slow
def test_sampled_truths_agree_with_integrated_ones(amplitude_only, pairs):
    some = pairs.only("kT").take(slice(0, 30, 4))
    kinds = {
        latent: infer(some, amplitude_only, latent=latent, tau=0.1, sampler="nuts", draws=300, warmup=150, chains=2)
        for latent in ("marginal", "sampled")
    }
    a, b = (kinds[k].posterior_draws.draws("A") for k in ("marginal", "sampled"))
    assert abs(a.mean() - b.mean()) < 0.25 * a.std()
    assert a.std() == pytest.approx(b.std(), rel=0.2)
    assert kinds["sampled"].posterior_draws.draws("truth").shape[1:] == (8, 1)


@pytest.mark.slow
def test_aliases_of_a_gaussian_are_flagged(emulator):
    pairs = simulate_pairs(emulator.only("kT"), TRUE, np.geomspace(2, 12, 60), relative_error=0.03, seed=4)
    result = infer(pairs, emulator, tau=0.1, sampler="laplace", draws=500)
    text = str(result.diagnostics)
    assert result.diagnostics.aliases
    assert not result.diagnostics.identified
    assert "theta is not identified" in text
    signs = {np.sign(result.diagnostics.best["A"]), *(np.sign(a.theta["A"]) for a in result.diagnostics.aliases)}
    assert signs == {-1.0, 1.0}


@pytest.mark.slow
def test_auto_draws_from_all_solutions_and_falls_back(emulator, monkeypatch):
    from crosscal.xray.correction import infer as module

    pairs = simulate_pairs(emulator.only("kT"), TRUE, np.geomspace(2, 12, 20), relative_error=0.03, seed=4)
    result = infer(pairs, emulator, tau=0.1, seed=2, scatter=None)
    assert result.provenance["config"]["sampler"] == "population"
    assert result.diagnostics.converged
    # Both signs of the amplitude fit these pairs, and both are drawn.
    assert 0.01 < np.mean(result.posterior_draws.draws("A") < 0) < 0.99
    asked = []

    def failing(problem, method, **options):
        asked.append(method)
        found = result.posterior_draws
        return replace(found, method=method, converged=method != "population")

    monkeypatch.setattr(module, "sample", failing)
    again = infer(pairs, emulator, tau=0.1, seed=2, scatter=None)
    assert asked == ["population", "nested"]
    assert again.provenance["config"]["sampler"] == "nested"


@pytest.fixture(scope="module")
def plain(amplitude_only):
    """Pairs of temperatures and norms without scatter and of equal scale."""
    return simulate_pairs(
        amplitude_only.only("kT", "norm"), {"A": 0.12}, np.geomspace(2, 12, 16), relative_error=0.01, seed=5
    )


@pytest.mark.slow
def test_point_estimates_agree(amplitude_only, plain):
    found = {
        "squared-means": minimise_divergence(plain, amplitude_only, "squared-means", starts=2),
        "kl": minimise_divergence(plain.only("kT"), amplitude_only, "kl", starts=2, bootstrap=8),
        "wasserstein2": minimise_divergence(plain, amplitude_only, "wasserstein2", starts=2),
    }
    for estimate in found.values():
        assert estimate.theta["A"] == pytest.approx(0.12, abs=0.04)
        assert estimate.value < estimate.before
        assert estimate.per_source.sum() == pytest.approx(estimate.value, rel=1e-9)
    assert "A = " in str(found["kl"])
    assert 0.001 < found["kl"].sd["A"] < 0.05
    with pytest.raises(InputError, match="samples"):
        minimise_divergence(plain, amplitude_only, "sliced-wasserstein")
    with pytest.raises(UnknownNameError, match="'kl'"):
        minimise_divergence(plain, amplitude_only, "kll")


@pytest.mark.thorough
def test_samples_can_be_matched(amplitude_only, plain):
    from crosscal.xray.correction.pairs import PairedSources

    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(plain.covariance)
    draws = plain.values[:, :, None] + rng.standard_normal((2, 16, 60, 2)) @ np.swapaxes(root, 2, 3)
    sampled = PairedSources.from_samples(plain.names, plain.telescopes, plain.quantities, draws).only("kT")
    estimate = minimise_divergence(sampled, amplitude_only, "sliced-wasserstein", starts=2)
    assert estimate.theta["A"] == pytest.approx(0.12, abs=0.05)


@pytest.mark.thorough
def test_correction_inverts_measurement(emulator):
    theta, truth = jnp.array([0.15, 2.0, 0.8]), jnp.array([[2.0, 1.0, 0.3], [9.0, 2.0, 0.4]])
    measured = emulator.measure(theta, truth)
    # Newton's method on a piecewise cubic: to rounding.
    np.testing.assert_allclose(emulator.correct(theta, measured), truth, rtol=1e-10)
    value, slope = emulator.measure_with_slope(theta, truth)
    np.testing.assert_allclose(value, measured, rtol=1e-12)
    for k in range(3):
        step = 1e-5 * np.eye(3)[k]
        difference = (emulator.measure(theta, truth + step) - emulator.measure(theta, truth - step)) / 2e-5
        np.testing.assert_allclose(slope[:, :, k], difference, rtol=1e-6, atol=1e-8)


def test_emulator_file(emulator, tmp_path):
    again = CalibrationEmulator.load(emulator.save(tmp_path / "e.npz"))
    assert again.modifier == emulator.modifier
    assert (again.telescope, again.quantities, again.domain) == ("pn", emulator.quantities, emulator.domain)
    energy = np.geomspace(0.5, 8, 9)
    theta = np.array([[0.1, 2.0, 1.0]])
    np.testing.assert_array_equal(again.factor(energy, theta), emulator.factor(energy, theta))
    assert emulator.validate(64).rms[0] < 0.5
    with pytest.raises(InputError, match="no simulator"):
        again.validate()


def test_bad_input(emulator, amplitude_only, pairs, tmp_path):
    from dataclasses import replace

    from crosscal.core.errors import DataFileError
    from crosscal.emulator import save

    with pytest.raises(UnknownNameError, match="marginal"):
        HierarchicalModel(pairs, amplitude_only, latent="margin")
    with pytest.raises(InputError, match="the pairs hold norm"):
        infer(pairs, amplitude_only.only("kT"))
    with pytest.raises(InputError, match="quantities"):
        amplitude_only.only("nH")
    far = simulate_pairs(amplitude_only.only("kT"), {"A": 0.0}, [2.0, 12.0])
    moved = type(far)(far.names, far.telescopes, far.quantities, far.values * 10, far.covariance)
    with pytest.raises(InputError, match=r"kT = 20.* outside the emulator's domain"):
        infer(moved, amplitude_only)
    with pytest.raises(InputError, match="outside the emulator's domain"):
        simulate_pairs(amplitude_only, {"A": 0.9}, [4.0])
    with pytest.raises(InputError, match="theta of shape"):
        simulate_pairs(amplitude_only, [0.1, 0.2], [4.0])
    with pytest.raises(UnknownNameError, match="expected one of A"):
        _ = HierarchicalModel(pairs, amplitude_only, priors={"B": None}).all_priors
    with pytest.raises(InputError, match="inputs"):
        CalibrationEmulator(replace(emulator.emulator, inputs=emulator.emulator.inputs[:3]))
    with pytest.raises(InputError, match="outputs"):
        CalibrationEmulator(replace(emulator.emulator, outputs=("a", "b", "c")))
    with pytest.raises(DataFileError, match="not an emulator of a calibration"):
        CalibrationEmulator.load(save(emulator.emulator, tmp_path / "plain.npz"))
    bare = CalibrationEmulator(emulator.emulator)
    with pytest.raises(InputError, match="the modifier is not known"):
        bare.factor([1.0], np.zeros((1, 3)))
    assert OUTPUTS["kT"] in emulator.emulator.outputs


def test_bias_tables():
    kT = np.geomspace(1, 10, 8)
    draws = np.array([1.1, 1.2])[:, None] * kT ** np.array([-0.1, -0.2])[:, None]
    found = TemperatureBias(kT, draws)
    # A power law is reproduced exactly by its own least squares.
    np.testing.assert_allclose(found.power_law(), [[1.1, 0.9], [1.2, 0.8]], rtol=1e-10)
    np.testing.assert_allclose(found.of_power(1.5), draws**1.5 - 1)
    np.testing.assert_allclose(found.difference, draws * kT - kT)
    assert len(found.table()) == 8
    with pytest.raises(InputError, match="at least 2"):
        found.power_law(9.0, 9.5)
    with pytest.raises(InputError, match="positive"):
        TemperatureBias(kT, -draws)


def test_an_emulator_says_what_it_is_in_one_line(emulator, amplitude_only):
    text = repr(emulator)
    assert text.startswith("<CalibrationEmulator 'pn': spline map of A, mu, sigma, T_true to kT (rms error")
    assert len(text.splitlines()) == 1
    assert " sigma)" in text
    assert text.endswith("tested on every second node, with a coarser grid: an upper limit>")
    assert " sigma)" not in repr(amplitude_only)  # no statistical error to compare with
