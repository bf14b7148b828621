"""Figures of an intercalibration: data before and after, residuals, and what the posterior says."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from crosscal.lightcurves.result import Intercalibration
from crosscal.plot import COLOURS, corner, envelope, figure, instrument_style, legend_below, styled, text

#: Corner plots hold at most this many telescopes, of two or more parameters each.
_PER_CORNER = 3
#: So many telescopes are named under the residuals.
_MOST_NAMED = 16
#: Above this many points, error bars would hide everything.
_CROWDED = 4000

CAPTIONS = {
    "calibrated": "Measured and calibrated fluxes with the reconstruction of the source (68 and 95 % bands).",
    "residuals": "Leave-one-out residuals in units of their standard deviation, and their histogram against N(0, 1).",
    "factors": "Scale and shift of each telescope with 68 and 95 % intervals, relative to the reference.",
    "overlap": "When each telescope observed; percentages: information on its scale from the other telescopes.",
    "corner": "Posterior of scale and shift; dashed lines are prior limits.",
    "process": "Posterior of the process of each light curve; dashed lines are prior limits.",
    "errors": "Posterior of systematic errors and error scales; dashed lines are prior limits.",
}


def figures(result: Intercalibration) -> dict[str, Figure]:
    """Return the figures by name, the most telling first."""
    found: dict[str, Figure] = {}
    for i, curve in enumerate(result.curves.files):
        tag = suffix(i, len(result.curves.files))
        found[f"calibrated{tag}"] = light_curve(result, i)
        if len(curve):
            found[f"residuals{tag}"] = residuals(result, i)
    found["factors"] = factors(result)
    found["overlap"] = coverage(result)
    found |= corners(result)
    return found


def captions(result: Intercalibration) -> dict[str, str]:
    """Return one sentence for each figure that there may be."""
    n = len(result.curves.files)
    tags = [suffix(i, n) for i in range(n)]
    names = [f"{kind}{tag}" for tag in tags for kind in ("calibrated", "residuals", "process", "errors")]
    names += [f"errors{tag}_{k}" for tag in tags for k in range(1, 50)]
    names += ["factors", "overlap", "corner", *(f"corner_{k}" for k in range(1, 50))]
    return {name: CAPTIONS[name.split("_")[0]] for name in names}


def suffix(i: int, n: int) -> str:
    """Return what the names of the figures of light curve ``i`` of ``n`` end in; nothing where it is the only one."""
    return "" if n == 1 else "_continuum" if i == 0 else f"_line{i}"


def _colour(k: Any) -> str:
    return str(instrument_style(k)["color"])


def _title(name: str) -> str:
    """A plain word begins a title with a capital; the name of a file stays as it is."""
    return name.capitalize() if name.isalpha() and name.islower() else name


def _flux_label(unit: str) -> str:
    return f"Flux ({unit})" if unit else "Flux"


def _points(panel: Axes, result: Intercalibration, i: int, values: NDArray, errors: NDArray, legend: bool) -> None:
    curve = result.curves.files[i]
    crowded = len(curve) > _CROWDED
    for c in np.flatnonzero(curve.counts):
        mine = curve.code == c
        label = text(f"{curve.codes[c]} ({mine.sum()})") if legend else None
        panel.errorbar(
            curve.time[mine], values[mine], None if crowded else errors[mine],
            linestyle="none", ms=1.5 if crowded else 3, lw=0.7, label=label, alpha=0.8,
            rasterized=crowded, **instrument_style(c),
        )  # fmt: skip


@styled
def light_curve(result: Intercalibration, i: int = 0) -> Figure:
    """Draw a light curve as measured, and calibrated with the reconstructed source."""
    curve, found, source = result.curves.files[i], result.curve(i), result.reconstruct(file=i)
    fig = figure(7.5, 6.4)
    top, bottom = fig.subplots(2, 1, sharex=True)
    _points(top, result, i, curve.flux, curve.error, legend=True)
    top.set_title(f"{_title(curve.name)} as measured")
    envelope(bottom, source.time, source.mean, source.sd, colour=COLOURS["before"], label="source")
    _points(bottom, result, i, found.flux, found.error, legend=False)
    bottom.set_title(f"Calibrated to {result.reference}")
    for panel in (top, bottom):
        panel.set_ylabel(_flux_label(curve.unit))
    bottom.set_xlabel(f"Time ({result.curves.time_unit})")
    telescopes, counts = top.get_legend_handles_labels()
    columns = 1 + int(len(counts) > 24)
    fig.legend(telescopes, counts, loc="outside right upper", ncols=columns, title="Telescope (points)")
    # The source goes below everything: the bottom panel may have no free place.
    legend_below(fig, [h for h in bottom.get_legend_handles_labels()[0] if "source" in str(h.get_label())])
    return fig


@styled
def residuals(result: Intercalibration, i: int = 0) -> Figure:
    """Draw standardised leave-one-out residuals against time and as a histogram."""
    curve, loo = result.curves.files[i], result.leave_one_out(i)
    fig = figure(7.5, 3.6)
    left, right = fig.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    for c in np.flatnonzero(curve.counts):
        mine = curve.code == c
        left.plot(
            curve.time[mine],
            loo.z[mine],
            ls="none",
            ms=2.5,
            alpha=0.8,
            label=text(curve.codes[c]),
            **instrument_style(c),
        )
    for level in (-5, 5):
        line = left.axhline(level, color=COLOURS["limit"], ls="--", lw=1, label="±5 standard deviations")
    z = loo.z[np.isfinite(loo.z)]
    reach = max(5.5, float(np.max(np.abs(z), initial=0.0)) * 1.05)
    bins = np.linspace(-reach, reach, int(np.clip(np.sqrt(len(z)) * 2, 12, 80)) + 1)
    right.hist(z, bins=bins, density=True, orientation="horizontal", color=COLOURS["after"], alpha=0.4)
    x = np.linspace(-reach, reach, 300)
    right.plot(np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), x, color=COLOURS["data"], lw=1.2, label="N(0, 1)")
    if curve.counts.astype(bool).sum() <= _MOST_NAMED:
        telescopes = left.get_legend_handles_labels()[0][:-2]
        fig.legend(handles=telescopes, loc="outside right upper", title="Telescope")
    legend_below(fig, [line, *right.get_legend_handles_labels()[0]])
    left.set_xlabel(f"Time ({result.curves.time_unit})")
    left.set_ylabel("Residual (standard deviations)")
    right.set_xlabel("Density")
    left.set_title(f"{_title(curve.name)}: leave-one-out residuals")
    return fig


@styled
def factors(result: Intercalibration) -> Figure:
    """Draw scale and shift of every telescope with intervals; crosses mark held values and limits hit."""
    f = result.factors
    seen = [c for c in range(len(f.codes)) if any(curve.counts[c] for curve in result.curves.files)]
    fig = figure(7.5, 1.6 + 0.32 * len(seen))
    panels = fig.subplots(1, 2, sharey=True)
    limits = result.diagnostics.limits
    for panel, draws, name, key in zip(
        panels, (f.scale, f.shift), ("Scale", "Shift"), ("log_scale", "shift"), strict=True
    ):
        for row, c in enumerate(seen):
            low2, low, mid, high, high2 = np.quantile(draws[:, c], [0.025, 0.16, 0.5, 0.84, 0.975])
            if high2 > low2:
                panel.plot([low2, high2], [row, row], color=_colour(c), lw=1.2)
                panel.plot([low, high], [row, row], color=_colour(c), lw=4, solid_capstyle="butt")
                panel.plot(mid, row, "o", ms=5, color=_colour(c), mec="white", mew=0.8)
            else:
                panel.plot(mid, row, "x", ms=6, color=COLOURS["before"])
            if f"{key}[{f.codes[c]}]" in limits:
                panel.annotate("at limit", (high2, row), xytext=(6, -4), textcoords="offset points", fontsize=8,
                               color=COLOURS["limit"])  # fmt: skip
        panel.axvline(1.0 if name == "Scale" else 0.0, color=COLOURS["before"], lw=0.8, ls=":")
        unit = result.curves.continuum.unit
        panel.set_xlabel(name if name == "Scale" or not unit else f"{name} ({unit})")
        panel.xaxis.set_major_locator(MaxNLocator(6))
    panels[0].set_yticks(range(len(seen)), [f.codes[c] for c in seen])
    panels[0].set_ylim(len(seen) - 0.4, -0.6)
    panels[0].set_title(f"Factors relative to {result.reference} (crosses: fixed)")
    return fig


@styled
def coverage(result: Intercalibration) -> Figure:
    """Draw when each telescope observed, coloured by connected group."""
    graph = result.diagnostics.overlap
    seen = np.flatnonzero(graph.component >= 0)
    fig = figure(7.5, 1.5 + 0.3 * len(seen))
    panel = fig.subplots()
    files = len(result.curves.files)
    for row, c in enumerate(seen):
        for i, curve in enumerate(result.curves.files):
            times = curve.time[curve.code == c]
            colour = _colour(int(graph.component[c]))
            place = row + 0.26 * (i - (files - 1) / 2)
            panel.vlines(times, place - 0.11, place + 0.11, color=colour, lw=0.8)
    share = result.diagnostics.ties.scale
    told = [f" ({100 * share[c]:.0f} %)" if np.isfinite(share[c]) else "" for c in seen]
    panel.set_yticks(range(len(seen)), [graph.codes[c] + more for c, more in zip(seen, told, strict=True)])
    panel.set_ylim(len(seen) - 0.4, -0.6)
    groups = int(graph.component.max()) + 1
    text = "all connected in time" if groups == 1 else f"{groups} groups that do not overlap (by colour)"
    panel.set_title(f"Coverage: {text}")
    unit = result.curves.time_unit
    order = "" if files == 1 else f"; rows, top to bottom: {', '.join(curve.name for curve in result.curves.files)}"
    panel.set_xlabel(f"Time ({unit})\npoints within {graph.window:.3g} {unit} overlap{order}")
    return fig


def corners(result: Intercalibration) -> dict[str, Figure]:
    """Return corner plots of scales and shifts, processes and error models, with prior limits."""
    found: dict[str, Figure] = {}
    lay, norm = result.model.layout, result.model.norm
    f, same = result.factors, result.reference == result.curves.codes[0]
    labels: list[str] = []
    columns: list[NDArray[np.float64]] = []
    limits: dict[str, tuple[float, float]] = {}

    def add(label: str, values: NDArray[np.float64], bounds: tuple[float, float] | None = None) -> None:
        if np.ptp(values) > 0:
            labels.append(label)
            columns.append(values)
            if bounds is not None and same:
                limits[label] = bounds

    def flush(name: str, title: str) -> None:
        if labels:
            found[name] = corner(np.stack(columns, axis=1), labels, limits=limits, title=title)
        labels.clear()
        columns.clear()
        limits.clear()

    unit = f"\n({result.curves.continuum.unit})" if result.curves.continuum.unit else ""
    free = [c for c in range(len(f.codes)) if np.ptp(f.scale[:, c]) > 0 or np.ptp(f.shift[:, c]) > 0]
    for first in range(0, len(free), _PER_CORNER):
        for c in free[first : first + _PER_CORNER]:
            to = norm.scale_to_physical()[c]
            place = lay.scale[c]
            add(f"scale {f.codes[c]}", f.scale[:, c], (np.exp(lay.low[place]) * to, np.exp(lay.high[place]) * to))
            place = lay.shift[c]
            C0 = norm.shift_to_physical
            add(f"shift {f.codes[c]}{unit}", f.shift[:, c], (lay.low[place] * C0, lay.high[place] * C0))
        flush(
            "corner" if len(free) <= _PER_CORNER else f"corner_{first // _PER_CORNER + 1}",
            f"relative to {result.reference}",
        )
    for i, name in enumerate(f.files):
        for k, parameter in enumerate(f.kernel_names):
            place = lay.kernel[i, k]
            offset = np.log(norm.factors[i, 0]) if parameter in ("log_sigma", "log_jitter") else 0.0
            add(
                parameter.replace("log_", "ln "), f.kernel[:, i, k], (lay.low[place] + offset, lay.high[place] + offset)
            )
        flush(f"process{suffix(i, len(f.files))}", name)
    for i, name in enumerate(f.files):
        slots = [(c, k) for c in range(len(f.codes)) for k in range(result.curves.n_flags)]
        used = [(c, k) for c, k in slots if np.ptp(f.syserr[:, i, c, k]) + np.ptp(f.errscale[:, i, c, k]) > 0]
        for first in range(0, len(used), _PER_CORNER):
            for c, k in used[first : first + _PER_CORNER]:
                tag = f.codes[c] + (f" flag {k}" if result.curves.n_flags > 1 else "")
                C = norm.factors[i, c]
                place = lay.syserr[i, c, k]
                add(f"added error {tag}{unit}", f.syserr[:, i, c, k], (lay.low[place] * C, lay.high[place] * C))
                place = lay.errscale[i, c, k]
                add(f"ln error factor {tag}", np.log(f.errscale[:, i, c, k]), (lay.low[place], lay.high[place]))
            page = "" if len(used) <= _PER_CORNER else f"_{first // _PER_CORNER + 1}"
            flush(f"errors{suffix(i, len(f.files))}{page}", f"errors of {name}")
    return found
