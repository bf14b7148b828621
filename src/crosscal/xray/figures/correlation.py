"""What remains uncertain of phi(E) together: the correlation between energies and its independent patterns."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from crosscal.plot import COLOURS, INSTRUMENT_COLOURS, figure, log_axis, styled
from crosscal.xray.figures.library import STYLES

# Energies at which phi varies less than this share of its largest sd are held: they correlate with nothing.
_HELD = 1e-3


@styled
def correlation(correction: Any, *, fitted: tuple[float, float] | None = None, most: int = 4) -> Figure:
    """Draw the correlation matrix of ln phi between energies, and the eigenvectors of its covariance.

    Parameters
    ----------
    correction : Correction
        With draws.
    fitted : (low, high), keV, optional
        The band of the data; energies outside it are left out.
    most : int
        Largest number of patterns.
    """
    energy = np.asarray(correction.coordinate)
    used = np.ones(energy.size, bool) if fitted is None else (energy >= fitted[0]) & (energy <= fitted[1])
    used = used if used.sum() > 2 else np.ones(energy.size, bool)
    energy = energy[used]
    covariance = np.atleast_2d(np.cov(np.log(np.maximum(np.asarray(correction.draws)[:, used], 1e-6)), rowvar=False))
    sd = np.sqrt(np.diag(covariance))
    held = sd <= _HELD * sd.max(initial=0.0)
    scale = np.where(held, np.nan, sd)
    matrix = covariance / (scale[:, None] * scale[None, :])
    fig = figure(7.5, 3.6)
    left, right = fig.subplots(1, 2, width_ratios=[1, 1.25])
    left.set_facecolor(COLOURS["before"])
    shown = left.pcolormesh(energy, energy, matrix, cmap="RdBu_r", vmin=-1, vmax=1, shading="nearest", rasterized=True)
    log_axis(left, energy[0], energy[-1])
    left.set(yscale="log", ylim=left.get_xlim(), xlabel="Energy (keV)", ylabel="Energy (keV)", aspect="equal")
    left.set_yticks(left.get_xticks(), [f"{t:g}" for t in left.get_xticks()])
    left.minorticks_off()
    left.grid(visible=False)
    left.set_title("Correlation of ln φ")
    bar = fig.colorbar(shown, ax=left, shrink=0.85, pad=0.03, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_label("Correlation (grey: held)" if held.any() else "Correlation")
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    share = values / max(values.sum(), 1e-300)
    right.axhline(0, color=COLOURS["before"], lw=1)
    for k in range(min(most, int(np.sum(share > 0.005)))):
        shape = 100 * np.sqrt(values[k]) * vectors[:, k]
        shape = shape * np.sign(shape[np.argmax(np.abs(shape))])
        label = f"{k + 1}: {100 * share[k]:.0f} %"
        right.plot(energy, shape, ls=STYLES[k % len(STYLES)], color=INSTRUMENT_COLOURS[k % 6], label=label)
    right.set_xlabel("Energy (keV)")
    right.set_ylabel("Change of ln φ (%)")
    right.set_title("Independent patterns, 1 sigma")
    right.legend(title="Share of variance", loc="center left", bbox_to_anchor=(1.0, 0.5))
    log_axis(right, energy[0], energy[-1])
    return fig
