"""Case study: an effective area that is 5 % too small at 5 keV, and what it does to temperatures of clusters.

Needs no data: ``python -m examples.case_ramp docs/images/cases``.
"""

import sys
from pathlib import Path

import numpy as np

from crosscal import xray
from crosscal.plot import COLOURS, figure, save_figures, styled
from crosscal.xray.correction.bias import fitted_bias

KT = np.array([2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0])
#: Wallbank et al. 2022: NuSTAR against Chandra at 10 keV, broad and hard band, per cent and 1 sigma.
WALLBANK = {"broad band": (-10.5, 3.7), "hard band": (-15.7, 4.6)}
#: The published temperature relations at 10 keV, per cent, with the band of our fits.
PUBLISHED = {(0.7, 7.0): -8.9, (0.5, 7.0): -10.1}


def ramp(energy):
    """Return the true area over the one that was assumed, 1 at 1 keV and 1 / 1.05 at 5 keV."""
    return np.asarray(energy)[None] ** -(np.log(1.05) / np.log(5.0))


@styled
def main(directory):
    """Fit, print the table and draw the figure."""
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    fig = figure(6.4, 4.2)
    axes = fig.subplots()
    for (band, published), symbol, colour in zip(PUBLISHED.items(), "os", ("after", "trusted"), strict=True):
        means = []
        for name in ("a", "b"):
            bias = fitted_bias(xray.example_telescope(name), model, ramp, KT, band)
            means.append(100 * (bias.ratio[0] - 1))
        at = int(np.flatnonzero(KT == 10.0)[0])
        ours = ", ".join(f"{mean[at]:.1f}" for mean in means)
        print(f"{band[0]} to {band[1]} keV: published {published:.1f} %, telescopes A and B {ours} %")
        label = f"fits from {band[0]} to {band[1]:.0f} keV"
        axes.plot(KT, means[1], marker=symbol, markersize=5, color=COLOURS[colour], label=label)
        axes.plot(10.0, published, marker=symbol, markersize=10, mfc="none", ls="", color=COLOURS["truth"],
                  label=f"published relation, {published:.1f} %".replace("-", "\u2212"))  # fmt: skip
    for (band, (value, sd)), x in zip(WALLBANK.items(), (10.25, 10.45), strict=True):
        axes.errorbar(x, value, sd, marker="D", markersize=4, ls="", color=COLOURS["prior"],
                      alpha=1.0 if band == "broad band" else 0.6, label=f"NuSTAR/Chandra, {band} (2022)")  # fmt: skip
    axes.set(xlabel="true temperature (keV)", ylabel="bias of the fitted temperature (%)")
    axes.legend(loc="lower left")
    save_figures({"ramp": fig}, Path(directory), formats=("svg",))


if __name__ == "__main__":
    main(sys.argv[1])
