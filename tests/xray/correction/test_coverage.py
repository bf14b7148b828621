"""Coverage of phi(E) where spectra are simulated, folded and fitted by other code: NumPy and SciPy alone.

What the two sides share are the numbers of a telescope and the photon spectra of a plasma at 80 temperatures.
"""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.special import ndtr

from crosscal import xray
from crosscal.xray.correction.hierarchical import HierarchicalModel
from crosscal.xray.correction.pairs import PairedSources
from crosscal.xray.correction.train import train
from crosscal.xray.instrument.response import Response

MODEL = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
EDGES = np.geomspace(0.4, 10.0, 301)
CHANNELS = np.linspace(0.5, 8.0, 101)
N, COUNTS, CROSS_SD, TAU = 12, 8e3, 0.03, 0.1
TRUE_KT = (2.0, 9.0)


def telescope(width, hardness):
    """A redistribution that is a Gaussian in energy, and an area with one maximum: arrays (c, e) and (e,)."""
    middle = np.sqrt(EDGES[1:] * EDGES[:-1])
    upper = ndtr((CHANNELS[:, None] - middle) / (width * np.sqrt(middle)))
    return np.diff(upper, axis=0), 400 * np.exp(-0.5 * (np.log(middle / hardness) / 0.9) ** 2)


class Simulator:
    """Poisson spectra and their fits (ln kT, ln norm) by Fisher's scoring, many at a time."""

    def __init__(self):
        nodes = np.linspace(np.log(1.0), np.log(16.0), 80)
        photons = np.array([MODEL.spectrum(EDGES, kT=np.exp(x), norm=1.0) for x in nodes])
        self.photons = CubicSpline(nodes, photons)
        self.energy = np.sqrt(EDGES[1:] * EDGES[:-1])
        self.telescopes = [telescope(0.05, 1.5), telescope(0.08, 2.2)]
        self.templates = [CubicSpline(nodes, (photons * area) @ matrix.T) for matrix, area in self.telescopes]

    def measure(self, rng, which, log_kT, norm, factor):
        """Return fitted (kT, norm) (n, 2) and covariances of sources seen with area x factor."""
        matrix, area = self.telescopes[which]
        true = (self.photons(log_kT) * area * factor) @ matrix.T
        time = COUNTS / self.templates[which](log_kT).sum(axis=1) / norm
        counts = rng.poisson(true * (time * norm)[:, None])
        x, log_norm = log_kT.copy(), np.log(counts.sum(axis=1) / self.templates[which](log_kT).sum(axis=1))
        for _ in range(25):
            shape = self.templates[which](x)
            model = shape * np.exp(log_norm)[:, None]
            slopes = np.stack([self.templates[which](x, 1) / shape, np.ones_like(shape)], axis=1)
            score = np.einsum("nac,nc->na", slopes, counts - model)
            fisher = np.einsum("nac,nbc,nc->nab", slopes, slopes, model)
            step = np.linalg.solve(fisher, score[..., None])[..., 0]
            x, log_norm = x + np.clip(step[:, 0], -0.3, 0.3), log_norm + np.clip(step[:, 1], -0.3, 0.3)
        assert np.abs(step).max() < 1e-8
        values = np.stack([np.exp(x), np.exp(log_norm) / time], axis=1)
        return values, np.linalg.inv(fisher) * values[:, :, None] * values[:, None, :]


class Weighted:
    """Posteriors of the model as weights of many draws of its prior, whose maps are tabulated once."""

    def __init__(self, template, draws):
        self.template = template
        prior = template.problem().draw_prior(5, draws)
        self.theta = np.stack([prior[n] for n in template.theta_names], axis=1)
        table = jax.jit(jax.vmap(template.sums.table))
        parts = np.array_split(np.arange(draws), max(1, draws // 500))
        self.tables = np.concatenate([np.asarray(table({k: v[i] for k, v in prior.items()})) for i in parts])

    def weights(self, pairs):
        log = replace(self.template, pairs=pairs).sums._run(self.tables, np.zeros(len(self.tables)), False)
        weight = np.exp(log - log.max())
        return weight / weight.sum()


def run(replicates, draws=20_000):
    """Return per replicate and level which energies' bands hold the injected phi, and effective draws."""
    simulator, rng = Simulator(), np.random.default_rng(1)
    matrix, area = simulator.telescopes[1]
    other = Response(EDGES[:-1], EDGES[1:], area, matrix, CHANNELS[:-1], CHANNELS[1:], name="other")
    family = xray.Gaussian.grid(A=(-0.35, 0.35, 9), mu=(0.8, 4.0, 11), sigma=(0.5, 1.6, 6))
    library = xray.build_library(
        other, MODEL, family, kT=np.geomspace(1.2, 14, 14), counts=COUNTS, band=(0.5, 8.0), free=("kT", "norm")
    )
    emulator = train(library, "spline", fresh=0)
    nothing = PairedSources(
        tuple(map(str, range(N))),
        ("trusted", "other"),
        ("kT", "norm"),
        np.ones((2, N, 2)),
        np.tile(np.eye(2), (2, N, 1, 1)),
    )
    template = HierarchicalModel(nothing, emulator, scatter=None, cross_norm=CROSS_SD, tau=TAU)
    posterior = Weighted(template, draws)
    energy = np.geomspace(0.7, 6.0, 12)
    phi = np.sort(curves := emulator.factor(energy, posterior.theta), axis=0)
    order = np.argsort(curves, axis=0)
    hits, sizes = {0.68: [], 0.95: []}, []
    for _ in range(replicates):
        truth = template.problem().draw_prior(int(rng.integers(2**31 - 1)), 1)
        theta = np.array([truth[n][0] for n in template.theta_names])
        factor = np.asarray(emulator.factor(simulator.energy, theta))
        log_kT, norm = rng.uniform(*np.log(TRUE_KT), N), np.exp(rng.uniform(-1, 1, N))
        first = simulator.measure(rng, 0, log_kT, norm, 1.0)
        second = simulator.measure(rng, 1, log_kT, norm, factor)
        cross = np.exp(CROSS_SD * rng.standard_normal())
        scale = np.array([1.0, cross])
        second = second[0] * scale, second[1] * scale[:, None] * scale
        pairs = replace(nothing, values=np.stack([first[0], second[0]]), covariance=np.stack([first[1], second[1]]))
        weight = posterior.weights(pairs)
        sizes.append(1 / np.sum(weight**2))
        injected = np.asarray(emulator.factor(energy, theta))
        below = [
            np.cumsum(weight[order[:, e]])[np.searchsorted(phi[:, e], injected[e]) - 1] for e in range(len(energy))
        ]
        for level, found in hits.items():
            found.append(np.abs(np.array(below) - 0.5) <= 0.5 * level)
    return {level: np.array(h) for level, h in hits.items()}, np.array(sizes)


@pytest.mark.slow
def test_bands_of_phi_cover_what_another_simulator_injected(slow_scale):
    # With fewer than a hundred the error of the rate is not known well enough to be tested against.
    replicates = max(100, round(400 * slow_scale))
    hits, sizes = run(replicates)
    # Enough draws of the prior have weight for quantiles.
    assert np.median(sizes) > 200
    for level, found in hits.items():
        rate = found.mean()
        # The energies of a replicate are not independent: three standard deviations of the replicates' rates.
        error = found.mean(axis=1).std() / np.sqrt(replicates)
        assert abs(rate - level) < 3 * error, (level, rate, error)
