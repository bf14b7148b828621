"""``python kill_case.py PATH EXECUTOR``: the library that test_kills.py interrupts and resumes."""

import sys

import numpy as np


def build(path, executor, **options):
    """Build (or resume) a library of 60 chunks of about 20 ms."""
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.examples import example_telescope
    from crosscal.xray.library.generate import build_library
    from crosscal.xray.modifiers.gaussian import Gaussian

    model = Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    design = Gaussian.grid(A=(-0.2, 0.2, 10), mu=(1.0, 6.0, 6), sigma=0.8)
    return build_library(
        example_telescope("a"), model, design, kT=np.geomspace(1, 12, 12), band=(0.7, 7.0), counts=2e4, noise="poisson",
        realisations=100, seed=3, store=path, chunk=1, executor=executor, **options,
    )  # fmt: skip


if __name__ == "__main__":
    print("started", flush=True)
    build(sys.argv[1], sys.argv[2], workers=2)
