"""Figures of a corrected area: the area itself, what its error did to temperatures, how well each mode is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from crosscal.plot import COLOURS, INSTRUMENT_COLOURS, band, figure, legend_below, log_axis, styled
from crosscal.plot.style import SUPERSCRIPTS
from crosscal.xray.figures.library import STYLES


@styled
def area(
    correction: Any,
    *,
    response: Any = None,
    injected: ArrayLike | None = None,
    prior: ArrayLike | None = None,
    fitted: tuple[float, float] | None = None,
) -> Figure:
    """Draw the correction and, given a response, the effective area before and after it.

    Parameters
    ----------
    correction : Correction
        With draws.
    injected : array (n,), optional
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
        top.set_ylim(top=1.18 * top.get_ylim()[1])
        top.legend(loc="upper right", ncols=2)
        top.set_title(_sentence(correction.target))
    lower = panels[1]
    if prior is not None:
        low, high = np.quantile(np.asarray(prior), [0.16, 0.84], axis=0)
        lower.plot(energy, low, ":", color=COLOURS["prior"], lw=1.2, label="prior, 68 %")
        lower.plot(energy, high, ":", color=COLOURS["prior"], lw=1.2)
    lower.axhline(1.0, color=COLOURS["before"], lw=1)
    band(lower, energy, draws, colour=COLOURS["after"], label="posterior")
    if injected is not None:
        lower.plot(energy, injected, "--", color=COLOURS["truth"], label="injected")
    if fitted is not None:
        # Bins straddle the ends of the band; a sliver is no range.
        outside = [(a, b) for a, b in ((energy[0], fitted[0]), (fitted[1], energy[-1])) if b > 1.02 * a]
        for low, high in outside:
            for axes in panels if response is not None else [lower]:
                axes.axvspan(low, high, color="#bbbbbb", alpha=0.3, lw=0, zorder=0)
        if outside:
            lower.plot([], [], color="#bbbbbb", alpha=0.5, lw=7, label="outside the fitted band")
    _focus(lower, energy, draws, injected, fitted)
    lower.set_ylabel("Correction φ(E)")
    lower.set_xlabel("Energy (keV)")
    legend_below(fig, lower.get_legend_handles_labels()[0], width=90)
    log_axis(lower, energy[0], energy[-1])
    return fig


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _focus(axes: Any, energy: Any, draws: Any, injected: Any, fitted: Any) -> None:
    """Let the range of y follow the posterior in the band, not the prior or the ends."""
    use = np.ones(energy.size, bool) if fitted is None else (energy >= fitted[0]) & (energy <= fitted[1])
    values = [np.quantile(draws, q, axis=0)[use] for q in (0.005, 0.995)] + [np.ones(1)]
    if injected is not None:
        values.append(np.asarray(injected)[use])
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    pad = 0.12 * max(high - low, 0.01)
    axes.set_ylim(low - pad, high + pad)


@styled
def bias(result: Any, *, power: float = 1.5, injected: ArrayLike | None = None) -> Figure:
    """Draw the fractional bias of temperature, and of a quantity that goes as T^power, against true temperature.

    Parameters
    ----------
    result : TemperatureBias
    injected : array (n,), optional
        True T_nominal / T_true at the same temperatures.
    """
    fig = figure(7.0, 5.6)
    top, bottom = fig.subplots(2, 1, sharex=True)
    raised = f"{power:g}".translate(SUPERSCRIPTS) if float(power).is_integer() else f"^{power:g}"
    for axes, draws, label in (
        (top, 100 * (result.ratio - 1), "Bias of kT (%)"),
        (bottom, 100 * result.of_power(power), f"Bias of (kT){raised} (%)"),
    ):
        axes.axhline(0, color=COLOURS["before"], lw=1)
        band(axes, result.kT, draws, colour=COLOURS["after"], label="nominal calibration" if axes is top else "")
        axes.set_ylabel(label)
    if injected is not None:
        ratio = np.asarray(injected)
        top.plot(result.kT, 100 * (ratio - 1), "--", color=COLOURS["truth"], label="injected")
        bottom.plot(result.kT, 100 * (ratio**power - 1), "--", color=COLOURS["truth"])
    a, b = result.power_law().mean(axis=0)
    law = f"nominal kT = {a:.3f} \u00d7 (true kT)^{b:.3f}, in keV"
    top.set_title(f"Effect of the nominal calibration: {law}")
    legend_below(fig, top.get_legend_handles_labels()[0])
    log_axis(bottom, result.kT[0], result.kT[-1])
    bottom.set_xlabel("True temperature (keV)")
    return fig


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
    fig = figure(7.5, 3.6)
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
    fig.legend(loc="outside lower left")
    left.set_xlabel("Mode")
    left.set_xticks(np.arange(1, len(shown) + 1, 1 if len(shown) < 8 else 2))
    left.set_ylabel("Prior sd / measurement error")
    left.set_title("Significance of each mode")
    for i in range(min(most, len(shown))):
        right.plot(energy, 100 * found.shapes[i], ls=STYLES[i % len(STYLES)], color=colours[i], label=f"{i + 1}")
    right.axhline(0, color=COLOURS["before"], lw=1)
    right.set_ylabel("Change of ln φ for 1 prior sd (%)")
    right.set_xlabel("Energy (keV)")
    right.set_title("Shapes of the modes")
    right.legend(title="Mode", loc="center left", bbox_to_anchor=(1.0, 0.5))
    log_axis(right, energy[0], energy[-1])
    return fig


@styled
def stacked(found: Any, correction: Any = None) -> Figure:
    """Draw the stacked ratio with its bootstrap errors, the smooth factor, and phi(E) of an inference beside them.

    Parameters
    ----------
    found : StackedRatio
    correction : Correction, optional
        With draws.
    """
    fig = figure(7.0, 4.2)
    axes = fig.subplots()
    axes.axhline(1.0, color=COLOURS["before"], lw=1)
    if correction is not None:
        energy = np.asarray(correction.coordinate)
        inside = (energy >= found.energy_lo[0]) & (energy <= found.energy_hi[-1])
        band(axes, energy[inside], correction.draws[:, inside], colour=COLOURS["after"], label="φ(E) of the inference")
    low, high = np.quantile(found.phi_draws, [0.16, 0.84], axis=0)
    for edge, label in ((low, "smooth factor before folding, 68 %"), (high, None)):
        axes.plot(found.energy, edge, "--", color=COLOURS["truth"], lw=1.2, label=label)
    middle = np.sqrt(found.energy_lo * found.energy_hi)
    ends = np.stack([middle - found.energy_lo, found.energy_hi - middle])
    sides = np.abs(np.quantile(found.draws, [0.16, 0.84], axis=0) - found.ratio)
    axes.errorbar(
        middle, found.ratio, yerr=sides, xerr=ends, fmt="s", ms=4, color=INSTRUMENT_COLOURS[0],
        label=f"data / model of {found.telescopes[0]}, {found.sources} sources",
    )  # fmt: skip
    axes.set_ylabel(f"Ratio in {found.telescopes[1]}")
    axes.set_xlabel("Energy (keV)")
    legend_below(fig, axes.get_legend_handles_labels()[0], width=90)
    log_axis(axes, found.energy_lo[0], found.energy_hi[-1])
    return fig
