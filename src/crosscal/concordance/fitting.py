"""One call from a comparison to its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.algebra import AreaPosterior, closed_form, prior_weight
from crosscal.concordance.chains import Draws
from crosscal.concordance.examination import ModelTests, examine
from crosscal.concordance.flux_moments import flux_moments
from crosscal.concordance.graph import lonely_columns
from crosscal.concordance.model import Model, make_model
from crosscal.concordance.pattern_samplers import areas_given
from crosscal.concordance.priors import Tau, make_prior
from crosscal.concordance.result import ConcordanceFit
from crosscal.concordance.routes import sample
from crosscal.concordance.settings import Checks, Noise, NoiseKind, Route, Sampling, Sources, VarianceKind
from crosscal.concordance.types import Comparison
from crosscal.core.keywords import keywords
from crosscal.core.progress import SILENT, Progress
from crosscal.core.provenance import record
from crosscal.inference.diagnostics import convergence
from crosscal.inference.posterior import Posterior

Floats = NDArray[np.float64]


@keywords
def fit(
    data: Comparison,
    *,
    tau: Tau | None = None,
    mean: float | Mapping[str, float] = 0.0,
    covariance: ArrayLike | None = None,
    areas: Literal["normal", "t"] = "normal",
    noise: NoiseKind | None = Noise.kind,
    variance: VarianceKind | None = Noise.variance,
    df: ArrayLike = Noise.df,
    beta: ArrayLike | None = Noise.beta,
    scatter: float | None = Noise.scatter,
    nu: float = Noise.nu,
    variability: bool = Sources.variability,
    drift: float | None = Sources.drift,
    route: Route = Sampling.route,
    draws: int | None = Sampling.draws,
    warmup: int | None = Sampling.warmup,
    chains: int = Sampling.chains,
    leave_one_out: bool | None = Checks.leave_one_out,
    predictive: int = Checks.predictive,
    seed: int = 0,
    progress: Progress = SILENT,
) -> ConcordanceFit:
    """Adjust the effective areas of N instruments from the sources they share.

    The model is y_ij = ln c_ij - ln T_ij = B_i + G_j - s_ij / 2 + e_ij with e_ij ~ N(0, s_ij), B ~ N(b, L), G flat;
    exp(B_i - b_i) multiplies the nominal area of instrument i.

    Parameters
    ----------
    tau : float, mapping, TauTable or "estimate"
        Prior fractional uncertainty of the areas, 0.05 by default; ``inf`` for none, 0 for a reference (see
        `make_prior`). In the unit of the values for additive data.
    mean : float or mapping
        b, the expected log areas relative to nominal.
    covariance : array (N, N), optional
        Full L in the order of ``data.channel_names``, for correlated bands (see `covariance_from_draws`).
    areas : "normal" or "t"
        "t" lets single instruments be far off their prior.
    noise : "log-normal", "gaussian-flux", "log-t", "poisson" or "gamma-poisson", optional
        See `Noise`, also for ``variance``, ``df``, ``beta``, ``scatter`` and ``nu``; df and beta may differ between
        channels (N,).
    variability, drift
        See `Sources`.
    route, draws, warmup, chains
        See `Sampling`.
    leave_one_out, predictive
        See `Checks`.

    Raises
    ------
    InputError
        If data, model and route do not fit together; the sentence says what would.

    Notes
    -----
    Chen et al. 2019 (JASA 114, 1018); Marshall et al. 2021 (AJ 162, 254).

    Examples
    --------
    >>> result = concordance.fit(data, tau=0.05)  # doctest: +SKIP
    >>> result = concordance.fit(data, tau={"pn": 0.03, "MOS1": 0.05}, noise="log-t")  # doctest: +SKIP
    """
    model = make_model(
        data,
        make_prior(data, tau, mean=mean, covariance=covariance, areas=areas),
        Noise(kind=noise, variance=variance, scatter=scatter, nu=nu),
        Sources(variability=variability, drift=drift),
        df=df,
        beta=beta,
    )
    found = explore(model, Sampling(route=route, draws=draws, warmup=warmup, chains=chains), seed, progress)
    checks = Checks(leave_one_out=leave_one_out, predictive=predictive)
    return conclude(model, found, conduct_tests(model, found, checks, seed, progress), seed)


def explore(model: Model, sampling: Sampling, seed: int = 0, progress: Progress = SILENT) -> Draws:
    """Sample a stated problem, with the moments of its log fluxes."""
    found = sample(model, sampling, seed=seed, progress=progress)
    if found.flux_mean is not None:
        return found
    with progress.stage("Concordance fluxes", total=1) as advance:
        flux_mean, flux_sd = flux_moments(model, found)
        advance(1)
    return replace(found, flux_mean=flux_mean, flux_sd=flux_sd)


def conduct_tests(model: Model, found: Draws, checks: Checks, seed: int, progress: Progress = SILENT) -> ModelTests:
    """Test a fitted model against its data (see `examination`)."""
    return examine(model, found, _typical(model, found), checks, seed=seed, progress=progress)


def conclude(model: Model, found: Draws, tests: ModelTests, seed: int = 0) -> ConcordanceFit:
    """Put draws and tests together."""
    weight, influence = _influence(model, found)
    assert found.flux_mean is not None
    assert found.flux_sd is not None
    return ConcordanceFit(
        model=model,
        posterior_draws=_posterior(model, found),
        flux_mean=found.flux_mean,
        flux_sd=found.flux_sd,
        prior_weight=weight,
        influence=influence,
        tests=tests,
        notes=_notes(model, tests),
        remarks=_remarks(model, influence),
        provenance=record(
            config={
                "part": "concordance",
                "data": data_name(model),
                "noise": model.noise,
                "variance": model.variance.kind,
                "route": found.method,
                "sources": model.data.n_columns,
            },
            seed=seed,
        ),
    )


def data_name(model: Model) -> str:
    """Name of the data for provenance: of a file its name without directories."""
    return model.data.label.rsplit("/", 1)[-1]


def _posterior(model: Model, found: Draws) -> Any:
    arrays = {"B": found.b}
    if found.s is not None:
        arrays["sigma"] = np.sqrt(found.s)
    if found.drift is not None:
        arrays["drift"] = found.drift
    if found.rates is not None:
        arrays["variability"] = np.sqrt(found.rates)
    units = {}
    if model.data.time_unit:
        units = {"drift": f"1 / {model.data.time_unit}", "variability": f"1 / {model.data.time_unit}**0.5"}
    posterior = Posterior.from_draws(
        arrays,
        method=found.method,
        dims={name: dims for name, dims in model.dims.items() if name in arrays},
        coords=model.coords,
        units=units,
        log_evidence=found.log_evidence,
    )
    good, messages = convergence(posterior) if found.method not in ("closed-form", "map") else (True, ())
    return replace(
        posterior,
        converged=good and found.converged,
        messages=tuple(dict.fromkeys((*found.messages, *messages))),
    )


def _typical(model: Model, found: Draws) -> AreaPosterior | None:
    """The closed form at typical variances; None where the likelihood has no variances of ln flux."""
    data, n = model.data, model.data.n_channels
    if model.poisson or model.in_flux:
        return None
    if found.s is None:
        assert data.variance is not None
        cells = data.variance
    elif model.compressible:
        return _from_patterns(model, found.s.reshape(-1, n).mean(axis=0))
    else:
        cells = model.variance.cells(data, found.s.reshape(-1, n).mean(axis=0))
    return closed_form(data, model.prior, cells * _spread(model), link=_links(model, found), fluxes=False)


def _from_patterns(model: Model, s: Floats) -> AreaPosterior:
    """The closed form at variances ``s`` (N,) from sufficient statistics, without evidence and fluxes."""
    pattern, prior = model.patterns, model.prior
    a, h = areas_given(
        pattern.offset, pattern.index, pattern.count, pattern.mean, model.data.half, s, prior.precision,
        prior.precision @ np.where(prior.flat, 0.0, prior.mean),
    )  # fmt: skip
    precision = np.tril(a) + np.tril(a, -1).T
    covariance = np.linalg.inv(precision)
    covariance = 0.5 * (covariance + covariance.T)
    return AreaPosterior(covariance @ h, covariance, precision, prior.precision, np.nan, np.empty(0), np.empty(0))


def _influence(model: Model, found: Draws) -> tuple[Floats, Floats]:
    """Published W (N,), and the exact D averaged over draws (N, N)."""
    data, n = model.data, model.data.n_channels
    exact = None if model.compressible else _typical(model, found)
    if model.compressible:
        assert found.s is not None
        influence = _mean_influence(model, found.s.reshape(-1, n))
    elif exact is not None:
        influence = exact.influence[:n, :n]
    else:
        influence = np.cov(found.b.reshape(-1, n), rowvar=False).reshape(n, n) @ model.prior.precision
    if model.in_flux:
        information = _flux_information(model, found)
    elif model.poisson:
        # ln of n counts has variance 1 / n, so the summed counts play the part of M / s.
        information = np.maximum(np.bincount(data.row, data.counts, n), 1e-300)
    elif found.s is None:
        assert data.variance is not None
        information = np.bincount(data.row, 1 / data.variance, n)
    else:
        cells = model.variance.cells(data, found.s.reshape(-1, n).mean(axis=0)) * _spread(model)
        information = np.bincount(data.row, 1 / cells, n)
    return prior_weight(model.prior.tau, np.ones(n), 1 / information), influence


def _flux_information(model: Model, found: Draws) -> Floats:
    """Information on each ln area from fluxes with Gaussian errors, the fluxes of the sources taken as known: (N,)."""
    data, n = model.data, model.data.n_channels
    assert data.flux_low is not None
    assert found.flux_mean is not None
    mu = np.exp(found.b.reshape(-1, n).mean(axis=0)[data.row] + found.flux_mean[data.column])
    s = 0.0 if found.s is None else found.s.reshape(-1, n).mean(axis=0)[data.row]
    measured = 1.0 if data.limit is None else data.limit == 0
    return np.maximum(np.bincount(data.row, measured * mu**2 / (data.flux_low**2 + s * mu**2), n), 1e-300)


def _spread(model: Model) -> float:
    """Typical variance of a log-t error over sigma^2, 1 / xi at the median weight; 1 for log-normal noise."""
    if model.noise != "log-t":
        return 1.0
    from scipy.stats import chi2

    return model.stretch / float(chi2.median(model.nu))


def _links(model: Model, found: Draws) -> Floats | None:
    if found.rates is None:
        return None
    return model.walk.links(found.rates.reshape(-1, found.rates.shape[-1]).mean(axis=0))


def _mean_influence(model: Model, s: Floats, most: int = 1000) -> Floats:
    """D = S_B^-1 T averaged over draws of the variances ``s`` (n_draws, N)."""
    from scipy.linalg.lapack import dpotrf, dpotri

    pattern, precision, n = model.patterns, model.prior.precision, len(model.prior.precision)
    # Each draw costs a factorisation: fewer of large problems, whose influence hardly varies over draws.
    most = int(min(most, max(20, 2e10 / n**3)))
    picks = s[:: max(1, len(s) // most)]
    total, nothing = np.zeros_like(precision), np.zeros(n)
    for one in picks:
        a, _ = areas_given(
            pattern.offset, pattern.index, pattern.count, pattern.mean, model.data.half, one, precision, nothing
        )
        root, failed = dpotrf(a, lower=1)
        total += np.tril(dpotri(root, lower=1)[0]) if not failed else np.tril(np.linalg.inv(a + np.tril(a, -1).T))
    return (total + np.tril(total, -1).T) @ precision / len(picks)


def _remarks(model: Model, influence: Floats) -> tuple[str, ...]:
    """What is true of every comparison of this shape and good to know, one sentence each."""
    own = np.where([name in model.data.references for name, _ in model.data.channels], -1.0, np.diag(influence))
    worst = int(np.argmax(own))
    known = model.data.references
    start = "The common factor" if not known else "If no flux is known, the common factor"
    sentence = (
        f"{start} of all areas in a group is constrained by the prior only; the exact prior influence D is "
        f"largest for {model.data.channel_names[worst]} ({own[worst]:.2f})."
    )
    return (*model.remarks, sentence)


def _notes(model: Model, tests: ModelTests) -> tuple[str, ...]:
    """What a user must know before trusting the areas, one sentence each."""
    data, notes = model.data, list(model.prior.notes)
    # Bands never share sources; groups beyond one per band mean that instruments are not compared at all.
    parts = int(model.components.max()) + 1
    if parts > len(data.bands):
        groups = [[data.channel_names[i] for i in np.flatnonzero(model.components == k)] for k in range(parts)]
        lonely = [g[0] for g in groups if len(g) == 1]
        listed = "; ".join(", ".join(g[:6]) + (", ..." if len(g) > 6 else "") for g in groups[:4])
        notes.append(
            f"The instruments form {parts} groups without common sources ({listed}{'; ...' if parts > 4 else ''}): "
            "only the prior relates the factors of different groups."
        )
        if lonely:
            shown = ", ".join(lonely[:6])
            notes.append(f"The areas of {shown} come from the prior only: no other instrument observed their sources.")
    alone = lonely_columns(data)
    if alone and not model.varying:
        notes.append(
            f"{alone} of {data.n_columns} sources were observed by only one instrument and carry no information."
        )
    return (*notes, *tests.warnings)
