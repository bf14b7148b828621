"""A library of 1000 theta x 20 T x 10 noise x 2 fits against Sherpa with XSPEC's apec on a sample of the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._sherpa import SherpaTelescope, unpacked_atomdb
from benchmarks.record import Record, cpu_seconds

PART = "xray"
BAND, COUNTS, NH, Z, REDSHIFT = (0.7, 7.0), 5e4, 0.05, 0.3, 0.05
KT = np.geomspace(1.0, 15.0, 20)
REALISATIONS = 10
PEER = "Sherpa + XSPEC apec"


def records(quick: bool) -> list[Record]:
    """Run the library and the baseline."""
    data = _data()
    if data is None:
        return [Record("library", PART, None, "CPU-s", note="skipped: CROSSCAL_DATA is not set")]
    out, library, seconds = _library(data, quick)
    out += _quality(library)
    out += _baseline(data, library, seconds, 20 if quick else 40)
    out += _memory(quick)
    return out


def _data() -> Path | None:
    value = os.environ.get("CROSSCAL_DATA")
    return Path(value) / "xray" if value else None


def _setup(data: Path) -> tuple[Any, Any]:
    from crosscal import xray

    response = xray.read_response(data / "acisi_aimpt_cy18.arf", data / "acisi_aimpt_cy18.rmf.gz")
    return response, xray.Model("TBabs*apec", nH=NH, Abundanc=Z, Redshift=REDSHIFT)


def _library(data: Path, quick: bool) -> tuple[list[Record], Any, float]:
    from crosscal import xray

    response, model = _setup(data)
    design = xray.Gaussian.grid(A=(-0.2, 0.2, 10), mu=(0.7, 7.0, 10), sigma=(0.3, 2.0, 1 if quick else 10))
    arguments: dict[str, Any] = {
        "kT": KT, "band": BAND, "counts": COUNTS, "noise": "poisson", "realisations": REALISATIONS, "seed": 1,
    }  # fmt: skip
    first, _ = cpu_seconds(lambda: xray.build_library(response, model, xray.Gaussian.grid(A=0.1), **arguments))
    with tempfile.TemporaryDirectory() as folder:
        paths = iter(range(100))

        def build() -> Any:
            store = Path(folder) / f"{next(paths)}.zarr"
            return xray.build_library(response, model, design, **arguments, store=store, executor="serial")

        seconds, stored = cpu_seconds(build, repeat=2)
        library = xray.Library(stored.dataset.load(), stored.job, stored.provenance, None, stored.task)
    fits = 2 * library.values("kT").size
    label = f"{len(design)} theta x {KT.size} T x {REALISATIONS} noise x 2 fits, draws, templates and store included"
    compiled = f"compilation excluded: {first:.1f} CPU-s the first time, cached then"
    return (
        [
            Record("library", PART, seconds, "CPU-s", note=f"{label}; {compiled}"),
            Record("library fits", PART, fits / seconds, "fits/CPU-s"),
        ],
        library,
        seconds,
    )


def _quality(library: Any) -> list[Record]:
    table = library.summary()
    failed = float(table["failed"].sum()) / float(table["fits"].sum())
    modified = table[list(table["calibration"]).index("modified")]
    bias, pull = float(modified["bias_ln_kT"]), float(modified["pull_sd"])
    # Maximum likelihood is biased in second order, by some (sd/T)^2, which is 1e-3 at 15 keV: fits are in ln kT.
    plain = f"mean of kT/T_true - 1: {float(modified['bias_kT']):.2g}"
    return [
        Record("failed fits", PART, failed, "", goal="< 1e-4", passed=failed < 1e-4, note=", ".join(table["failures"])),
        Record("mean bias of ln kT, modified", PART, bias, "", goal="< 3e-4", passed=abs(bias) < 3e-4, note=plain),
        Record("pull sd of kT, modified", PART, pull, "", goal="1.00 +- 0.03", passed=abs(pull - 1) < 0.03),
    ]


def _baseline(data: Path, library: Any, seconds: float, n: int) -> list[Record]:
    name = "CPU-s per simulated spectrum and its two fits"
    with tempfile.TemporaryDirectory() as folder:
        try:
            telescope = SherpaTelescope(
                data / "acisi_aimpt_cy18.arf", data / "acisi_aimpt_cy18.rmf.gz", unpacked_atomdb(data, Path(folder)),
                nH=NH, redshift=REDSHIFT, band=BAND,
            )  # fmt: skip
        except ImportError as error:
            return [Record(name, PART, None, "CPU-s", peer=PEER, note=f"skipped: {error}")]
        ours = seconds / library.values("kT").size
        rng = np.random.default_rng(0)
        theta = library.theta[rng.integers(library.theta.shape[0], size=n)]
        which = rng.integers(KT.size, size=n)
        _pairs(telescope, library, theta[:2], which[:2], rng)  # XSPEC reads AtomDB at the first call
        theirs, _ = cpu_seconds(lambda: _pairs(telescope, library, theta, which, rng))
    theirs /= n
    note = f"sample of {n}; levmar from kT = 4 keV and the true norm: {2 / theirs:.1f} fits/CPU-s"
    ratio = theirs / ours
    return [Record(name, PART, ours, "CPU-s", PEER, theirs, ratio, ">= 8000 times less", ratio >= 8000, note)]


def _pairs(telescope: SherpaTelescope, library: Any, theta: np.ndarray, which: np.ndarray, rng: Any) -> list[Any]:
    """Simulate with the modified area, fit with the nominal and the modified one, as a script with Sherpa does."""
    out = []
    for values, k in zip(theta, which, strict=True):
        factor = library.modifier.factor(telescope.energy, values)
        norm = float(library.truth("norm")[k])
        truth = {"kT": float(KT[k]), "Abundanc": Z, "norm": norm}
        counts = rng.poisson(telescope.expected(truth, factor)).astype(float)
        start = {"kT": 4.0, "Abundanc": Z, "norm": norm}
        out.append([telescope.fit(counts, start, ("kT", "norm"), f)["kT"] for f in (1.0, factor)])
    return out


def _memory(quick: bool) -> list[Record]:
    """Peak memory of a library of 1e6 grid points, in a process of its own."""
    n = 200 if quick else 5000
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks._million", folder, str(n)], check=True, capture_output=True, text=True
        )
    report = json.loads(done.stdout.splitlines()[-1])
    peak = report["peak"] / 2**30
    note = f"{report['points']} grid points in {report['seconds']:.0f} CPU-s, {report['bytes'] / 2**20:.0f} MiB on disk"
    return [Record("memory of a large library", PART, peak, "GiB", goal="< 2 GiB", passed=peak < 2, note=note)]
