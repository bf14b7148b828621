"""The compiled likelihood against tinygp and celerite2 (both without the marginalised mean)."""

import numpy as np
import pytest

from crosscal.lightcurves.kalman import Workspace
from crosscal.lightcurves.kernels.registry import kernel

pytestmark = pytest.mark.peers


@pytest.fixture
def data(rng):
    t = np.sort(rng.uniform(0, 500, 300))
    return t, rng.standard_normal(300), rng.uniform(0.05, 0.2, 300)


def ours(name, theta, data):
    t, y, e = data
    process = kernel(name)
    theta = np.asarray(theta, dtype=float)
    work = Workspace(len(t), process.dimension, 1)
    A = process.transition(theta, np.diff(t, prepend=t[0]))
    logdet = work.forward(process.observation, A, process.stationary(theta), e**2, y[:, None].copy(), False)
    return -0.5 * work.gram[0, 0] - 0.5 * logdet - 0.5 * len(t) * np.log(2 * np.pi)


@pytest.mark.parametrize("name", ["drw", "matern32", "matern52", "sho"])
def test_tinygp(name, data):
    tinygp = pytest.importorskip("tinygp")
    t, y, e = data
    sigma, tau, quality = 0.1, 30.0, 2.0
    sd = sigma * np.sqrt(tau)
    q = tinygp.kernels.quasisep
    made = {
        "drw": lambda: q.Exp(scale=tau, sigma=sd),
        "matern32": lambda: q.Matern32(scale=tau, sigma=sd),
        "matern52": lambda: q.Matern52(scale=tau, sigma=sd),
        "sho": lambda: q.SHO(omega=1 / tau, quality=quality, sigma=sd),
    }[name]()
    expected = float(tinygp.GaussianProcess(made, t, diag=e**2).log_probability(y))
    theta = [np.log(sigma), np.log(tau)] + ([np.log(quality)] if name == "sho" else [])
    assert ours(name, theta, data) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("quality", [0.3, 5.0])
def test_celerite2(quality, data):
    celerite2 = pytest.importorskip("celerite2")
    t, y, e = data
    sigma, tau = 0.1, 30.0
    term = celerite2.terms.SHOTerm(sigma=sigma * np.sqrt(tau), w0=1 / tau, Q=quality)
    process = celerite2.GaussianProcess(term, mean=0.0)
    process.compute(t, yerr=e)
    theta = [np.log(sigma), np.log(tau), np.log(quality)]
    assert ours("sho", theta, data) == pytest.approx(process.log_likelihood(y), abs=1e-6)
