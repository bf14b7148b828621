"""Case study: the prior-influence tables of Chen et al. 2019 from surrogates of their data.

Needs CROSSCAL_DATA with the published tables: ``python -m examples.case_prior_influence docs/images/cases``.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.table import Table

import crosscal
from crosscal import concordance, datasets
from crosscal.plot import figure, instrument_style, save_figures, styled


def ours(name, tau, beta):
    """Return W and the exact influence D of each camera for the surrogate of one published table."""
    data = concordance.read_matrix(datasets.find(f"concordance/surrogate_{name}.csv"))
    found = concordance.fit(data, tau=tau, variance="unknown", df=1.5, beta=beta, route="gibbs", draws=5000, seed=2)
    table = found.summary()
    return {str(row["instrument"]).lower(): (float(row["W"]), float(row["D"])) for row in table}


@styled
def main(directory):
    """Fit the two surrogates at both prior widths, print the table and draw the figure."""
    crosscal.enable_x64()
    published = Table.read(datasets.find("concordance/published_prior_influence.csv"), format="ascii.csv")
    fig = figure(6.4, 4.2)
    axes = fig.subplots()
    worst = 0.0
    for k, (name, tau) in enumerate((n, t) for n in ("hard_XCAL", "medium_XCAL") for t in (0.025, 0.05)):
        rows = published[(published["dataset"] == name) & np.isclose(published["tau"], tau)]
        found = ours(name, tau, float(rows["beta_g"][0]))
        there = np.array([float(row["W_published"]) for row in rows])
        here = np.array([found[str(row["instrument"]).lower()] for row in rows])
        worst = max(worst, float(np.abs(here[:, 0] - there).max()))
        for row, w, (mine, exact) in zip(rows, there, here, strict=True):
            print(
                f"{name:12s} tau {tau:5.3f} {row['instrument']:5s} W published {w:.3f}, ours {mine:.3f}, D {exact:.3f}"
            )
        label = f"{name.replace('_', ' ')}, \u03c4 = {100 * tau:g} %"
        axes.plot(there, here[:, 0], ls="", markersize=7, label=label, **instrument_style(k) | {"marker": "os^D"[k]})
    limit = axes.get_xlim()[1]
    axes.plot([0, limit], [0, limit], color="#999999", lw=1, zorder=0)
    axes.set(xlabel="published prior influence W", ylabel="prior influence W from the surrogate", xlim=(0, limit))
    axes.legend()
    print(f"largest difference of W: {worst:.4f}")
    save_figures({"prior-influence": fig}, Path(directory), formats=("svg",))


if __name__ == "__main__":
    main(sys.argv[1])
