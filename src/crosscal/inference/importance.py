"""Adaptive importance sampling: a mixture is adapted to the posterior, from a mode or from the prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator
from crosscal.inference.jaxconfig import require_x64
from crosscal.inference.laplace import collect, find_mode, pointwise_log_likelihood
from crosscal.inference.mixture import StudentMixture
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem
from crosscal.inference.weights import BATCH, KHAT_LIMIT, evaluate, evidence, pareto_smoothed, resampled, tempered

Floats = NDArray[np.float64]

#: From the prior, mixtures of more dimensions need more draws than another sampler would.
MAX_DIMENSIONS = 12
#: A round whose draws are worth this fraction of independent ones ends the learning; half of it where few can be had.
GOOD_FRACTION = 0.4
#: Draws that a mixture is fitted to.
FITTED_DRAWS = 4000
#: Times that all proposals are drawn, while k-hat is too high.
ATTEMPTS = 3


@dataclass(frozen=True)
class View:
    """A problem, or its names alone (dims, coords, units), in the coordinates that are sampled.

    density : vectors (n, d) -> log posterior density (n,), compiled
    collect : chosen vectors (1, n, d) -> named draws
    pointwise : chosen vectors (1, n, d) -> log likelihood per datum, or None
    """

    problem: Any
    size: int
    density: Any
    collect: Callable[[Floats], dict[str, Floats]]
    pointwise: Callable[[Floats], dict[str, Any] | None]


@dataclass(frozen=True)
class Plan:
    """How a sampler learns and draws.

    At most ``rounds`` of ``each`` draws, ended by one whose draws are worth the fraction ``good`` of independent ones;
    then ``final`` proposals, of which ``draws`` are resampled.
    """

    method: str
    draws: int
    final: int
    each: int
    components: int
    rounds: int
    good: float = GOOD_FRACTION


def importance(
    problem: Problem,
    *,
    seed: int = 0,
    draws: int = 4000,
    proposals: int | None = None,
    degrees: float = 6.0,
    starts: int = 4,
    start: Mapping[str, ArrayLike] | None = None,
    components: int = 4,
    rounds: int = 6,
    progress: Progress = SILENT,
) -> Posterior:
    """Adapt a Student t at the mode to the posterior, then draw, weight (PSIS) and resample to equal weights.

    A round of learning fits a mixture to all draws so far; where the Laplace approximation is good none is needed.
    The evidence is the mean raw weight, its error from the weights' scatter. The posterior is marked as not converged
    where k-hat > 0.7: use "nuts" then. Modes apart from the best are not looked for: "population" does that.

    Parameters
    ----------
    draws : int
        Equally weighted draws returned (systematic resampling).
    proposals : int, optional
        Final proposals; 5 times ``draws`` by default.
    degrees : float
        Degrees of freedom of the proposal; its tails must be heavier than the posterior's.
    starts, start
        See `find_mode`.
    components : int
        Most components of the mixture.
    rounds : int
        Most rounds of learning, each a tenth of the proposals, which are dropped afterwards.
    """
    final = proposals or 5 * draws
    with progress.stage("Finding the mode", total=1) as advance:
        mode = find_mode(problem, seed=seed, starts=starts, start=start)
        advance(1)
    root = np.asarray(np.linalg.cholesky(mode.covariance), dtype=float)
    first = StudentMixture(np.ones(1), mode.vector[None], root[None], degrees)
    plan = Plan("importance", draws, final, max(final // 10, 20 * problem.size), components, rounds)
    return adapted(_unconstrained(problem), first, plan, generator(seed, "importance"), progress)


def population(
    problem: Problem,
    *,
    seed: int = 0,
    draws: int = 4000,
    proposals: int | None = None,
    components: int = 20,
    rounds: int = 20,
    coarse: Sequence[Problem] = (),
    progress: Progress = SILENT,
) -> Posterior:
    """Adapt a mixture to the posterior from the prior on, to find separate modes, then draw, weight (PSIS), resample.

    Parameters are sampled as normal scores of their priors, z = Phi^-1(F(x)): the prior is N(0, 1) in each, limits
    are far away, and a parameter that the data do not constrain is normal. No gradient is needed.

    Parameters
    ----------
    draws, proposals, components
        See `importance`.
    rounds : int
        Most rounds of learning, ``BATCH`` times the number of parameters, at least 8 ``BATCH``, draws each.
    coarse : sequence of Problem, optional
        The same parameters with growing parts of the data: learning begins there, where it costs less and what is
        looked for is wider.

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
    first = StudentMixture(np.ones(1), np.zeros((1, size)), np.eye(size)[None], 6.0)
    plan = Plan("population", draws, proposals or 5 * draws, BATCH * max(8, size), components, rounds)
    rng = generator(seed, "population")
    for part in coarse:
        plan = replace(plan, good=0.5 * GOOD_FRACTION)
        first, _ = _learned(_normal_scores(part, size), first, plan, rng, progress)
    return adapted(_normal_scores(problem, size), first, plan, rng, progress)


def adapted(
    view: View, proposal: StudentMixture, plan: Plan, rng: np.random.Generator, progress: Progress
) -> Posterior:
    """Adapt the first proposal, then importance-weight new, independent draws."""
    proposal, pool = _learned(view, proposal, plan, rng, progress)
    with progress.stage("Importance-weighting samples", total=plan.final) as advance:
        for attempt in range(ATTEMPTS):
            proposal = proposal.guarded()
            vectors = proposal.draw(rng, plan.final)
            values = evaluate(view.density, vectors, advance if attempt == 0 else lambda _: None)
            log_weights = values - proposal.log_density(vectors)
            if attempt == ATTEMPTS - 1 or pareto_smoothed(log_weights)[1] < KHAT_LIMIT:
                break
            # A rare heavy draw that the small rounds missed.
            pool.put(proposal, vectors, values)
            proposal = pool.fitted(plan.components)
    return resampled(
        view.problem,
        vectors,
        log_weights,
        rng,
        method=plan.method,
        draws=plan.draws,
        collect=view.collect,
        pointwise=view.pointwise,
    )


def _learned(
    view: View, proposal: StudentMixture, plan: Plan, rng: np.random.Generator, progress: Progress
) -> tuple[StudentMixture, _Pool]:
    """Return the mixture that rounds of draws have adapted to the posterior, and these draws."""
    pool = _Pool(view.density, view.size, rng)
    with progress.stage("Adapting the proposal", total=plan.rounds) as advance:
        for done in range(plan.rounds):
            fraction = pool.add(proposal, plan.each if done else 2 * plan.each)
            good = fraction > plan.good
            if done or not good:
                proposal = pool.fitted(plan.components)
            advance(plan.rounds - done if good else 1)
            if good:
                break
    return proposal, pool


def evidence_from_draws(problem: Problem, posterior: Posterior, *, seed: int = 0, n: int = 8000) -> Posterior:
    """Give a posterior of another sampler its log evidence, by importance sampling with a mixture fitted to its draws.

    A message is added where the Pareto k-hat of the weights says that the evidence is unreliable.
    """
    import jax

    rng = generator(seed, "evidence")
    vectors = np.asarray(jax.jit(jax.vmap(problem.unconstrain))({k: posterior.draws(k) for k in problem.names}))
    vectors = vectors[np.linspace(0, len(vectors) - 1, min(FITTED_DRAWS, len(vectors))).round().astype(int)]
    proposal = StudentMixture.fitted(vectors, np.full(len(vectors), 1.0 / len(vectors)), 4, rng).guarded()
    drawn = proposal.draw(rng, n)
    log_weights = evaluate(jax.jit(jax.vmap(problem.log_density)), drawn) - proposal.log_density(drawn)
    weights, khat = pareto_smoothed(log_weights)
    messages = posterior.messages
    if not khat <= KHAT_LIMIT:
        messages += (f"The log evidence is unreliable: Pareto k-hat is {khat:.2f} (above {KHAT_LIMIT}).",)
    value, error = evidence(log_weights, float(1.0 / np.sum(weights**2)))
    return replace(posterior, log_evidence=value, log_evidence_error=error, messages=messages)


def _unconstrained(problem: Problem) -> View:
    """Return the problem in its unconstrained vector."""
    import jax

    return View(
        problem,
        problem.size,
        jax.jit(jax.vmap(problem.log_density)),
        lambda chosen: collect(problem, chosen),
        lambda chosen: pointwise_log_likelihood(problem, chosen),
    )


def _normal_scores(problem: Problem, size: int) -> View:
    """Return the problem in normal scores of its priors."""
    import jax
    import jax.numpy as jnp

    constant = 0.5 * size * np.log(2 * np.pi)

    def params(z: Any) -> Any:
        # A prior's limits themselves are outside its support.
        return problem.from_unit(jnp.clip(jax.scipy.stats.norm.cdf(z), 1e-15, 1 - 1e-15))

    return View(
        problem,
        size,
        jax.jit(jax.vmap(lambda z: problem.log_likelihood(params(z)) - 0.5 * z @ z - constant)),
        lambda chosen: collect(problem, chosen, params),
        lambda chosen: pointwise_log_likelihood(problem, chosen, params),
    )


class _Pool:
    """All draws so far, weighted relative to the mixture of all proposals (Cornuet et al. 2012, Scand. J.
    Stat. 39, 798)."""

    def __init__(self, density: Any, size: int, rng: np.random.Generator) -> None:
        self.density, self.rng = density, rng
        self.sources: list[StudentMixture] = []
        self.numbers: list[int] = []
        self.vectors, self.values = np.empty((0, size)), np.empty(0)
        # ln density of every source at every draw: each is computed once.
        self.log_densities = np.empty((0, 0))

    def put(self, source: StudentMixture, vectors: Floats, values: Floats) -> None:
        """Add evaluated draws of a mixture."""
        further = np.array([one.log_density(vectors) for one in self.sources]).reshape(len(self.sources), len(vectors))
        self.sources.append(source)
        self.numbers.append(len(vectors))
        self.vectors = np.concatenate([self.vectors, vectors])
        self.values = np.concatenate([self.values, values])
        known = np.concatenate([self.log_densities, further], axis=1)
        self.log_densities = np.concatenate([known, source.log_density(self.vectors)[None]])

    def add(self, source: StudentMixture, n: int) -> float:
        """Draw ``n`` from a mixture; return what fraction of independent draws they are worth."""
        from scipy.special import softmax

        vectors = source.draw(self.rng, n)
        values = evaluate(self.density, vectors)
        self.put(source, vectors, values)
        log_weights = values - self.log_densities[-1, -n:]
        return float(1.0 / np.sum(softmax(log_weights) ** 2) / n)

    def fitted(self, components: int) -> StudentMixture:
        """Fit a mixture to all draws, their weights tempered until enough of them count (Cappe et al. 2004)."""
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
