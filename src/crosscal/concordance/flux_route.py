"""The route for fluxes with Gaussian errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance import flux_sampler
from crosscal.concordance.algebra import times_of, with_drift
from crosscal.concordance.chains import Draws, latent_state, run_chains, starting_points
from crosscal.concordance.flux_density import log_marginal
from crosscal.concordance.model import Model
from crosscal.core.errors import FitError
from crosscal.core.random import integer_seed

Floats = NDArray[np.float64]


def on_fluxes(model, seed, draws, chains, warmup, wanted, progress) -> Draws:
    """Sample areas and excess variances of fluxes with Gaussian errors."""
    data, n = model.data, model.data.n_channels
    unit, shared = flux_arrays(model)
    precision, information = with_drift(model.prior, model.drift_sd)
    order, start = data.by_channel
    excess = model.variance.unknown
    s = starting_points(model, chains, seed) if excess else np.zeros((chains, n))
    reference, modes = flux_mode(model, shared, s.mean(axis=0))
    size = len(information)
    theta, u = np.tile(reference, (chains, 1)), np.tile(modes, (chains, 1))
    latent = [latent_state(model, precision, information) for _ in range(chains)]
    columns = np.asarray([] if wanted is None else wanted, dtype=np.int64)
    areas, keep_s = np.empty((chains, draws, size)), np.empty((chains, draws, n))
    keep_g, sums = np.empty((chains, draws, len(columns))), np.zeros((chains, 2, data.n_columns))

    def block(chain: int, first: int, count: int, number: int) -> bool:
        silent = min(max(warmup - first, 0), count)
        t, h, beta, state, fixed = latent[chain]
        for part, (a, z) in enumerate(((0, silent), (silent, count))):
            if z == a:
                continue
            keep = slice(max(first + a - warmup, 0), max(first + z - warmup, 0))
            if flux_sampler.flux_chain(  # type: ignore[call-arg]
                data.indptr, data.row, data.column, order, start, *shared, excess, model.variance.df, beta,
                model.variance.scale, t, h, *fixed, reference, theta[chain], s[chain], u[chain], state, z - a,
                part == 1, integer_seed(seed, "flux", chain, number, part), areas[chain, keep], keep_s[chain, keep],
                columns, keep_g[chain, keep], *sums[chain],
            ) < 0:  # fmt: skip
                return False
        return True

    run_chains(chains, warmup + draws, block, progress, "Sampling the areas")
    mean, square = sums.sum(axis=0) / (chains * draws)
    shift = float(np.log(unit))
    return Draws(
        areas[..., :n],
        keep_s if excess else None,
        drift=areas[..., n:] if model.drift_sd is not None else None,
        g=keep_g + shift if wanted is not None else None,
        flux_mean=mean + shift,
        flux_sd=np.sqrt(np.maximum(square - mean**2, 0)),
        method="gibbs",
    )


def flux_arrays(model: Model) -> tuple[float, tuple[Any, ...]]:
    """Return the unit of flux in compiled code, and what it takes.

    That is times, fluxes, errors below and above, their mean square, and limits.
    """
    data = model.data
    assert data.flux is not None
    assert data.flux_low is not None
    assert data.flux_high is not None
    # In units of the typical error, so that no product of squares leaves the range of numbers.
    unit = float(np.median(data.flux_low))
    low, high = data.flux_low / unit, data.flux_high / unit
    limit = np.zeros(data.n_cells, np.int8) if data.limit is None else data.limit
    t = times_of(data, model.drift_sd is not None)
    return unit, (t, data.flux / unit, low, high, 0.5 * (low**2 + high**2), limit)


def flux_mode(model: Model, shared: tuple[Any, ...], s: Floats) -> tuple[Floats, Floats]:
    """Return the mode of the areas (and drifts) with all fluxes integrated out, given the variances, and modes of u.

    Newton steps with the expected information, halved until the density rises.
    """
    data = model.data
    precision, information = with_drift(model.prior, model.drift_sd)
    size, m = len(information), data.n_columns
    gradient, curvature = np.empty(size), np.empty((size, size))
    area, u, spare = np.empty(data.n_cells), np.ones(m), [np.empty(m) for _ in range(4)]

    def value(theta: Floats) -> float:
        found = log_marginal(data.indptr, data.row, *shared, theta, s, True, area, u, *spare, gradient, curvature)  # type: ignore[call-arg]
        return float(found + flux_sampler.log_prior(theta, precision, information))

    theta = np.concatenate([np.where(model.prior.flat, 0.0, model.prior.mean), np.zeros(size - data.n_channels)])
    best = value(theta)
    for _ in range(60):
        target, _, good = flux_sampler.newton(theta, gradient, curvature, precision, information)
        if not good:
            raise FitError("The precision of the areas lost positive definiteness: rescale or anchor the data.")
        step = target - theta
        for _ in range(20):
            now = value(theta + step)
            if now >= best - 1e-9 * abs(best):
                break
            step = 0.5 * step
        theta, gain, best = theta + step, now - best, now
        if abs(gain) < 1e-6 and np.max(np.abs(step)) < 1e-4:
            break
    return theta, u
