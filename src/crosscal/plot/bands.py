"""Uncertainty bands around curves."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

#: Probability content of the drawn bands and their opacity.
LEVELS = {0.95: 0.18, 0.68: 0.34}


def quantile_band(draws: ArrayLike, level: float) -> tuple[Any, Any]:
    """Return the central interval (low, high) of draws (n_draws, n) at a probability level."""
    low, high = np.quantile(np.asarray(draws), [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return low, high


def band(axes: Axes, x: ArrayLike, draws: ArrayLike, *, colour: str, label: str = "", step: bool = False) -> None:
    """Draw into ``axes`` the median of ``draws`` (n_draws, n) against ``x`` with its 68 and 95 % bands.

    ``colour`` and ``label`` are those of the legend; ``step`` draws values that hold over bins.
    """
    kind: Any = "mid" if step else None
    for level, alpha in LEVELS.items():
        low, high = quantile_band(draws, level)
        axes.fill_between(np.asarray(x), low, high, color=colour, alpha=alpha, lw=0, step=kind)
    axes.plot(
        np.asarray(x),
        np.median(np.asarray(draws), axis=0),
        color=colour,
        label=f"{label} (68, 95 %)" if label else None,
        drawstyle="steps-mid" if step else "default",
    )


def envelope(axes: Axes, x: ArrayLike, centre: ArrayLike, sd: ArrayLike, *, colour: str, label: str = "") -> None:
    """Draw into ``axes`` the curve ``centre`` (n,) against ``x`` with 1 and 2 sigma bands from its ``sd`` (n,).

    ``colour`` and ``label`` are those of the legend.
    """
    x, centre, sd = np.asarray(x), np.asarray(centre), np.asarray(sd)
    for factor, alpha in ((1.96, 0.18), (1.0, 0.34)):
        axes.fill_between(x, centre - factor * sd, centre + factor * sd, color=colour, alpha=alpha, lw=0)
    axes.plot(x, centre, color=colour, label=f"{label} (68, 95 %)" if label else None)
