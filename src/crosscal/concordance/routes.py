"""The ways to the posterior. They agree; they differ in what they cost and which models they take."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance import cell_sampler, pattern_samplers
from crosscal.concordance.algebra import NO_TIMES, closed_form, times_of, with_drift
from crosscal.concordance.model import Model
from crosscal.concordance.variance import starting_variances
from crosscal.core.errors import FitError, InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator, integer_seed
from crosscal.core.registry import Registry

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


def _run_chains(
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


def _starts(model: Model, chains: int, seed: int) -> Floats:
    """Dispersed starting variances (chains, N)."""
    centre = starting_variances(model.data, model.variance)
    scale = model.nu if model.noise == "log-t" and model.variance.kind == "unknown" else 1.0
    noise = generator(seed, "concordance-start").standard_normal((chains, len(centre)))
    return scale * centre * np.exp(0.5 * noise)


def closed(model: Model, *, seed: int, draws: int, chains: int, warmup: int, wanted: Any, progress: Progress) -> Draws:
    """Exact Gaussian posterior for known variances; the draws are independent."""
    if model.noise != "log-normal" or model.variance.unknown or model.varying:
        raise InputError(
            "the closed form needs known variances", where="route", expected="variance = 'quoted', log-normal noise"
        )
    assert model.data.variance is not None
    exact = closed_form(model.data, model.prior, model.data.variance, drift_sd=model.drift_sd)
    n = model.data.n_channels
    root = np.linalg.cholesky(exact.covariance)
    noise = generator(seed, "closed-form").standard_normal((chains, draws, len(root)))
    values = exact.mean + noise @ root.T
    return Draws(
        values[..., :n],
        drift=values[..., n:] if model.drift_sd is not None else None,
        flux_mean=exact.flux_mean,
        flux_sd=exact.flux_sd,
        method="closed-form",
        log_evidence=exact.log_evidence,
    )


def gibbs(model: Model, *, seed: int, draws: int, chains: int, warmup: int, wanted: Any, progress: Progress) -> Draws:
    """Block Gibbs: B and G drawn jointly, then the variances; compiled, on sufficient statistics where possible."""
    if model.poisson:
        raise InputError("Poisson counts have no Gibbs sampler", where="route", expected="route = 'nuts'")
    if model.compressible and wanted is None:
        return _on_patterns(model, seed, draws, chains, warmup, progress, "gibbs")
    return _gibbs_on_cells(model, seed, draws, chains, warmup, wanted, progress)


def slice_(model: Model, *, seed: int, draws: int, chains: int, warmup: int, wanted: Any, progress: Progress) -> Draws:
    """Slice sampling of the collapsed density of log s by coordinates, with exact draws of B."""
    if not model.compressible:
        raise InputError(
            "slice sampling takes one unknown variance per instrument and log-normal noise",
            where="route",
            expected="route = 'gibbs'",
        )
    return _on_patterns(model, seed, draws, chains, warmup, progress, "slice")


def _on_patterns(model, seed, draws, chains, warmup, progress, kind) -> Draws:
    pattern, n = model.patterns, model.data.n_channels
    cells = pattern.per_channel().astype(float)
    precision, information = with_drift(model.prior, None)
    start = _starts(model, chains, seed)
    total = warmup + draws
    b, s = np.empty((chains, total, n)), np.empty((chains, total, n))
    width = 3.0 / np.sqrt(1.0 + 0.5 * cells)

    def block(chain: int, first: int, count: int, number: int) -> bool:
        key = integer_seed(seed, kind, chain, number)
        keep = b[chain, first : first + count], s[chain, first : first + count]
        shared = (cells, precision, information, model.variance.df, model.variance.beta)
        if kind == "gibbs":
            return pattern_samplers.gibbs_chain(*pattern.arrays, *shared, True, start[chain], count, key, *keep)  # type: ignore[call-arg]
        return pattern_samplers.slice_chain(*pattern.arrays[:6], *shared, width, start[chain], count, key, *keep)  # type: ignore[call-arg]

    _run_chains(chains, total, block, progress, "Block Gibbs" if kind == "gibbs" else "Slice sampling")
    return Draws(b[:, warmup:], s[:, warmup:], method=kind)


def _gibbs_on_cells(model, seed, draws, chains, warmup, wanted, progress) -> Draws:
    data, n = model.data, model.data.n_channels
    t = times_of(data, model.drift_sd is not None)
    precision, information = with_drift(model.prior, model.drift_sd)
    order, start = data.by_channel
    kind = {"quoted": cell_sampler.QUOTED, "unknown": cell_sampler.UNKNOWN, "quoted+excess": cell_sampler.EXCESS}[
        model.variance.kind
    ]
    v = np.zeros(data.n_cells) if data.variance is None else data.variance
    s = _starts(model, chains, seed)
    nu = model.nu if model.noise == "log-t" else 0.0
    xi = np.full((chains, data.n_cells), nu if nu > 0 else 1.0)
    rates = np.full((chains, max(1, len(model.walk.groups))), _starting_rate(model))
    columns = np.asarray([] if wanted is None else wanted, dtype=np.int64)
    areas, keep_s = np.empty((chains, draws, len(information))), np.empty((chains, draws, n))
    keep_rates, keep_g = np.empty((chains, draws, rates.shape[1])), np.empty((chains, draws, len(columns)))
    sums = np.zeros((chains, 3, data.n_columns))

    def block(chain: int, first: int, count: int, number: int) -> bool:
        # A block that straddles the end of the warm-up is run in its two parts.
        silent = min(max(warmup - first, 0), count)
        for part, (a, z) in enumerate(((0, silent), (silent, count))):
            if z == a:
                continue
            keep = slice(max(first + a - warmup, 0), max(first + z - warmup, 0))
            if not cell_sampler.gibbs_chain(
                data.indptr, data.row, data.column, order, start, data.log_rate, v, t, model.walk.gap, model.walk.group,
                kind, nu, model.stretch, model.variance.df, model.variance.beta, precision, information,
                not model.varying, s[chain], xi[chain], rates[chain], z - a, part == 1,
                integer_seed(seed, "gibbs", chain, number, part), areas[chain, keep], keep_s[chain, keep],
                keep_rates[chain, keep], columns, keep_g[chain, keep], *sums[chain],
            ):  # fmt: skip
                return False
        return True

    _run_chains(chains, warmup + draws, block, progress, "Block Gibbs")
    mean, square, own = sums.sum(axis=0) / (chains * draws)
    return Draws(
        areas[..., :n],
        keep_s if model.variance.unknown else None,
        drift=areas[..., n:] if model.drift_sd is not None else None,
        rates=keep_rates if model.varying else None,
        g=keep_g if wanted is not None else None,
        flux_mean=mean,
        flux_sd=np.sqrt(np.maximum(square - mean**2, 0) + own),
        method="gibbs",
    )


def _starting_rate(model: Model) -> float:
    if not model.varying:
        return 1.0
    data = model.data
    level = np.bincount(data.column, data.log_rate, data.n_columns) / np.diff(data.indptr)
    linked = model.walk.gap > 0
    steps = np.concatenate([[0.0], np.diff(level)])[linked]
    return float(max(np.median(steps**2 / model.walk.gap[linked]), 1e-8))


def _areas_of_variances(model: Model, s: Floats, seed: int) -> Floats:
    """Draw B from its Gaussian conditional for each draw of the variances (chain, draw, N)."""
    rng = generator(seed, "areas")
    b = np.empty_like(s)
    if model.compressible:
        p = model.patterns
        precision, information = with_drift(model.prior, None)
        for k in np.ndindex(s.shape[:2]):
            a, h = pattern_samplers.areas_given(p.offset, p.index, p.count, p.mean, s[k], precision, information)
            root = np.linalg.cholesky(a)
            b[k] = np.linalg.solve(root.T, np.linalg.solve(root, h) + rng.standard_normal(len(h)))
        return b
    from crosscal.concordance.elimination import eliminate, factor_columns

    data = model.data
    precision, information = with_drift(model.prior, None)
    links = np.zeros(data.n_columns)
    for k in np.ndindex(s.shape[:2]):
        variance = model.variance.cells(data, s[k])
        d, l = factor_columns(data.indptr, 1 / variance, links)
        z = data.log_rate + 0.5 * variance
        a, h, _ = eliminate(data.indptr, data.row, NO_TIMES, 1 / variance, z, d, l, precision, information)
        root = np.linalg.cholesky(a)
        b[k] = np.linalg.solve(root.T, np.linalg.solve(root, h) + rng.standard_normal(len(h)))
    return b


def _through_problem(model: Model, problem: Any, sampler: str, seed: int, progress: Progress, **options: Any) -> Draws:
    from crosscal.inference.registry import sample

    start = None
    if "s" in problem.names and problem.names == ("s",):
        start = {"s": starting_variances(model.data, model.variance)}
    posterior = sample(problem, sampler, seed=seed, progress=progress, start=start, **options)
    tree = posterior.tree["posterior"]
    found = {name: tree[name].values for name in tree.data_vars}
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
    problem = multinomial_problem(model) if model.poisson else collapsed_problem(model)
    return replace(
        _through_problem(model, problem, "laplace", seed, progress, draws=chains * draws, starts=2), method="map"
    )


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


ROUTES = Registry(
    "concordance route",
    {
        "closed-form": closed,
        "map": map_,
        "gibbs": gibbs,
        "slice": slice_,
        "nuts": nuts,
        "full-nuts": full_nuts,
    },
)


def choose(model: Model) -> str:
    """Return the route for ``auto``: the fastest exact one."""
    if model.noise == "gamma-poisson":
        return "full-nuts"
    if model.poisson:
        return "nuts"
    exact = model.noise == "log-normal" and not model.variance.unknown and not model.varying
    return "closed-form" if exact else "gibbs"


def run(
    model: Model,
    route: str = "auto",
    *,
    seed: int = 0,
    draws: int = 2000,
    warmup: int = 500,
    chains: int = 4,
    wanted: NDArray[np.int64] | None = None,
    progress: Progress = SILENT,
) -> Draws:
    """Sample a concordance problem by a named route.

    Parameters
    ----------
    wanted : int array, optional
        Columns whose log fluxes are kept as draws (block Gibbs only).

    Raises
    ------
    UnknownNameError
        If there is no such route.
    InputError
        If the route does not take this model; the sentence names one that does.
    FitError
        If the sampler's numerics fail.
    """
    name = choose(model) if route == "auto" else route
    route_of = ROUTES.get(name)
    if min(draws, chains) < 1 or warmup < 0:
        raise InputError(f"{chains} chains of {draws} draws", where="sampler", expected="positive numbers")
    options = {"seed": seed, "draws": draws, "chains": chains, "warmup": warmup, "wanted": wanted}
    return route_of(model, progress=progress, **options)
