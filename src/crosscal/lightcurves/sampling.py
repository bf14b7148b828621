"""From a model to draws of everything: the route is chosen by diagnostics, the linear parameters are drawn exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import FitError, UnknownNameError
from crosscal.core.keywords import check_keywords
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator
from crosscal.inference.laplace import Mode
from crosscal.inference.posterior import Posterior
from crosscal.lightcurves.density import STARTS, Density
from crosscal.lightcurves.kernels.base import Kernel
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.normalise import Normalisation
from crosscal.lightcurves.problem import blocks, full_vectors, make_problem
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.types import LightCurves

ROUTES = ("auto", "importance", "laplace", "nuts", "nested")

#: Where fewer draws have their shifts inside the prior box, the shifts that leave it are sampled, not integrated out.
LEAST_INSIDE = 0.3

#: Draws if none are asked for, up to `MANY` points and above, where each evaluation takes a millisecond.
DRAWS, DRAWS_OF_MANY, MANY = 4000, 1000, 20_000

#: Proposals weighed for each draw; where they are worth too few draws, or Pareto's k-hat is above its limit, so many
#: times as many are tried, so often; not where k-hat is hopeless.
PROPOSALS = 2
MORE, ATTEMPTS, HOPELESS = 4, 3, 1.2


@dataclass(frozen=True, eq=False)
class Draws:
    """Posterior draws of the full vector (normalised units) and of the mean of each file.

    Attributes
    ----------
    model : Model
        The model that was sampled.
    vectors : array (n_draws, n)
        Shifts included.
    means : array (n_draws, 1 + m)
        The mean q of each file, normalised units.
    posterior : Posterior
        What the sampler returned (parameters without the marginalised shifts), with messages.
    inside : float
        Share of the draws whose shifts fell into the prior box; the others were dropped.
    inflation : array (N of all files,), optional
        With Student-t errors, the posterior mean of the factor on each point's variance: large for outliers.
    chains : int
        The draws are those of so many chains, one after another, equally many of each.
    """

    model: Model
    vectors: NDArray[np.float64]
    means: NDArray[np.float64]
    posterior: Posterior
    inside: float
    inflation: NDArray[np.float64] | None = None
    chains: int = 1

    @property
    def effective_size(self) -> float:
        """Smallest bulk effective sample size over the sampled parameters."""
        from crosscal.inference.diagnostics import effective_sizes

        sizes = effective_sizes(self.posterior)["ess_bulk"]
        finite = sizes[np.isfinite(sizes)]
        return float(finite.min() * self.inside) if len(finite) else float(len(self.vectors))


@dataclass(frozen=True, eq=False)
class KeptDraws:
    """`Draws` as plain arrays, which a run can keep on disk; arrays and facts are those of `Draws` and its posterior.

    Attributes
    ----------
    settings : Settings
    marginal : int array
        Telescopes whose shift was integrated out.
    params, stats : mapping of str to array
        Sampled parameters and sample statistics, (chain, draw, ...).
    """

    settings: Settings
    marginal: NDArray[np.int64]
    vectors: NDArray[np.float64]
    means: NDArray[np.float64]
    params: dict[str, NDArray[np.float64]]
    stats: dict[str, NDArray[Any]]
    method: str
    log_evidence: float | None
    log_evidence_error: float | None
    converged: bool
    messages: tuple[str, ...]
    inside: float
    inflation: NDArray[np.float64] | None
    chains: int

    @classmethod
    def of(cls, draws: Draws) -> KeptDraws:
        """Return the arrays of draws."""
        posterior = draws.posterior
        params, stats = (dict(posterior.groups.arrays.get(group, {})) for group in ("posterior", "sample_stats"))
        return cls(
            draws.model.settings, draws.model.marginal, draws.vectors, draws.means, params, stats, posterior.method,
            posterior.log_evidence, posterior.log_evidence_error, posterior.converged, tuple(posterior.messages),
            draws.inside, draws.inflation, draws.chains,
        )  # fmt: skip

    def draws(self, curves: LightCurves, normalisation: Normalisation | None = None) -> Draws:
        """Return the draws, of a model of the same data."""
        model = Model(curves, self.settings, normalisation=normalisation, marginal=self.marginal)
        posterior = Posterior.from_draws(
            self.params, method=self.method, dims={name: (f"{name}_dim",) for name in self.params},
            sample_stats=self.stats, log_evidence=self.log_evidence, log_evidence_error=self.log_evidence_error,
            converged=self.converged, messages=self.messages,
        )  # fmt: skip
        return Draws(model, self.vectors, self.means, posterior, self.inside, self.inflation, self.chains)


def draw(
    model: Model,
    *,
    route: str = "auto",
    draws: int | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    **options: Any,
) -> Draws:
    """Sample the posterior of a model; 4000 draws by default, 1000 above 20000 points.

    "auto" adapts an importance sampler from the Laplace approximation and falls back on NUTS where Pareto's k-hat
    is above 0.7 or fewer than 400 draws count. Shifts that are integrated out are drawn from their Gaussian
    conditional; draws outside the prior box are dropped, and the log evidence is corrected by the share inside.

    Raises
    ------
    UnknownNameError
        If there is no such route.
    FitError
        If no draw falls inside the prior limits of the shifts.
    """
    if route not in ROUTES:
        raise UnknownNameError("sampling route", route, ROUTES)
    draws = draws or default_draws(model)
    posterior = _sample(model, route, draws, seed, progress, options)
    vectors, means, inside = with_linear(model, full_vectors(model, posterior), seed)
    share = float(inside.mean())
    if share < LEAST_INSIDE and len(model.marginal):
        # The likelihood pushes some shifts out of their box: sample those inside it instead.
        x, lay = vectors[:, model.layout.shift], model.layout
        out = (x < lay.low[lay.shift]) | (x > lay.high[lay.shift])
        often = out.mean(axis=0)
        worst = np.flatnonzero(often >= min(0.05, often.max()))
        keep = np.array([c for c in model.marginal if c not in worst], dtype=np.int64)
        progress.message(
            f"Shifts of {', '.join(model.curves.codes[c] for c in worst)} are pressed against their limits"
        )
        smaller = Model(model.curves, model.settings, normalisation=model.norm, marginal=keep)
        return draw(smaller, route=route, draws=draws, seed=seed, progress=progress, **options)
    if not inside.any():
        raise FitError("No posterior draw has its shifts inside their prior limits.")
    if not isinstance(model.settings.process, Kernel):
        posterior = replace(posterior, log_evidence=None, log_evidence_error=None)
    if share < 1 and posterior.log_evidence is not None:
        error = np.hypot(posterior.log_evidence_error or 0.0, np.sqrt((1 - share) / (share * len(inside))))
        posterior = replace(
            posterior, log_evidence=posterior.log_evidence + float(np.log(share)), log_evidence_error=float(error)
        )
    kept, chains = of_equal_chains(inside, posterior)
    return Draws(model, vectors[kept], means[kept], posterior, share, chains=chains)


def of_equal_chains(inside: NDArray[np.bool_], posterior: Posterior) -> tuple[NDArray[np.bool_], int]:
    """Return which draws are kept, equally many of each chain, and the number of chains.

    The longer chains lose their last draws. Where one chain has none inside, all draws count as one chain.
    """
    chains = posterior.n_chains
    table = inside.reshape(chains, -1)
    least = int(table.sum(axis=1).min())
    if least == 0:
        return inside, 1
    return (table & (np.cumsum(table, axis=1) <= least)).ravel(), chains


def default_draws(model: Model) -> int:
    """Return the number of draws if none is asked for."""
    return DRAWS if len(model.curves) <= MANY else DRAWS_OF_MANY


def _sample(model: Model, route: str, draws: int, seed: int, progress: Progress, options: dict[str, Any]) -> Posterior:
    from crosscal.inference.importance import evidence_from_draws
    from crosscal.inference.registry import sample

    own = {"laplace": _laplace, "importance": _importance, "auto": _importance}.get(route)
    if own is not None:
        check_keywords(own, options, where=f"sampler {route!r}")
    if route == "laplace":
        return _laplace(model, draws, seed, progress, **options)
    if route in ("auto", "importance"):
        posterior = _importance(model, draws, seed, progress, **options)
        if posterior.converged or route == "importance":
            return posterior
        progress.message(posterior.messages[0])
        options = {}
    problem = make_problem(model)
    if route == "nested":
        return sample(problem, "nested", seed=seed, progress=progress, **options)
    options = {"chains": 4, "warmup": 500, **options}
    per_chain = -(-draws // options["chains"])
    start = starting_point(model)
    posterior = sample(problem, "nuts", seed=seed, draws=per_chain, start=start, progress=progress, **options)
    return evidence_from_draws(problem, posterior, seed=seed)


def mode_of(density: Density, seed: int, starts: int) -> Mode:
    """Return the mode of a density, looked for from `starting_point` and ``starts`` draws from the prior."""
    named = starting_point(density.model)
    start = np.empty(density.size)
    for name, at in density.named(np.arange(density.size)).items():
        start[at] = named[name]
    return density.mode(start, seed, starts)


def mode_in_scores(density: Density, seed: int, starts: int) -> tuple[Density, Mode]:
    """Return the mode, and the density that it is of: systematic errors as normal scores (`Density.rescaled`)."""
    mode = mode_of(density, seed, starts)
    if not np.isin(density.places, density.model.layout.syserr).any():
        return density, mode
    scored = density.rescaled(mode)
    return scored, scored.mode(density.constrain(mode.vector), seed, 0)


def _mode(model: Model, seed: int, progress: Progress, starts: int) -> tuple[Density, Mode]:
    with progress.stage("Finding the mode", total=1) as advance:
        found = mode_in_scores(Density(model), seed, starts)
        advance(1)
    return found


def _importance(
    model: Model,
    draws: int,
    seed: int,
    progress: Progress,
    *,
    proposals: int | None = None,
    starts: int = STARTS,
    components: int = 4,
    rounds: int = 6,
    degrees: float = 6.0,
) -> Posterior:
    """Importance sampling as `crosscal.inference.importance`, with the density in compiled batches."""
    from crosscal.inference.importance import Plan, View, adapted
    from crosscal.inference.mixture import StudentMixture

    density, mode = _mode(model, seed, progress, starts)
    root = np.asarray(np.linalg.cholesky(mode.covariance), dtype=float)
    first = StudentMixture(np.ones(1), mode.vector[None], root[None], degrees)
    final = proposals or PROPOSALS * draws
    view = View(
        density.names, density.size, density, lambda chosen: density.named(density.constrain(chosen)), lambda _: None
    )
    for attempt in range(ATTEMPTS):
        n = final * MORE**attempt
        plan = Plan("importance", draws, n, max(n // 10, 20 * density.size), components, rounds)
        posterior = adapted(view, first, plan, generator(seed, "importance"), progress)
        khat = float(posterior.khat or 0.0)
        # Weights that are worth too few draws, or nearly good ones: k-hat of few is uncertain, and more of them, with
        # which the mixture is adapted further, cost less than another sampler.
        if posterior.converged or proposals is not None or not khat <= HOPELESS:
            break
    return posterior


def _laplace(model: Model, draws: int, seed: int, progress: Progress, *, starts: int = STARTS) -> Posterior:
    """The Gaussian at the mode, as `crosscal.inference.laplace`."""
    density, mode = _mode(model, seed, progress, starts)
    noise = generator(seed, "laplace").standard_normal((draws, density.size))
    root = np.linalg.cholesky(mode.precision)
    vectors = mode.vector + np.linalg.solve(root.T, noise.T).T
    return Posterior.from_draws(
        density.named(density.constrain(vectors[None])),
        method="laplace",
        dims=density.names.dims,
        log_evidence=mode.log_evidence,
        converged=mode.well_curved,
        messages=() if mode.well_curved else ("The posterior is flat in some direction at its mode.",),
    )


def starting_point(model: Model) -> dict[str, NDArray[np.float64]]:
    """A point well inside the prior from which the mode search starts: unit scales, small systematic errors."""
    lay = model.layout
    x = 0.5 * (lay.low + lay.high)
    width = lay.high - lay.low
    near = {"log_scale": 0.0, "shift": 0.0, "log_errscale": 0.0}
    start = {}
    for name, places in blocks(model).items():
        values = x[places]
        if name in near:
            values = np.full(len(places), near[name])
        elif name.startswith("syserr"):
            values = lay.low[places] + 0.1 * width[places]
        margin = 0.02 * width[places]
        start[name] = np.clip(values, lay.low[places] + margin, lay.high[places] - margin)
    kernel, names = lay.kernel.ravel(), model.settings.process.names
    for i, one in enumerate(model.files):
        if "log_sigma" not in names:
            continue
        # The stationary variance sigma^2 tau starts at the scatter of the fluxes.
        sigma, tau = (lay.kernel[i, names.index(name)] for name in ("log_sigma", "log_tau"))
        guess = 0.5 * (np.log(np.var(one.flux) + 1e-12) - x[tau])
        low, high = lay.low[sigma], lay.high[sigma]
        start["kernel"][np.flatnonzero(kernel == sigma)] = np.clip(guess, low + 0.02, high - 0.02)
    return start


def with_linear(
    model: Model, vectors: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Draw the mean of each file and the marginalised shifts for every vector.

    Returns
    -------
    vectors : array (n_draws, n)
        With the shifts filled in.
    means : array (n_draws, 1 + m)
    inside : bool array (n_draws,)
        Whether all marginalised shifts are inside their prior limits.
    """
    rng, lay = generator(seed, "linear"), model.layout
    filled = vectors.copy()
    means = np.empty((len(vectors), len(model.files)))
    places = lay.shift[model.marginal]
    for i, (mean, covariance) in enumerate(model.many(vectors)[1]):
        noise = rng.standard_normal(mean.shape)
        value = mean + np.einsum("sab,sb->sa", np.linalg.cholesky(covariance), noise)
        means[:, i] = value[:, 0]
        if i == 0:
            filled[:, places] = value[:, 1:]
    inside = np.all((filled[:, places] >= lay.low[places]) & (filled[:, places] <= lay.high[places]), axis=1)
    return filled, means, inside
