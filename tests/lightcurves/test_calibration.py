"""Simulation-based calibration of the posterior, and coverage of calibrated fluxes and of a telescope's mean flux."""

import numpy as np
import pytest

from crosscal.core.random import generator
from crosscal.inference.diagnostics import simulation_based_calibration
from crosscal.inference.posterior import Posterior
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.kernels.registry import kernel
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.normalise import Normalisation
from crosscal.lightcurves.sampling import draw
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.synthetic import draw_process, simulate
from crosscal.lightcurves.types import LightCurve, LightCurves

pytestmark = pytest.mark.slow

CODES, COUNTS, SPAN = ("A", "B"), (35, 30), 300.0
SETTINGS = Settings(
    systematic_error=True, scale=(0.8, 1.25), shift=(-0.5, 0.5), syserr=(0.0, 0.1), sigma=(0.01, 0.1), tau=(8.0, 150.0)
)
#: Fluxes as they are: the divisors must not depend on the data for the prior to be that of the simulation.
NORM = Normalisation.fixed(np.ones((1, 2)))


def from_prior(rng):
    """Draw parameters from the prior, and data from them."""
    code = np.repeat([0, 1], COUNTS)
    time = np.sort(rng.uniform(0, SPAN, len(code)))
    code = rng.permutation(code)
    time[0], time[-1] = 0.0, SPAN
    log_sigma = rng.uniform(*np.log(SETTINGS.sigma))
    log_tau = rng.uniform(*np.log(SETTINGS.tau))
    phi = np.array([1.0, np.exp(rng.uniform(*np.log(SETTINGS.scale)))])
    G = np.array([0.0, rng.uniform(*SETTINGS.shift)])
    eps = rng.uniform(*SETTINGS.syserr, 2)
    # The flat prior of the mean is improper: a range far wider than the posterior stands for it.
    mean = rng.uniform(-10, 10)
    true = mean + draw_process(kernel("drw"), np.array([log_sigma, log_tau]), time, rng)
    sd = rng.uniform(0.02, 0.04, len(code))
    flux = (true + G[code]) / phi[code] + np.hypot(sd, eps[code]) * rng.standard_normal(len(code))
    curve = LightCurve.build("continuum", CODES, time, flux, sd, code)
    truth = {
        "log_sigma": log_sigma, "log_tau": log_tau, "log_scale": np.log(phi[1]), "shift": G[1], "syserr": eps,
    }  # fmt: skip
    return truth, LightCurves(curve)


def fit(curves, seed):
    model = Model(curves, SETTINGS, normalisation=NORM)
    found = draw(model, seed=seed, draws=2000)
    x, lay = found.vectors, model.layout
    return Posterior.from_draws(
        {
            "log_sigma": x[None, :, lay.kernel[0, 0]],
            "log_tau": x[None, :, lay.kernel[0, 1]],
            "log_scale": x[None, :, lay.scale[1]],
            "shift": x[None, :, lay.shift[1]],
            "syserr": x[None][:, :, lay.syserr[0, :, 0]],
        },
        method="test",
    )


def test_simulation_based_calibration(slow_scale):
    outcome = simulation_based_calibration(from_prior, fit, replicates=max(20, round(200 * slow_scale)), seed=77)
    assert outcome.failures == 0
    p = outcome.p_values()
    print(dict(zip(outcome.labels, np.round(p, 3), strict=True)))
    # Six ranks; 0.05 / 6 with some room for the stand-in prior of the mean.
    assert p.min() > 0.005


def test_coverage_of_calibrated_fluxes_and_mean_fluxes(slow_scale):
    """Intervals of joint draws for single fluxes and a telescope's mean flux, and the band of the reconstruction."""
    inside = {0.68: [], 0.95: []}
    means = {0.68: [], 0.95: []}
    naive, source = [], []
    replicates = max(16, round(80 * slow_scale))
    for k in range(replicates):
        rng = generator(5, k)
        scale, shift = (1.0, rng.uniform(0.9, 1.1)), (0.0, rng.uniform(-0.1, 0.1))
        curves, truth = simulate(seed=1000 + k, codes=CODES, points=(40, 40), scale=scale, shift=shift, error=0.02)
        result = intercalibrate(curves, seed=k, draws=1000)
        draws = result.calibrated(draws=1000)
        mine = curves.continuum.of_code("B")
        true = truth.flux[0]
        for level in inside:
            low, high = np.quantile(draws[:, mine], [0.5 - level / 2, 0.5 + level / 2], axis=0)
            inside[level].append(np.mean((true[mine] >= low) & (true[mine] <= high)))
            # The mean of the calibrated fluxes, whose calibration error is common to all points.
            low, high = np.quantile(draws[:, mine].mean(axis=1), [0.5 - level / 2, 0.5 + level / 2])
            means[level].append(low <= true[mine].mean() <= high)
        band = result.reconstruct(times=curves.continuum.time)
        source.append(np.mean(np.abs(band.mean - true) < band.sd))
        found = result.curve(0)
        _, error = found.mean_flux(mine)
        naive.append(error / (np.sqrt(np.sum(found.error[mine] ** 2)) / len(mine)))
    print(
        {level: (np.mean(inside[level]), np.mean(means[level])) for level in inside}, np.median(naive), np.mean(source)
    )
    # Points of one replicate share its calibration and process: their share inside scatters by some 15 % (10 % at the
    # level of 95 %) from one replicate to the next. Three standard errors of the mean.
    error = 1 / np.sqrt(replicates)
    assert np.mean(inside[0.68]) == pytest.approx(0.68, abs=max(0.03, 3 * 0.15 * error))
    assert np.mean(inside[0.95]) == pytest.approx(0.95, abs=max(0.015, 3 * 0.10 * error))
    assert np.mean(source) == pytest.approx(0.683, abs=max(0.03, 3 * 0.15 * error))
    # One mean flux a replicate: binomial errors, three of them.
    assert abs(np.mean(means[0.68]) - 0.68) < 3 * 0.466 * error
    assert np.mean(means[0.95]) > 0.95 - 3 * 0.218 * error
    # Treating the calibration error as independent noise understates the error of the mean flux.
    assert np.median(naive) > 1.2
