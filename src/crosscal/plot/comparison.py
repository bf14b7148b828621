"""Two corrections of the same thing, one above the other's difference."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crosscal.core.correction import Comparison, Correction
from crosscal.core.errors import InputError
from crosscal.plot.bands import LEVELS
from crosscal.plot.style import COLOURS, INSTRUMENT_COLOURS, figure, log_axis, styled, text


@styled
def comparison(compared: Comparison, names: tuple[str, str] = ("A", "B")) -> Figure:
    """Draw both corrections with their 68 and 95 % intervals, and below ln(A / B) with its own.

    Parameters
    ----------
    compared : Comparison
    names : (str, str)
        How the two are called in the legend.
    """
    numeric = compared.first.numeric
    fig = figure(6.4 if numeric else max(4.5, 1.5 + 0.6 * compared.coordinate.size), 5.4)
    top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    x = np.asarray(compared.coordinate if numeric else range(compared.coordinate.size), dtype=float)
    pair = zip((compared.first, compared.second), names, ("after", "truth"), (-0.1, 0.1), strict=True)
    for correction, name, colour, offset in pair:
        _draw(top, x, correction, name, COLOURS[colour], 0.0 if numeric else offset)
    top.axhline(1, color="0.5", lw=0.8)
    top.set_ylabel("Factor")
    # Above the panel, where it hides no curve.
    top.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    _difference(bottom, x, compared, numeric)
    bottom.axhline(0, color="0.5", lw=0.8)
    bottom.set_ylabel(f"ln({names[0]} / {names[1]})" if max(map(len, names)) < 12 else "ln ratio")
    unit = f" ({compared.first.unit})" if compared.first.unit else ""
    if numeric:
        bottom.set_xlabel(f"{compared.first.axis.capitalize()}{unit}")
        if x[0] > 0 and x[-1] / x[0] > 5:
            log_axis(bottom, x[0], x[-1])
    else:
        bottom.set_xticks(x, [str(c) for c in compared.coordinate], rotation=90 if x.size > 5 else 0)
        bottom.set_xlabel(compared.first.axis.capitalize())
    return fig


@styled
def plot_correction(correction: Correction, ax: Axes | None = None, *, label: str = "", colour: str = "") -> Axes:
    """Draw one correction with its 68 and 95 % intervals into axes, or into those of a new figure.

    Parameters
    ----------
    correction : Correction
    ax : Axes, optional
    label : str
        Of the legend; by default the target.
    colour : str
        By default the next colour of the axes; corrections against names are set side by side.

    Raises
    ------
    InputError
        If the axes hold a correction against another coordinate, or of other names.
    """
    axes = figure(6.4, 4.0).subplots() if ax is None else ax
    numeric, unit = correction.numeric, f" ({correction.unit})" if correction.unit else ""
    wanted = f"{correction.axis.capitalize()}{unit}"
    if axes.get_xlabel() not in ("", wanted):
        raise InputError(
            f"the axes are against {axes.get_xlabel()}", where="Correction.plot", expected=f"axes against {wanted}"
        )
    number = len(axes.get_legend_handles_labels()[0])
    names = [str(c) for c in correction.coordinate]
    x = np.asarray(correction.coordinate if numeric else np.arange(len(names)), dtype=float)
    if not numeric and number and [t.get_text() for t in axes.get_xticklabels()] != names:
        raise InputError("the axes show other names", where="Correction.plot", expected=", ".join(names))
    shown = colour or INSTRUMENT_COLOURS[number % len(INSTRUMENT_COLOURS)]
    _draw(axes, x, correction, label or correction.target or "correction", shown, 0.0 if numeric else 0.12 * number)
    axes.set(xlabel=wanted, ylabel="Factor")
    if not numeric:
        axes.set_xticks(x, names, rotation=90 if len(names) > 5 else 0)
    elif x[0] > 0 and x[-1] / x[0] > 5:
        log_axis(axes, x[0], x[-1])
    if not number:
        axes.axhline(1, color="0.5", lw=0.8)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return axes


def _draw(axes: Axes, x: NDArray[np.float64], correction: Correction, name: str, colour: str, offset: float) -> None:
    label = text(f"{name} (68, 95 %)")
    if correction.numeric:
        for level, alpha in LEVELS.items():
            axes.fill_between(x, *correction.interval(level), color=colour, alpha=alpha, lw=0)
        axes.plot(x, correction.factor, color=colour, label=label)
        return
    for level, width in ((0.95, 1.0), (0.68, 3.0)):
        axes.vlines(x + offset, *correction.interval(level), color=colour, lw=width)
    axes.plot(x + offset, correction.factor, "o", color=colour, ms=4, label=label)


def _difference(axes: Axes, x: NDArray[np.float64], compared: Comparison, numeric: bool) -> None:
    colour = COLOURS["data"]
    if numeric:
        for factor, alpha in ((1.96, 0.18), (1.0, 0.34)):
            low, high = compared.log_ratio - factor * compared.sd, compared.log_ratio + factor * compared.sd
            axes.fill_between(x, low, high, color=colour, alpha=alpha, lw=0)
        axes.plot(x, compared.log_ratio, color=colour)
        return
    axes.errorbar(x, compared.log_ratio, 1.96 * compared.sd, fmt="none", ecolor=colour, elinewidth=1.0)
    axes.errorbar(x, compared.log_ratio, compared.sd, fmt="o", color=colour, ms=4, elinewidth=3.0)
