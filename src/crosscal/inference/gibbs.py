"""Gibbs sampling over the conditionals that a problem names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from crosscal.core.errors import InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator, integer_seed
from crosscal.inference.diagnostics import convergence
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem


def gibbs(
    problem: Problem,
    *,
    seed: int = 0,
    draws: int = 2000,
    warmup: int = 500,
    chains: int = 4,
    start: Mapping[str, ArrayLike] | None = None,
    keep: tuple[str, ...] | None = None,
    progress: Progress = SILENT,
) -> Posterior:
    """Update each block of ``problem.conditionals`` in turn (Geman & Geman 1984).

    Parameters
    ----------
    keep : tuple of str, optional
        State variables stored; the problem's parameters by default.

    Raises
    ------
    InputError
        If the problem names no conditionals.
    """
    if not problem.conditionals:
        raise InputError("the problem has no conditionals", where="gibbs sampler", expected="another sampler")
    names = keep or problem.names
    prior = problem.draw_prior(integer_seed(seed, "gibbs-start"), chains)
    stored: dict[str, list[list[Any]]] = {name: [] for name in names}
    with progress.stage("Gibbs sampling", total=chains * (warmup + draws)) as advance:
        for chain in range(chains):
            rng = generator(seed, "gibbs", chain)
            state: dict[str, Any] = {n: np.asarray((start or {}).get(n, prior[n][chain])) for n in problem.names}
            kept: dict[str, list[Any]] = {name: [] for name in names}
            for step in range(warmup + draws):
                for update in problem.conditionals.values():
                    state.update(update(rng, state))
                if step >= warmup:
                    for name in names:
                        kept[name].append(np.copy(state[name]))
                advance(1)
            for name in names:
                stored[name].append(kept[name])
    posterior = Posterior.from_draws(
        {name: np.asarray(values) for name, values in stored.items()},
        method="gibbs",
        dims=problem.dims,
        coords=problem.coords,
        units=problem.units,
    )
    good, messages = convergence(posterior)
    return replace(posterior, converged=good, messages=messages)
