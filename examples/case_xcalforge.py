"""Case study: a library as XCalForge makes it, with Sherpa and XSPEC's apec and noise, rebuilt by CrossCal.

Needs CROSSCAL_DATA and the extra "peers": ``python -m examples.case_xcalforge docs/images/cases``.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from benchmarks._sherpa import SherpaTelescope, unpacked_atomdb

from crosscal import xray
from crosscal.plot import COLOURS, figure, save_figures, styled

AXES = {"A": np.array([-0.15, -0.05, 0.05, 0.15]), "mu": np.array([1.0, 2.0, 4.0]), "sigma": np.array([0.7, 1.4])}
KT = np.array([2.0, 4.0, 6.0, 8.0, 10.0])
BAND, COUNTS, FREE = (0.7, 7.0), 5e4, ("kT", "norm")


def made_by_hand(data, path, folder, *, noise):
    """Write ``library.h5``: one simulated spectrum with the modified area, one fit with the nominal area, at a time."""
    arf, rmf = data / "acisi_aimpt_cy18.arf", data / "acisi_aimpt_cy18.rmf.gz"
    telescope = SherpaTelescope(arf, rmf, unpacked_atomdb(data, folder), nH=0.05, redshift=0.05, band=BAND)
    rng = np.random.default_rng(1)
    response = xray.read_response(arf, rmf)
    inside = (response.channel_lo >= BAND[0]) & (response.channel_hi <= BAND[1])
    shape = (*(len(axis) for axis in AXES.values()), KT.size, 3)
    results = np.full(shape, np.nan)
    for index in np.ndindex(shape[:-1]):
        amplitude, mu, sigma = (axis[k] for axis, k in zip(AXES.values(), index[:3], strict=True))
        factor = 1 + amplitude * np.exp(-(((telescope.energy - mu) / sigma) ** 2))  # XCalForge leaves out the 1/2
        truth = {"kT": KT[index[3]], "Abundanc": 0.3, "norm": 1.0}
        expected = telescope.expected(truth, factor)
        norm = COUNTS / expected[inside].sum()
        counts = rng.poisson(expected * norm).astype(float) if noise else expected * norm
        found = telescope.fit(counts, {"kT": 4.0, "Abundanc": 0.3, "norm": norm}, FREE)["kT"]
        results[index] = 0.98 * found, found, 1.02 * found  # limits are not used here
    with h5py.File(path, "w") as file:
        for name, values in {**{f"PARAMS/{k}": v for k, v in AXES.items()}, "LIBRARY/temps": KT}.items():
            file[name] = values
        file["LIBRARY/results"] = results


@styled
def main(directory):
    """Make the library by hand, rebuild it, print the correlation and draw one against the other."""
    data = Path(os.environ["CROSSCAL_DATA"]) / "xray"
    libraries, seconds = [], []
    for noise in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "library.h5"
            start = time.process_time()
            made_by_hand(data, path, Path(folder), noise=noise)
            seconds.append(time.process_time() - start)
            libraries.append(xray.read_xcalforge(path))
    response = xray.read_response(data / "acisi_aimpt_cy18.arf", data / "acisi_aimpt_cy18.rmf.gz")
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05, interp="xspec", table=data)
    start = time.process_time()
    ours = xray.build_library(
        response, model, xray.Gaussian(convention="xcalforge").grid(**AXES), kT=KT, counts=COUNTS, band=BAND, free=FREE
    )
    mine = time.process_time() - start
    first, exact, second = (
        100 * (library.values("kT").reshape(-1, KT.size) / KT - 1) for library in (*libraries, ours)
    )
    for name, theirs in (("with noise", first), ("without noise", exact)):
        correlation = np.corrcoef(theirs.ravel(), second.ravel())[0, 1]
        *_, next_worst, worst = np.sort(np.abs(theirs - second).ravel())
        print(f"{first.size} points {name}: correlation of dT/T {correlation:.4f}", end="")
        print(f", largest differences {worst:.3f} and {next_worst:.3f} %")
    print(f"Sherpa with XSPEC {seconds[1]:.1f} CPU-s, CrossCal {mine:.1f} CPU-s with compilation")
    fig = figure(5.6, 4.6)
    axes = fig.subplots()
    for k, (kT, symbol) in enumerate(zip(KT, "os^Dv", strict=True)):
        colour = list(COLOURS.values())[k]
        axes.plot(first[:, k], second[:, k], symbol, markersize=5, color=colour, label=f"{kT:g} keV")
    limits = np.array(axes.get_xlim())
    axes.plot(limits, limits, color="#999999", lw=1, zorder=0)
    axes.set(
        xlabel="\u0394T/T with Sherpa and XSPEC, one noisy spectrum each (%)", ylabel="\u0394T/T with CrossCal (%)"
    )
    axes.legend(title="true temperature")
    save_figures({"xcalforge": fig}, Path(directory), formats=("svg",))


if __name__ == "__main__":
    main(sys.argv[1])
