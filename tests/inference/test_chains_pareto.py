"""R-hat, effective sizes and Pareto smoothing against arviz."""

import numpy as np
import pytest
from scipy.special import logsumexp

from crosscal.inference import chains
from crosscal.inference.pareto import pareto_smoothed


@pytest.fixture(scope="module")
def arviz():
    from arviz_stats.base import array_stats

    return array_stats


def autoregressive(rng, shape, memory):
    draws = rng.normal(size=shape)
    for j in range(1, shape[1]):
        draws[:, j] += memory * draws[:, j - 1]
    return draws


@pytest.mark.parametrize(
    ("shape", "memory", "digits"),
    [((4, 1000), 0.0, 9), ((4, 501), 0.9, 9), ((1, 4000), 0.0, 9), ((2, 37), 0.5, 9), ((4, 200), -0.5, 1)],
)
def test_chains(arviz, rng, shape, memory, digits):
    draws = np.round(autoregressive(rng, shape, memory), digits)
    assert chains.rank_rhat(draws) == pytest.approx(float(arviz.rhat(draws, method="rank")), rel=1e-10, nan_ok=True)
    # arviz makes all but the last pairs of autocorrelations decrease, which matters where draws hang together.
    bulk, tail = (arviz.ess(draws, method="bulk"), arviz.ess(draws, method="tail", prob=(0.05, 0.95)))
    assert chains.bulk_size(draws) == pytest.approx(float(bulk), rel=0.01)
    assert chains.tail_size(draws) == pytest.approx(float(tail), rel=0.01)


@pytest.mark.parametrize("n", [30, 225, 226, 8000])
@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_pareto(arviz, rng, n, spread):
    log_weights = spread * rng.normal(size=n)
    weights, khat = pareto_smoothed(log_weights)
    smoothed, expected = arviz.psislw(-log_weights)
    assert khat == pytest.approx(float(expected), abs=1e-10)
    np.testing.assert_allclose(weights, np.exp(smoothed - logsumexp(smoothed)), rtol=1e-10)


def test_weights_without_a_tail():
    weights, khat = pareto_smoothed(np.full(400, -3.0))
    np.testing.assert_allclose(weights, 1 / 400)
    assert khat == 0.0
    assert np.isnan(pareto_smoothed(np.arange(10.0))[1])


def test_sampling_loads_neither_arviz_nor_xarray():
    import subprocess
    import sys

    code = (
        "import sys, numpy as np\n"
        "from crosscal.lightcurves import intercalibrate, simulate\n"
        "r = intercalibrate(simulate(seed=1, codes=('A', 'B'), points=30)[0], draws=500)\n"
        "r.draws.effective_size\n"
        "found = {'arviz_base', 'arviz_stats', 'xarray', 'pandas', 'jax', 'scipy.stats'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
