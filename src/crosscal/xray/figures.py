"""Figures of X-ray results: functions from results to matplotlib figures."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from crosscal.plot import COLOURS, INSTRUMENT_COLOURS, band, corner, figure, log_axis, styled

CAPTIONS = {
    "area": "Effective area before and after the correction, and the correction phi(E) with its 68 and 95 % bands; the "
    "prior's 68 % interval is dotted.",
    "bias": "What the nominal calibration does to temperatures: fractional bias against true temperature, 68 and 95 %.",
    "pairs": "Ratio of the two telescopes' values against the trusted temperature, before and after the correction.",
    "corner": "Posterior of the correction's parameters: contours hold 68 and 95 %.",
    "modes": "Independent directions of ln phi(E): how well each is measured against the prior, and their shapes.",
    "emulator": "Emulated minus freshly simulated values at off-grid points, over the smallest statistical error.",
    "library": "Slices of the library: bias of kT against true temperature as one parameter of the correction changes.",
    "spectra": "Summed residuals of the corrected telescope's spectra, with the nominal area and with the correction.",
    "spectrum": "Counts, model and residuals.",
}


@styled
def area(
    correction: Any,
    *,
    response: Any = None,
    planted: ArrayLike | None = None,
    prior: ArrayLike | None = None,
    fitted: tuple[float, float] | None = None,
) -> Figure:
    """Draw the correction and, given a response, the effective area before and after it.

    Parameters
    ----------
    correction : Correction
        With draws.
    planted : array (n,), optional
        The true phi at the correction's energies.
    prior : array (m, n), optional
        Draws of phi from the prior.
    fitted : (low, high), keV
        The band of the data.
    """
    energy, draws = np.asarray(correction.coordinate), correction.draws
    fig = figure(7.0, 6.0 if response is not None else 3.8)
    panels: Any
    if response is None:
        panels = [None, fig.subplots()]
    else:
        panels = fig.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    if response is not None:
        top, x = panels[0], response.energy
        inside = (x >= energy[0]) & (x <= energy[-1])
        areas = (
            np.exp(
                np.stack(
                    [
                        np.interp(np.log(x[inside]), np.log(energy), np.log(d))
                        for d in draws[:: max(1, len(draws) // 400)]
                    ]
                )
            )
            * response.area[inside]
        )
        top.plot(x[inside], response.area[inside], color=COLOURS["before"], label="nominal")
        band(top, x[inside], areas, colour=COLOURS["after"], label="corrected")
        top.set_ylabel("Effective area (cm²)")
        top.set_ylim(bottom=0)
        top.legend(loc="upper right")
        top.set_title(correction.target)
    lower = panels[1]
    if prior is not None:
        low, high = np.quantile(np.asarray(prior), [0.16, 0.84], axis=0)
        lower.plot(energy, low, ":", color=COLOURS["prior"], lw=1.2, label="prior, 68 %")
        lower.plot(energy, high, ":", color=COLOURS["prior"], lw=1.2)
    lower.axhline(1.0, color=COLOURS["before"], lw=1)
    band(lower, energy, draws, colour=COLOURS["after"], label="posterior")
    if planted is not None:
        lower.plot(energy, planted, "--", color=COLOURS["truth"], label="planted")
    if fitted is not None:
        for edge in fitted:
            lower.axvline(edge, color=COLOURS["data"], lw=0.8, ls=(0, (2, 3)))
    _focus(lower, energy, draws, planted, fitted)
    lower.set_ylabel("Correction φ(E)")
    lower.set_xlabel("Energy (keV)")
    lower.legend(loc="best", ncols=2)
    log_axis(lower, energy[0], energy[-1])
    return fig


def _focus(axes: Any, energy: Any, draws: Any, planted: Any, fitted: Any) -> None:
    """Let the range of y follow the posterior in the band, not the prior or the ends."""
    use = np.ones(energy.size, bool) if fitted is None else (energy >= fitted[0]) & (energy <= fitted[1])
    values = [np.quantile(draws, q, axis=0)[use] for q in (0.005, 0.995)] + [np.ones(1)]
    if planted is not None:
        values.append(np.asarray(planted)[use])
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    pad = 0.12 * max(high - low, 0.01)
    axes.set_ylim(low - pad, high + pad)


@styled
def bias(result: Any, *, power: float = 1.5, planted: ArrayLike | None = None) -> Figure:
    """Draw the fractional bias of temperature, and of a quantity that goes as T^power, against true temperature.

    Parameters
    ----------
    result : TemperatureBias
    planted : array (n,), optional
        True T_nominal / T_true at the same temperatures.
    """
    fig = figure(7.0, 5.4)
    top, bottom = fig.subplots(2, 1, sharex=True)
    for axes, draws, label in (
        (top, 100 * (result.ratio - 1), "Bias of kT (%)"),
        (bottom, 100 * result.of_power(power), f"Bias of T$^{{{power:g}}}$ (%)"),
    ):
        axes.axhline(0, color=COLOURS["before"], lw=1)
        band(axes, result.kT, draws, colour=COLOURS["after"], label="nominal calibration")
        axes.set_ylabel(label)
    if planted is not None:
        ratio = np.asarray(planted)
        top.plot(result.kT, 100 * (ratio - 1), "--", color=COLOURS["truth"], label="planted")
        bottom.plot(result.kT, 100 * (ratio**power - 1), "--", color=COLOURS["truth"])
    a, b = result.power_law().mean(axis=0)
    top.set_title(f"T$_{{nominal}}$ = {a:.3f} T$^{{{b:.3f}}}$ (keV)")
    top.legend(loc="best")
    log_axis(bottom, result.kT[0], result.kT[-1])
    bottom.set_xlabel("True temperature (keV)")
    return fig


@styled
def pairs(before: Any, after: Any = None) -> Figure:
    """Draw the ratio (abundance: difference) of the telescopes' values, before and after the correction.

    Parameters
    ----------
    before, after : PairedSources
    """
    names = before.quantities
    fig = figure(7.0, 1.0 + 2.3 * len(names))
    panels = fig.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    labels = {"kT": "kT ratio", "norm": "norm ratio", "Abundanc": "Abundanc difference"}
    for k, (axes, name) in enumerate(zip(panels, names, strict=True)):
        for which, colour, shift, label in (
            (before, COLOURS["before"], 1.0, "nominal"),
            (after, COLOURS["after"], 1.012, "corrected"),
        ):
            if which is None:
                continue
            x = which.values[0, :, 0] * shift
            y, error = _compare(which, k, name)
            axes.errorbar(x, y, error, fmt="o", ms=3.5, lw=0.8, color=colour, label=label, alpha=0.85)
        axes.axhline(0.0 if name == "Abundanc" else 1.0, color=COLOURS["data"], lw=1)
        axes.set_ylabel(labels[name])
    panels[0].legend(loc="best", ncols=2)
    panels[0].set_title(f"{before.telescopes[1]} against {before.telescopes[0]}")
    kT = before.values[0, :, 0]
    log_axis(panels[-1], 0.9 * kT.min(), 1.1 * kT.max())
    panels[-1].set_xlabel(f"kT of {before.telescopes[0]} (keV)")
    return fig


def _compare(pairs: Any, k: int, name: str) -> tuple[Any, Any]:
    first, second = pairs.values[0, :, k], pairs.values[1, :, k]
    if name == "Abundanc":
        return second - first, np.hypot(pairs.sd[0, :, k], pairs.sd[1, :, k])
    ratio = second / first
    return ratio, ratio * np.hypot(pairs.sd[0, :, k] / first, pairs.sd[1, :, k] / second)


@styled
def modes(found: Any, energy: ArrayLike, *, most: int = 5) -> Figure:
    """Draw the signal-to-noise of the modes and the shapes of the best ``most``.

    Parameters
    ----------
    found : Modes
    energy : array (n,), keV
    """
    from crosscal.xray.correction.identifiability import CONSTRAINED

    energy = np.asarray(energy)
    fig = figure(8.6, 3.6)
    left, right = fig.subplots(1, 2, width_ratios=[2, 3])
    shown = np.maximum(found.signal_to_noise[:12], 0.05)
    colours = [INSTRUMENT_COLOURS[i % 6] if i < most else COLOURS["before"] for i in range(len(shown))]
    left.bar(np.arange(1, len(shown) + 1), shown, color=colours, width=0.7)
    left.axhline(CONSTRAINED, color=COLOURS["limit"], ls="--", lw=1, label=f"constrained above {CONSTRAINED:g}")
    left.set_yscale("log")
    bottom, top = min(0.5, 0.7 * shown.min()), 2.2 * max(shown.max(), CONSTRAINED)
    ticks = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if bottom <= t <= top]
    left.set_ylim(bottom, top)
    left.set_yticks(ticks, [f"{t:g}" for t in ticks])
    left.minorticks_off()
    left.legend(loc="upper right")
    left.set_xlabel("Mode")
    left.set_xticks(np.arange(1, len(shown) + 1, 1 if len(shown) < 8 else 2))
    left.set_ylabel("Prior sd / measurement error")
    for i in range(min(most, len(shown))):
        right.plot(energy, 100 * found.shapes[i], color=colours[i], label=f"{i + 1}")
    right.axhline(0, color=COLOURS["before"], lw=1)
    right.set_ylabel("Change of ln φ for one prior sd (%)")
    right.set_xlabel("Energy (keV)")
    right.legend(title="Mode", ncols=3, fontsize=8)
    log_axis(right, energy[0], energy[-1])
    return fig


@styled
def emulator(validation: Any) -> Figure:
    """Draw histograms of an emulator's errors on fresh points, in units of the smallest statistical error.

    Parameters
    ----------
    validation : Validation
    """
    n = len(validation.outputs)
    fig = figure(2.0 + 2.7 * n, 3.4)
    for k, axes in enumerate(fig.subplots(1, n, squeeze=False)[0]):
        errors = validation.errors[:, k]
        edge = max(1.5 * validation.percentile_99[k], 1e-6)
        axes.hist(np.clip(errors, -edge, edge), bins=np.linspace(-edge, edge, 61), color=COLOURS["after"], alpha=0.8)
        axes.set_yscale("log")
        axes.set_xlabel("Error / smallest σ")
        axes.set_title(
            f"{validation.outputs[k]}\n99 %: {validation.percentile_99[k]:.2g} σ, max: {validation.maximum[k]:.2g} σ",
            fontsize=9,
        )
        for sign in (-1, 1):
            axes.axvline(sign * validation.percentile_99[k], color=COLOURS["limit"], ls="--", lw=1)
    fig.axes[0].set_ylabel(f"Points of {len(validation.errors)}")
    return fig


@styled
def library(found: Any, *, quantity: str = "kT", lines: int = 5) -> Figure:
    """Draw slices of a library: fractional bias against true temperature, one panel per varying parameter.

    In each panel one parameter of the correction changes, the others stay at the middle of the design, the first
    (by custom the amplitude) at its largest value.

    Parameters
    ----------
    found : Library
    """
    theta, names = found.theta, found.names
    varying = [k for k in range(len(names)) if np.ptp(theta[:, k]) > 0]
    centre = np.array([np.median(np.unique(theta[:, k])) for k in range(len(names))])
    if varying:
        centre[varying[0]] = theta[:, varying[0]].max()
    spread = np.where(np.ptp(theta, axis=0) > 0, np.ptp(theta, axis=0), 1.0)
    values = np.nanmean(found.values(quantity), axis=2) / found.truth(quantity)[None, :] - 1.0
    n = max(len(varying), 1)
    fig = figure(1.5 + 2.9 * n, 3.5)
    panels = fig.subplots(1, n, squeeze=False, sharey=True)[0]
    for axes, k in zip(panels, varying, strict=False):
        levels = np.unique(theta[:, k])
        chosen = levels[np.unique(np.linspace(0, len(levels) - 1, lines).round().astype(int))]
        for i, level in enumerate(chosen):
            wanted = centre.copy()
            wanted[k] = level
            row = int(np.argmin(np.sum(((theta - wanted) / spread) ** 2, axis=1)))
            axes.plot(found.T_true, 100 * values[row], color=INSTRUMENT_COLOURS[i], label=f"{level:.3g}")
        axes.axhline(0, color=COLOURS["before"], lw=1)
        axes.legend(title=names[k], fontsize=7, ncols=2)
        log_axis(axes, found.T_true[0], found.T_true[-1])
        axes.set_xlabel("True temperature (keV)")
    panels[0].set_ylabel(f"Bias of {quantity} (%)")
    return fig


@styled
def spectrum_fit(fit: Any, *, title: str = "") -> Figure:
    """Draw one fitted spectrum: counts and model per keV and second, and residuals.

    Parameters
    ----------
    fit : FitResult
    """
    x, width = 0.5 * (fit.energy_lo + fit.energy_hi), fit.energy_hi - fit.energy_lo
    unit = width * fit.exposure
    fig = figure(7.0, 5.2)
    top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    mean = fit.expected + fit.background
    top.errorbar(x, fit.counts / unit, np.sqrt(np.maximum(mean, 1)) / unit, width / 2, fmt=".", ms=2, lw=0.7,
                 color=COLOURS["data"], label="data")  # fmt: skip
    top.step(x, mean / unit, where="mid", color=COLOURS["truth"], label="model")
    if np.any(fit.background > 0):
        top.step(x, fit.background / unit, where="mid", color=COLOURS["before"], label="background")
    top.set_yscale("log")
    positive = (mean / unit)[mean > 0]
    top.set_ylim(0.3 * positive.min(), 2.5 * positive.max())
    top.set_ylabel("Counts / s / keV")
    top.legend()
    values = ", ".join(f"{n} = {v:.4g}" for n, v in fit.values.items())
    top.set_title(f"{title}: {values}" if title else values, fontsize=9)
    bottom.axhline(0, color=COLOURS["truth"], lw=1)
    bottom.plot(x, fit.residuals, ".", ms=3, color=COLOURS["data"])
    bottom.set_ylabel("Residual (σ)")
    bottom.set_xlabel("Energy (keV)")
    log_axis(bottom, fit.energy_lo[0], fit.energy_hi[-1])
    return fig


@styled
def spectra(result: Any) -> Figure:
    """Draw summed counts of the corrected telescope over the model, with the nominal area and with the correction.

    Parameters
    ----------
    result : CalibrationResult of infer_spectra
    """
    model = result.model
    after = {n: float(result.posterior_draws.mean(n)) for n in model.theta_names}
    before = dict(zip(model.modifier.names, model.modifier.null, strict=True))
    fig = figure(7.0, 3.8)
    axes = fig.subplots()
    for params, colour, label in ((before, COLOURS["before"], "nominal"), (after, COLOURS["after"], "corrected")):
        # The sources' parameters are those of the corrected fit: the difference is the calibration's alone.
        v, _ = model.conditional_mode(after)
        for block, mean in zip(model.data.blocks, model.expected(params, v), strict=True):
            if not block.corrected:
                continue
            counts, expected = block.counts.sum(axis=0), np.asarray(mean).sum(axis=0)
            if block.background is not None:
                expected = expected + (block.ratio * block.background).sum(axis=0)
            x = np.sqrt(block.lo * block.hi)
            axes.errorbar(x, counts / expected, np.sqrt(np.maximum(counts, 1)) / expected, fmt="o", ms=3, lw=0.8,
                          color=colour, label=label)  # fmt: skip
            label = ""
    axes.axhline(1, color=COLOURS["data"], lw=1)
    axes.set_ylabel("Counts / model, all sources")
    axes.set_xlabel("Energy (keV)")
    axes.legend()
    log_axis(axes, *model.band)
    return fig


def corrected_pairs(result: Any) -> Any:
    """Return the pairs with telescope 1 corrected by the posterior mean of the emulated shifts."""
    from dataclasses import replace

    import jax
    import jax.numpy as jnp

    model = result.model
    before, few = model.pairs, result.theta[:: max(1, len(result.theta) // 100)]
    measured = jnp.asarray(before.values[1])
    values = np.asarray(jax.vmap(lambda t: model.emulator.correct(t, measured))(jnp.asarray(few))).mean(axis=0)
    if "norm" in before.quantities and "ln_cross_norm" in result.posterior_draws.names:
        k = before.quantities.index("norm")
        values[:, k] /= np.exp(result.posterior_draws.mean("ln_cross_norm"))
    scale = values / before.values[1]
    covariance = before.covariance.copy()
    covariance[1] = covariance[1] * scale[:, :, None] * scale[:, None, :]
    return replace(before, values=np.stack([before.values[0], values]), covariance=covariance, samples=None)


def planted_bias(clusters: Any, kT: ArrayLike) -> Any:
    """Return the true T_nominal / T_true of simulated clusters' other telescope at ``kT`` keV."""
    from crosscal.xray.correction.infer_spectra import fitted_bias

    mask, response = clusters.templates[1].mask, clusters.responses[1]
    inside = 0.01 * float(np.min(response.channel_hi - response.channel_lo))
    used = (float(response.channel_lo[mask].min()) + inside, float(response.channel_hi[mask].max()) - inside)
    return fitted_bias(response, clusters.model, clusters.planted, kT, used).ratio[0]


def result_figures(result: Any, *, response: Any = None, clusters: Any = None) -> dict[str, Figure]:
    """Return the figures of a `CalibrationResult`, the correction first.

    Parameters
    ----------
    response : Response, optional
        Nominal calibration of the corrected telescope.
    clusters : Clusters, optional
        Simulated sources, whose planted error is drawn.
    """
    planted = None if clusters is None else clusters.planted(result.energy)
    fitted = getattr(result.model, "band", None)
    found = {
        "area": area(result.correction, response=response, planted=planted, prior=result.prior_factor, fitted=fitted)
    }
    if result.biases is not None:
        biases = result.temperature_bias()
        found["bias"] = bias(biases, planted=None if clusters is None else planted_bias(clusters, biases.kT))
    if hasattr(result.model, "pairs"):
        found["pairs"] = pairs(result.model.pairs, corrected_pairs(result))
    else:
        found["spectra"] = spectra(result)
    if len(result.theta_names) <= 12:
        truth = None
        if clusters is not None and set(result.theta_names) <= set(clusters.theta):
            truth = {n: float(clusters.theta[n]) for n in result.theta_names}
        found["corner"] = corner(result.theta, list(result.theta_names), truth=truth)
    found["modes"] = modes(result.diagnostics.modes, result.energy)
    return found


def outcome_figures(outcome: Any) -> dict[str, Figure]:
    """Return the figures of a finished job: of its result, then of its emulator and library."""
    found = result_figures(outcome.calibration, response=outcome.response, clusters=outcome.clusters)
    if outcome.clusters is not None:
        found["pairs"] = pairs(outcome.fitted, outcome.refitted)
    if outcome.emulator is not None and outcome.emulator.simulator is not None:
        found["emulator"] = emulator(outcome.emulator.validate(500))
    if outcome.library is not None:
        found["library"] = library(outcome.library)
    return found
