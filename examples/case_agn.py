"""Case study: Mrk 335 and NGC 5548 as PyCALI's own test data have them, against PyCALI's stored posterior samples.

Needs CROSSCAL_DATA: ``python -m examples.case_agn docs/images/cases``.
"""

import json
import sys
from pathlib import Path

import numpy as np

import crosscal
from crosscal import datasets, lightcurves
from crosscal.lightcurves.compat.options import Options
from crosscal.plot import COLOURS, figure, save_figures, styled

CASES = {"mrk335": "Mrk 335", "ngc5548_contline": "NGC 5548"}


def posterior(case):
    """Return names, and mean and sd of ln scale of each telescope from PyCALI's samples and from ours."""
    path = datasets.find(f"lightcurves/pycali_reference/{case}/run.json")
    run = json.loads(Path(path).read_text())
    folder = Path(path).parent
    curves = lightcurves.read_pycali(folder / run["fcont"], [folder / name for name in run["fline"]])
    settings = Options.setup(fcont=run["fcont"], fline=run["fline"], **run["options"]).settings(curves)
    result = lightcurves.intercalibrate(curves, settings=settings, seed=1)
    stored = result.model.from_pycali(np.loadtxt(folder / "data" / "posterior_sample.txt"))
    layout = result.model.layout
    free = layout.scale[layout.free[layout.scale]]
    names = [str(curves.codes[k]) for k in np.flatnonzero(layout.free[layout.scale])]
    mine = result.draws.vectors[:, free]
    return names, stored[:, free], mine


@styled
def main(directory):
    """Sample both sources, print the comparison and draw the figure."""
    crosscal.enable_x64()
    fig = figure(6.4, 5.6)
    panels = fig.subplots(len(CASES), 1)
    for axes, (case, title) in zip(panels, CASES.items(), strict=True):
        names, stored, mine = posterior(case)
        sd = stored.std(axis=0)
        shift = np.abs(mine.mean(axis=0) - stored.mean(axis=0)) / sd
        change = np.abs(mine.std(axis=0) / sd - 1)
        print(f"{title}: {len(names)} scales; means within {shift.max():.2f} sd, sds within {100 * change.max():.0f} %")
        x = np.arange(len(names))
        for offset, draws, symbol, colour, label in (
            (-0.12, stored, "s", "before", "PyCALI 0.2.3"), (0.12, mine, "o", "after", "CrossCal")
        ):  # fmt: skip
            scale = np.exp(draws)
            axes.errorbar(x + offset, scale.mean(axis=0), scale.std(axis=0), ls="", marker=symbol, markersize=5,
                          color=COLOURS[colour], label=label)  # fmt: skip
        axes.set_xticks(x, names, rotation=30 if len(names) > 6 else 0, ha="right" if len(names) > 6 else "center")
        axes.set(title=title, ylabel="scale relative to the reference")
    panels[0].legend()
    save_figures({"agn": fig}, Path(directory), formats=("svg",))


if __name__ == "__main__":
    main(sys.argv[1])
