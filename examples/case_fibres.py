"""Case study: AAOmega frames of OzDES, each star calibrated by the others and compared with its DES photometry.

Needs CROSSCAL_DATA; EVERY (default 1) uses every n-th frame only:
``python -m examples.case_fibres docs/images/cases [EVERY]``.
"""

import os
import sys
from pathlib import Path

import numpy as np
from benchmarks.fluxcal_loo import night

from crosscal.core.robust import mad_sd
from crosscal.plot import COLOURS, figure, save_figures, styled


@styled
def main(directory, every=1):
    """Calibrate the red frames, print the residuals of left-out stars and draw them."""
    run = night(Path(os.environ["CROSSCAL_DATA"]), "red", every)
    found = run.statistics()
    print({key: round(float(value), 4) for key, value in found.items()})
    table = run.summary()
    grey, slope = (np.asarray(table[key], float) for key in ("loo_grey", "loo_slope"))
    used = np.isfinite(grey) & np.isfinite(slope)
    grey, slope = grey[used], slope[used]
    fig = figure(6.4, 3.6)
    for axes, values, unit, before in zip(
        fig.subplots(1, 2), (grey, slope), ("mag", "mag per 1000 \u00c5"), (0.22, 0.055), strict=True
    ):
        sd = mad_sd(values)
        edges = np.linspace(-4 * before, 4 * before, 33)
        axes.hist(values, edges, color=COLOURS["after"], alpha=0.8)
        for sign in (-1, 1):
            axes.axvline(
                sign * sd, ymax=0.7, color=COLOURS["after"], ls="--", label=f"CrossCal {sd:.3f}" if sign > 0 else None
            )
            axes.axvline(
                sign * before,
                ymax=0.7,
                color=COLOURS["truth"],
                ls=":",
                label=f"ratios {before:.3f}" if sign > 0 else None,
            )
        axes.set(xlabel=f"left-out star \u2212 DES ({unit})", ylabel="spectra")
        axes.set_ylim(0, 1.35 * axes.get_ylim()[1])
        axes.legend(loc="upper left", title="standard deviation")
    save_figures({"fibres": fig}, Path(directory), formats=("svg",))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
