"""Choices that the data make: the kernel by evidence, the model of the errors by leave-one-out prediction.

A model of the errors is scored by the sum over points of the log density of the measured flux, predicted from all
other points at the mode of the posterior (Vehtari, Gelman & Gabry 2017, Stat. Comput. 27, 1413). Under Student-t errors
the variance of a point is a scale mixture, over which its predicted density is averaged; the mode is found by
expectation and maximisation over the mixture (Dempster, Laird & Rubin 1977).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from crosscal.core.errors import FitError, InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.lightcurves.density import Density
from crosscal.lightcurves.honesty import error_factors
from crosscal.lightcurves.kernels.base import Kernel
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.normalise import Normalisation
from crosscal.lightcurves.sampling import mode_in_scores, mode_of
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.types import LightCurves

Floats = NDArray[np.float64]

#: Kernels among which "auto" chooses; the first one where no other is better by `CLEAR`.
CANDIDATES = ("drw", "matern32", "matern52", "sho")
#: Difference of log evidence, and of log predictive density, that decides.
CLEAR = 3.0
#: The kernel against which the default is checked, up to so many points, and the gain in log density that is told.
RIVAL, MOST_POINTS, MUCH = "matern32", 5_000, 5.0
#: Rounds of expectation and maximisation for Student-t errors.
_ROUNDS = 4
#: Nodes of the latent precision of Student-t errors.
_NODES = np.geomspace(1e-3, 20.0, 60)


@dataclass(frozen=True)
class Chosen:
    """Settings without "auto", and a sentence for each choice that says why."""

    settings: Settings
    sentences: tuple[str, ...] = ()


def choose(
    curves: LightCurves,
    settings: Settings,
    *,
    normalisation: Normalisation | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Chosen:
    """Replace every "auto" of the settings by what the data choose."""
    if not settings.automatic:
        return Chosen(settings)
    with progress.stage("Choosing the model", total=1) as advance:
        chosen, said = settings, []
        if settings.kernel == "auto":
            chosen, sentence = _kernel(curves, settings, normalisation, seed)
            said.append(sentence)
        if chosen.automatic:
            chosen, sentence = _errors(curves, chosen, normalisation, seed)
            said.append(sentence)
        advance(1)
    return Chosen(chosen, tuple(said))


def _kernel(
    curves: LightCurves, settings: Settings, normalisation: Normalisation | None, seed: int
) -> tuple[Settings, str]:
    """Choose the kernel by the Laplace approximation of its evidence, systematic errors free where they may be."""
    open_errors = replace(
        settings,
        errors="gaussian" if settings.errors == "auto" else settings.errors,
        systematic_error=bool(settings.systematic_error),
    )
    evidence = {name: laplace_evidence(curves, open_errors, name, normalisation, seed) for name in CANDIDATES}
    first = CANDIDATES[0]
    best = max(evidence, key=lambda name: evidence[name])
    chosen = best if evidence[best] > evidence[first] + CLEAR else first
    rest = ", ".join(f"{name} {evidence[name] - evidence[chosen]:+.1f}" for name in CANDIDATES if name != chosen)
    return replace(settings, kernel=chosen), f"kernel = {chosen!r} was chosen by log evidence; the others: {rest}."


def laplace_evidence(
    curves: LightCurves,
    settings: Settings,
    kernel: str | Kernel,
    normalisation: Normalisation | None,
    seed: int = 0,
) -> float:
    """Log evidence of a kernel by the Laplace approximation at the mode."""
    model = Model(curves, replace(settings, kernel=kernel), normalisation=normalisation)
    return mode_in_scores(Density(model), seed, 1)[1].log_evidence


def better_kernel(model: Model, x: Floats) -> list[str]:
    """Say whether a smoother process, with as many parameters, describes the source much better than the default.

    Its highest posterior density is compared with that of the model at its full vector ``x``, the posterior mean.
    """
    if model.settings.kernel != CANDIDATES[0] or len(model.curves) > MOST_POINTS:
        return []
    smoother = Model(
        model.curves, replace(model.settings, kernel=RIVAL), normalisation=model.norm, marginal=model.marginal
    )
    here, there = Density(model), Density(smoother)
    start = here.unconstrain(x[here.places])
    try:
        gain = there.highest([start])[1] - float(here(start[None])[0])
    except FitError:
        return []
    if gain < MUCH:
        return []
    told = (
        f"The source varies more smoothly than a damped random walk (log density {gain:.1f} higher with kernel = "
        f"{RIVAL!r}): intervals may be too narrow; try kernel = 'auto'."
    )
    return [told]


def _errors(
    curves: LightCurves, settings: Settings, normalisation: Normalisation | None, seed: int
) -> tuple[Settings, str]:
    """Choose among errors as given, systematic errors and Student-t errors: the simplest that predicts as well."""
    both = ("gaussian", "student-t") if isinstance(settings.process, Kernel) else ("gaussian",)
    kinds: Any = both if settings.errors == "auto" else (settings.errors,)
    extra: Any = (False, True) if settings.systematic_error == "auto" else (settings.systematic_error,)
    candidates = [replace(settings, errors=kind, systematic_error=free) for kind in kinds for free in extra]
    found = [predictive_scores(Model(curves, one, normalisation=normalisation), seed) for one in candidates]
    scores = [score for score, _ in found]
    total = [float(score.sum()) for score in scores]
    chosen = next(i for i, value in enumerate(total) if value > max(total) - CLEAR)
    what = _named(candidates[chosen])
    if len(candidates) == 1:
        return candidates[0], what
    if chosen > 0:
        gains = zip(curves.codes, scores[chosen] - scores[0], strict=True)
        told = ", ".join(f"{code} {gain:+.1f}" for code, gain in gains if abs(gain) >= 0.05)
        gain = total[chosen] - total[0]
        return candidates[
            chosen
        ], f"{what} was chosen: the log density of left-out points rises by {gain:.1f} ({told})."
    # Where the source varies more between points than the errors say, prediction is blind to errors; the likelihood
    # of a factor on them is not.
    small = error_factors(Model(curves, candidates[0], normalisation=normalisation), found[0][1])
    told = ", ".join(f"{one.telescope} {one.factor:.2f} +/- {100 * one.sd_ln:.0f} %" for one in small if one.too_small)
    if told and (wider := next((c for c in candidates if c.systematic_error), None)) is not None:
        return wider, f"{_named(wider)} was chosen: the data favour larger errors, by a factor of {told}."
    rest = ", ".join(f"{_named(c)} {t - total[0]:+.1f}" for c, t in zip(candidates[1:], total[1:], strict=True))
    return candidates[0], f"{what} was kept: no other choice clearly improves the leave-one-out prediction ({rest})."


def _named(settings: Settings) -> str:
    if settings.errors == "student-t":
        return "errors = 'student-t'" + (" with systematic_error = true" if settings.systematic_error else "")
    return f"systematic_error = {str(bool(settings.systematic_error)).lower()}"


def predictive_scores(model: Model, seed: int = 0) -> tuple[Floats, Floats]:
    """Log predictive density of each telescope's points, left out one at a time (k,), and the mode (n,) it is at."""
    density = Density(model)
    student = model.settings.errors == "student-t"
    x = model.full(density.constrain(mode_of(density, seed, 0).vector))
    for _ in range(_ROUNDS if student else 0):
        for one, weights in zip(model.files, _scores(model, x)[1], strict=True):
            one.with_inflation(1.0 / weights)
        x = model.full(density.constrain(density.mode(x[density.places], seed, 0).vector))
    return _scores(model, x)[0], x


def _scores(model: Model, x: Floats) -> tuple[Floats, list[Floats]]:
    """Scores (k,), and the expected precision of every point of each file under Student-t errors."""
    degrees = model.settings.degrees if model.settings.errors == "student-t" else np.inf
    total, weights = np.zeros(len(model.curves.codes)), []
    for i, (one, curve) in enumerate(zip(model.files, model.curves.files, strict=True)):
        found, phi = one.left_out(model.parts(x, i)), model.parts(x, i)[1]
        if found is None:
            raise InputError("the likelihood is not defined", where="leave-one-out", expected="finite parameters")
        rest = np.maximum(found.variance - found.noise, 0.0)
        value, precision = mixture_density(found.residual, rest, found.noise / one.inflation, degrees)
        # A point that no other one constrains has no prediction.
        total += np.bincount(
            curve.code, np.nan_to_num(value + np.log(phi)[curve.code]), minlength=len(total)
        )  # fmt: skip
        weights.append(np.where(np.isfinite(precision), precision, 1.0))
    return total, weights


def mixture_density(residual: Floats, rest: Floats, noise: Floats, degrees: float) -> tuple[Floats, Floats]:
    """Log density of residuals of variance rest + noise / w, w ~ Gamma(degrees / 2, degrees / 2), and E[w | residual].

    Infinite degrees of freedom give the normal density and w = 1.
    """
    if np.isinf(degrees):
        variance = rest + noise
        return -0.5 * (residual**2 / variance + np.log(2 * np.pi * variance)), np.ones(len(residual))
    half = 0.5 * degrees
    share = np.exp(half * (np.log(half * _NODES) - _NODES) - gammaln(half))  # the density, times w: nodes are in ln w
    variance = rest[:, None] + noise[:, None] / _NODES
    terms = -0.5 * (residual[:, None] ** 2 / variance + np.log(2 * np.pi * variance)) + np.log(share / share.sum())
    value = logsumexp(terms, axis=1)
    return value, np.exp(terms - value[:, None]) @ _NODES
