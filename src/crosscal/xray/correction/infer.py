"""``infer(pairs, emulator)``: the posterior of the correction from paired temperatures (norms, abundances)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.correction import Correction
from crosscal.core.progress import SILENT, Progress
from crosscal.core.provenance import record
from crosscal.core.random import generator
from crosscal.core.units import energies
from crosscal.inference.jaxconfig import require_x64
from crosscal.inference.posterior import Posterior
from crosscal.inference.problem import Problem
from crosscal.inference.registry import SamplerOptions, check_options, options_of, sample
from crosscal.xray.correction import edges
from crosscal.xray.correction.bias import emulated_bias
from crosscal.xray.correction.drawn import Drawn
from crosscal.xray.correction.emulate import CalibrationEmulator
from crosscal.xray.correction.exact import reweighted, was_reweighted
from crosscal.xray.correction.external import described
from crosscal.xray.correction.hierarchical import HierarchicalModel
from crosscal.xray.correction.identifiability import Diagnostics, find_aliases
from crosscal.xray.correction.pair_sums import parts_of
from crosscal.xray.correction.pairs import PairedSources
from crosscal.xray.correction.priors import CROSS_NORM_SD, SCATTER_SCALE
from crosscal.xray.correction.result import CalibrationResult
from crosscal.xray.correction.source_fits import MOST_SOURCES, stated, usable

#: Up to this many parameters "auto" takes the population sampler.
FEW_PARAMETERS = 10
#: An emulator's rms error above this part of the pairs' errors is told.
PART = 0.3
#: Samplers that ask for no derivatives of the likelihood.
WITHOUT_DERIVATIVES = ("population", "nested")


def infer(
    pairs: PairedSources,
    emulator: CalibrationEmulator,
    *,
    trusted: str | None = None,
    sampler: str = "auto",
    latent: str = "marginal",
    scatter: float | None = SCATTER_SCALE,
    cross_norm: float | None = CROSS_NORM_SD,
    tau: str | float | None = None,
    priors: Mapping[str, Any] | None = None,
    prior_correction: Correction | None = None,
    energy: ArrayLike | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    **options: Unpack[SamplerOptions],
) -> CalibrationResult:
    """Infer which change of a telescope's effective area makes the sources agree with a reference telescope.

    Parameters
    ----------
    pairs : PairedSources
    emulator : CalibrationEmulator
        Of the telescope to be corrected.
    trusted : str, optional
        Name of the reference telescope; by default the first of ``pairs.telescopes``. Needed where a table was read
        without roles and does not name the emulator's telescope.
    sampler : str
        A sampler of `crosscal.inference` ("population", "nuts", "nested", ...), or "auto": "population" for at most
        10 parameters, which also finds separate solutions; where its weights cannot be trusted, "nested"; "nuts" for
        more parameters.
    latent, scatter, cross_norm, tau, priors, prior_correction
        See `HierarchicalModel`.
    energy : array, keV, optional
        Grid of the correction; 0.3 to 10 keV by default.
    **options
        For the sampler.

    Raises
    ------
    InputError
        If the pairs hold a quantity that the emulator lacks, temperatures far outside its domain, or no telescope of
        the trusted name.

    Examples
    --------
    >>> result = xray.infer(pairs, emulator, seed=1)  # doctest: +SKIP
    >>> print(result.answer)  # doctest: +SKIP
    """
    check_options(infer, options, sampler)
    require_x64()
    model = HierarchicalModel(
        pairs,
        emulator,
        latent=latent,
        scatter=scatter,
        cross_norm=cross_norm,
        tau=tau,
        priors=priors,
        prior_correction=prior_correction,
        trusted=trusted,
    )
    return infer_model(model, sampler=sampler, energy=energy, seed=seed, progress=progress, **options)


def infer_model(
    model: HierarchicalModel,
    *,
    sampler: str = "auto",
    energy: ArrayLike | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    posterior: Posterior | None = None,
    **options: Unpack[SamplerOptions],
) -> CalibrationResult:
    """Infer with a model built by hand; see `infer`. Draws of an earlier run (``posterior``) are not drawn again."""
    _check_domain(model)
    coarse = (*emulator_against_pairs(model), *edges.shifted(model.pairs.values[0, :, 0], model.pairs.sd[0, :, 0]))
    grid = np.geomspace(0.3, 10.0, 160) if energy is None else energies(energy, where="infer, energy")
    problem = model.problem()
    best, aliases, messages = _search(model, grid, seed, progress)
    if posterior is None:
        posterior = _sample(model, problem, sampler, best, seed, progress, options)
        if model.emulator.exact is not None and model.latent == "marginal":
            with progress.stage("Comparing with exact fits", total=1) as advance:
                posterior = reweighted(model, posterior, seed=seed)
                advance(1)
    messages = (*model.pairs.notes, *coarse, *unused_constants(model, posterior), *messages)
    drawn = Drawn.of(posterior, problem, model.theta_names, model.emulator.factor, grid, seed)
    return drawn.result(
        model,
        model.pairs.telescopes,
        diagnostics=_diagnostics(model, drawn, best, aliases, messages, seed),
        biases=lambda theta, kT: emulated_bias(model.emulator, theta, kT),
        kT=np.geomspace(*model.emulator.domain["T_true"], 24),
        provenance=record(config=_config(model, posterior, options), seed=seed),
    )


def _config(model: HierarchicalModel, posterior: Posterior, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sampler": posterior.method,
        "latent": model.latent,
        "scatter": model.scatter,
        "cross_norm": model.cross_norm,
        "amplitude_sd": model.amplitude_sd,
        "prior_correction": described(model.prior_correction),
        "trusted": model.pairs.telescopes[0],
        "corrected": model.pairs.telescopes[1],
        "quantities": list(model.pairs.quantities),
        "sources": len(model.pairs),
        "of each source": list(model.own_constants),
        "pairs": dict(model.pairs.provenance),
        "emulator": {k: v for k, v in model.emulator.emulator.provenance.items() if k != "calibration"},
        "options": {k: str(v) for k, v in options.items()},
    }


def unused_constants(model: HierarchicalModel, posterior: Posterior) -> list[str]:
    """Say so where each source has an nH, redshift or response of its own, which the library has once for all."""
    exact = model.emulator.exact
    own = model.own_constants
    if not own and exact is not None and was_reweighted(posterior):
        own = tuple(usable(exact, model.pairs))
    left = [n for n in stated(exact or model.emulator, model.pairs) if n not in own]
    if not left:
        return []
    names, single = ", ".join(left), len(left) == 1
    verb, them, one = ("is", "it", "one") if single else ("are", "them", "one of each")
    if own:
        return [f"{names} of each source {verb} not used: the library fits {them}."]
    if len(model.pairs) > MOST_SOURCES:
        return [f"{names} of each source {verb} not used: exact fits take {them} of at most {MOST_SOURCES} sources."]
    why = f"the library has {one} for all sources, and biases change with {them}"
    return [f"{names} of each source {verb} not used: {why}; emulator kind 'exact' uses {them}."]


def _sample(
    model: HierarchicalModel,
    problem: Problem,
    sampler: str,
    best: Mapping[str, float],
    seed: int,
    progress: Progress,
    options: Mapping[str, Any],
) -> Posterior:
    """Draw with the named sampler, from the best fit on where it starts somewhere; "auto" as `infer` says."""
    if sampler == "auto":
        if len(problem.labels()) <= FEW_PARAMETERS:
            posterior = _sample(model, problem, "population", best, seed, progress, options)
            if posterior.converged:
                return posterior
            shared = {name: value for name, value in options.items() if name in (options_of("nested") or ())}
            return _sample(model, problem, "nested", best, seed, progress, shared)
        sampler = "nuts"
    if sampler in WITHOUT_DERIVATIVES:
        problem = model.problem(derivatives=False)
    if sampler == "population" and (parts := parts_of(model, seed)):
        options = {"coarse": [part.problem(derivatives=False) for part in parts], **options}
    start = {"start": _start(model, best)} if sampler in ("nuts", "laplace", "importance") and best else {}
    return sample(problem, sampler, seed=seed, progress=progress, **{**start, **options})


def _check_domain(model: HierarchicalModel) -> None:
    from crosscal.core.errors import InputError

    low, high = model.emulator.domain["T_true"]
    kT, sd = model.pairs.values[0, :, 0], model.pairs.sd[0, :, 0]
    outside = (kT + 3 * sd < low) | (kT - 3 * sd > high)
    if outside.any():
        i = int(np.argmax(outside))
        raise InputError(
            f"kT = {kT[i]:.3g} keV is outside the emulator's domain ({int(outside.sum())} sources)",
            where=f"source {model.pairs.names[i]!r}",
            expected=f"{low:g} to {high:g} keV",
        )


def emulator_against_pairs(model: HierarchicalModel) -> list[str]:
    """Compare the emulator's error with those of the pairs: a part of them is told, more than them refused.

    Exact fits remove the emulator's error from the posterior, or say that they cannot, so that with them none is
    refused.
    """
    from crosscal.core.errors import InputError

    values, sd = model.pairs.values, model.pairs.sd
    size = np.array([1.0 if q == "Abundanc" else 0.0 for q in model.pairs.quantities])
    relative = sd / np.where(size > 0, 1.0, values)
    pair = np.median(np.hypot(relative[0], relative[1]), axis=0)
    error = np.asarray(model.emulator.emulator.residual_sd, dtype=float) / model.emulator.error_gain
    share = error / pair
    named = [f"{q} {s:.2g}" for q, s in zip(model.pairs.quantities, share, strict=True) if s > PART]
    if np.any(share > 1.0) and model.emulator.exact is None:
        raise InputError(
            f"the emulator's rms error is larger than the errors of the pairs ({', '.join(named)} of them)",
            where="infer",
            expected="more nodes in the library, another kind of emulator, or kind 'exact'",
        )
    if not np.all(np.isfinite(error)):
        return ["The emulator's error is unknown: train it with newly simulated points, or use kind 'exact'."]
    if named:
        judged = model.emulator.emulator.report.get("judged", "its training points")
        told = (
            f"The emulator's rms error is not small compared with the errors of the pairs ({', '.join(named)} of them, "
        )
        return [f"{told}tested on {judged}); it is included in the likelihood: use more nodes to narrow the answer."]
    return []


def _start(model: HierarchicalModel, best: Mapping[str, float]) -> dict[str, Any]:
    start: dict[str, Any] = {n: np.asarray(best[n]) for n in model.theta_names}
    for name in model.all_priors:
        if name == "scatter":
            start[name] = np.asarray(0.3 * (model.scatter or 0.03))
        elif name == "ln_cross_norm":
            start[name] = np.asarray(best.get("ln_cross_norm", 0.0))
        elif name == "u":
            start[name] = np.zeros((len(model.pairs), len(model.pairs.quantities)))
    for name in model.theta_names:
        low, high = model.emulator.domain[name]
        start[name] = np.clip(start[name], low + 1e-3 * (high - low), high - 1e-3 * (high - low))
    return start


def _search(
    model: HierarchicalModel, grid: NDArray[np.float64], seed: int, progress: Progress
) -> tuple[dict[str, float], tuple[Any, ...], tuple[str, ...]]:
    """Find the best fit and its aliases by likelihood alone; families that are linear sums have flat directions
    instead of aliases, which the modes show."""
    modifier = model.emulator.modifier
    if modifier is None or modifier.linear or hasattr(modifier, "functions"):
        return {}, (), ()
    marginal = replace(model, latent="marginal")
    names = list(model.theta_names)
    bounds = {n: model.emulator.domain[n] for n in names}
    fixed: dict[str, float] = {}
    if model.scatter is not None:
        fixed["scatter"] = 0.3 * model.scatter
    cross = "ln_cross_norm" in model.all_priors
    if cross and model.cross_norm is not None:
        bounds["ln_cross_norm"] = (-3 * model.cross_norm, 3 * model.cross_norm)

    def chi2_of(one: HierarchicalModel) -> Any:
        def chi2(vector: Any) -> Any:
            params = {**dict(zip(bounds, vector, strict=True)), **fixed}
            penalty = (params["ln_cross_norm"] / model.cross_norm) ** 2 if cross else 0.0
            total = one.pointwise(params).sum() if one.sums is None else one.sums(params)
            return -2 * total + penalty

        return chi2

    def log_factor(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(np.maximum(model.emulator.factor(grid, vector[: len(names)]), 1e-3))

    with progress.stage("Searching for degenerate solutions", total=1) as advance:
        parts = parts_of(marginal, seed)
        coarse = chi2_of(parts[0]) if parts else None
        best, _, aliases = find_aliases(chi2_of(marginal), bounds, log_factor, coarse=coarse, seed=seed)
        advance(1)
    return best, aliases, ()


def _diagnostics(
    model: HierarchicalModel,
    drawn: Drawn,
    best: Mapping[str, float],
    aliases: tuple[Any, ...],
    messages: tuple[str, ...],
    seed: int,
) -> Diagnostics:
    posterior = drawn.posterior
    residuals = standardised_residuals(model, posterior)
    chi2, p_value = predictive_check(residuals, seed=seed)
    units = {i.name: i.unit for i in model.emulator.emulator.inputs}
    limits = edges.pressed({n: posterior.draws(n) for n in model.theta_names}, model.emulator.domain)
    amplitudes = {n: found for n, found in limits.items() if not units[n]}
    named = {n: posterior.draws(n) for n in model.all_priors if n != "u"}
    conflicts = edges.disagreements(named, drawn.prior, edges.flat_priors(model.all_priors))
    doubtful = [n for n in model.theta_names if n in conflicts]
    return Diagnostics(
        drawn.modes,
        {k: v for k, v in best.items() if k in model.theta_names},
        aliases,
        drawn.prior_dominated,
        posterior.converged,
        (*posterior.messages, *messages),
        p_value,
        chi2,
        model.pairs.values[1].size,
        posterior.provenance.get("exact", {}),
        limits=limits,
        no_answer=edges.no_answer(drawn.modes.n_constrained, amplitudes, doubtful),
        conflicts=tuple(conflicts),
        edges=(
            *conflicts.values(),
            *edges.beyond(model.pairs.names, model.pairs.values[0, :, 0], model.emulator.domain["T_true"]),
            *edges.discrepant(model.pairs.names, residuals),
        ),
    )


def predictive_check(residuals: NDArray[np.float64], *, seed: int = 0) -> tuple[float, float]:
    """Return the mean chi2 of the pairs about the corrected relation and its posterior predictive p-value.

    chi2 = sum_i r_i' (C_1i' + J_i C_0i J_i')^-1 r_i with r = x_1 - F(theta, x_0), the squares of
    `standardised_residuals` (n, N, q); replicated data of the same draw have a chi2 distribution with N q degrees of
    freedom.
    """
    observed = (residuals**2).sum(axis=(1, 2))
    replicated = generator(seed, "predictive").chisquare(residuals[0].size, len(residuals))
    return float(observed.mean()), float(np.mean(replicated >= observed))


def standardised_residuals(model: HierarchicalModel, posterior: Posterior, *, n: int = 200) -> NDArray[np.float64]:
    """Return whitened residuals of telescope 1 after the correction, one set a draw: (n, N, q)."""
    import jax
    import jax.numpy as jnp

    names = [k for k in model.all_priors if k != "u"]
    picks = np.linspace(0, posterior.n_draws - 1, min(n, posterior.n_draws)).round().astype(int)
    draws = {k: jnp.asarray(posterior.draws(k)[picks]) for k in names}
    trusted = jnp.asarray(model.pairs.values[0])

    @jax.jit
    def one(params: Any) -> Any:
        expected, slope = model.expected_with_slope(params, trusted)
        total = model.noise(params, expected) + slope @ model.pairs.covariance[0] @ jnp.swapaxes(slope, 1, 2)
        root = jnp.linalg.cholesky(total)
        residual = (model.pairs.values[1] - expected)[..., None]
        return jax.lax.linalg.triangular_solve(root, residual, left_side=True, lower=True)[..., 0]

    return np.asarray(jax.lax.map(one, draws))
