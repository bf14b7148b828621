"""Nested sampling with dynesty, for evidence and multimodal posteriors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator
from crosscal.inference.jaxconfig import require_x64
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem

#: Measured: with vague priors the sampler did not converge in 17 dimensions; marginalise first.
MAX_DIMENSIONS = 15


def nested(
    problem: Problem,
    *,
    seed: int = 0,
    live_points: int | None = None,
    dlogz: float = 0.05,
    method: str = "rslice",
    draws: int | None = None,
    progress: Progress = SILENT,
) -> Posterior:
    """Run nested sampling (Skilling 2006; dynesty: Speagle 2020, MNRAS 493, 3132).

    Parameters
    ----------
    live_points : int, optional
        50 per dimension, at least 400, by default.
    dlogz : float
        Remaining evidence at which the run stops.
    method : str
        dynesty's proposal; "rslice" is robust where there are several modes.

    Raises
    ------
    InputError
        Above 15 dimensions, or if a prior has no inverse cumulative distribution.
    """
    from dynesty import NestedSampler

    require_x64()
    dimensions = len(problem.labels())
    if dimensions > MAX_DIMENSIONS:
        raise InputError(
            f"{dimensions} parameters",
            where="nested sampler",
            expected=f"at most {MAX_DIMENSIONS}: marginalise first, or use nuts with a Laplace evidence",
        )
    problem.from_unit(np.full(dimensions, 0.5))
    transform, log_likelihood, unflatten = _flat_views(problem)
    rng = generator(seed, "nested")
    sampler = NestedSampler(
        log_likelihood,
        transform,
        dimensions,
        nlive=live_points or max(400, 50 * dimensions),
        sample=method,
        rstate=rng,
    )
    with progress.stage("Nested sampling", total=None) as advance:
        for _ in sampler.sample(dlogz=dlogz):
            advance(1)
        for _ in sampler.add_live_points():
            pass
    results = sampler.results
    weights = np.exp(results.logwt - results.logz[-1])
    effective = weights.sum() ** 2 / np.sum(weights**2)
    n = draws or int(effective)
    picks = rng.choice(len(weights), size=n, p=weights / weights.sum())
    arrays = unflatten(results.samples[picks][None])
    if problem.derived is not None:
        arrays |= _derived(problem, arrays)
    return Posterior.from_draws(
        arrays,
        method="nested",
        dims=problem.dims,
        coords=problem.coords,
        units=problem.units,
        sample_stats={"effective_size": np.full((1, n), effective)},
        log_evidence=float(results.logz[-1]),
        log_evidence_error=float(results.logzerr[-1]),
        converged=effective >= 400,
        messages=() if effective >= 400 else (f"Only {effective:.0f} effective draws: use more live points.",),
    )


def _flat_views(problem: Problem) -> tuple[Any, Any, Any]:
    """Return the prior transform, the log likelihood and the unflattening, over plain vectors as dynesty has them."""
    import jax

    sizes = [(name, problem.shapes[name], int(np.prod(problem.shapes[name], dtype=int))) for name in problem.names]

    def unflatten(vector: Any) -> dict[str, Any]:
        params, start = {}, 0
        for name, shape, size in sizes:
            params[name] = vector[..., start : start + size].reshape(*vector.shape[:-1], *shape)
            start += size
        return params

    def flatten(params: Any) -> Any:
        return jax.numpy.concatenate([jax.numpy.ravel(params[name]) for name, _, _ in sizes])

    transform = jax.jit(lambda u: flatten(problem.from_unit(u)))
    likelihood = jax.jit(lambda v: problem.log_likelihood(unflatten(v)))

    def log_likelihood(vector: NDArray[np.float64]) -> float:
        value = float(likelihood(vector))
        return value if np.isfinite(value) else -1e300  # dynesty refuses infinities

    return lambda u: np.asarray(transform(u)), log_likelihood, unflatten


def _derived(problem: Problem, arrays: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    import jax

    derived = problem.derived or (lambda params: {})
    further = jax.vmap(derived)({name: values[0] for name, values in arrays.items()})
    return {name: np.asarray(values)[None] for name, values in further.items()}
