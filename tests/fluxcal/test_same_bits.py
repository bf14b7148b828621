"""A calibration has the same bits however many threads BLAS has."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from crosscal import fluxcal
from crosscal.fluxcal.demo import demo_filters, demo_library, simulate


def digest() -> str:
    """A digest of everything that a calibration with stars held out gives."""
    truth = simulate(seed=5, n_stars=12, n_targets=4, n_pixels=1500)
    options = fluxcal.Options(fwhm=5.0, ebv=0.02)
    calibrator = fluxcal.Calibrator(truth.catalogue, demo_library(), demo_filters(), options)
    result = calibrator.calibrate(truth.frame)
    arrays = [result.curve.value, result.curve.modes, result.curve.variance, result.correction.covariance]
    arrays += [[s.rv, s.chi2, s.teff, s.scale] for s in result.stars] + [s.model for s in result.stars]
    arrays += [h.offset for h in result.held_out] + [result.apply().flux, result.apply().variance]
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


@pytest.mark.thorough
def test_processes_with_one_and_two_threads_give_the_same_bits():
    code = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_same_bits as t; t.told()"
    made = []
    for n in ("1", "2"):
        limits = {"OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n, "MKL_NUM_THREADS": n}
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **limits}, capture_output=True, text=True, check=True
        )
        made.append(done.stdout.split())
    if made[1][0] == "1":
        pytest.skip("BLAS has one thread on this machine")
    assert [threads for threads, _ in made] == ["1", "2"]
    assert made[0][1] == made[1][1]


def told() -> None:
    """Print the threads that this process's BLAS has, and the digest."""
    print(max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"), digest())
