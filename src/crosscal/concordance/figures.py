"""Figures of a concordance result: functions from a `ConcordanceFit` to a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from crosscal.concordance.figures_tests import MOST_IN_MATRIX, posteriors, ratio_matrix, residuals
from crosscal.concordance.result import ConcordanceFit
from crosscal.plot import COLOURS, figure, instrument_style, legend_below, styled, text

CAPTIONS = {
    "adjustments": "Adjustment of each effective area: median with 68 and 95 % intervals, over the prior's ±τ.",
    "fluxes": "Fluxes of some sources relative to their concordance flux, before and after the adjustment, with "
    "1 sigma of their noise; grey: the concordance flux's own 95 % interval, which all instruments share.",
    "agreement": "Scatter of the fluxes of each source over instruments, before and after the adjustment: source by "
    "source, and cumulative.",
    "variances": "Noise of each instrument: posterior, scatter about the concordance fluxes, and prior.",
    "influence": "Influence of the prior on each area: 1 means prior only, 0 data only. W assumes known fluxes.",
    "posteriors": "Posterior of each ln area relative to nominal over its prior.",
    "ratios": "Ratios of effective areas, 100 ln(A of the row / A of the column) with one standard "
    "deviation, as constrained by the data.",
    "residuals": "Residuals of single measurements about the concordance in standard deviations, against the flux of "
    "the source, and against time and energy band where the data have them.",
}
#: So many instruments are named under the fluxes.
MOST_NAMED = 40
#: Rows of one column of instruments.
MOST_ROWS = 60


def _names(result: ConcordanceFit) -> list[str]:
    return [name if len(name) <= 26 else name[:25] + "…" for name in result.data.channel_names]


def _rows(result: ConcordanceFit, width: float = 6.4) -> tuple[Figure, Any, np.ndarray]:
    n = min(result.data.n_channels, MOST_ROWS)
    fig = figure(width, 1.5 + 0.27 * n)
    axes = fig.subplots()
    y = np.arange(n)
    axes.set_yticks(y, _names(result)[:n])
    axes.set_ylim(n - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    return fig, axes, y


@styled
def adjustments(result: ConcordanceFit) -> Figure:
    """Draw exp(B - b) - 1 in percent per instrument with 68 and 95 % intervals, and the prior."""
    fig, axes, y = _rows(result)
    n = len(y)
    percent = 100 * (np.exp(result.log_factor[:, :n]) - 1)
    q = np.quantile(percent, [0.025, 0.16, 0.5, 0.84, 0.975], axis=0)
    tau = result.model.prior.tau[:n]
    reach = 1.15 * max(np.abs(q[[0, -1]]).max(), 1e-3)
    for i in range(n):
        if np.isfinite(tau[i]):
            low, high = 100 * np.expm1(-tau[i]), 100 * np.expm1(tau[i])
            axes.fill_betweenx([y[i] - 0.34, y[i] + 0.34], low, high, color=COLOURS["prior"], alpha=0.22, lw=0)
    axes.hlines(y, q[0], q[4], color=COLOURS["after"], lw=1.4)
    axes.hlines(y, q[1], q[3], color=COLOURS["after"], lw=4)
    axes.plot(q[2], y, "o", color="white", mec=COLOURS["after"], ms=5)
    axes.axvline(0, color=COLOURS["data"], lw=0.8)
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("Adjustment of the effective area (%)")
    axes.set_title("Adjustment of effective areas")
    legend_below(
        fig,
        [
            Line2D([], [], color=COLOURS["after"], marker="o", mfc="white", lw=4, label="posterior, 68 %"),
            Line2D([], [], color=COLOURS["after"], lw=1.4, label="95 %"),
            Line2D([], [], color=COLOURS["prior"], alpha=0.4, lw=8, label="prior ±τ"),
        ],
    )
    return fig


@styled
def fluxes(result: ConcordanceFit, most: int = 12) -> Figure:
    """Draw log fluxes of up to ``most`` sources by instrument, nominal and adjusted, about the concordance flux."""
    data = result.data
    seen = np.diff(data.indptr)
    candidates = np.flatnonzero(seen == seen.max()) if np.sum(seen > 1) >= 1 else np.arange(data.n_columns)
    chosen = candidates[np.linspace(0, len(candidates) - 1, min(most, len(candidates))).round().astype(int)]
    fig = figure(max(7.5, 2.0 + 0.07 * int(seen[chosen].sum())), 4.8)
    axes = fig.subplots(2, 1, sharex=True, sharey=True)
    prior_mean = np.where(result.model.prior.flat, 0.0, result.model.prior.mean)
    shift = result.log_factor.mean(axis=0)
    scale = _noise(result)
    for panel, title, offset in (
        (axes[0], "With the nominal areas", 0 * shift),
        (axes[1], "With the adjusted areas", shift),
    ):
        for k, j in enumerate(chosen):
            cells = slice(data.indptr[j], data.indptr[j + 1])
            row = data.row[cells]
            value = (
                data.log_rate[cells]
                + data.half * scale[cells] ** 2
                - prior_mean[row]
                - offset[row]
                - result.flux_mean[j]
            )
            place = k + (np.arange(len(row)) - (len(row) - 1) / 2) * 0.7 / max(len(row), 1)
            for x, v, e, i in zip(place, value, scale[cells], row, strict=True):
                panel.errorbar(x, 100 * v, 100 * e, linestyle="none", ms=3.5, lw=1, **instrument_style(i))
            width = 1.96 * 100 * result.flux_sd[j]
            panel.fill_between([k - 0.42, k + 0.42], -width, width, color=COLOURS["before"], alpha=0.3, lw=0)
        panel.axhline(0, color=COLOURS["data"], lw=0.8)
        panel.set_title(title)
        panel.grid(axis="x", visible=False)
    labels = [(name if len(name) <= 12 else name[:11] + "…", band) for name, band in (data.columns[j] for j in chosen)]
    short = [f"{name} [{band}]" if len(data.bands) > 1 else name for name, band in labels]
    axes[1].set_xticks(
        np.arange(len(chosen)),
        short,
        rotation=30 if len(chosen) > 5 else 0,
        ha="right" if len(chosen) > 5 else "center",
    )
    fig.supylabel("Flux relative to concordance (%)", fontsize=10)
    shown = np.unique(data.row[np.isin(data.column, chosen)])[:MOST_NAMED]
    handles = [Line2D([], [], lw=1, ms=4, label=text(_names(result)[i]), **instrument_style(i)) for i in shown]
    handles.append(Line2D([], [], color=COLOURS["before"], alpha=0.4, lw=8, label="concordance, 95 %"))
    legend_below(fig, handles, width=round(15 * fig.get_figwidth()))
    return fig


def _noise(result: ConcordanceFit) -> np.ndarray:
    """Posterior mean of each cell's noise sd in ln."""
    model, data = result.model, result.data
    if model.poisson:
        assert data.counts is not None
        return 1 / np.sqrt(np.maximum(data.counts, 1))
    s = np.zeros(data.n_channels)
    if "sigma" in result.posterior_draws.names:
        s = (result.posterior_draws.draws("sigma") ** 2).mean(axis=0)
    scale = model.variance.cells(data, s)
    if model.noise == "log-t":
        # Scale of the Student-t error.
        scale = scale * model.stretch / model.nu
    return np.sqrt(scale)


@styled
def agreement(result: ConcordanceFit) -> Figure:
    """Draw the scatter over instruments of each source's log flux before and after, and its distribution."""
    before, after = result.spreads()
    good = np.isfinite(before)
    fig = figure(7.5, 3.6)
    left, right = fig.subplots(1, 2, width_ratios=(1, 1))
    if not good.any():
        left.text(0.5, 0.5, "no source was observed by two instruments", ha="center", transform=left.transAxes)
        right.set_axis_off()
        return fig
    x, y = 100 * before[good], 100 * after[good]
    top = 1.05 * max(x.max(), y.max(), 1e-6)
    left.plot([0, top], [0, top], color=COLOURS["data"], lw=0.8)
    left.plot(x, y, "o", ms=3.5, color=COLOURS["after"], alpha=0.6, mew=0)
    left.set(xlabel="Scatter, nominal areas (%)", ylabel="Scatter, adjusted areas (%)", xlim=(0, top), ylim=(0, top))
    left.set_title("Scatter before and after adjustment")
    for values, colour, label in ((x, COLOURS["before"], "before"), (y, COLOURS["after"], "after")):
        ordered = np.sort(values)
        right.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", color=colour, label=label)
    right.set(xlabel="Scatter of a source's fluxes (%)", ylabel="Fraction of sources below", xlim=(0, top), ylim=(0, 1))
    right.legend(loc="lower right")
    right.set_title("All sources")
    return fig


@styled
def variances(result: ConcordanceFit) -> Figure:
    """Draw sigma per instrument: posterior, scatter of the residuals, and the prior median."""
    fig, axes, y = _rows(result)
    n, data = len(y), result.data
    residual = data.log_rate - result.posterior_draws.mean("B")[data.row] - result.flux_mean[data.column]
    if "drift" in result.posterior_draws.names:
        assert data.time is not None
        residual = residual - result.posterior_draws.mean("drift")[data.row] * (data.time - data.time.mean())
    usable = np.isfinite(residual)
    counts = np.bincount(data.row[usable], minlength=data.n_channels)
    residual = np.where(usable, residual, 0.0)
    centre = np.bincount(data.row, residual, data.n_channels) / np.maximum(counts, 1)
    scatter = np.sqrt(
        np.bincount(data.row, usable * (residual - centre[data.row]) ** 2, data.n_channels) / np.maximum(counts, 1)
    )
    handles = [Line2D([], [], color=COLOURS["before"], marker="D", lw=0, ms=5, label="scatter about concordance")]
    axes.plot(100 * scatter[:n], y, "D", color=COLOURS["before"], ms=5)
    if "sigma" in result.posterior_draws.names:
        q = 100 * np.quantile(result.posterior_draws.draws("sigma")[:, :n], [0.025, 0.16, 0.5, 0.84, 0.975], axis=0)
        axes.hlines(y, q[0], q[4], color=COLOURS["after"], lw=1.4)
        axes.hlines(y, q[1], q[3], color=COLOURS["after"], lw=4)
        axes.plot(q[2], y, "o", color="white", mec=COLOURS["after"], ms=5)
        model = result.model.variance
        from scipy.stats import invgamma

        median = 100 * np.sqrt(invgamma.median(model.df[:n], scale=model.beta[:n]))
        axes.plot(median, y, "|", color=COLOURS["prior"], ms=12, mew=2)
        label = "σ (excess), 68 and 95 %" if model.kind == "quoted+excess" else "σ, 68 and 95 %"
        handles += [
            Line2D([], [], color=COLOURS["after"], marker="o", mfc="white", lw=4, label=label),
            Line2D([], [], color=COLOURS["prior"], marker="|", lw=0, ms=12, mew=2, label="prior median"),
        ]
    if data.variance is not None and not result.model.poisson:
        quoted = np.array([np.median(data.variance[data.row == i]) for i in range(n)])
        axes.plot(100 * np.sqrt(quoted), y, "x", color=COLOURS["data"], ms=6)
        handles.append(Line2D([], [], color=COLOURS["data"], marker="x", lw=0, ms=6, label="median quoted error"))
    axes.set_xlim(left=0)
    axes.set_xlabel("Noise of one log flux (%)")
    axes.set_title("Noise of each instrument")
    legend_below(fig, handles, width=80)
    return fig


@styled
def influence(result: ConcordanceFit) -> Figure:
    """Draw the published prior weight W and the exact own sensitivity D_ii per instrument."""
    fig, axes, y = _rows(result)
    n = len(y)
    axes.hlines(y, result.prior_weight[:n], np.diag(result.influence)[:n], color=COLOURS["before"], lw=1)
    axes.plot(
        result.prior_weight[:n], y, "s", color=COLOURS["before"], ms=6, label="W (published, assumes known fluxes)"
    )
    axes.plot(np.diag(result.influence)[:n], y, "o", color=COLOURS["after"], ms=6, label="D (exact)")
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel("Weight of the prior in the posterior mean of ln area")
    axes.set_title("Influence of the prior")
    legend_below(fig, axes.get_legend_handles_labels()[0], width=90)
    return fig


def _drawers(result: ConcordanceFit) -> dict[str, Callable[[ConcordanceFit], Figure]]:
    """The functions that draw a result, in the order in which their figures should be seen."""
    model = result.model
    found: dict[str, Callable[[ConcordanceFit], Figure]] = {"adjustments": adjustments}
    if not model.in_flux:
        found |= {"fluxes": fluxes, "agreement": agreement}
    if 1 < result.data.n_channels <= MOST_IN_MATRIX:
        found["ratios"] = ratio_matrix
    found["posteriors"] = posteriors
    if not model.poisson and not model.varying:
        found["residuals"] = residuals
    found["influence"] = influence
    if not model.poisson and not model.in_flux:
        found["variances"] = variances
    return found


def figures(result: ConcordanceFit) -> dict[str, Figure]:
    """All figures by name, in the order they should be seen."""
    return {name: draw(result) for name, draw in _drawers(result).items()}


def captions(result: ConcordanceFit) -> dict[str, str]:
    """The sentences under the figures."""
    return {name: CAPTIONS[name] for name in _drawers(result)}
