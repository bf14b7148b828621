"""One call from a comparison to its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.algebra import AreaPosterior, closed_form, prior_weight
from crosscal.concordance.checks import Checks, run_checks
from crosscal.concordance.fluxes import flux_moments
from crosscal.concordance.graph import lonely_columns
from crosscal.concordance.model import Model, make_model
from crosscal.concordance.priors import Tau
from crosscal.concordance.result import Result
from crosscal.concordance.routes import Draws, run
from crosscal.concordance.types import Comparison
from crosscal.core.progress import SILENT, Progress
from crosscal.core.provenance import record

Floats = NDArray[np.float64]


def fit(
    data: Comparison,
    *,
    tau: Tau = 0.05,
    mean: float | Mapping[str, float] = 0.0,
    covariance: ArrayLike | None = None,
    variance: str | None = None,
    df: ArrayLike = 1.5,
    beta: ArrayLike | None = None,
    noise: str = "log-normal",
    nu: float = 4.0,
    variability: bool = False,
    drift: float | None = None,
    route: str = "auto",
    draws: int = 2000,
    warmup: int = 500,
    chains: int = 4,
    seed: int = 0,
    leave_one_out: bool | None = None,
    predictive: int = 200,
    progress: Progress = SILENT,
) -> Result:
    """Adjust the effective areas of N instruments from the sources they share.

    The model is y_ij = ln c_ij - ln T_ij = B_i + G_j - s_ij / 2 + e_ij with e_ij ~ N(0, s_ij), B ~ N(b, L), G flat;
    exp(B_i - b_i) multiplies the nominal area of instrument i.

    Parameters
    ----------
    tau : float, mapping or TauTable
        Prior fractional uncertainty of the areas; ``inf`` for none, 0 for a reference (see `make_prior`).
    mean : float or mapping
        b, the expected log areas relative to nominal.
    covariance : array (N, N), optional
        Full L in the order of ``data.channel_names``, for correlated bands (see `covariance_from_draws`).
    variance : "quoted", "unknown" or "quoted+excess", optional
        By default "quoted+excess" where errors are quoted, else "unknown".
    df, beta : float or array (N,)
        Prior InverseGamma(df, beta) of unknown or excess variances.
    noise : "log-normal", "log-t", "poisson" or "gamma-poisson"
    nu : float
        Degrees of freedom of log-t.
    variability : bool
        Sources vary as a random walk inside each campaign.
    drift : float, optional
        Prior standard deviation of a linear drift of each B per unit of time.
    route : str
        "auto", "closed-form", "map", "gibbs", "slice", "nuts" or "full-nuts".
    draws, warmup, chains : int
        Draws kept and discarded in each chain, and chains; where the route samples.
    leave_one_out : bool, optional
        Refit without each instrument; by default where there are at most 30 channels and 20000 cells.
    predictive : int
        Replicated data sets of the posterior predictive check; 0 to skip.

    Raises
    ------
    InputError
        If data, model and route do not fit together; the sentence says what would.

    Notes
    -----
    Chen et al. 2019 (JASA 114, 1018); Marshall et al. 2021 (AJ 162, 254).
    """
    model = make_model(
        data, tau=tau, mean=mean, covariance=covariance, variance=variance, df=df, beta=beta, noise=noise, nu=nu,
        variability=variability, drift=drift,
    )  # fmt: skip
    return solve(
        model, route=route, draws=draws, warmup=warmup, chains=chains, seed=seed, leave_one_out=leave_one_out,
        predictive=predictive, progress=progress,
    )  # fmt: skip


def solve(
    model: Model,
    *,
    route: str = "auto",
    draws: int = 2000,
    warmup: int = 500,
    chains: int = 4,
    seed: int = 0,
    leave_one_out: bool | None = None,
    predictive: int = 200,
    progress: Progress = SILENT,
) -> Result:
    """Sample a stated problem, reduce it and check it.

    ``route``, ``draws``, ``warmup``, ``chains``, ``leave_one_out``, ``predictive`` and errors are as in `fit`.
    """
    found = run(model, route, seed=seed, draws=draws, warmup=warmup, chains=chains, progress=progress)
    if found.flux_mean is None:
        with progress.stage("Concordance fluxes", total=1) as advance:
            flux_mean, flux_sd = flux_moments(model, found)
            advance(1)
    else:
        assert found.flux_sd is not None
        flux_mean, flux_sd = found.flux_mean, found.flux_sd
    weight, influence, typical = _influence(model, found)
    checks = run_checks(
        model, found, typical, seed=seed, leave_one_out=leave_one_out, predictive=predictive, progress=progress
    )
    return Result(
        model=model,
        posterior_draws=_posterior(model, found),
        flux_mean=flux_mean,
        flux_sd=flux_sd,
        prior_weight=weight,
        influence=influence,
        checks=checks,
        notes=_notes(model, checks),
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
    from crosscal.inference.diagnostics import convergence
    from crosscal.inference.posterior import Posterior

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
    return Posterior(
        posterior.tree,
        found.method,
        log_evidence=found.log_evidence,
        converged=good and found.converged,
        messages=tuple(dict.fromkeys((*found.messages, *messages))),
    )


def _influence(model: Model, found: Draws) -> tuple[Floats, Floats, AreaPosterior | None]:
    """Published W (N,), exact D averaged over draws (N, N), and the closed form at typical variances."""
    data, n = model.data, model.data.n_channels
    if model.poisson:
        covariance = np.cov(found.b.reshape(-1, n), rowvar=False).reshape(n, n)
        influence = covariance @ model.prior.precision
        total = np.bincount(data.row, data.counts, n)
        # ln of n counts has variance 1 / n, so the summed counts play the part of M / s.
        return prior_weight(model.prior.tau, np.ones(n), 1 / np.maximum(total, 1e-300)), influence, None
    if found.s is None:
        assert data.variance is not None
        cells = np.bincount(data.row, 1 / data.variance, n)
        exact = closed_form(data, model.prior, data.variance * _spread(model), link=_links(model, found))
        return prior_weight(model.prior.tau, np.ones(n), 1 / cells), exact.influence[:n, :n], exact
    s = found.s.reshape(-1, n)
    average = s.mean(axis=0)
    cells = model.variance.cells(data, average) * _spread(model)
    harmonic = data.per_channel / np.bincount(data.row, 1 / cells, n)
    weight = prior_weight(model.prior.tau, data.per_channel, harmonic)
    exact = closed_form(data, model.prior, cells, link=_links(model, found))
    if not model.compressible:
        return weight, exact.influence[:n, :n], exact
    return weight, _mean_influence(model, s), exact


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
    from crosscal.concordance.pattern_samplers import areas_given

    pattern, precision = model.patterns, model.prior.precision
    picks = s[:: max(1, len(s) // most)]
    total = np.zeros_like(precision)
    nothing = np.zeros(len(precision))
    for one in picks:
        a, _ = areas_given(pattern.offset, pattern.index, pattern.count, pattern.mean, one, precision, nothing)
        total += np.linalg.solve(np.tril(a) + np.tril(a, -1).T, precision)
    return total / len(picks)


def _remarks(model: Model, influence: Floats) -> tuple[str, ...]:
    """What is true of every comparison of this shape and good to know, one sentence each."""
    own = np.diag(influence)
    worst = int(np.argmax(own))
    sentence = (
        "The common factor of all areas in a group is known from the prior only; the exact prior influence D is "
        f"largest for {model.data.channel_names[worst]} ({own[worst]:.2f})."
    )
    return (sentence,)


def _notes(model: Model, checks: Checks) -> tuple[str, ...]:
    """What a user must know before trusting the areas, one sentence each."""
    data, notes = model.data, list(model.prior.notes)
    # Bands never share sources; groups beyond one per band mean that instruments are not compared at all.
    parts = int(model.components.max()) + 1
    if parts > len(data.bands):
        groups = [[data.channel_names[i] for i in np.flatnonzero(model.components == k)] for k in range(parts)]
        lonely = [g[0] for g in groups if len(g) == 1]
        listed = "; ".join(", ".join(g[:6]) + (", ..." if len(g) > 6 else "") for g in groups[:4])
        notes.append(
            f"The instruments form {parts} groups that share no source ({listed}{'; ...' if parts > 4 else ''}): "
            "factors of different groups are tied by the prior only."
        )
        if lonely:
            shown = ", ".join(lonely[:6])
            notes.append(f"The prior alone gives the areas of {shown}: no other instrument sees their sources.")
    alone = lonely_columns(data)
    if alone and not model.varying:
        notes.append(f"{alone} of {data.n_columns} sources are seen by one instrument only and carry no information.")
    return (*notes, *checks.warnings)
