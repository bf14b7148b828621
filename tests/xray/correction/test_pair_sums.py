"""The compiled likelihood of very many pairs against the slow one, and samplers that begin with some of the sources."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crosscal.inference.importance import population
from crosscal.xray.correction.hierarchical import HierarchicalModel
from crosscal.xray.correction.identifiability import find_aliases
from crosscal.xray.correction.pair_blocks import BLOCK, CROSSED, GROUP
from crosscal.xray.correction.pair_sums import FIRST_SOURCES, MANY_SOURCES, parts_of, temperatures
from crosscal.xray.correction.simulate import simulate_pairs

THETA = {"A": 0.1, "mu": 2.0, "sigma": 0.8}


def model_of(emulator, names, n=BLOCK + 6, error=0.05):
    own = emulator.only(*names)
    pairs = simulate_pairs(own, THETA, np.geomspace(1.3, 13, n), relative_error=error, seed=4)
    # Errors that are correlated, as those of a fit are.
    sd, q = pairs.sd, len(names)
    correlation = np.eye(q) + 0.4 * (1 - np.eye(q))
    return HierarchicalModel(replace(pairs, covariance=sd[..., None] * sd[..., None, :] * correlation), own)


def parameters(names, n):
    rng = np.random.default_rng(1)
    found = {"A": rng.uniform(-0.3, 0.3, n), "mu": rng.uniform(0.7, 7, n), "sigma": rng.uniform(0.4, 2, n)}
    found["scatter"] = rng.uniform(0, 0.05, n)
    if "norm" in names:
        found["ln_cross_norm"] = rng.normal(0, 0.03, n)
    return {k: jnp.asarray(v) for k, v in found.items()}


@pytest.mark.parametrize(
    "names",
    [("kT",), *(pytest.param(n, marks=pytest.mark.thorough) for n in (("kT", "norm"), ("kT", "norm", "Abundanc")))],
)
def test_the_compiled_likelihood_is_the_slow_one(emulator, names):
    model = model_of(emulator, names)
    at = parameters(names, 20)
    slow = jax.jit(jax.vmap(model.pointwise))(at)
    each = jax.jit(jax.vmap(partial(model.sums, each=True)))(at)
    # Cubic interpolation of the map over 3 %, and a last Gauss-Newton step in one of them only.
    np.testing.assert_allclose(each, slow, rtol=1e-5, atol=1e-5)
    total = jax.jit(jax.vmap(model.sums))(at)
    np.testing.assert_allclose(total, each.sum(axis=1), rtol=1e-12)


def explicit(sums, pairs, table, scatter):
    """The log likelihood of each source by matrices, with the same map between the same temperatures."""
    from scipy.interpolate import CubicHermiteSpline

    names, steps = pairs.quantities, sums.steps
    positive = np.array([q != "Abundanc" for q in names])
    columns = [sums.slots.index(q) for q in names]
    splines = [CubicHermiteSpline(sums.nodes, table[0, :, c], table[1, :, c]) for c in columns]
    found = []
    for i in range(len(pairs)):
        (x0, x1), (c0, c1) = pairs.values[:, i], pairs.covariance[:, i]
        shift = np.zeros(len(names))
        for step in range(steps + 1):
            x = np.where(positive, np.maximum(x0 + shift, 1e-3 * x0), x0 + shift)
            kT = np.clip(x[0], sums.nodes[0], sums.nodes[-1])
            value = np.array([s(kT) for s in splines])
            slope = np.array([s(kT, 1) for s in splines]) * (kT == x[0])
            expected = np.where(positive, x * value, x + value)
            jacobian = np.diag(np.where(positive, value, 1.0))
            jacobian[:, 0] += np.where(positive, x * slope, slope)
            own = sums.own[columns]
            noise = own**2 + np.where(positive, scatter**2, 0.0)
            total = c1 + np.diag(noise * np.where(positive, expected, 1.0) ** 2) + jacobian @ c0 @ jacobian.T
            offset = x1 - expected + jacobian @ shift
            if step < steps:
                shift = c0 @ jacobian.T @ np.linalg.solve(total, offset)
        log_det = np.linalg.slogdet(2 * np.pi * total)[1]
        value = -0.5 * offset @ np.linalg.solve(total, offset) - 0.5 * log_det
        found.append(value - np.log(x[positive] / x0[positive]).sum())
    return np.array(found)


SOME, ALL = [("kT", "norm"), ("kT", "Abundanc")], ("kT", "norm", "Abundanc")


@pytest.mark.parametrize("names", [("kT",), ALL, *(pytest.param(n, marks=pytest.mark.thorough) for n in SOME)])
def test_blocks_are_the_explicit_algebra(emulator, names):
    n, error = BLOCK + 6, 0.1
    model = model_of(emulator, names, n, error)
    sums, pairs = model.sums, model.pairs
    at = {k: v[0] for k, v in parameters(names, 1).items()}
    table, scatter = np.asarray(sums.table(at)), float(at["scatter"])
    slow = explicit(sums, pairs, table, scatter)
    # The same operations in another order.
    np.testing.assert_allclose(sums(at, each=True), slow, rtol=1e-10, atol=1e-10)
    # Every theta of a batch that is more than one group, alone and together, and each source where it is alone.
    many = GROUP + 3
    together = sums._run(np.repeat(table[None], many, axis=0), np.full(many, scatter), False)
    np.testing.assert_array_equal(together, float(sums(at)))
    np.testing.assert_allclose(together[0], slow.sum(), rtol=1e-10)
    alone = replace(model, pairs=pairs.take(np.array([n - 1]))).sums
    np.testing.assert_allclose(alone(at), slow[-1], rtol=1e-10)


@pytest.mark.thorough
def test_truths_that_would_be_negative_are_excluded(emulator):
    model = model_of(emulator, ("kT",))
    far = replace(
        model.pairs,
        values=model.pairs.values * np.array([1.0, 1e-3])[:, None, None],
        covariance=model.pairs.covariance * np.array([1e4, 1e-6])[:, None, None, None],
    )
    params = {k: v[0] for k, v in parameters(("kT",), 1).items()}
    values = replace(model, pairs=far).sums(params, each=True)
    assert values.min() < 0.9 * CROSSED
    assert np.all(np.isfinite(values))


def test_temperatures_cover_the_domain_and_are_found_by_their_bits():
    for low, high in ((1.0, 15.0), (0.3, 2.0), (1.5, 1.501), (2.0, 4.0)):
        nodes = temperatures(low, high)
        assert low < nodes[0] < low * (1 + 1e-8)
        assert high * (1 - 1e-8) < nodes[-1] < high
        assert np.all(np.diff(nodes) > 0)
        assert np.all(np.diff(nodes) <= nodes[:-1] / 32 * (1 + 1e-12))


def test_a_model_with_sampled_truths_has_none(emulator):
    model = replace(model_of(emulator, ("kT",)), latent="sampled")
    assert model.sums is None


@pytest.mark.thorough
def test_searches_and_samplers_begin_with_some_of_many_sources(amplitude_only):
    emulator = amplitude_only.only("kT")
    n = MANY_SOURCES + 500
    pairs = simulate_pairs(emulator, {"A": 0.1}, np.geomspace(2, 12, n), relative_error=0.1, seed=4)
    model = HierarchicalModel(pairs, emulator, scatter=None)
    (part,) = parts_of(model, 1)
    assert len(part.pairs) == FIRST_SOURCES
    assert parts_of(part, 1) == []
    problem = model.problem(derivatives=False)
    assert problem.names == ("A",)
    plain = population(problem, draws=500, seed=1)
    quick = population(problem, draws=500, coarse=[part.problem(derivatives=False)], seed=1)
    assert quick.converged
    a, b = (p.draws("A") for p in (plain, quick))
    # Means of some 400 independent draws.
    assert abs(a.mean() - b.mean()) < 4 * a.std() / np.sqrt(400) * np.sqrt(2)
    assert b.std() == pytest.approx(a.std(), rel=0.2)


def test_aliases_are_those_of_all_data():
    def chi2(x, depth):
        return 1e3 * ((x[0] ** 2 - 0.25) ** 2) + depth * x[0]

    def shape(x):
        return x[0] * np.array([0.0, 1.0])

    kinds = [
        find_aliases(lambda x: chi2(x, 2.0), {"a": (-1.0, 1.0)}, shape, coarse=coarse)
        for coarse in (None, lambda x: 0.1 * chi2(x, -2.0))
    ]
    for best, value, aliases in kinds:
        assert best["a"] == pytest.approx(-0.5, abs=0.01)
        assert value == pytest.approx(-1.0, abs=0.01)
        (alias,) = aliases
        assert alias.theta["a"] == pytest.approx(0.5, abs=0.01)
        assert alias.delta_chi2 == pytest.approx(2.0, abs=0.02)
