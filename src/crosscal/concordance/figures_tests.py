"""Figures that show what to trust: ratios, posteriors beside priors, residuals, results under two priors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from crosscal.concordance.chains import Draws
from crosscal.concordance.residual_tests import linear_data
from crosscal.concordance.result import ConcordanceFit
from crosscal.core.errors import InputError
from crosscal.plot import COLOURS, figure, instrument_style, legend_below, styled, text

Floats = NDArray[np.float64]
#: Larger problems have no matrix of ratios and fewer panels.
MOST_IN_MATRIX, MOST_PANELS, MOST_POINTS = 20, 24, 4000


def short_names(result: ConcordanceFit, most: int = 26) -> list[str]:
    """Names of the channels, cut where they are long."""
    return [text(n if len(n) <= most else n[: most - 1] + "…") for n in result.data.channel_names]


@styled
def ratio_matrix(result: ConcordanceFit) -> Figure:
    """Draw ln(A_i / A_k) with its standard deviation for all pairs of instruments, in percent (or units)."""
    data, parts = result.data, result.model.components
    size = 1.0 if data.additive else 100.0
    mean_b = np.where(result.model.prior.flat, 0.0, result.model.prior.mean)
    b = result.log_factor + mean_b
    n = data.n_channels
    same = (parts[:, None] == parts) & ~np.eye(n, dtype=bool)
    same &= np.array([band for _, band in data.channels])[:, None] == np.array([band for _, band in data.channels])
    mean = size * (b.mean(axis=0)[:, None] - b.mean(axis=0))
    covariance = np.cov(b, rowvar=False).reshape(n, n)
    variance = np.diag(covariance)
    sd = size * np.sqrt(np.maximum(variance[:, None] + variance - 2 * covariance, 0))
    fig = figure(2.6 + 0.62 * n, 1.9 + 0.5 * n)
    axes = fig.subplots()
    shown = np.where(same, mean, np.nan)
    reach = max(float(np.nanmax(np.abs(shown))) if same.any() else 1.0, 1e-9)
    image = axes.imshow(shown, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    for i, k in zip(*np.nonzero(same), strict=True):
        dark = abs(mean[i, k]) > 0.65 * reach
        label = f"{mean[i, k]:+.1f}\n±{sd[i, k]:.1f}".replace("-", "\u2212")
        axes.text(k, i, label, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    names = short_names(result, 14)
    axes.set_xticks(np.arange(n), names, rotation=45, ha="right")
    axes.set_yticks(np.arange(n), names)
    axes.grid(visible=False)
    axes.set_xlabel("Column: instrument in the denominator")
    axes.set_ylabel("Row: instrument in the numerator")
    unit = f"Row minus column ({data.flux_unit})" if data.additive else "100 ln(area of row / area of column)"
    fig.colorbar(image, ax=axes, label=unit)
    axes.set_title("Ratios of effective areas" if not data.additive else "Differences of instruments")
    return fig


@styled
def posteriors(result: ConcordanceFit) -> Figure:
    """Draw histograms of B - b of each instrument over its prior."""
    n = min(result.data.n_channels, MOST_PANELS)
    columns = min(n, 4)
    rows = -(-n // columns)
    fig = figure(2.1 * columns + 0.6, 1.7 * rows + 0.9)
    panels = np.atleast_1d(fig.subplots(rows, columns, squeeze=False)).ravel()
    size = 1.0 if result.data.additive else 100.0
    names, tau = short_names(result, 18), result.model.prior.tau
    for i, panel in enumerate(panels):
        if i >= n:
            panel.set_axis_off()
            continue
        values = size * result.log_factor[:, i]
        panel.hist(values, bins=40, density=True, histtype="stepfilled", color=COLOURS["after"], alpha=0.55)
        if np.isfinite(tau[i]):
            reach = max(2.5 * size * tau[i], 1.2 * float(np.abs(values).max()))
            x = np.linspace(-reach, reach, 200)
            density = np.exp(-0.5 * (x / (size * tau[i])) ** 2) / (np.sqrt(2 * np.pi) * size * tau[i])
            panel.plot(x, density, color=COLOURS["prior"], lw=1.5, ls="--")
        panel.axvline(0, color=COLOURS["data"], lw=0.8)
        panel.set_title(names[i], fontsize=9)
        panel.set_yticks([])
    unit = result.data.flux_unit
    label = f"B − b ({unit})" if result.data.additive else "100 (B − b)  (%)"
    for i in range(max(0, n - columns), n):
        panels[i].set_xlabel(label, fontsize=9)
    legend_below(
        fig,
        [
            Line2D([], [], color=COLOURS["after"], alpha=0.55, lw=8, label="posterior"),
            Line2D([], [], color=COLOURS["prior"], ls="--", lw=1.5, label="prior"),
        ],
    )
    return fig


def standardised(result: ConcordanceFit) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64], Floats | None]:
    """Residuals about the fit in standard deviations, channel, column and time of each measurement."""
    model, draws = result.model, result.posterior_draws
    s = draws.draws("sigma")[None] ** 2 if "sigma" in draws.names else None
    found = Draws(draws.draws("B")[None], s, flux_mean=result.flux_mean)
    data, variance = linear_data(model, found)
    b = draws.mean("B")
    r = data.log_rate + data.half * variance - b[data.row] - _flux_of(result, data)[data.column]
    if "drift" in draws.names and data.time is not None and result.data.time is not None:
        r = r - draws.mean("drift")[data.row] * (data.time - result.data.time.mean())
    return r / np.sqrt(variance), data.row.astype(np.int64), _positions(result, data)[data.column], data.time


def _positions(result: ConcordanceFit, data) -> NDArray[np.int64]:
    """Positions of the columns of ``data`` among those of the fit."""
    if data.n_columns == result.data.n_columns:
        return np.arange(data.n_columns)
    place = {column: k for k, column in enumerate(result.data.columns)}
    return np.array([place[column] for column in data.columns])


def _flux_of(result: ConcordanceFit, data) -> Floats:
    return result.flux_mean[_positions(result, data)]


@styled
def residuals(result: ConcordanceFit) -> Figure:
    """Draw standardised residuals against flux, and against time and energy band where the data have them."""
    data = result.data
    r, row, column, time = standardised(result)
    panels = ["flux"] + ["time"] * (time is not None) + ["band"] * (len(data.bands) > 1)
    fig = figure(7.0, 2.3 * len(panels) + 0.8)
    axes = fig.subplots(len(panels), 1, squeeze=False).ravel()
    picks = np.arange(len(r)) if len(r) <= MOST_POINTS else np.linspace(0, len(r) - 1, MOST_POINTS).astype(int)
    instruments = list(data.instruments)
    which = np.array([instruments.index(name) for name, _ in data.channels])[row]
    bands = np.array([data.bands.index(band) for _, band in data.channels])[row]
    for panel, kind in zip(axes, panels, strict=True):
        if kind == "flux":
            x = result.flux_mean[column] if data.additive else result.flux_mean[column] / np.log(10)
            unit = f" ({data.flux_unit})" if data.flux_unit else ""
            panel.set_xlabel(f"Value of the source{unit}" if data.additive else f"log10 of the concordance flux{unit}")
        elif kind == "time":
            assert time is not None
            x = time
            panel.set_xlabel("Time" + (f" ({data.time_unit})" if data.time_unit else ""))
        else:
            x = bands + 0.6 * (which / max(len(instruments) - 1, 1) - 0.5)
            panel.set_xticks(np.arange(len(data.bands)), [text(b) for b in data.bands])
            panel.set_xlabel("Energy band")
        for i in range(len(instruments)):
            own = picks[which[picks] == i]
            panel.plot(x[own], r[own], linestyle="none", ms=3, alpha=0.7, **instrument_style(i))
        panel.axhline(0, color=COLOURS["data"], lw=0.8)
        panel.set_ylabel("Residual (σ)")
    axes[0].set_title("Residuals about the concordance, in standard deviations")
    handles = []
    for i, name in enumerate(instruments[:40]):
        handles.append(Line2D([], [], ls="none", ms=4, label=text(name), **instrument_style(i)))
    legend_below(fig, handles, width=90)
    return fig


@styled
def overlay(results: Mapping[str, ConcordanceFit]) -> Figure:
    """Draw the adjustments of several fits of the same instruments, such as under tau = 0.025 and 0.05.

    Parameters
    ----------
    results : mapping of label to ConcordanceFit

    Raises
    ------
    InputError
        If the fits are of different instruments.
    """
    fits = list(results.values())
    names = fits[0].data.channel_names if fits else ()
    if not fits or any(fit.data.channel_names != names for fit in fits):
        raise InputError("fits of different instruments", where="overlay", expected="fits of the same instruments")
    fig = figure(6.6, 1.6 + 0.34 * len(names))
    axes = fig.subplots()
    y = np.arange(len(names))
    step = 0.56 / len(fits)
    size = 1.0 if fits[0].data.additive else 100.0
    handles = []
    for k, (label, fit) in enumerate(results.items()):
        place = y + (k - (len(fits) - 1) / 2) * step
        q = size * np.quantile(fit.log_factor, [0.025, 0.5, 0.975], axis=0)
        style = instrument_style(k)
        axes.hlines(place, q[0], q[2], color=style["color"], lw=1.5)
        axes.plot(q[1], place, linestyle="none", ms=5, **style)
        tau = size * fit.model.prior.tau
        known = np.isfinite(tau)
        for sign in (-1, 1):
            axes.plot(sign * tau[known], place[known], "|", color=style["color"], alpha=0.6, ms=8)
        handles.append(Line2D([], [], lw=1.5, ms=5, label=text(label), **style))
    handles.append(Line2D([], [], color=COLOURS["data"], marker="|", lw=0, ms=8, label="prior ±τ"))
    axes.set_yticks(y, short_names(fits[0]))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.axvline(0, color=COLOURS["data"], lw=0.8)
    axes.set_xlabel("Shift" if fits[0].data.additive else "100 (B − b): adjustment of ln area, with 95 % interval (%)")
    axes.set_title("The same data under different priors")
    legend_below(fig, handles, width=80)
    return fig
