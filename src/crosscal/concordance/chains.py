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
