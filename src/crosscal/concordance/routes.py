"""The ways to the posterior. They agree; they differ in what they cost and which models they take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance import cell_sampler, pattern_samplers, sparse_sampler
from crosscal.concordance.algebra import closed_form, times_of, with_drift
from crosscal.concordance.chains import Draws, degenerate_pair, latent_state, run_chains, starting_points
from crosscal.concordance.density_routes import full_nuts, map_, nuts
from crosscal.concordance.expansion import CHUNK, explore_sums, sums_of
from crosscal.concordance.flux_route import on_fluxes
from crosscal.concordance.model import Model
from crosscal.concordance.settings import Sampling
from crosscal.core.errors import FitError, InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator, integer_seed
from crosscal.core.registry import Registry

Floats = NDArray[np.float64]
#: From so many cells with quoted errors on, the likelihood is expanded.
MANY_CELLS = 200_000
#: Slice sampling is chosen up to so many channels and products of one collapsed evaluation.
MOST_SLICED, MOST_SLICE_WORK = 12, 3000


def closed(model: Model, *, seed: int, draws: int, chains: int, warmup: int, wanted: Any, progress: Progress) -> Draws:
    """Exact Gaussian posterior for known variances; the draws are independent."""
    if model.noise != "log-normal" or model.variance.unknown or model.varying or model.prior.latent:
        raise InputError(
            "the closed form needs known variances",
            where="route",
            expected="variance = 'quoted', log-normal noise, a fixed tau and normal areas",
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
    if model.in_flux:
        return on_fluxes(model, seed, draws, chains, warmup, wanted, progress)
    if model.compressible and wanted is None:
        kind = "sparse" if sparse(model) else "gibbs"
        return _on_patterns(model, seed, draws, chains, warmup, progress, kind)
    return _gibbs_on_cells(model, seed, draws, chains, warmup, wanted, progress)


def slice_(model: Model, *, seed: int, draws: int, chains: int, warmup: int, wanted: Any, progress: Progress) -> Draws:
    """Slice sampling of the collapsed density of log s by coordinates, with exact draws of B."""
    if not model.compressible or model.prior.latent:
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
    start = starting_points(model, chains, seed)
    total = warmup + draws
    b, s = np.empty((chains, total, n)), np.empty((chains, total, n))
    width = 3.0 / np.sqrt(1.0 + 0.5 * cells)

    latent = [latent_state(model, precision, information) for _ in range(chains)]
    half, df, scale = model.data.half, model.variance.df, model.variance.scale
    cells_of = (model.data.indptr, model.data.row, model.data.log_rate)
    cell_arrays = (*cells_of, *sparse_sampler.by_channel(model.data)) if kind == "sparse" else ()

    def block(chain: int, first: int, count: int, number: int) -> bool:
        key = integer_seed(seed, kind, chain, number)
        keep = b[chain, first : first + count], s[chain, first : first + count]
        t, h, beta, state, fixed = latent[chain]
        if kind == "gibbs":
            return pattern_samplers.gibbs_chain(
                *pattern.arrays, half, cells, t, h, df, beta, scale, *fixed, start[chain], state, count, key, *keep
            )  # type: ignore[call-arg]
        if kind == "sparse":
            return sparse_sampler.sparse_chain(
                *cell_arrays, half, t, h, df, beta, scale, width, *fixed, start[chain], state, count, key, *keep
            )  # type: ignore[call-arg]
        return pattern_samplers.slice_chain(
            *pattern.arrays[:6], half, cells, t, h, df, beta, scale, width, start[chain], count, key, *keep
        )  # type: ignore[call-arg]

    run_chains(chains, total, block, progress, "Slice sampling" if kind == "slice" else "Block Gibbs")
    return Draws(b[:, warmup:], s[:, warmup:], method="slice" if kind == "slice" else "gibbs")


def _gibbs_on_cells(model, seed, draws, chains, warmup, wanted, progress) -> Draws:
    data, n = model.data, model.data.n_channels
    t = times_of(data, model.drift_sd is not None)
    precision, information = with_drift(model.prior, model.drift_sd)
    order, start = data.by_channel
    kind = {"quoted": cell_sampler.QUOTED, "unknown": cell_sampler.UNKNOWN, "quoted+excess": cell_sampler.EXCESS}[
        model.variance.kind
    ]
    v = np.zeros(data.n_cells) if data.variance is None else data.variance
    s = starting_points(model, chains, seed)
    nu = model.nu if model.noise == "log-t" else 0.0
    xi = np.full((chains, data.n_cells), nu if nu > 0 else 1.0)
    rates = np.full((chains, max(1, len(model.walk.groups))), _starting_rate(model))
    latent = [latent_state(model, precision, information) for _ in range(chains)]
    columns = np.asarray([] if wanted is None else wanted, dtype=np.int64)
    areas, keep_s = np.empty((chains, draws, len(information))), np.empty((chains, draws, n))
    keep_rates, keep_g = np.empty((chains, draws, rates.shape[1])), np.empty((chains, draws, len(columns)))
    sums = np.zeros((chains, 3, data.n_columns))

    def block(chain: int, first: int, count: int, number: int) -> bool:
        # A block that straddles the end of the warm-up is run in its two parts.
        silent = min(max(warmup - first, 0), count)
        prior, h, beta, state, fixed = latent[chain]
        for part, (a, z) in enumerate(((0, silent), (silent, count))):
            if z == a:
                continue
            keep = slice(max(first + a - warmup, 0), max(first + z - warmup, 0))
            if not cell_sampler.gibbs_chain(  # type: ignore[call-arg]
                data.indptr, data.row, data.column, order, start, data.log_rate, v, t, model.walk.gap, model.walk.group,
                kind, nu, data.half, model.stretch, model.variance.df, beta, model.variance.scale, prior, h, *fixed,
                not model.varying, s[chain], xi[chain], rates[chain], state, z - a, part == 1,
                integer_seed(seed, "gibbs", chain, number, part), areas[chain, keep], keep_s[chain, keep],
                keep_rates[chain, keep], columns, keep_g[chain, keep], *sums[chain],
            ):  # fmt: skip
                return False
        return True

    run_chains(chains, warmup + draws, block, progress, "Block Gibbs")
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


def expansion(
    model: Model, *, seed: int, draws: int, chains: int, warmup: int, wanted: Any, progress: Progress
) -> Draws:
    """Many sources: the likelihood with fluxes integrated out, expanded about its maximum and checked at draws."""
    if not _expandable(model):
        raise InputError(
            "the expansion takes log-normal noise, normal areas of a known tau, no drift and no variability",
            where="route",
            expected="route = 'gibbs'",
        )
    data, kind = model.data, model.variance.kind
    # A pilot of the first columns takes most of Newton's steps.
    pilot = data if data.n_columns <= CHUNK else data.take(np.arange(data.indptr[CHUNK // 4]))
    whole = sums_of(data, kind)
    seen = whole if pilot is data or pilot.n_channels < data.n_channels else sums_of(pilot, kind)
    start = np.where(model.prior.flat, 0.0, model.prior.mean), starting_points(model, 1, seed)[0]
    return explore_sums(whole, seen, model.prior, model.variance, start, seed, draws, chains, progress)


def _expandable(model: Model) -> bool:
    plain = model.noise == "log-normal" and not model.varying and not model.prior.latent
    return plain and model.drift_sd is None


def _starting_rate(model: Model) -> float:
    if not model.varying:
        return 1.0
    data = model.data
    level = np.bincount(data.column, data.log_rate, data.n_columns) / np.diff(data.indptr)
    linked = model.walk.gap > 0
    steps = np.concatenate([[0.0], np.diff(level)])[linked]
    return float(max(np.median(steps**2 / model.walk.gap[linked]), 1e-8))


ROUTES = Registry(
    "concordance route",
    {
        "closed-form": closed,
        "expansion": expansion,
        "map": map_,
        "gibbs": gibbs,
        "slice": slice_,
        "nuts": nuts,
        "full-nuts": full_nuts,
    },
)


def half_t_of_few(model: Model) -> bool:
    """Whether one of few instruments may be nearly exact, by its half-t prior: there Gibbs sweeps mix slowly."""
    small = model.data.n_channels <= MOST_SLICED and model.compressible and not model.prior.latent
    return bool(small and np.any(model.variance.scale > 0) and model.patterns.work <= MOST_SLICE_WORK)


def choose(model: Model) -> str:
    """Return the route for ``auto``: the fastest exact one."""
    if model.noise == "gamma-poisson":
        return "full-nuts"
    if model.poisson:
        return "nuts"
    if half_t_of_few(model):
        return "slice"
    known = model.noise == "log-normal" and not model.variance.unknown
    exact = known and not model.varying and not model.prior.latent
    if exact:
        return "closed-form"
    return "expansion" if _expandable(model) and not model.compressible and _many(model) else "gibbs"


def sparse(model: Model) -> bool:
    """Whether hardly any two columns are seen by the same channels, so that patterns summarise nothing."""
    return 2 * model.patterns.size > model.data.n_columns and not model.data.repeated


def _many(model: Model) -> bool:
    """Whether sources are so many that the likelihood is quadratic where the posterior lies."""
    return model.data.n_cells >= MANY_CELLS and int(model.data.per_channel.min()) >= MANY_CELLS // 20


def sample(
    model: Model,
    sampling: Sampling | None = None,
    *,
    seed: int = 0,
    wanted: NDArray[np.int64] | None = None,
    progress: Progress = SILENT,
) -> Draws:
    """Sample a concordance problem.

    Parameters
    ----------
    sampling : Sampling, optional
        Route and sizes.
    wanted : int array, optional
        Columns whose log fluxes are kept as draws (block Gibbs only).

    Raises
    ------
    UnknownNameError
        If there is no such route.
    InputError
        If the route does not take this model; the sentence names one that does.
    FitError
        If the sampler's numerics fail; the sentence names two instruments whose fluxes have one and the same ratio.
    """
    plan = sampling or Sampling()
    chosen = choose(model) if plan.route == "auto" else plan.route
    draws, warmup = plan.sizes(model.noise, model.data.n_channels)
    options: dict[str, Any] = {"seed": seed, "draws": draws, "chains": plan.chains, "warmup": warmup, "wanted": wanted}
    if plan.route == "auto" and chosen == "expansion":
        try:
            found = expansion(model, progress=progress, **options)
        except FitError:
            found = None
        # Where the expansion does not hold, the likelihood itself is sampled.
        return found if found is not None and found.converged else gibbs(model, progress=progress, **options)
    try:
        return ROUTES.get(chosen)(model, progress=progress, **options)
    except FitError as error:
        reason = degenerate_pair(model)
        if reason is None:
            raise
        raise FitError(reason) from error
