"""Mode of the posterior and the Gaussian around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import FitError
from crosscal.core.linalg import nearest_precision
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator, integer_seed
from crosscal.inference.jaxconfig import require_x64
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem
from crosscal.inference.weights import in_batches


@dataclass(frozen=True)
class Mode:
    """A posterior mode in the unconstrained space.

    Attributes
    ----------
    vector : array (size,)
    log_density : float
        Including the Jacobian of the transform.
    precision : array (size, size)
        Negative Hessian, made positive definite.
    well_curved : bool
        False if the Hessian had to be repaired: some direction is not constrained at the mode.
    """

    vector: NDArray[np.float64]
    log_density: float
    precision: NDArray[np.float64]
    well_curved: bool

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Inverse of the precision."""
        return np.asarray(np.linalg.inv(self.precision), dtype=float)

    @property
    def log_evidence(self) -> float:
        """Laplace approximation: log p(mode) + d/2 log 2 pi - 1/2 log |precision|."""
        return self.log_density + 0.5 * (len(self.vector) * np.log(2 * np.pi) - np.linalg.slogdet(self.precision)[1])


def difference_hessian(
    gradient: Callable[[NDArray[np.float64]], NDArray[np.float64]], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Hessian (n, n) by differences of an exact gradient (n,).

    Five-point central differences (Abramowitz & Stegun 1972, eq. 25.3.6) with steps of 0.03 / sqrt(|H_jj|), found
    by two passes from small steps on. The relative error is about 1e-8 for a smooth density, and was 2e-4 at most
    where splines are part of it. JAX's own second derivative takes 20 s to compile for paired X-ray sources, longer
    than all else that a short run does, and is not to be had of a likelihood outside JAX.
    """
    steps = np.full(len(at), 1e-4)
    for _ in range(2):
        ends = [(gradient(at + e)[j], gradient(at - e)[j]) for j, e in enumerate(np.diag(steps))]
        curvature = np.abs(np.subtract(*np.transpose(ends))) / (2 * steps)
        with np.errstate(divide="ignore"):
            steps = np.nan_to_num(np.clip(0.03 / np.sqrt(curvature), 1e-9, 0.03), nan=0.03)
    rows = [
        (8 * (gradient(at + e) - gradient(at - e)) - (gradient(at + 2 * e) - gradient(at - 2 * e))) / (12 * h)
        for e, h in zip(np.diag(steps), steps, strict=True)
    ]
    return np.stack(rows)


def find_mode(
    problem: Problem,
    *,
    seed: int = 0,
    starts: int = 4,
    start: Mapping[str, ArrayLike] | None = None,
) -> Mode:
    """Maximise the posterior density of the unconstrained vector from several starts.

    Parameters
    ----------
    start : mapping, optional
        Parameters to start from, used beside the draws from the prior.

    Raises
    ------
    FitError
        If no start reaches a finite density.
    """
    import jax
    from scipy.optimize import minimize

    require_x64()
    objective = jax.jit(jax.value_and_grad(lambda v: -problem.log_density(v)))

    def value_and_gradient(vector: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = objective(vector)
        if not np.isfinite(value):
            return 1e300, np.zeros_like(vector)
        return float(value), np.nan_to_num(np.asarray(gradient))

    prior = problem.draw_prior(integer_seed(seed, "mode"), starts)
    points = [problem.unconstrain({n: v[k] for n, v in prior.items()}) for k in range(starts)]
    if start is not None:
        points.insert(0, problem.unconstrain(start))
    best: Any = None
    for point in points:
        found = minimize(value_and_gradient, np.asarray(point), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
        if np.isfinite(found.fun) and found.fun < 1e299 and (best is None or found.fun < best.fun):
            best = found
    if best is None:
        raise FitError("No start of the mode search has a finite posterior density.")
    hessian = difference_hessian(lambda v: np.asarray(objective(v)[1]), best.x)
    precision, well_curved = nearest_precision(hessian)
    return Mode(np.asarray(best.x), -float(best.fun), precision, well_curved)


def collect(
    problem: Problem, vectors: NDArray[np.float64], named: Callable[[Any], Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Map vectors (chain, draw, size) to named parameters and derived quantities.

    ``named`` turns one vector into parameters; `Problem.constrain` by default.
    """
    import jax

    def one(vector: Any) -> dict[str, Any]:
        params = (named or problem.constrain)(vector)
        return {**params, **(problem.derived(params) if problem.derived else {})}

    chains, draws, size = vectors.shape
    flat = jax.jit(lambda v: jax.lax.map(one, v, batch_size=256))(vectors.reshape(-1, size))
    # JAX returns mappings sorted by name; users expect the order of the model.
    order = [*problem.names, *(name for name in flat if name not in problem.names)]
    return {n: np.asarray(flat[n]).reshape(chains, draws, *flat[n].shape[1:]) for n in order}


def pointwise_log_likelihood(
    problem: Problem, vectors: NDArray[np.float64], named: Callable[[Any], Any] | None = None
) -> dict[str, Any] | None:
    """Log likelihood per datum for vectors (chain, draw, size), if the problem offers it; ``named`` as in `collect`."""
    import jax

    pointwise = problem.pointwise
    if pointwise is None:
        return None
    chains, draws, size = vectors.shape
    values = in_batches(
        jax.jit(jax.vmap(lambda u: pointwise((named or problem.constrain)(u)))), vectors.reshape(-1, size)
    )
    return {"data": values.reshape(chains, draws, *values.shape[1:])}


def laplace(
    problem: Problem,
    *,
    seed: int = 0,
    draws: int = 4000,
    starts: int = 4,
    start: Mapping[str, ArrayLike] | None = None,
    progress: Progress = SILENT,
) -> Posterior:
    """Draw from the Gaussian approximation at the mode (MacKay 2003, ch. 27), in the unconstrained space."""
    with progress.stage("Finding the mode", total=1) as advance:
        mode = find_mode(problem, seed=seed, starts=starts, start=start)
        advance(1)
    noise = generator(seed, "laplace").standard_normal((draws, problem.size))
    root = np.linalg.cholesky(mode.precision)
    vectors = mode.vector + np.linalg.solve(root.T, noise.T).T
    messages = () if mode.well_curved else ("The posterior is flat in some direction at its mode.",)
    return Posterior.from_draws(
        collect(problem, vectors[None]),
        method="laplace",
        dims=problem.dims,
        coords=problem.coords,
        units=problem.units,
        log_likelihood=pointwise_log_likelihood(problem, vectors[None]),
        log_evidence=mode.log_evidence,
        converged=mode.well_curved,
        messages=messages,
    )
