"""Draws of a posterior, and what all compiled chains share."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.model import Model
from crosscal.concordance.variance import starting_variances
from crosscal.core.errors import FitError
from crosscal.core.progress import Progress
from crosscal.core.random import generator

Floats = NDArray[np.float64]
BLOCK = 200
# What is searched for instruments with one flux ratio: 80 MB.
_MOST_CELLS = 10_000_000


@dataclass(frozen=True, eq=False)
class Draws:
    """Raw posterior draws, (chain, draw, ...), and moments of the log fluxes where the route has them.

    Attributes
    ----------
    b : array (chain, draw, N)
    s : array (chain, draw, N), or None for known variances
    drift : array (chain, draw, N), optional
    rates : array (chain, draw, n_bands), optional
        Variance rates of the sources' random walks.
    g : array (chain, draw, n_wanted), optional
        Draws of the wanted columns' log fluxes.
    flux_mean, flux_sd : arrays (M,), optional
    information : (array (N, N), array (N,)), optional
        Precision and information vector of B from the data alone, where the route has them.
    """

    b: Floats
    s: Floats | None = None
    drift: Floats | None = None
    rates: Floats | None = None
    g: Floats | None = None
    flux_mean: Floats | None = None
    flux_sd: Floats | None = None
    method: str = ""
    log_evidence: float | None = None
    converged: bool = True
    messages: tuple[str, ...] = ()
    stats: dict[str, Floats] = field(default_factory=dict)
    information: tuple[Floats, Floats] | None = None


def run_chains(
    chains: int, total: int, one_block: Callable[[int, int, int, int], bool], progress: Progress, name: str
) -> None:
    """Run compiled chains in threads, block by block; the seeds belong to (chain, block), not to threads."""

    def chain(k: int, advance: Callable[[int], None]) -> None:
        for first in range(0, total, BLOCK):
            if not one_block(k, first, min(BLOCK, total - first), first // BLOCK):
                raise FitError("The precision of the areas lost positive definiteness: rescale or anchor the data.")
            advance(min(BLOCK, total - first))

    with (
        progress.stage(name, total=chains * total) as advance,
        ThreadPoolExecutor(min(chains, os.cpu_count() or 1)) as pool,
    ):
        for job in [pool.submit(chain, k, advance) for k in range(chains)]:
            job.result()


def starting_points(model: Model, chains: int, seed: int) -> Floats:
    """Dispersed starting variances (chains, N)."""
    centre = starting_variances(model.data, model.variance)
    if model.in_flux:
        centre = model.variance.beta / (model.variance.df + 1)
    scale = model.nu if model.noise == "log-t" and model.variance.kind == "unknown" else 1.0
    noise = generator(seed, "concordance-start").standard_normal((chains, len(centre)))
    return scale * centre * np.exp(0.5 * noise)


def latent_state(model: Model, precision: Floats, information: Floats) -> tuple[Floats, Floats, Floats, Floats, tuple]:
    """What one chain changes in place (precision, information, beta, state of a latent tau), and what it does not."""
    prior = model.prior
    state = np.full(2, max(prior.tau_scale, 1e-12) ** 2)
    fixed = (np.where(prior.flat, 0.0, prior.mean), prior.tau, prior.nu, prior.tau_scale)
    return precision.copy(), information.copy(), model.variance.beta.copy(), state, fixed


def degenerate_pair(model: Model) -> str | None:
    """Say which two instruments have one flux ratio in all common sources, so that their scatter has no lower limit.

    With n such sources the posterior density of ln s falls as s^(1 - (n - 1) / 2) at most: it has no norm from n = 3.
    """
    data = model.data
    if model.variance.kind != "unknown" or data.n_channels * data.n_columns > _MOST_CELLS:
        return None
    y = np.full((data.n_channels, data.n_columns), np.nan)
    y[data.row, data.column] = data.log_rate
    for i in range(data.n_channels):
        for k in range(i):
            d = y[i] - y[k]
            d = d[np.isfinite(d)]
            # Rounding of logarithms.
            if len(d) > 2 and np.ptp(d) < 1e-13 * max(1.0, float(np.nanmax(np.abs(y[i])))):
                a, b = data.channel_names[k], data.channel_names[i]
                return (
                    f"The fluxes of {a!r} and {b!r} have the same ratio in all {len(d)} common sources, so that the "
                    "scatter of these instruments cannot be estimated: leave one of them out, or give the errors of "
                    "the fluxes (variance = 'quoted')."
                )
    return None
