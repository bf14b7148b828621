"""What to trust in an intercalibration, in numbers and sentences."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crosscal.core.display import words_html
from crosscal.lightcurves.automatic import better_kernel
from crosscal.lightcurves.honesty import ErrorFactor, error_factors
from crosscal.lightcurves.identifiability import Overlap, at_limits, overlap, prior_dominated
from crosscal.lightcurves.kernels.base import Kernel
from crosscal.lightcurves.misfit import Trend, season_trends, tail_sentences
from crosscal.lightcurves.sampling import Draws
from crosscal.lightcurves.ties import Ties, ties


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """Quality of the sampling and of the constraints.

    Attributes
    ----------
    route : str
        Sampler that gave the draws.
    effective_size : float
        Smallest bulk ESS.
    khat, rhat : float or None
        Pareto's k-hat (importance sampling) or the largest R-hat (NUTS).
    log_evidence, log_evidence_error : float or None
    inside : float
        Share of draws whose integrated shifts were inside the prior box.
    overlap : Overlap
        Which telescopes observed at the same times.
    ties : Ties
        How much of each telescope's factors the data of the others tell.
    limits : dict of str to str
        Parameters that pile up at a prior limit: "lower", "upper" or "both".
    unconstrained : tuple of str
        Parameters as wide as their prior.
    outliers : dict of str to int array
        Per file, the points whose leave-one-out residual exceeds 5 sigma.
    warnings : tuple of str
    error_factors : tuple of ErrorFactor
        The factor on the errors of each telescope that the data ask for, where errors are used as they are.
    trends : tuple of Trend
        Offsets of each telescope from season to season.

    Examples
    --------
    >>> print(result.diagnostics)  # doctest: +SKIP
    >>> result.diagnostics.khat, result.diagnostics.limits  # doctest: +SKIP
    """

    route: str
    effective_size: float
    khat: float | None
    rhat: float | None
    log_evidence: float | None
    log_evidence_error: float | None
    inside: float
    overlap: Overlap
    limits: dict[str, str]
    unconstrained: tuple[str, ...]
    ties: Ties
    outliers: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error_factors: tuple[ErrorFactor, ...] = ()
    trends: tuple[Trend, ...] = ()

    _repr_html_ = words_html

    def __str__(self) -> str:
        head = f"sampled by {self.route}, smallest ESS {self.effective_size:.0f}"
        if self.khat is not None:
            head += f", k-hat {self.khat:.2f}"
        if self.rhat is not None:
            head += f", R-hat {self.rhat:.3f}"
        if self.log_evidence is not None:
            head += f", log evidence {self.log_evidence:.2f} +/- {self.log_evidence_error or 0:.2f}"
        if self.inside < 0.999:
            head += f", {100 * self.inside:.0f} % of the shift draws inside their prior limits"
        return "\n".join([head + ".", *self.warnings])


def diagnose(draws: Draws, z: dict[str, NDArray[np.float64]], outlier: float) -> Diagnostics:
    """Collect diagnostics of finished draws; ``z`` are leave-one-out residuals by file, outliers beyond ``outlier``."""
    from crosscal.inference.diagnostics import effective_sizes

    model, posterior = draws.model, draws.posterior
    lay = model.layout
    khat = posterior.khat
    rhat = None
    if posterior.method in ("nuts", "gibbs"):
        values = effective_sizes(posterior)["rhat"]
        rhat = float(np.nanmax(values)) if np.isfinite(values).any() else None
    process = model.settings.process
    tau = np.exp(np.median(draws.vectors[:, lay.kernel[0, process.names.index(process.timescale)]]))
    graph = overlap(model.curves, process.near * tau)
    middle = draws.vectors.mean(axis=0)
    tied, factors = ties(model, middle), error_factors(model, middle)
    outliers = {name: np.flatnonzero(np.abs(values) > outlier) for name, values in z.items()}
    trends = season_trends(model, middle)
    misfits = [*filter(None, (process.caution, *(trend.sentence for trend in trends)))]
    if model.settings.errors == "gaussian":
        advice = "errors = 'student-t' or remove_outliers" if isinstance(process, Kernel) else "remove_outliers"
        for curve in model.curves.files:
            misfits += tail_sentences(curve.codes, curve.code, z[curve.name], advice)
        misfits += better_kernel(model, middle)
    limits = {lay.labels[p]: side for p, side in at_limits(lay, draws.vectors).items()}
    wide = tuple(lay.labels[p] for p in prior_dominated(lay, draws.vectors))
    return Diagnostics(
        posterior.method,
        draws.effective_size,
        khat,
        rhat,
        posterior.log_evidence,
        posterior.log_evidence_error,
        draws.inside,
        graph,
        limits,
        wide,
        tied,
        outliers,
        _sentences(draws, tied, limits, wide, outliers, [*(f.sentence for f in factors if f.sentence), *misfits]),
        factors,
        trends,
    )


def _sentences(
    draws: Draws,
    tied: Ties,
    limits: dict[str, str],
    wide: tuple[str, ...],
    outliers: dict[str, NDArray[np.int64]],
    misfits: list[str],
) -> tuple[str, ...]:
    said = list(draws.posterior.messages)
    said += tied.sentences()
    said += misfits
    for label, side in limits.items():
        if label.startswith("log_jitter") and side == "lower":
            continue  # no jitter is needed
        which = "both prior limits" if side == "both" else f"the {side} prior limit"
        if label.startswith("log_width"):
            cause = "shows no change" if side == "upper" else "is sampled too sparsely"
            said.append(f"{label} reaches {which}: the light curve {cause} for a running mean; use another kernel.")
        elif label.startswith("log_tau"):
            cause = {"upper": "short", "lower": "sparse"}.get(side, "short and sparse")
            said.append(f"{label} reaches {which}: the light curve is too {cause} for its time scale.")
        else:
            said.append(f"{label} reaches {which}: widen its range, or fix it.")
    told = [label for label in wide if label not in limits and not label.startswith(("log_tau", "log_width"))]
    if told:
        said.append(f"The data hardly constrain {', '.join(told)}: the posterior is as wide as the prior.")
    for name, points in outliers.items():
        if len(points):
            said.append(f"{len(points)} points of {name} have leave-one-out residuals above 5 sigma: check them.")
    return tuple(said)
