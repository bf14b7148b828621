"""Posterior predictive checks: data simulated from the posterior beside the observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.algebra import times_of
from crosscal.concordance.chains import Draws
from crosscal.concordance.model import Model
from crosscal.concordance.routes import sample
from crosscal.concordance.settings import Sampling
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator, integer_seed
from crosscal.inference.diagnostics import predictive_p_value

Floats = NDArray[np.float64]
#: Larger problems are skipped: cells times replicates.
MOST_WORK = 4e8


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """Posterior predictive p-values, arrays (N,): the fraction of replicated data at least as extreme.

    Attributes
    ----------
    scatter_p : array
        Of sum_j e_ij^2 / s_ij.
    extreme_p : array
        Of the largest absolute e_ij / sqrt(s_ij) over j.
    replicates : int
    """

    scatter_p: Floats
    extreme_p: Floats
    replicates: int


def predictive_check(
    model: Model, found: Draws, *, replicates: int = 200, seed: int = 0, progress: Progress = SILENT
) -> PredictiveCheck | None:
    """Simulate ``replicates`` data sets from the posterior draws ``found`` and compare realised discrepancies.

    Returns None where it was not asked for or the data are too many. Gelman, Meng & Stern 1996.
    """
    data, n = model.data, model.data.n_channels
    if replicates <= 0 or data.n_cells * replicates > MOST_WORK:
        return None
    rng = generator(seed, "predictive")
    observed, simulated = np.empty((2, replicates, n)), np.empty((2, replicates, n))
    with progress.stage("Posterior predictive check", total=replicates) as advance:
        b, s, drift, g = _joint_draws(model, found, replicates, seed, rng)
        for k in range(replicates):
            mean = b[k][data.row] + g[k][data.column]
            if drift is not None:
                mean = mean + drift[k][data.row] * times_of(data, True)
            own = None if s is None else s[k]
            real, fake = _residuals(model, mean, own, rng)
            for source, store in ((real, observed), (fake, simulated)):
                store[0, k] = np.bincount(data.row, source**2, n)
                store[1, k] = _largest(data, np.abs(source))
            advance(1)
    p = predictive_p_value(observed.swapaxes(0, 1), simulated.swapaxes(0, 1))
    return PredictiveCheck(p[0], p[1], replicates)


def _largest(data, values: Floats) -> Floats:
    order, start = data.by_channel
    return np.maximum.reduceat(values[order], start[:-1])


def _joint_draws(model: Model, found: Draws, replicates: int, seed: int, rng):
    """Posterior draws of (B, s, drift, G), ``replicates`` each."""
    data, n = model.data, model.data.n_channels
    if found.g is None and (model.noise == "log-t" or model.varying or model.in_flux):
        # Here G given (B, s) is not independent by column or needs the weights: a short chain keeps G as drawn.
        per_chain = -(-replicates // 2)
        short = Sampling(route="gibbs", draws=max((1 if model.in_flux else 3) * per_chain, 10), warmup=100, chains=2)
        found = sample(model, short, seed=integer_seed(seed, "predictive"), wanted=np.arange(data.n_columns))
    b = found.b.reshape(-1, n)
    picks = np.linspace(0, len(b) - 1, replicates).round().astype(int)
    s = None if found.s is None else found.s.reshape(-1, n)[picks]
    drift = None if found.drift is None else found.drift.reshape(-1, n)[picks]
    b = b[picks]
    if found.g is not None:
        return b, s, drift, found.g.reshape(-1, data.n_columns)[picks]
    g = np.empty((replicates, data.n_columns))
    t = times_of(data, drift is not None)
    for k in range(replicates):
        if model.poisson:
            total = np.bincount(data.column, data.counts, data.n_columns)
            rate = np.bincount(data.column, data.exposure * np.exp(b[k])[data.row], data.n_columns)
            g[k] = np.log(rng.gamma(total) / rate)
            continue
        variance = model.variance.cells(data, s[k] if s is not None else np.zeros(n))
        residual = data.log_rate + data.half * variance - b[k][data.row]
        if drift is not None:
            residual = residual - drift[k][data.row] * t
        weight = np.bincount(data.column, 1 / variance, data.n_columns)
        mean = np.bincount(data.column, residual / variance, data.n_columns) / weight
        g[k] = mean + rng.standard_normal(data.n_columns) / np.sqrt(weight)
    return b, s, drift, g


def _residuals(model: Model, mean: Floats, s: Floats | None, rng) -> tuple[Floats, Floats]:
    """Standardised residuals of the data and of a simulated data set."""
    data = model.data
    if model.poisson:
        assert data.counts is not None
        assert data.exposure is not None
        rate = data.exposure * np.exp(mean)
        excess = np.zeros(data.n_cells) if s is None else s[data.row]
        gamma = np.ones(data.n_cells)
        if model.noise == "gamma-poisson":
            gamma = rng.gamma(1 / excess) * excess
        sd = np.sqrt(rate + excess * rate**2)
        return (data.counts - rate) / sd, (rng.poisson(rate * gamma) - rate) / sd
    if model.in_flux:
        return _flux_residuals(model, mean, s, rng)
    variance = model.variance.cells(data, s if s is not None else np.zeros(data.n_channels)) * model.stretch
    xi = rng.chisquare(model.nu, data.n_cells) if model.noise == "log-t" else np.ones(data.n_cells)
    sd = np.sqrt(variance)
    fake = rng.standard_normal(data.n_cells) / np.sqrt(xi) - data.half * sd / xi
    if model.noise == "log-t":
        return (data.log_rate - mean) / sd, fake
    return (data.log_rate - mean) / sd + data.half * sd, fake + data.half * sd


def _flux_residuals(model: Model, mean: Floats, s: Floats | None, rng) -> tuple[Floats, Floats]:
    """Standardised residuals of fluxes and of simulated ones; those of limits are 0 on both sides."""
    data = model.data
    assert data.flux is not None
    assert data.flux_low is not None
    assert data.flux_high is not None
    mu = np.exp(mean)
    excess = 0.0 if s is None else s[data.row] * mu**2
    sd = np.where(data.flux > mu, data.flux_low, data.flux_high)
    measured = 1.0 if data.limit is None else (data.limit == 0).astype(float)
    return measured * (data.flux - mu) / np.sqrt(sd**2 + excess), measured * rng.standard_normal(data.n_cells)
