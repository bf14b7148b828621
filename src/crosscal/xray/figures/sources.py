"""Figures of the evidence: pairs of temperatures, spectra of one source and of all."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from crosscal.plot import COLOURS, figure, log_axis, styled
from crosscal.plot.style import SUPERSCRIPTS

#: More groups than this are joined for drawing, until a point has enough counts.
MOST_POINTS, ENOUGH = 300, 25.0
JOINED = f"data, grouped to {ENOUGH:g} counts per point"


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
    labels = {"kT": "Ratio of kT", "norm": "Ratio of norm", "Abundanc": "Difference of abundance (solar)"}
    for k, (axes, name) in enumerate(zip(panels, names, strict=True)):
        for which, colour, face, symbol, shift, label in (
            (before, COLOURS["before"], "white", "o", 1.0, "nominal calibration"),
            (after, COLOURS["after"], COLOURS["after"], "s", 1.012, "corrected (shifted to the right for clarity)"),
        ):
            if which is None:
                continue
            x = which.values[0, :, 0] * shift
            y, error = _compare(which, k, name)
            axes.errorbar(x, y, error, fmt=symbol, ms=4, mfc=face, lw=0.8, color=colour, label=label)
        axes.axhline(0.0 if name == "Abundanc" else 1.0, color=COLOURS["data"], lw=1)
        axes.set_ylabel(labels[name])
    # Handles of an error bar know their symbol only through the axes.
    fig.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
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
def spectrum_fit(fit: Any, *, title: str = "") -> Figure:
    """Draw one fitted spectrum: counts and model per keV and second, and residuals.

    Parameters
    ----------
    fit : FitResult
    """
    shown = _joined(fit.counts)
    lo, hi = fit.energy_lo[shown], fit.energy_hi[np.append(shown[1:], len(fit.counts)) - 1]
    counts, mean, background = (
        np.add.reduceat(values, shown) for values in (fit.counts, fit.expected + fit.background, fit.background)
    )
    x, width = 0.5 * (lo + hi), hi - lo
    unit = width * fit.exposure
    fig = figure(7.0, 5.2)
    top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    edges = np.append(lo, hi[-1])
    top.errorbar(x, counts / unit, np.sqrt(np.maximum(mean, 1)) / unit, width / 2, fmt=".", ms=2, lw=0.7,
                 color=COLOURS["data"], label="data" if len(shown) == len(fit.counts) else JOINED)  # fmt: skip
    top.stairs(mean / unit, edges, color=COLOURS["truth"], lw=1.4, baseline=None, label="model")
    if np.any(background > 0):
        top.stairs(
            background / unit, edges, color=COLOURS["before"], ls="--", lw=1.2, baseline=None, label="background"
        )
    top.set_yscale("log")
    positive = (mean / unit)[mean > 0]
    top.set_ylim(0.3 * positive.min(), 2.5 * positive.max())
    top.set_ylabel("Counts / s / keV")
    handles, labels = top.get_legend_handles_labels()
    # Handles of error bars come last, but the data are what is looked for first.
    top.legend([handles[-1], *handles[:-1]], [labels[-1], *labels[:-1]], loc="upper right")
    values = ", ".join(
        _value(n, v, fit.errors.get(n, np.nan), fit.model.parameter(n).unit) for n, v in fit.values.items()
    )
    top.set_title(f"{title}: {values}" if title else values, fontsize=9)
    bottom.axhline(0, color=COLOURS["truth"], lw=1)
    if len(shown) == len(fit.counts):
        residuals = fit.residuals
    else:
        residuals = (counts - mean) / np.sqrt(np.maximum(mean, 1e-25))
    bottom.plot(x, residuals, ".", ms=3, color=COLOURS["data"])
    reach = max(3.5, 1.1 * float(np.max(np.abs(residuals), initial=0.0)))
    bottom.set_ylim(-reach, reach)
    bottom.set_ylabel("Residual (σ)")
    bottom.set_xlabel("Energy (keV)")
    # Channel 0 may begin at 0 keV, or below.
    log_axis(bottom, lo[0] if lo[0] > 0 else x[x > 0][0], hi[-1])
    return fig


def _joined(counts: Any) -> Any:
    """Return where the points that are drawn begin: groups one by one, or joined where they would overlap."""
    if len(counts) <= MOST_POINTS:
        return np.arange(len(counts))
    widest = -(-len(counts) // MOST_POINTS)
    starts, total = [0], 0.0
    for k, value in enumerate(counts):
        if total >= ENOUGH and k - starts[-1] >= min(2, widest):
            starts.append(k)
            total = 0.0
        total += value
    return np.array(starts)


def _value(name: str, value: float, error: float, unit: str) -> str:
    """``kT = 6.03 ± 0.11 keV``, ``norm = (1.001 ± 0.009) × 10⁻²``: two digits of the error."""
    power = int(np.floor(np.log10(abs(value)))) if value and not 1e-2 <= abs(value) < 1e4 else 0
    value, error = value / 10.0**power, error / 10.0**power
    digits = max(0, 1 - int(np.floor(np.log10(error)))) if error > 0 else 3
    text = f"{value:.{digits}f} ± {error:.{digits}f}" if error > 0 else f"{value:.{digits}f}"
    if power:
        text = f"({text}) × 10{str(power).translate(SUPERSCRIPTS)}"
    return f"{name} = {text} {unit}".rstrip().replace("-", "\u2212")


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
    fig = figure(7.0, 4.0)
    axes = fig.subplots()
    for params, colour, face, symbol, label in (
        (before, COLOURS["before"], "white", "o", "nominal area"),
        (after, COLOURS["after"], COLOURS["after"], "s", "corrected area"),
    ):
        # The sources' parameters are those of the corrected fit: the difference is the calibration's alone.
        v, _ = model.conditional_mode(after)
        for block, mean in zip(model.data.blocks, model.expected(params, v), strict=True):
            if not block.corrected:
                continue
            counts, expected = block.counts.sum(axis=0), np.asarray(mean).sum(axis=0)
            if block.background is not None:
                expected = expected + (block.ratio * block.background).sum(axis=0)
            x = np.sqrt(block.lo * block.hi)
            error = np.sqrt(np.maximum(counts, 1)) / expected
            axes.errorbar(x, counts / expected, error, fmt=symbol, ms=4, mfc=face, lw=0.8, color=colour, label=label)
            label = ""
    axes.axhline(1, color=COLOURS["data"], lw=1)
    axes.set_ylabel("Counts / model, all sources")
    axes.set_xlabel("Energy (keV)")
    axes.set_title("Residuals of the corrected telescope")
    fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    log_axis(axes, *model.band)
    return fig
