"""Routes through densities that any sampler takes: modes and no-U-turn sampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance import pattern_samplers
from crosscal.concordance.algebra import NO_TIMES, with_drift
from crosscal.concordance.chains import Draws
from crosscal.concordance.elimination import eliminate, factor_columns
from crosscal.concordance.model import Model
from crosscal.concordance.variance import starting_variances
from crosscal.core.errors import FitError, InputError
from crosscal.core.progress import Progress
from crosscal.core.random import generator

Floats = NDArray[np.float64]
#: Up to so many channels, the search for modes takes each in turn as nearly exact.
MOST_STARTS = 12
#: Modes closer than this in ln s are one.
SAME_MODE = 0.1


def _areas_of_variances(model: Model, s: Floats, seed: int) -> Floats:
    """Draw B from its Gaussian conditional for each draw of the variances (chain, draw, N)."""
    rng = generator(seed, "areas")
    b = np.empty_like(s)
    if model.compressible:
        p = model.patterns
        precision, information = with_drift(model.prior, None)
        for k in np.ndindex(s.shape[:2]):
            a, h = pattern_samplers.areas_given(
                p.offset, p.index, p.count, p.mean, model.data.half, s[k], precision, information
            )
            root = np.linalg.cholesky(a)
            b[k] = np.linalg.solve(root.T, np.linalg.solve(root, h) + rng.standard_normal(len(h)))
        return b
    data = model.data
    precision, information = with_drift(model.prior, None)
    links = np.zeros(data.n_columns)
    for k in np.ndindex(s.shape[:2]):
        variance = model.variance.cells(data, s[k])
        d, l = factor_columns(data.indptr, 1 / variance, links)
        z = data.log_rate + data.half * variance
        a, h, _ = eliminate(data.indptr, data.row, NO_TIMES, 1 / variance, z, d, l, precision, information)
        root = np.linalg.cholesky(a)
        b[k] = np.linalg.solve(root.T, np.linalg.solve(root, h) + rng.standard_normal(len(h)))
    return b


def _through_problem(
    model: Model, problem: Any, sampler: str, seed: int, progress: Progress, start: Any = None, **options: Any
) -> Draws:
    from crosscal.inference.registry import sample as sample_problem

    if start is None and problem.names == ("s",):
        start = {"s": starting_variances(model.data, model.variance)}
    posterior = sample_problem(problem, sampler, seed=seed, progress=progress, start=start, **options)
    found = dict(posterior.groups.arrays["posterior"])
    s = found.get("s")
    b = found["B"] if "B" in found else _areas_of_variances(model, found["s"], seed)
    g = found.get("G")
    facts: dict[str, Any] = {}
    if g is not None:
        flat = g.reshape(-1, g.shape[-1])
        facts = {"g": g, "flux_mean": flat.mean(axis=0), "flux_sd": flat.std(axis=0, ddof=1)}
    return Draws(
        b,
        s,
        log_evidence=posterior.log_evidence,
        converged=posterior.converged,
        messages=posterior.messages,
        method=posterior.method,
        **facts,
    )


def map_(model: Model, *, seed: int, draws: int, chains: int, warmup: int, wanted: Any, progress: Progress) -> Draws:
    """Mode of the collapsed density (of log s; of B for counts) with the Gaussian around it.

    The joint mode of (B, G, s) is never used: it has several maxima, some with one instrument locked at tiny variance.
    """
    from crosscal.concordance.densities import collapsed_problem, multinomial_problem

    if model.noise == "gamma-poisson":
        raise InputError("gamma-Poisson noise has no collapsed mode", where="route", expected="route = 'full-nuts'")
    if model.poisson:
        problem, messages = multinomial_problem(model), ()
        starts: tuple[dict[str, Floats], ...] = ({"B": np.where(model.prior.flat, 0.0, model.prior.mean)},)
    else:
        problem = collapsed_problem(model)
        starts, messages = variance_modes(model, problem)
    found = _through_problem(model, problem, "laplace", seed, progress, start=starts[0], draws=chains * draws, starts=0)
    return replace(found, method="map", messages=(*found.messages, *messages))


def variance_modes(model: Model, problem: Any) -> tuple[tuple[dict[str, Floats], ...], tuple[str, ...]]:
    """Return the modes of the collapsed density of the variances, the highest first, and a sentence if there are more.

    The starts are the rough variances, and these with each instrument's far smaller: a second mode takes one instrument
    as exact. They do not depend on a seed.
    """
    import jax
    from scipy.optimize import minimize

    objective = jax.jit(jax.value_and_grad(lambda v: -problem.log_density(v)))

    def value(vector: Floats) -> tuple[float, Floats]:
        density, gradient = objective(vector)
        return (float(density), np.asarray(gradient)) if np.isfinite(density) else (1e300, np.zeros_like(vector))

    centre = starting_variances(model.data, model.variance)
    points = [centre, centre.mean() * np.ones_like(centre)]
    if len(centre) <= MOST_STARTS:
        points += [np.where(np.arange(len(centre)) == i, 1e-3, 1.5) * centre for i in range(len(centre))]
    modes: list[Any] = []
    for point in points:
        found = minimize(value, np.asarray(problem.unconstrain({"s": point})), jac=True, method="L-BFGS-B")
        if found.fun < 1e299 and all(np.max(np.abs(known.x - found.x)) > SAME_MODE for known in modes):
            modes.append(found)
    if not modes:
        raise FitError("No start of the mode search has a finite posterior density.")
    modes.sort(key=lambda mode: mode.fun)
    starts = tuple({"s": np.asarray(problem.constrain(mode.x)["s"])} for mode in modes)
    if len(modes) == 1:
        return starts, ()
    drop = modes[0].fun - modes[1].fun
    smallest = model.data.channel_names[int(np.argmin(starts[1]["s"]))]
    told = (
        f"The posterior of the variances has {len(modes)} modes; only the highest is used. The next, with {smallest} "
        f"as the most precise, is lower by {-drop:.1f} in ln density. Use route = 'gibbs' to sample all modes."
    )
    return starts, (told,)


def nuts(model: Model, *, seed: int, draws: int, chains: int, warmup: int, wanted: Any, progress: Progress) -> Draws:
    """No-U-turn sampling of the collapsed density (log s; B for Poisson counts)."""
    from crosscal.concordance.densities import collapsed_problem, multinomial_problem

    if model.noise == "gamma-poisson":
        raise InputError("gamma-Poisson noise is not collapsed", where="route", expected="route = 'full-nuts'")
    problem = multinomial_problem(model) if model.poisson else collapsed_problem(model)
    return _through_problem(model, problem, "nuts", seed, progress, draws=draws, chains=chains, warmup=warmup)


def full_nuts(
    model: Model, *, seed: int, draws: int, chains: int, warmup: int, wanted: Any, progress: Progress
) -> Draws:
    """No-U-turn sampling of everything, with G' = G + mean(B): slow, for cross-checks and gamma-Poisson counts."""
    from crosscal.concordance.densities import full_problem

    problem = full_problem(model)
    found = _through_problem(
        model, problem, "nuts", seed, progress, draws=draws, chains=chains, warmup=warmup,
        dense_mass=problem.size <= 60, precondition=problem.size <= 1500,
    )  # fmt: skip
    return replace(found, method="full-nuts")
