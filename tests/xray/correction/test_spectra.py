"""The full likelihood: tables against direct folding, Laplace against brute force and NUTS, and the emulator route."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import simpson

from crosscal import xray
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray import modifiers
from crosscal.xray.correction.bias import fitted_bias
from crosscal.xray.correction.clusters import simulate_clusters
from crosscal.xray.correction.infer_spectra import infer_spectra
from crosscal.xray.correction.leave_out import leave_one_out
from crosscal.xray.correction.observations import Observation, observations_of, prepare
from crosscal.xray.correction.spectra import SpectraModel

pytestmark = pytest.mark.thorough

INJECTED = {"A": 0.1, "mu": 1.7, "sigma": 0.9}


@pytest.fixture(scope="module")
def clusters():
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05, free=("kT", "norm", "Abundanc"))
    a, b = xray.example_telescope("a"), xray.example_telescope("b")
    return simulate_clusters(a, b, model, xray.Gaussian(), INJECTED, [2.5, 4.0, 6.0, 9.0], counts=5e4, seed=2)


@pytest.fixture(scope="module")
def prepared(clusters):
    observations = observations_of(clusters)
    return prepare(observations, observations[0].telescope)


def test_tables_equal_direct_folding(clusters, prepared, rng):
    model = SpectraModel(prepared, xray.Gaussian(), tau=0.1)
    v = rng.normal(size=(4, 3)) * 2
    params = {k: jnp.asarray(x) for k, x in INJECTED.items()}
    physical = prepared.pilot.physical(v)
    for block, mean in zip(prepared.blocks, model.expected(params, v), strict=True):
        response = clusters.responses[int(block.corrected)]
        part = response.restricted(clusters.templates[int(block.corrected)].mask)
        for i in range(4):
            values = dict(zip(prepared.pilot.names, physical[i], strict=True))
            spectrum = clusters.model.spectrum(part.energy_edges, **values)
            factor = clusters.injected(part.energy) if block.corrected else 1.0
            direct = block.fold @ (spectrum * factor) * clusters.exposure[int(block.corrected), i]
            # Chebyshev polynomials across the plasma table's nodes: far below the Poisson error of a group.
            assert np.max(np.abs(mean[i] - direct) / np.sqrt(direct)) < 0.05


def test_linear_families_need_no_response(prepared, rng):
    family = xray.Spline(knots=5, low=0.7, high=7.0)
    model = SpectraModel(prepared, family, tau=0.1)
    theta = rng.normal(size=5) * 0.05
    params = dict(zip(family.names, jnp.asarray(theta), strict=True))
    v = rng.normal(size=(4, 3))
    fast = model.expected(params, v)
    rows = np.asarray(model.rows(v))
    size = np.exp(prepared.pilot.scale[:, prepared.multiplicative] * v[:, prepared.multiplicative])
    for block, mean in zip(prepared.blocks, fast, strict=True):
        phi = family.factor(block.energy, theta) if block.corrected else 1.0
        slow = np.einsum("nr,nre->ne", rows[block.index], block.photons) * phi @ block.fold.T
        np.testing.assert_allclose(mean, slow * size[block.index, None], rtol=1e-9)


@pytest.mark.slow
def test_source_integral_equals_brute_force(prepared):
    one = SpectraModel(prepared, modifiers.Grey(), sources="marginal", tau=0.1)
    params = {"scale": jnp.asarray(1.02)}
    fast = np.asarray(one.marginal(params))
    v, _ = one.conditional_mode(params)
    density = jax.jit(jax.vmap(lambda w: one.per_source(params, w) + one._log_prior(w)))
    grid = np.linspace(-6, 6, 25)
    sd = 1 / np.sqrt(np.diagonal(np.asarray(one._fisher(params, v)[1]), axis1=1, axis2=2))
    mesh = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    # Correlations widen the marginals; 2.5 conditional widths a unit of 6 reach far into the tails.
    steps = 2.5 / 6 * 6 * sd / 2.5
    values = np.asarray(jax.lax.map(lambda m: density((v + m * steps * 2.0)[None])[0], jnp.asarray(mesh)))
    for i in range(4):
        cube = np.exp(values[:, i] - values[:, i].max()).reshape(25, 25, 25)
        total = cube
        for k in (2, 1, 0):
            total = simpson(total, x=grid * steps[i, k] * 2.0, axis=-1 if k == 2 else (1 if k == 1 else 0))
        slow = np.log(total) + values[:, i].max()
        # Skewness of 5e4-count posteriors, and the expected curvature in place of the observed: a per cent or two.
        assert fast[i] == pytest.approx(slow, abs=0.03)


@pytest.mark.slow
def test_marginal_posterior_equals_full_sampling(clusters, prepared):
    observations = observations_of(clusters)
    family = xray.Spline(knots=4, low=0.7, high=7.0)
    trusted = observations[0].telescope
    full = infer_spectra(observations, family, trusted=trusted, tau=0.1, draws=400, warmup=150, chains=2, seed=1)
    integrated = infer_spectra(observations, family, trusted=trusted, tau=0.1, sampler="laplace", seed=2, draws=1500)
    for name in family.names:
        a, b = full.posterior_draws.draws(name), integrated.posterior_draws.draws(name)
        # Monte Carlo error of some 500 effective draws; four coefficients measured to 2 % are nearly normal.
        assert abs(a.mean() - b.mean()) < 0.25 * a.std()
        assert a.std() == pytest.approx(b.std(), rel=0.2)
    low, high = full.correction.interval(0.99)
    injected = clusters.injected(full.energy)
    assert np.mean((injected > low - 0.01) & (injected < high + 0.01)) > 0.9
    assert full.diagnostics.modes.n_constrained == 4
    ratio = full.temperature_bias([6.0]).ratio
    model, response = clusters.model, clusters.responses[1]
    truth = fitted_bias(response, model, clusters.injected, [6.0], (0.7, 7.0)).ratio[0, 0]
    # Four coefficients cannot follow the injected bump exactly: the predictive check may see it in some noise.
    assert ratio.mean() == pytest.approx(truth, abs=4 * ratio.std() + 0.02)
    temperature = full.posterior_draws.draws("kT")
    assert np.all(np.abs(temperature.mean(axis=0) - clusters.truth["kT"]) < 5 * temperature.std(axis=0))
    left = leave_one_out(integrated)
    assert left.influence.shape == (4,)
    assert left.influence.max() < 10
    assert len(left.table()) == 4
    with pytest.raises(InputError, match="integrated"):
        leave_one_out(full)


@pytest.mark.slow
def test_injected_correction_is_found_from_spectra(clusters):
    """The verb from end to end, with a family that is one number: a grey factor near the injected mean."""
    observations = observations_of(clusters)
    trusted = observations[0].telescope
    result = infer_spectra(
        observations,
        modifiers.Grey(),
        trusted=trusted,
        tau=0.1,
        draws=300,
        warmup=100,
        chains=2,
        norm_scatter=0.02,
        seed=1,
    )
    scale = result.posterior_draws.draws("scale")
    # The injected bump is 0 to 10 % over the band; a scatter of norms of 2 % widens the answer to 1 %.
    assert 1.0 < scale.mean() < 1.12
    assert 0.003 < scale.std() < 0.02
    assert "should be multiplied by" in result.answer
    assert result.diagnostics.modes.n_constrained == 1


def test_background_is_profiled(clusters, prepared):
    """With the background profiled, the analytic optimum equals a numerical one."""
    from scipy.optimize import minimize_scalar

    from crosscal.xray.correction.spectra import _log_poisson

    block = prepared.blocks[0]
    rng = np.random.default_rng(4)
    background = rng.poisson(3.0, block.counts.shape).astype(float)
    background[0, :3] = 0
    full = replace(block, background=background, ratio=np.full(block.counts.shape, 0.4))
    mean = np.maximum(0.9 * block.counts, 0.5)
    fast = np.asarray(_log_poisson(full, jnp.asarray(mean)))
    for i, g in ((0, 0), (0, 2), (1, 5), (2, 10)):

        def cost(log_b, i=i, g=g):
            b = np.exp(log_b)
            total = mean[i, g] + 0.4 * b
            return -(block.counts[i, g] * np.log(total) - total + background[i, g] * log_b - b)

        slow = -minimize_scalar(cost, bounds=(-30, 10), method="bounded", options={"xatol": 1e-10}).fun
        slow -= sum(x * np.log(x) - x for x in (block.counts[i, g], background[i, g]) if x > 0)
        assert fast[i, g] == pytest.approx(slow, abs=1e-6)


def test_bad_observations(clusters, prepared):
    observations = observations_of(clusters)
    trusted = observations[0].telescope
    with pytest.raises(UnknownNameError, match="telescope 'nustar'"):
        prepare(observations, "nustar")
    with pytest.raises(UnknownNameError, match="telescope 'mos'"):
        prepare(observations, trusted, "mos")
    with pytest.raises(InputError, match="is both the reference and the telescope to correct"):
        prepare(observations, trusted, trusted)
    third = replace(observations[0], telescope="third")
    with pytest.raises(InputError, match="2 telescopes besides the reference"):
        prepare([*observations, third], trusted)
    with pytest.raises(InputError, match="no source was observed with both"):
        prepare([replace(third, source="another"), *observations], trusted, "third")
    o = observations[0]
    other = Observation(o.source, o.telescope, o.spectrum, o.response, o.model.replace(free=("kT", "norm")), o.band)
    with pytest.raises(InputError, match="free parameters"):
        prepare([other, *observations[1:]], trusted)
    with pytest.raises(InputError, match="changes the matrix"):
        SpectraModel(prepared, modifiers.Gain())
    with pytest.raises(UnknownNameError, match="sampled"):
        SpectraModel(prepared, modifiers.Grey(), sources="all")
