"""Gaussian errors in flux: the compiled density against explicit integrals, limits, units, and bias."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from crosscal.concordance import Comparison, fit
from crosscal.concordance.flux_density import log_marginal, log_normal_cdf
from crosscal.concordance.flux_route import flux_arrays
from crosscal.core.errors import InputError

from .stating import make_model, run

pytestmark = pytest.mark.thorough


def faint(seed, snr=3.0, sources=200, unit=1.0, detect=None):
    """Three instruments whose areas are right, the first faint; below ``detect`` sigma only a limit is reported."""
    rng = np.random.default_rng(seed)
    flux = rng.lognormal(0.0, 1.0, sources)
    sd = flux[:, None] * np.array([1 / snr, 0.05, 0.05])
    measured = flux[:, None] + rng.normal(size=sd.shape) * sd
    limit = np.zeros(sd.shape)
    if detect is not None:
        limit = (measured < detect * sd).astype(float)
        measured = np.where(limit > 0, detect * sd, measured)
    j, i = np.nonzero(np.ones(sd.shape, bool))
    return Comparison.from_cells(
        np.array(["faint", "a", "b"])[i], [f"s{x}" for x in j], flux=unit * measured.ravel(), error=unit * sd.ravel(),
        limit=limit.ravel() if detect is not None else None,
    ), flux  # fmt: skip


def value_of(data, theta, s, slopes=False):
    model = make_model(data)
    _, shared = flux_arrays(model)
    n, m = data.n_channels, data.n_columns
    gradient, information = np.empty(n), np.empty((n, n))
    spare = [np.empty(m) for _ in range(4)]
    found = log_marginal(
        data.indptr, data.row, *shared, theta, s, slopes, np.empty(data.n_cells), np.ones(m), *spare, gradient,
        information,
    )  # fmt: skip
    return found, gradient, shared


@pytest.mark.parametrize("limited", [False, True])
def test_marginal_is_the_explicit_integral(limited):
    data, _ = faint(2, snr=1.5, sources=1, detect=3.0 if limited else None)
    theta, s = np.array([0.02, -0.03, 0.05]), np.array([1e-3, 2e-2, 1e-3])
    found, _, (_, f, *_, variance, limit) = value_of(data, theta, s)
    area, s_of = np.exp(theta[data.row]), s[data.row]
    power = np.sum(area**2 / variance)

    def integrand(u):
        mu = area * np.sinh(u) / np.sqrt(power)
        sd = np.sqrt(variance + s_of * mu**2)
        logs = np.where(
            limit != 0, norm.logcdf((f - mu) / sd), -0.5 * ((f - mu) / sd) ** 2 - np.log(sd / np.sqrt(variance))
        )
        return np.exp(logs.sum())

    exact = np.log(quad(integrand, 0, 8, limit=500, epsabs=1e-14)[0])
    # Twenty nodes on an interval that holds all but exp(-20).
    assert found == pytest.approx(exact, abs=1e-4)


def test_gradient_and_scale_invariance():
    data, _ = faint(3, detect=2.0)
    theta, s = np.array([0.02, -0.03, 0.05]), np.array([1e-3, 2e-2, 1e-3])
    value, gradient, _ = value_of(data, theta, s, slopes=True)
    steps = 1e-4 * np.eye(3)
    numeric = [(value_of(data, theta + e, s)[0] - value_of(data, theta - e, s)[0]) / 2e-4 for e in steps]
    # Differences of sums of 200 integrals, each right to about 1e-6.
    assert np.allclose(gradient, numeric, atol=0.05)
    # The common factor of all areas is not informed by data.
    assert value_of(data, theta + 0.3, s)[0] == pytest.approx(value, abs=1e-8)


def test_normal_distribution_function():
    x = np.linspace(-40, 8, 200)
    assert np.allclose([log_normal_cdf(v) for v in x], norm.logcdf(x), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("unit", [1.0, 1e-13])
def test_fluxes_come_back_in_their_unit(unit):
    data, truth = faint(4, snr=10.0, sources=60, unit=unit)
    found = run(make_model(data), seed=1, draws=200, warmup=50, chains=2, wanted=np.arange(60))
    assert np.all(np.abs(found.flux_mean - np.log(unit * truth)) < 5 * found.flux_sd)
    assert np.allclose(found.g.reshape(-1, 60).mean(axis=0), found.flux_mean, atol=0.3 * found.flux_sd.max())


def test_good_data_draw_no_warning_and_say_what_was_chosen():
    data, _ = faint(5, snr=5.0, sources=60)
    result = fit(data, seed=1, draws=200, leave_one_out=False)
    assert result.warnings == ()
    assert "Errors are treated as Gaussian in flux" in result.diagnostics
    assert result.model.noise == "gaussian-flux"


def test_errors_count_as_gaussian_in_flux_below_twenty_sigma():
    bright, _ = faint(6, snr=30.0, sources=5)
    assert make_model(bright).noise == "gaussian-flux"
    sharp = replace(
        bright, flux_low=bright.flux_low / 10, flux_high=bright.flux_high / 10, variance=bright.variance / 100
    )
    assert make_model(sharp).noise == "log-normal"
    assert make_model(bright, noise="log-normal").noise == "log-normal"
    with pytest.raises(InputError, match="needs fluxes with errors"):
        make_model(Comparison.from_cells(["a", "b"], ["s", "s"], flux=[1.0, 2.0]), noise="gaussian-flux")
    with pytest.raises(InputError, match="gaussian-flux noise with variance = 'unknown'"):
        make_model(bright, noise="gaussian-flux", variance="unknown")
    negative = Comparison.from_cells(["a", "b"], ["s", "s"], flux=[-1.0, 2.0], error=[1.0, 1.0])
    with pytest.raises(InputError, match="flux of source 's' in 'a' is -1, not positive"):
        make_model(negative, noise="log-normal")


@pytest.mark.slow
@pytest.mark.parametrize("detect", [None, 3.0])
@pytest.mark.parametrize("snr", [1.5, 3.0, 5.0, 10.0])
def test_no_bias_at_any_signal_to_noise(snr, detect, slow_scale):
    pulls, inside, number = [], [], max(10, round(100 * slow_scale))
    for k in range(number):
        data, _ = faint([k, int(10 * snr)], snr=snr, detect=detect)
        b = run(make_model(data), seed=k, draws=400, warmup=100, chains=1).b.reshape(-1, 3)
        contrast = b[:, 0] - b[:, 1:].mean(axis=1)
        low, high = np.quantile(contrast, [0.025, 0.975])
        pulls.append(contrast.mean() / contrast.std())
        inside.append(low < 0 < high)
    print(f"S/N {snr}, limits {detect}: mean pull {np.mean(pulls):+.2f}, coverage {np.mean(inside):.3f}")
    # Errors of the mean and of the coverage, 0.1 and 0.022 for 100 runs.
    assert abs(np.mean(pulls)) < 0.3 + 2 / np.sqrt(number)
    assert np.mean(inside) > 0.95 - 3.2 * np.sqrt(0.95 * 0.05 / number)
