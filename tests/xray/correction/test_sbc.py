"""Simulation-based calibration of the hierarchical model, and coverage of the injected phi."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from crosscal.inference.diagnostics import simulation_based_calibration
from crosscal.inference.posterior import Posterior
from crosscal.xray.correction.hierarchical import HierarchicalModel
from crosscal.xray.correction.simulate import simulate_pairs

N = 12


@dataclass(frozen=True)
class Traced:
    """Pairs whose numbers are arguments of a compiled function: 200 data sets, one compilation."""

    values: Any
    covariance: Any
    quantities: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self):
        return len(self.names)


class Sampler:
    """Importance sampling from a Student t at the mode, with the data as arguments."""

    def __init__(self, template):
        def density(vector, values, covariance):
            pairs = Traced(values, covariance, template.pairs.quantities, template.pairs.names)
            return replace(template, pairs=pairs).problem().log_density(vector)

        self.problem = template.problem()
        self.gradient = jax.jit(jax.value_and_grad(lambda v, *data: -density(v, *data)))
        self.hessian = jax.jit(jax.hessian(lambda v, *data: -density(v, *data)))
        self.many = jax.jit(jax.vmap(density, in_axes=(0, None, None)))

    def __call__(self, pairs, seed, draws=3000):
        data = (jnp.asarray(pairs.values), jnp.asarray(pairs.covariance))

        def cost(vector):
            value, gradient = self.gradient(vector, *data)
            return float(value), np.asarray(gradient)

        start = self.problem.unconstrain({"A": 0.0, "scatter": 0.015, "ln_cross_norm": 0.0})
        mode = minimize(cost, np.asarray(start), jac=True, method="L-BFGS-B").x
        values, vectors = np.linalg.eigh(np.asarray(self.hessian(mode, *data)))
        scale = vectors / np.sqrt(np.maximum(values, 0.05))
        rng = np.random.default_rng(seed)
        # Heavy tails: ln scatter has a long one towards zero.
        noise = rng.standard_t(3, (draws, 3))
        proposals = mode + 1.3 * noise @ scale.T
        log = np.asarray(self.many(proposals, *data)) + 2 * np.log1p(noise**2 / 3).sum(axis=1)
        weight = np.exp(log - log.max())
        picks = rng.choice(draws, size=1000, p=weight / weight.sum())
        found = jax.vmap(self.problem.constrain)(jnp.asarray(proposals[picks]))
        return Posterior.from_draws({k: np.asarray(v)[None] for k, v in found.items()}, method="test")


def calibrate(emulator, replicates):
    """Return the calibration and, per level, the coverage of phi."""
    base = simulate_pairs(emulator, {"A": 0.0}, np.geomspace(2, 12, N), relative_error=0.03, seed=1)
    template = HierarchicalModel(base, emulator, scatter=0.03, cross_norm=0.05, tau=0.08)
    sampler, names = Sampler(template), list(template.all_priors)
    energy, levels = np.geomspace(0.5, 1.5, 6), (0.68, 0.95)
    hits = {level: [] for level in levels}

    def draw(rng):
        prior = template.problem().draw_prior(int(rng.integers(2**31 - 1)), 1)
        truth = {n: float(prior[n][0]) for n in names}
        # Flat in ln kT and ln norm, as the model says; the range is many errors wide.
        kT = np.exp(rng.uniform(np.log(1.8), np.log(12.0), N))
        x = np.stack([kT, np.exp(rng.uniform(-1, 1, N))], axis=1)
        covariance = (0.03 * x)[..., None] ** 2 * np.eye(2)
        sized = replace(base, covariance=np.stack([covariance, covariance]))
        return truth, (truth, replace(template, pairs=sized).simulate(rng, truth, x))

    def fit(data, seed):
        truth, pairs = data
        posterior = sampler(pairs, seed)
        phi = emulator.factor(energy, posterior.draws("A")[:, None])
        injected = emulator.factor(energy, np.array([[truth["A"]]]))[0]
        for level in levels:
            low, high = np.quantile(phi, [0.5 - level / 2, 0.5 + level / 2], axis=0)
            hits[level].append(np.mean((injected >= low) & (injected <= high)))
        return posterior

    found = simulation_based_calibration(draw, fit, replicates=replicates, seed=7, n_draws=99)
    return found, {level: float(np.mean(h)) for level, h in hits.items()}


@pytest.mark.slow
def test_ranks_are_flat_and_bands_cover(amplitude_only):
    """Truths from the prior: rank histograms flat; 68 and 95 % bands of phi hold the truth as often as they say."""
    replicates = 300
    calibration, coverage = calibrate(amplitude_only.only("kT", "norm"), replicates)
    assert calibration.failures == 0
    # Three parameters: the smallest of three p-values falls below 0.003 once in 100 runs.
    assert np.all(calibration.p_values() > 0.003)
    for level, rate in coverage.items():
        # Three binomial standard deviations of the number of replicates.
        assert abs(rate - level) < 3 * np.sqrt(level * (1 - level) / replicates)
