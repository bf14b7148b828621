"""Draw the four figures of the first page and the README from simulations: ``python tools/make_front_images.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import crosscal
from crosscal import concordance, fluxcal, lightcurves, xray
from crosscal.fluxcal.demo import demo_filters, simulate
from crosscal.plot import save_figures
from crosscal.xray.figures.results import area

FOLDER = Path(__file__).parents[1] / "docs" / "images"
#: Inches; the cards of the first page are 360 pixels wide, so that text of 10 points is shown at 8.
SIZE = (4.7, 3.9)


def telescope_area():
    """An injected error of an effective area and its posterior."""
    telescope = xray.example_telescope("b")
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    design = xray.Gaussian.grid(A=(-0.15, 0.15, 11), mu=(0.7, 5.0, 17), sigma=(0.5, 2.0, 9))
    library = xray.build_library(telescope, model, design, kT=np.geomspace(1.5, 14, 20), counts=5e4, band=(0.7, 7.0))
    emulator = xray.train(library, "spline")
    injected = {"A": 0.10, "mu": 1.8, "sigma": 0.9}
    pairs = xray.simulate_pairs(
        emulator, injected, kT=np.geomspace(2, 12, 40), relative_error=0.02, telescopes=("A", "B"), seed=2
    )
    result = xray.infer(pairs, emulator, seed=1)
    truth = emulator.factor(result.energy, [list(injected.values())])[0]
    return area(result.correction, response=telescope, injected=truth, prior=result.prior_factor, fitted=(0.7, 7.0))


def main() -> None:
    """Draw all."""
    crosscal.enable_x64()
    case = concordance.published_like("XCAL_hard", tau=0.05, seed=8)
    curves, _ = lightcurves.simulate(seed=11, codes=("A", "B", "C"), points=(90, 60, 40), lines=1)
    truth = simulate(seed=3)
    figures = {
        "xray": telescope_area(),
        "concordance": concordance.fit(case.data, tau=0.05).figures()["fluxes"],
        "lightcurves": lightcurves.intercalibrate(curves, systematic_error=True, seed=1).figures()[
            "calibrated_continuum"
        ],
        "fluxcal": fluxcal.calibrate(
            truth.frame, truth.catalogue, "demo", demo_filters(), fwhm=5.0, ebv=0.02
        ).figures()["curve"],
    }
    for figure in figures.values():
        figure.set_size_inches(*SIZE)
    save_figures(figures, FOLDER, formats=("png",))


if __name__ == "__main__":
    main()
