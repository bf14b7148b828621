"""Population Monte Carlo: a mixture that learns the posterior from the prior on, then importance sampling from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator
from crosscal.inference.jaxconfig import require_x64
from crosscal.inference.mixture import StudentMixture
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem
from crosscal.inference.weights import BATCH, KHAT_LIMIT, evaluate, in_batches, pareto_smoothed, resampled, tempered

Floats = NDArray[np.float64]

#: Mixtures of more dimensions need more draws than another sampler would.
MAX_DIMENSIONS = 12
#: A round whose draws are worth this fraction of independent ones ends the learning.
GOOD_FRACTION = 0.4
#: Draws that a mixture is fitted to.
FITTED_DRAWS = 4000
#: Times that all proposals are drawn, while k-hat is too high.
ATTEMPTS = 3


def population(
    problem: Problem,
    *,
    seed: int = 0,
    draws: int = 4000,
    proposals: int | None = None,
    components: int = 20,
    rounds: int = 20,
    progress: Progress = SILENT,
) -> Posterior:
    """Learn a mixture of Student t distributions from the prior, then draw, weigh (PSIS) and resample.

    Parameters are sampled as normal scores of their priors, z = Phi^-1(F(x)): the prior is N(0, 1) in each, limits
    are far away, and a parameter that the data do not constrain is normal. Each round fits the mixture to all draws so
    far, weighed against the mixture of all proposals so far (Cornuet et al. 2012, Scand. J. Stat. 39, 798), with the
    weights tempered until enough of them count. It starts from the prior, so that it finds separate modes; no gradient
    is needed. The final draws are new ones, independent of the learning. The evidence is their mean raw weight.

    Parameters
    ----------
    draws : int
        Equally weighted draws returned.
    proposals : int, optional
        Final proposals; 5 times ``draws`` by default.
    components : int
        Components of the mixture.
    rounds : int
        Most rounds of learning, ``BATCH`` times the number of parameters, at least 8 ``BATCH``, draws each.

    Raises
    ------
    InputError
        Above 12 parameters, or if a prior has no inverse cumulative distribution.
    """
    require_x64()
    size = len(problem.labels())
    if size > MAX_DIMENSIONS:
        raise InputError(
            f"{size} parameters", where="population sampler", expected=f"at most {MAX_DIMENSIONS}, or use nuts"
        )
    problem.from_unit(np.full(size, 0.5))
    density, named, pointwise = _views(problem, size)
    rng = generator(seed, "population")
    n, final = BATCH * max(8, size), proposals or 5 * draws
    with progress.stage("Learning the posterior", total=rounds) as advance:
        pool = _Pool(density, size, rng, 2 * n)
        for done in range(rounds):
            mixture = pool.fitted(components)
            if pool.add(mixture, n) > GOOD_FRACTION:
                advance(rounds - done)
                break
            advance(1)
    with progress.stage("Weighing proposals", total=final) as advance:
        for attempt in range(ATTEMPTS):
            proposal = pool.fitted(components).guarded()
            vectors = proposal.draw(rng, final)
            values = evaluate(density, vectors, advance if attempt == 0 else lambda _: None)
            log_weights = values - proposal.log_density(vectors)
            if pareto_smoothed(log_weights)[1] < KHAT_LIMIT:
                break
            pool.extend(proposal, vectors, values)
    return resampled(
        problem, vectors, log_weights, rng, method="population", draws=draws, collect=named, pointwise=pointwise
    )


def _views(problem: Problem, size: int) -> tuple[Any, Any, Any]:
    """Return the batch log density of normal scores; of chosen ones (1, n, d) the named values, and ln L per datum."""
    import jax
    import jax.numpy as jnp

    constant = 0.5 * size * np.log(2 * np.pi)

    def params(z: Any) -> Any:
        # A prior's limits themselves are outside its support.
        return problem.from_unit(jnp.clip(jax.scipy.stats.norm.cdf(z), 1e-15, 1 - 1e-15))

    def one(z: Any) -> dict[str, Any]:
        found = params(z)
        return {**found, **(problem.derived(found) if problem.derived else {})}

    density = jax.jit(jax.vmap(lambda z: problem.log_likelihood(params(z)) - 0.5 * z @ z - constant))

    def named(chosen: Floats) -> dict[str, Floats]:
        flat = jax.jit(jax.vmap(one))(chosen[0])
        order = [*problem.names, *(name for name in flat if name not in problem.names)]
        return {name: np.asarray(flat[name])[None] for name in order}

    def pointwise(chosen: Floats) -> dict[str, Any] | None:
        each = problem.pointwise
        if each is None:
            return None
        return {"data": in_batches(jax.jit(jax.vmap(lambda z: each(params(z)))), chosen[0])[None]}

    return density, named, pointwise


class _Pool:
    """All draws so far, weighed against the mixture of all that they were drawn from."""

    def __init__(self, density: Any, size: int, rng: np.random.Generator, n: int) -> None:
        self.density, self.rng = density, rng
        self.sources: list[Callable[[Floats], Floats]] = []
        self.numbers: list[int] = []
        self.vectors, self.values = np.empty((0, size)), np.empty(0)
        # ln density of every source at every draw: each is computed once.
        self.log_densities = np.empty((0, 0))
        vectors = rng.standard_normal((n, size))
        self._put(lambda z: -0.5 * np.sum(z**2, axis=1) - 0.5 * size * np.log(2 * np.pi), vectors, None)

    def _put(self, log_density: Callable[[Floats], Floats], vectors: Floats, values: Floats | None) -> Floats:
        values = evaluate(self.density, vectors) if values is None else values
        further = np.array([source(vectors) for source in self.sources]).reshape(len(self.sources), len(vectors))
        self.sources.append(log_density)
        self.numbers.append(len(vectors))
        self.vectors = np.concatenate([self.vectors, vectors])
        self.values = np.concatenate([self.values, values])
        known = np.concatenate([self.log_densities, further], axis=1)
        self.log_densities = np.concatenate([known, log_density(self.vectors)[None]])
        return values

    def fitted(self, components: int) -> StudentMixture:
        """Fit a mixture to the pool."""
        from scipy.special import logsumexp

        shares = np.array(self.numbers) / len(self.vectors)
        mixed = logsumexp(self.log_densities, axis=0, b=shares[:, None])
        _, weights = tempered(self.values - mixed, 10 * components)
        # Draws without weight only cost time; of many, a sample by weight says as much.
        keep = np.flatnonzero(weights > 1e-9 * weights.max())
        weights = weights[keep] / weights[keep].sum()
        if len(keep) > FITTED_DRAWS:
            picks = np.searchsorted(np.cumsum(weights), (self.rng.random() + np.arange(FITTED_DRAWS)) / FITTED_DRAWS)
            chosen, times = np.unique(picks.clip(max=len(keep) - 1), return_counts=True)
            keep, weights = keep[chosen], times / FITTED_DRAWS
        return StudentMixture.fitted(self.vectors[keep], weights, components, self.rng)

    def add(self, mixture: StudentMixture, n: int) -> float:
        """Draw ``n`` from a mixture into the pool; return what fraction of independent draws they are worth."""
        from scipy.special import softmax

        vectors = mixture.draw(self.rng, n)
        values = self._put(mixture.log_density, vectors, None)
        return float(1.0 / np.sum(softmax(values - mixture.log_density(vectors)) ** 2) / n)

    def extend(self, mixture: StudentMixture, vectors: Floats, values: Floats) -> None:
        """Put evaluated draws of a mixture into the pool."""
        self._put(mixture.log_density, vectors, values)
