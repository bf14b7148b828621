"""Corner plot of a few parameters: densities on the diagonal, 68 and 95 % contours below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.core.rounding import decimals
from crosscal.plot.style import COLOURS, figure, styled

MAX_PARAMETERS = 12
#: Colours of the 95 and 68 % regions.
_FILL = ("#b8d6ea", "#5fa2cf")


@styled
def corner(
    draws: ArrayLike,
    labels: Sequence[str],
    *,
    truth: Mapping[str, float] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    title: str = "",
    bins: int = 80,
) -> Figure:
    """Draw a corner plot.

    Parameters
    ----------
    draws : array, shape (n_draws, n)
    labels : n names
    truth : mapping, optional
        Known values, drawn as lines.
    limits : mapping, optional
        Prior limits; drawn dashed where they fall inside the panel, and densities end there.
    title : str
    bins : int
        Cells along an axis. Densities are histograms smoothed by a Gaussian of Scott's (1992) bandwidth,
        n_draws^(-1/5) sd in one dimension and n_draws^(-1/6) sd in two, reflected at the ends.

    Raises
    ------
    InputError
        If the shapes disagree or there are more than 12 parameters.
    """
    values = np.asarray(draws, dtype=float)
    n = len(labels)
    if values.ndim != 2 or values.shape[1] != n or n == 0:
        raise InputError(f"draws of shape {values.shape}", where="corner plot", expected=f"(n_draws, {n})")
    if n > MAX_PARAMETERS:
        raise InputError(f"{n} parameters", where="corner plot", expected=f"at most {MAX_PARAMETERS}")
    # Four parameters fit a column of the report, more are shown over its full width.
    size = min(1.1 + 1.75 * n, max(7.5, 1.1 + 1.5 * n))
    fig = figure(size, size)
    axes = fig.subplots(n, n, squeeze=False)
    ranges = [_range(column) for column in values.T]
    spans = [_cut(ranges[k], (limits or {}).get(label), values[:, k]) for k, label in enumerate(labels)]
    for row in range(n):
        for column in range(n):
            panel = axes[row, column]
            if column > row:
                panel.set_axis_off()
                continue
            if row == column:
                _density(panel, values[:, row], spans[row], bins)
            else:
                _contours(panel, values[:, column], values[:, row], spans[column], spans[row], bins)
                panel.set_ylim(ranges[row])
            panel.set_xlim(ranges[column])
            _marks(panel, labels, row, column, truth or {}, limits or {}, ranges)
            _tidy(panel, labels, row, column, n)
    _key(fig, n, title, truth or {}, limits or {})
    return fig


def _key(fig: Figure, n: int, title: str, truth: Mapping, limits: Mapping) -> None:
    """Say what contours and lines are, in the empty corner of the figure (below a single panel)."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list = [Patch(color=_FILL[1], label="68 %"), Patch(color=_FILL[0], label="95 %")] if n > 1 else []
    if truth:
        handles.append(Line2D([], [], color=COLOURS["truth"], lw=1.2, label="true value"))
    if limits:
        handles.append(Line2D([], [], color=COLOURS["limit"], lw=1.0, ls="--", label="prior limit"))
    if n == 1:
        if title:
            fig.suptitle(title, fontsize=10)
        if handles:
            fig.legend(handles=handles, loc="outside lower center", ncols=2)
        return
    fig.legend(handles=handles, loc="upper right", title=title or None, title_fontsize=11, alignment="left")


def _range(column: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(column, [0.001, 0.999])
    pad = 0.08 * (high - low) or 1e-6 + 1e-3 * abs(high)
    return float(low - pad), float(high + pad)


def _cut(reach: tuple[float, float], limits: tuple[float, float] | None, column: NDArray) -> tuple[float, float]:
    """Return the range of a panel cut at the prior limits, where all draws are inside them."""
    if limits is None or column.min() < limits[0] or column.max() > limits[1]:
        return reach
    return max(reach[0], limits[0]), min(reach[1], limits[1])


def _bandwidth(x: NDArray, reach: tuple[float, float], bins: int, order: int) -> float:
    """Scott's bandwidth n^(-1/order) sd in cells, with the smaller of sd and the normal's quartile distance."""
    low, high = np.quantile(x, [0.25, 0.75])
    sd = min(float(np.std(x)), float(high - low) / 1.349 or np.inf)
    return max(sd * len(x) ** (-1 / order) / ((reach[1] - reach[0]) / bins), 0.8)


def _density(panel: Axes, x: NDArray, limits: tuple[float, float], bins: int) -> None:
    from scipy.ndimage import gaussian_filter1d

    counts, edges = np.histogram(x, bins=bins, range=limits, density=True)
    smooth = gaussian_filter1d(counts, _bandwidth(x, limits, bins, 5), mode="reflect")
    centres = 0.5 * (edges[1:] + edges[:-1])
    panel.fill_between(centres, smooth, color=COLOURS["after"], alpha=0.3, lw=0)
    panel.plot(centres, smooth, color=COLOURS["after"])
    panel.set_ylim(0, None)
    low, middle, high = np.quantile(x, [0.16, 0.5, 0.84])
    digits = decimals(0.5 * float(high - low)) or 0
    below, above = f"{middle - low:.{digits}f}", f"{high - middle:.{digits}f}"
    sides = f"\u00b1 {above}" if below == above else f"+{above} -{below}"
    panel.set_title(f"{middle:.{digits}f} {sides}".replace("-", "\u2212"), fontsize=9, loc="center")


def _contours(
    panel: Axes, x: NDArray, y: NDArray, x_range: tuple[float, float], y_range: tuple[float, float], bins: int
) -> None:
    from scipy.ndimage import gaussian_filter

    counts, x_edges, y_edges = np.histogram2d(x, y, bins=bins, range=(x_range, y_range))
    # A long thin posterior must not be smoothed across: what counts is the spread at a fixed other parameter.
    thin = np.sqrt(max(1 - np.corrcoef(x, y)[0, 1] ** 2, 0.01)) if np.ptp(x) > 0 and np.ptp(y) > 0 else 1.0
    width = [max(thin * _bandwidth(v, reach, bins, 6), 0.8) for v, reach in ((x, x_range), (y, y_range))]
    smooth = gaussian_filter(counts, width, mode="reflect")
    ordered = np.sort(smooth.ravel())[::-1]
    content = np.cumsum(ordered) / ordered.sum()
    inner = [float(ordered[min(int(np.searchsorted(content, p)), len(ordered) - 1)]) for p in (0.95, 0.68)]
    levels = sorted({*inner, float(smooth.max()) * 1.0001})
    if len(levels) < 3:
        panel.plot(x, y, ".", ms=2, color=COLOURS["after"])
        return
    x_mid, y_mid = 0.5 * (x_edges[1:] + x_edges[:-1]), 0.5 * (y_edges[1:] + y_edges[:-1])
    panel.contourf(x_mid, y_mid, smooth.T, levels=levels, colors=_FILL)
    panel.contour(x_mid, y_mid, smooth.T, levels=levels[:2], colors=[COLOURS["after"]], linewidths=0.9)


def _marks(panel: Axes, labels: Sequence[str], row: int, column: int, truth: Mapping, limits: Mapping, ranges) -> None:
    def inside(value: float, k: int) -> bool:
        return ranges[k][0] <= value <= ranges[k][1]

    x, y = labels[column], labels[row]
    if x in truth and inside(truth[x], column):
        panel.axvline(truth[x], color=COLOURS["truth"], lw=1.2)
    if row != column and y in truth and inside(truth[y], row):
        panel.axhline(truth[y], color=COLOURS["truth"], lw=1.2)
    for value in limits.get(x, ()):
        if inside(value, column):
            panel.axvline(value, color=COLOURS["limit"], lw=1.0, ls="--")
    if row != column:
        for value in limits.get(y, ()):
            if inside(value, row):
                panel.axhline(value, color=COLOURS["limit"], lw=1.0, ls="--")


def _tidy(panel: Axes, labels: Sequence[str], row: int, column: int, n: int) -> None:
    from matplotlib.ticker import MaxNLocator

    panel.grid(False)
    panel.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    panel.tick_params(labelsize=9)
    if row == n - 1:
        panel.set_xlabel(labels[column])
        panel.tick_params(axis="x", rotation=35)
    else:
        panel.set_xticklabels([])
    if row == column:
        panel.set_yticks([])
        panel.spines["left"].set_visible(False)
    else:
        panel.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
        if column == 0:
            panel.set_ylabel(labels[row])
        else:
            panel.set_yticklabels([])
