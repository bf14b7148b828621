"""Figures of X-ray results by name, with their captions; the drawing is done in the modules ``figures_*``."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from crosscal.plot import corner
from crosscal.xray.figures.correction import area, bias, modes, stacked
from crosscal.xray.figures.correlation import correlation
from crosscal.xray.figures.library import emulator, library
from crosscal.xray.figures.sources import pairs, spectra, spectrum_fit

__all__ = [
    "CAPTIONS",
    "area",
    "bias",
    "corrected_pairs",
    "correlation",
    "emulator",
    "injected_bias",
    "library",
    "modes",
    "outcome_figures",
    "pairs",
    "result_figures",
    "spectra",
    "spectrum_fit",
    "stacked",
]

# Coefficients of more basis functions mean little one by one: the correlation of phi(E) is drawn instead.
MOST_IN_CORNER = 6

CAPTIONS = {
    "area": "Effective area before and after the correction, and the correction phi(E) with its 68 and 95 % bands; the "
    "prior's 68 % interval is dotted. Outside the fitted band (grey) the curve is extrapolated.",
    "bias": "Bias of temperatures derived with the nominal calibration, against true temperature, 68 and 95 %.",
    "pairs": "Ratio of the two telescopes' values against the reference temperature, before and after the correction; "
    "bars are 1 sigma.",
    "corner": "Posterior of the correction's parameters: contours hold 68 and 95 %; numbers are the median "
    "and the 68 % interval.",
    "correlation": "Correlation of the posterior of ln phi between energies, and its largest independent patterns (1 "
    "sigma), with their shares of the variance: what remains uncertain together.",
    "modes": "Independent directions of ln phi(E): their significance relative to the prior, and their shapes.",
    "emulator": "Emulated minus newly simulated values at off-grid points, in units of the smallest statistical error "
    "in the library; dashed: 99 % of the points.",
    "library": "Slices of the library: bias of kT against true temperature as one parameter of the correction varies "
    "and the others are fixed.",
    "spectra": "Summed residuals of the corrected telescope's spectra, with the nominal area and with the correction.",
    "stacked": "Counts of the corrected telescope over the reference telescope's model folded through it, summed over "
    "sources, with 68 % errors by bootstrap over sources; dashed: the smooth factor of the area that describes the "
    "same counts; band: phi(E) of the inference, 68 and 95 %.",
    "spectrum": "Counts and model per second and keV with 1 sigma bars; residuals in units of their expected sd.",
}


def corrected_pairs(result: Any) -> Any:
    """Return the pairs with telescope 1 corrected by the posterior mean of the emulated shifts."""
    from dataclasses import replace

    import jax
    import jax.numpy as jnp

    model = result.model
    before, few = model.pairs, result.theta[:: max(1, len(result.theta) // 100)]
    measured = jnp.asarray(before.values[1])
    # Compiled as one: JAX's operations one by one are compiled each, which takes five times longer.
    correct = jax.jit(jax.vmap(lambda t: model.own_map.correct(t, measured)))
    values = np.asarray(correct(jnp.asarray(few))).mean(axis=0)
    if "norm" in before.quantities and "ln_cross_norm" in result.posterior_draws.names:
        k = before.quantities.index("norm")
        values[:, k] /= np.exp(result.posterior_draws.mean("ln_cross_norm"))
    scale = values / before.values[1]
    covariance = before.covariance.copy()
    covariance[1] = covariance[1] * scale[:, :, None] * scale[:, None, :]
    return replace(before, values=np.stack([before.values[0], values]), covariance=covariance, samples=None)


def injected_bias(clusters: Any, kT: ArrayLike) -> Any:
    """Return the true T_nominal / T_true of simulated clusters' other telescope at ``kT`` keV."""
    from crosscal.xray.correction.bias import fitted_bias

    mask, response = clusters.templates[1].mask, clusters.responses[1]
    inside = 0.01 * float(np.min(response.channel_hi - response.channel_lo))
    used = (float(response.channel_lo[mask].min()) + inside, float(response.channel_hi[mask].max()) - inside)
    return fitted_bias(response, clusters.model, clusters.injected, kT, used).ratio[0]


def result_figures(
    result: Any, *, response: Any = None, clusters: Any = None, fitted: tuple[float, float] | None = None
) -> dict[str, Figure]:
    """Return the figures of a `CalibrationResult`, the correction first.

    Parameters
    ----------
    response : Response, optional
        Nominal calibration of the corrected telescope.
    clusters : Clusters, optional
        Simulated sources, whose injected error is drawn.
    fitted : (low, high), keV, optional
        The band of the data.
    """
    injected = None if clusters is None else clusters.injected(result.energy)
    fitted = result.model.band if fitted is None else fitted
    found = {
        "area": area(result.correction, response=response, injected=injected, prior=result.prior_factor, fitted=fitted)
    }
    if result.biases is not None:
        biases = result.temperature_bias()
        found["bias"] = bias(biases, injected=None if clusters is None else injected_bias(clusters, biases.kT))
    if result.model.pairs is not None:
        found["pairs"] = pairs(result.model.pairs, corrected_pairs(result))
    else:
        found["spectra"] = spectra(result)
        if result.stacked is not None:
            found["stacked"] = stacked(result.stacked, result.correction)
    if len(result.theta_names) > MOST_IN_CORNER:
        found["correlation"] = correlation(result.correction, fitted=fitted)
    else:
        labels = {n: _with_unit(result, n) for n in result.theta_names}
        truth = None
        if clusters is not None and set(result.theta_names) <= set(clusters.theta):
            truth = {label: float(clusters.theta[n]) for n, label in labels.items()}
        found["corner"] = corner(result.theta, list(labels.values()), truth=truth, title="Parameters of φ(E)")
    found["modes"] = modes(result.diagnostics.modes, result.energy)
    return found


def _with_unit(result: Any, name: str) -> str:
    """A parameter's name as an axis shows it: "mu (keV)"."""
    draws = result.posterior_draws.tree["posterior"]
    unit = draws[name].attrs.get("units", "") if name in draws else ""
    return f"{name} ({unit})" if unit else name


def fit_figures(result: Any) -> dict[str, Figure]:
    """Return the spectrum of a `FitResult` with the model and its residuals."""
    return {"spectrum": spectrum_fit(result, title=result.name)}


def captions(result: Any) -> dict[str, str]:
    """Return one sentence for each figure of a result, of whatever kind."""
    return {k: v for k, v in CAPTIONS.items() if (k == "spectrum") == (result.kind == "xray-fit")}


def outcome_figures(outcome: Any) -> dict[str, Figure]:
    """Return the figures of a finished job: of its result, then of its emulator and library."""
    found = result_figures(
        outcome.calibration, response=outcome.response, clusters=outcome.clusters, fitted=outcome.band
    )
    if outcome.clusters is not None:
        found["pairs"] = pairs(outcome.fitted, outcome.refitted)
    if outcome.validation is not None:
        found["emulator"] = emulator(outcome.validation)
    if outcome.library is not None:
        found["library"] = library(outcome.library)
    return found
