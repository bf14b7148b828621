"""Figures of what the inference stands on: slices of a library, errors of its emulator."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from crosscal.plot import COLOURS, figure, log_axis, styled

VIRIDIS = colormaps["viridis"]
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


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
    levels = [np.unique(theta[:, k]) for k in range(len(names))]
    centre = np.array([own[len(own) // 2] for own in levels])
    if varying:
        centre[varying[0]] = theta[:, varying[0]].max()
    spread = np.where(np.ptp(theta, axis=0) > 0, np.ptp(theta, axis=0), 1.0)
    modifier = found.modifier
    units = [""] * len(names) if modifier is None else [modifier.parameter(name).unit for name in names]
    values = np.nanmean(found.values(quantity), axis=2) / found.truth(quantity)[None, :] - 1.0
    n = max(len(varying), 1)
    fig = figure(1.5 + 2.9 * n, 4.0)
    panels = fig.subplots(1, n, squeeze=False, sharey=True)[0]
    for axes, k in zip(panels, varying, strict=False):
        chosen = levels[k][np.unique(np.linspace(0, len(levels[k]) - 1, lines).round().astype(int))]
        for i, level in enumerate(chosen):
            wanted = centre.copy()
            wanted[k] = level
            row = int(np.argmin(np.sum(((theta - wanted) / spread) ** 2, axis=1)))
            # A scale of colours, since the values have an order; its palest end would vanish on white.
            colour = VIRIDIS(0.9 * i / max(len(chosen) - 1, 1))
            style = STYLES[i % len(STYLES)]
            axes.plot(
                found.T_true, 100 * values[row], ls=style, color=colour, label=f"{level:.3g}".replace("-", "\u2212")
            )
        axes.axhline(0, color=COLOURS["before"], lw=1)
        held = ", ".join(f"{names[j]} = {centre[j]:.3g} {units[j]}".rstrip() for j in varying if j != k)
        axes.set_title(f"{names[k]} varies" + (f"\n{held}" if held else "").replace("-", "\u2212"), fontsize=9)
        label = f"{names[k]} ({units[k]})" if units[k] else names[k]
        axes.legend(title=label, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, fontsize=8)
        log_axis(axes, found.T_true[0], found.T_true[-1])
        axes.set_xlabel("True temperature (keV)")
    panels[0].set_ylabel(f"Bias of {quantity} (%)")
    return fig


@styled
def emulator(validation: Any) -> Figure:
    """Draw histograms of an emulator's errors on newly simulated points, in units of the smallest statistical error.

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
        axes.set_xlabel("Emulated \u2212 simulated (smallest σ)")
        axes.set_title(
            f"{validation.outputs[k]}\n99 %: {validation.percentile_99[k]:.2g} σ, max: {validation.maximum[k]:.2g} σ",
            fontsize=9,
        )
        for sign in (-1, 1):
            axes.axvline(sign * validation.percentile_99[k], color=COLOURS["limit"], ls="--", lw=1)
    fig.axes[0].set_ylabel(f"Points (of {len(validation.errors)} new ones)")
    return fig
