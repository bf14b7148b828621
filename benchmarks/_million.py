"""``python -m benchmarks._million FOLDER N``: build a library of N x 20 x 10 points and report the peak memory."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.record import peak_bytes


def main() -> None:
    """Build and print one line of JSON."""
    from crosscal import xray
    from crosscal.xray.instrument.examples import example_telescope

    folder, n = Path(sys.argv[1]), int(sys.argv[2])
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    library = xray.build_library(
        example_telescope("a"), model, xray.Gaussian.scatter(n, A=(-0.2, 0.2), mu=(0.7, 7.0), sigma=(0.3, 2.0)),
        kT=np.geomspace(1.0, 15.0, 20), band=(0.7, 7.0), counts=5e4, noise="poisson", realisations=10, seed=1,
        store=folder / "million.zarr", executor="serial",
    )  # fmt: skip
    times = os.times()
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    points = int(np.prod([library.dataset.sizes[d] for d in ("theta", "T_true", "realisation")]))
    print(json.dumps({"peak": peak_bytes(), "points": points, "seconds": times.user + times.system, "bytes": size}))


if __name__ == "__main__":
    main()
