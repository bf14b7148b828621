"""``python -m benchmarks._pairs N QUANTITY ...``: infer A, mu and sigma from N pairs, report CPU time and memory."""

from __future__ import annotations

import json
import os
import sys

import numpy as np

from benchmarks.record import cpu_seconds, peak_bytes


def main() -> None:
    """Infer and print one line of JSON."""
    os.environ["JAX_ENABLE_X64"] = "true"
    from crosscal import xray
    from crosscal.core.random import generator

    n, names = int(sys.argv[1]), tuple(sys.argv[2:])
    free = tuple(dict.fromkeys(("kT", "norm", *names)))
    design = xray.Gaussian.grid(A=(-0.15, 0.15, 5), mu=(0.7, 5.0, 13), sigma=(0.5, 2.0, 7))
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05, free=free)
    library = xray.build_library(
        xray.example_telescope("a"), model, design, kT=np.geomspace(1, 15, 16), counts=5e4, band=(0.7, 7.0)
    )
    emulator = xray.train(library, "spline", fresh=64).only(*names)
    kT = np.exp(generator(3, "temperatures").uniform(np.log(2.0), np.log(10.0), n))
    injected = {"A": 0.08, "mu": 1.8, "sigma": 0.9}
    pairs = xray.simulate_pairs(emulator, injected, kT, relative_error=0.05, seed=3)
    before = peak_bytes()
    seconds, result = cpu_seconds(lambda: xray.infer(pairs, emulator, seed=1))
    draws = {k: result.posterior_draws.draws(k) for k in injected}
    pulls = {k: round(float((np.mean(d) - injected[k]) / np.std(d)), 2) for k, d in draws.items()}
    sampled = bool(result.diagnostics.converged)
    report = {"seconds": seconds, "peak": peak_bytes(), "before": before, "converged": sampled}
    print(json.dumps(report | {"pulls": pulls}), flush=True)


if __name__ == "__main__":
    main()
