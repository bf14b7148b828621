"""Peak memory of the longest job of each part, each in a process of its own: ``python -m benchmarks memory``.

The peak is the largest resident set of the process and of any of its workers; what Python and the compilers need before
the first number is part of it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import record
from benchmarks.record import Record

#: Case: (part, what is run, ceiling in GB). The ceilings are those of a laptop: two such jobs fit into 8 GB.
CASES = {
    "library": ("xray", "library of 1e6 fits into a store", 2.0),
    "concordance": ("concordance", "100 instruments x 1e5 sources, 10 % filled, Gibbs", 2.0),
    "lightcurves": ("lightcurves", "light curves of 1e5 points, 4 telescopes, all results", 2.0),
    "fluxcal": ("fluxcal", "the frames of examples/fluxcal_ozdes.toml", 2.0),
}


def records(quick: bool) -> list[Record]:
    """Run every case in a child and report its peak."""
    found = []
    for case, (part, what, ceiling) in CASES.items():
        name = f"peak memory: {what}{' (a tenth)' if quick else ''}"
        if case == "fluxcal" and not os.environ.get("CROSSCAL_DATA"):
            found.append(Record(name, part, None, "GB", note="skipped: CROSSCAL_DATA is not set"))
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "benchmarks.memory", case, folder, str(int(quick))]
            done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            note = (done.stderr.strip().splitlines() or ["?"])[-1]
            found.append(Record(name, part, None, "GB", goal=f"< {ceiling:g}", passed=False, note=note[:200]))
            continue
        told = json.loads(done.stdout.splitlines()[-1])
        peak = told["peak"] / 1e9
        note = f"{told['seconds']:.0f} s; {told['idle'] / 1e9:.2f} GB with the data in memory before the job"
        found.append(Record(name, part, peak, "GB", goal=f"< {ceiling:g}", passed=peak < ceiling, note=note))
    return found


def peak_bytes() -> int:
    """Largest resident set of this process and of the children it has waited for."""
    return max(record.peak_bytes(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)


def library(folder: Path, scale: float) -> int:
    """Fit ``1e6 scale`` simulated spectra into a store."""
    from crosscal import xray
    from crosscal.xray.instrument.examples import example_telescope

    idle = peak_bytes()
    xray.build_library(
        example_telescope("a"), xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05),
        xray.Gaussian.scatter(round(5000 * scale), A=(-0.2, 0.2), mu=(0.7, 7.0), sigma=(0.3, 2.0)),
        kT=np.geomspace(1.0, 15.0, 20), band=(0.7, 7.0), counts=5e4, noise="poisson", realisations=10, seed=1,
        store=folder / "library.zarr", executor="serial",
    )  # fmt: skip
    return idle


def concordance(folder: Path, scale: float) -> int:
    """Sample the areas of 100 instruments from ``1e5 scale`` sources, and write everything."""
    from crosscal.concordance import fit, simulate

    m = round(100_000 * scale)
    case = simulate(100, m, tau=0.05, sigma=np.linspace(0.02, 0.1, 100), filled=0.1, seed=1)
    idle = peak_bytes()
    fit(case.data, tau=0.05, draws=300, warmup=100, chains=2, leave_one_out=False, predictive=0, seed=1).write(folder)
    return idle


def lightcurves(folder: Path, scale: float) -> int:
    """Intercalibrate ``1e5 scale`` points of four telescopes, and write everything."""
    from crosscal.lightcurves import intercalibrate, simulate

    curves, _ = simulate(seed=1, codes=tuple("ABCD"), points=round(25_000 * scale), span=1e5 * scale, tau=100.0)
    idle = peak_bytes()
    intercalibrate(curves, seed=1, draws=500).write(folder)
    return idle


def fluxcal(folder: Path, scale: float) -> int:
    """Run the example on real frames; it has one size."""
    import crosscal

    idle = peak_bytes()
    crosscal.run(Path(__file__).parents[1] / "examples" / "fluxcal_ozdes.toml", output=folder / "run")
    return idle


def main(case: str, folder: str, quick: str) -> None:
    """Run one case and print one line of JSON."""
    start = time.perf_counter()
    idle = globals()[case](Path(folder), 0.1 if int(quick) else 1.0)
    print(json.dumps({"peak": peak_bytes(), "idle": idle, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main(*sys.argv[1:])
