"""No-U-turn sampling with numpyro's kernel, in blocks that report progress."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.progress import SILENT, Advance, Progress
from crosscal.core.random import generator, integer_seed
from crosscal.inference.diagnostics import convergence
from crosscal.inference.jaxconfig import require_x64
from crosscal.inference.laplace import Mode, collect, find_mode, pointwise_log_likelihood
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem

BLOCK = 50


def nuts(
    problem: Problem,
    *,
    seed: int = 0,
    draws: int = 1000,
    warmup: int = 500,
    chains: int = 4,
    target_accept: float = 0.8,
    max_tree_depth: int = 10,
    dense_mass: bool = True,
    adapt_mass: bool = True,
    precondition: bool = True,
    starts: int = 2,
    start: Mapping[str, ArrayLike] | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Posterior:
    """Run NUTS (Hoffman & Gelman 2014, JMLR 15, 1593) on the unconstrained density.

    Chains start at draws from the Laplace approximation, and the mass matrix is the curvature at the mode
    (``precondition``), then adapted. The draws depend on the seed only, not on ``workers``.

    Parameters
    ----------
    draws, warmup, chains : int
        Draws kept and thrown away per chain.
    dense_mass : bool
        Adapt a full mass matrix; False is right above some hundred dimensions.
    adapt_mass : bool
        Adapt the mass matrix during warm-up; False keeps the curvature at the mode, which is better than what some
        hundred draws can tell where the posterior has many dimensions and is nearly normal.
    workers : int, optional
        Threads that run chains side by side; the number of cores by default.
    """
    require_x64()
    mode = find_mode(problem, seed=seed, starts=starts, start=start) if precondition else None
    advance_chain = _compile(problem, mode, warmup, target_accept, max_tree_depth, dense_mass, adapt_mass)
    points = _starting_points(problem, mode, chains, seed)
    keys = [integer_seed(seed, "nuts", k) for k in range(chains)]
    threads = min(chains, workers or os.cpu_count() or 1)
    with (
        progress.stage(f"Sampling {chains} chains", total=chains * (warmup + draws)) as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        jobs = [pool.submit(advance_chain, k, p, draws, advance) for k, p in zip(keys, points, strict=True)]
        try:
            results = [job.result() for job in jobs]
        except BaseException:
            for job in jobs:
                job.cancel()
            raise
    vectors = np.stack([r["z"] for r in results])
    stats = {name: np.stack([r[name] for r in results]) for name in ("diverging", "energy", "num_steps", "accept_prob")}
    posterior = Posterior.from_draws(
        collect(problem, vectors),
        method="nuts",
        dims=problem.dims,
        coords=problem.coords,
        units=problem.units,
        sample_stats={"acceptance_rate" if k == "accept_prob" else k: v for k, v in stats.items()},
        log_likelihood=pointwise_log_likelihood(problem, vectors),
    )
    good, messages = convergence(posterior, problem.names)
    diverged = int(stats["diverging"].sum())
    if diverged:
        good = False
        advice = "the sampler cannot explore part of the posterior; raise target_accept or reparametrise."
        messages += (f"{diverged} of {stats['diverging'].size} transitions diverged: {advice}",)
    return replace(posterior, converged=good, messages=messages)


def _starting_points(problem: Problem, mode: Mode | None, chains: int, seed: int) -> NDArray[np.float64]:
    if mode is None:
        prior = problem.draw_prior(integer_seed(seed, "nuts-start"), chains)
        return np.stack([np.asarray(problem.unconstrain({n: v[k] for n, v in prior.items()})) for k in range(chains)])
    noise = generator(seed, "nuts-start").standard_normal((chains, problem.size))
    return mode.vector + np.linalg.solve(np.linalg.cholesky(mode.precision).T, noise.T).T


def _compile(
    problem: Problem,
    mode: Mode | None,
    warmup: int,
    target_accept: float,
    max_tree_depth: int,
    dense_mass: bool,
    adapt_mass: bool,
) -> Any:
    """Return ``run(key, start, draws, advance) -> arrays`` for one chain, compiled once for all chains."""
    import jax
    from numpyro.infer.hmc import hmc

    inverse_mass = None
    if mode is not None:
        inverse_mass = mode.covariance if dense_mass else np.diag(mode.covariance)

    def make(start: Any, key: Any) -> tuple[Any, Any]:
        init, step = hmc(lambda v: -problem.log_density(v), algo="NUTS")
        state = init(
            start,
            warmup,
            step_size=0.5,
            inverse_mass_matrix=inverse_mass,
            dense_mass=dense_mass,
            adapt_mass_matrix=adapt_mass,
            target_accept_prob=target_accept,
            max_tree_depth=max_tree_depth,
            rng_key=key,
        )
        return state, step

    # The step closes over the adaptation that init sets up: tracing the start of a chain yields it.
    steps: list[Any] = []

    @jax.jit
    def begin(start: Any, key: Any) -> Any:
        state, step = make(start, key)
        steps.append(step)
        return state

    @jax.jit
    def block(state: Any) -> tuple[Any, dict[str, Any]]:
        def body(s: Any, _: None) -> tuple[Any, dict[str, Any]]:
            s = steps[0](s)
            kept = {n: getattr(s, n) for n in ("z", "diverging", "energy", "num_steps", "accept_prob")}
            return s, kept

        return jax.lax.scan(body, state, None, length=BLOCK)

    def run(key: int, start: NDArray[np.float64], draws: int, advance: Advance) -> dict[str, NDArray[Any]]:
        # Compiled as well: operation by operation, the start of a chain compiles some eighty programs.
        state = begin(jax.numpy.asarray(start), jax.random.PRNGKey(key))
        kept: list[dict[str, Any]] = []
        total = warmup + draws
        for first in range(0, total, BLOCK):
            state, values = block(state)
            kept.append(jax.tree.map(np.asarray, values))
            advance(min(BLOCK, total - first))
        return {n: np.concatenate([b[n] for b in kept])[warmup:total] for n in kept[0]}

    return run
