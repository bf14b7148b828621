"""The verb of the full likelihood: from observations to the posterior of phi(E)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.correction import Correction
from crosscal.core.errors import InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.provenance import record
from crosscal.core.random import generator
from crosscal.inference.jaxconfig import require_x64
from crosscal.inference.posterior import Posterior
from crosscal.inference.registry import SamplerOptions, check_options, sample
from crosscal.xray.correction import edges
from crosscal.xray.correction.bias import TemperatureBias, fitted_bias
from crosscal.xray.correction.drawn import Drawn
from crosscal.xray.correction.external import described
from crosscal.xray.correction.identifiability import Diagnostics, find_aliases
from crosscal.xray.correction.observations import MOST_LEFT_OUT, Observation, prepare
from crosscal.xray.correction.result import CalibrationResult
from crosscal.xray.correction.spectra import SpectraModel, checked_energy
from crosscal.xray.correction.table_check import table_check

Floats = NDArray[np.float64]

#: Samplers that start from the best fit.
STARTED = ("nuts", "importance", "laplace")
#: Draws that biases and predictive checks are computed for.
FEW = 100


def infer_spectra(
    observations: Sequence[Observation],
    modifier: Any,
    *,
    trusted: str | Sequence[str],
    corrected: str | None = None,
    sampler: str = "nuts",
    sources: str | None = None,
    norm_scatter: float | None = None,
    tau: str | float | None = None,
    priors: Mapping[str, Any] | None = None,
    prior_correction: Correction | None = None,
    most_left_out: float = MOST_LEFT_OUT,
    energy: ArrayLike | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    posterior: Posterior | None = None,
    **options: Unpack[SamplerOptions],
) -> CalibrationResult:
    """Infer phi(E) of the telescope that is not trusted from all spectra at once.

    Parameters
    ----------
    observations : sequence of Observation
        Those of one source share its free parameters; each has its own response, band, and fixed parameters.
    modifier : Modifier
        The family of phi, for instance ``Spline(knots=10, low=0.7, high=7)``.
    trusted : str or sequence of str
        Name of the reference telescope, or names of several.
    corrected : str, optional
        Name of the telescope to be corrected; the only one that is not trusted by default. Spectra of further
        telescopes are not used, which a warning says.
    sampler : str
        "nuts" samples theta and all sources together; others ("importance", "nested", "laplace") sample theta with the
        sources integrated out.
    sources : "sampled" or "marginal", optional
        Overrides that choice.
    norm_scatter, tau, priors, prior_correction
        See `SpectraModel`.
    most_left_out : float
        Sources whose reference spectrum cannot be fitted, or ends with kT or the norm on a limit, are left out with a
        warning, up to this share of the sources; beyond it nothing is inferred.
    energy : array, keV, optional
        Grid of the correction; the band by default.
    posterior : Posterior, optional
        Draws of an earlier run with the same arguments, which are not drawn again.

    Raises
    ------
    InputError
        For observations or modifiers that do not fit together; FitError if too many sources cannot be fitted.

    Examples
    --------
    >>> observations = xray.read_observations("observations.csv", model)  # doctest: +SKIP
    >>> phi = xray.Spline(knots=8, low=0.7, high=7.0)  # doctest: +SKIP
    >>> result = xray.infer_spectra(observations, phi, trusted="pn")  # doctest: +SKIP
    """
    check_options(infer_spectra, options, sampler)
    require_x64()
    data = prepare(observations, trusted, corrected, most_left_out=most_left_out, progress=progress)
    chosen = sources or ("sampled" if sampler == "nuts" else "marginal")
    model = SpectraModel(data, modifier, chosen, norm_scatter, tau, priors, prior_correction)
    grid = checked_energy(energy, model.band)
    best, aliases = _search(model, grid, seed, progress)
    problem = model.problem()
    options = _suited(sampler, options)
    if posterior is None:
        start = {"start": _start(model, best)} if sampler in STARTED else {}
        posterior = sample(problem, sampler, seed=seed, progress=progress, **{**start, **options})
    drawn = Drawn.of(posterior, problem, model.theta_names, modifier.factor, grid, seed)
    other = next(o for o in data.observations if o.telescope == data.telescopes[1])
    return drawn.result(
        model,
        data.telescopes,
        diagnostics=_diagnostics(model, drawn, best, aliases, seed),
        biases=_Biases(other, modifier) if "kT" in other.model.free else None,
        kT=np.geomspace(1.5, 12.0, 16),
        provenance=record(config=_config(model, other, sampler, options), inputs=_files(data.observations), seed=seed),
    )


def _suited(sampler: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a sampler, with what suits this posterior where nothing else is given."""
    if sampler == "nuts":
        # The curvature at the mode is the right metric; warm-up only has to find the step size.
        return {"adapt_mass": False, "warmup": 200, "draws": 750, "starts": 0, **options}
    if sampler in STARTED:
        return {"starts": 0, **options}
    return {k: v for k, v in options.items() if k != "start"}


def _config(model: SpectraModel, other: Observation, sampler: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sampler": sampler,
        "sources": model.sources,
        "modifier": repr(model.modifier),
        "trusted": model.data.telescopes[0],
        "corrected": model.data.telescopes[1],
        "n_sources": len(model.data.sources),
        "amplitude_sd": model.amplitude_sd,
        "norm_scatter": model.norm_scatter,
        "prior_correction": described(model.prior_correction),
        "model": other.model.expression,
        "band": list(other.band),
        "options": {k: str(v) for k, v in options.items() if k != "start"},
    }


def _files(observations: Sequence[Observation]) -> dict[str, str]:
    found = {}
    for o in observations:
        for role, path in o.response.files.items():
            found[f"{o.telescope} {role}"] = path
        for role, path in o.spectrum.files.items():
            found[f"{o.telescope} {o.source} {role}"] = path
    return found


def _search(
    model: SpectraModel, grid: Floats, seed: int, progress: Progress
) -> tuple[dict[str, float], tuple[Any, ...]]:
    """Find the best theta by likelihood, sources profiled, for families with places and widths."""
    modifier = model.modifier
    if modifier.linear or hasattr(modifier, "functions"):
        return {}, ()
    bounds = {}
    for name, (low, high) in model.domain.items():
        null = dict(zip(modifier.names, modifier.null, strict=True))[name]
        reach = 5 * model.amplitude_sd if not modifier.parameter(name).unit else np.inf
        bounds[name] = (max(low, null - reach), min(high, null + reach))
    if not all(np.isfinite(v) for pair in bounds.values() for v in pair):
        raise InputError("a parameter without limits", where=f"modifier {modifier.name!r}", expected="finite limits")

    def chi2(vector: Any) -> Any:
        return -2 * model.marginal(dict(zip(bounds, vector, strict=True))).sum()

    def log_factor(theta: Floats) -> Floats:
        return np.log(np.maximum(modifier.factor(grid, theta), 1e-3))

    with progress.stage("Searching for degenerate solutions", total=1) as advance:
        best, _, aliases = find_aliases(chi2, bounds, log_factor, starts=16, seed=seed)
        advance(1)
    return best, aliases


def _start(model: SpectraModel, best: Mapping[str, float]) -> dict[str, Any]:
    import jax

    null = dict(zip(model.modifier.names, model.modifier.null, strict=True))
    theta = {n: np.asarray(float(best.get(n, null[n]))) for n in model.theta_names}
    for name, (low, high) in model.domain.items():
        # A start on a limit would be at infinity in the unconstrained space.
        if np.isfinite(high - low):
            theta[name] = np.clip(theta[name], low + 1e-6 * (high - low), high - 1e-6 * (high - low))
    if model.sources == "marginal":
        return theta
    v, _ = jax.jit(lambda p: model.conditional_mode(p, steps=6))(theta)
    return {**theta, "v": np.asarray(v)}


def _diagnostics(
    model: SpectraModel, drawn: Drawn, best: Mapping[str, float], aliases: tuple[Any, ...], seed: int
) -> Diagnostics:
    posterior = drawn.posterior
    chi2, p_value, n_data = predictive_check(model, posterior, seed=seed)
    misfit, said = table_check(model, posterior)
    named = {n: posterior.draws(n) for n in model.theta_names}
    limits = edges.pressed(named, model.domain)
    conflicts = edges.disagreements(named, drawn.prior, edges.flat_priors(model.all_priors))
    amplitudes = {n: found for n, found in limits.items() if not model.modifier.parameter(n).unit}
    return Diagnostics(
        drawn.modes,
        best,
        aliases,
        drawn.prior_dominated,
        posterior.converged,
        (*posterior.messages, *model.data.notes, *said),
        p_value,
        chi2,
        n_data,
        {"largest difference between tabulated and direct spectra (sigma)": misfit},
        limits=limits,
        no_answer=edges.no_answer(drawn.modes.n_constrained, amplitudes, conflicts),
        conflicts=tuple(conflicts),
        edges=tuple(conflicts.values()),
    )


def predictive_check(
    model: SpectraModel, posterior: Posterior, *, seed: int = 0, n: int = FEW
) -> tuple[float, float, int]:
    """Return Pearson's chi2 of all groups (mean over draws), its predictive p-value, and the number of groups.

    Counts are drawn anew from each posterior draw. Spectra with a background are left out: it is profiled, not
    modelled.
    """
    import jax

    picks = np.linspace(0, posterior.n_draws - 1, min(n, posterior.n_draws)).round().astype(int)
    names = [*model.theta_names, *(["v"] if model.sources == "sampled" else [])]
    draws = {k: posterior.draws(k)[picks] for k in names}

    @jax.jit
    def one(params: Any) -> Any:
        v = params["v"] if model.sources == "sampled" else model.conditional_mode(params)[0]
        return model.expected(params, v)

    plain = [k for k, b in enumerate(model.data.blocks) if b.background is None]
    size = sum(model.data.blocks[k].counts.size for k in plain)
    if not plain:
        return float("nan"), float("nan"), 0
    rng = generator(seed, "predictive")
    observed, replicated = [], []
    for i in range(len(picks)):
        means = one({k: d[i] for k, d in draws.items()})
        terms = [(model.data.blocks[k].counts, np.maximum(np.asarray(means[k]), 1e-10)) for k in plain]
        observed.append(sum(np.sum((c - m) ** 2 / m) for c, m in terms))
        replicated.append(sum(np.sum((rng.poisson(m) - m) ** 2 / m) for _, m in terms))
    return float(np.mean(observed)), float(np.mean(np.array(replicated) >= np.array(observed))), size


class _Biases:
    """Temperatures that the nominal calibration would find, by fitting noiseless spectra of corrected responses."""

    def __init__(self, observation: Observation, modifier: Any) -> None:
        self.observation, self.modifier = observation, modifier

    def __call__(self, theta: Floats, kT: Floats) -> TemperatureBias:
        few = theta[np.linspace(0, len(theta) - 1, min(FEW, len(theta))).round().astype(int)]
        o = self.observation
        return fitted_bias(o.response, o.model, lambda energy: self.modifier.factor(energy, few), kT, o.band)
