"""Responses: folding and reading, beside Sherpa."""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.record import Record, cpu_seconds
from crosscal import xray

PART = "xray"
REAL = "xray/acisi_aimpt_cy18"


def response_files(directory: Path) -> tuple[str, Path, Path]:
    """Return name, ARF and RMF: the real ACIS-I cycle 18 where CROSSCAL_DATA is set, else example telescope A."""
    data = os.environ.get("CROSSCAL_DATA")
    if data and (stem := Path(data) / REAL).with_suffix(".arf").is_file():
        return "ACIS-I cycle 18", stem.with_suffix(".arf"), stem.with_suffix(".rmf.gz")
    response = xray.example_telescope("a")
    arf = xray.write_arf(directory / "a.arf", response)
    return "example telescope A", arf, xray.write_rmf(directory / "a.rmf", response)


def records(quick: bool) -> list[Record]:
    """Measure reading and folding."""
    with tempfile.TemporaryDirectory() as directory:
        return measure(Path(directory), 50 if quick else 400)


def per_run(work: Callable[[], object]) -> float:
    """Return CPU-seconds of one run, from as many as the clock's 10 ms need; the first run fills caches."""
    work()
    runs, seconds = 1, 0.0
    while seconds < 0.5:
        runs *= 2
        seconds, _ = cpu_seconds(lambda: [work() for _ in range(runs)])  # noqa: B023
    return seconds / runs


def measure(directory: Path, n: int) -> list[Record]:
    """Fold ``n`` spectra here and in Sherpa; compare numbers and CPU-seconds."""
    name, arf, rmf = response_files(directory)
    response = xray.read_response(arf, rmf)
    read = per_run(lambda: xray.read_response(arf, rmf))
    slopes = np.linspace(1.0, 2.5, n)[:, None]
    photons = 1e-3 * response.energy**-slopes * np.diff(response.energy_edges)
    folded = response.fold(photons)
    ours = per_run(lambda: response.fold(photons))
    part, inside = response.restricted(response.band(0.7, 7.0)), response.energy_slice(response.band(0.7, 7.0))
    band = per_run(lambda: part.fold(photons[:, inside]))
    if importlib.util.find_spec("sherpa") is None:
        note = "skipped: sherpa is not installed"
        return [
            Record(f"read {name}", PART, read, "CPU-s", note=note),
            Record(f"fold through {name}", PART, 1e6 * ours / n, "us/spectrum", note=note),
            Record(f"fold into 0.7-7 keV of {name}", PART, 1e6 * band / n, "us/spectrum", note=note),
        ]
    logging.getLogger("sherpa").setLevel(logging.CRITICAL)
    from sherpa.astro import ui

    their_arf, their_rmf = ui.unpack_arf(str(arf)), ui.unpack_rmf(str(rmf))
    their_read = per_run(lambda: (ui.unpack_arf(str(arf)), ui.unpack_rmf(str(rmf))))

    def loop() -> np.ndarray:
        return np.array([their_rmf.apply_rmf(their_arf.apply_arf(row)) for row in photons])

    expected = loop()
    theirs = per_run(loop)
    error = float(np.max(np.abs(folded - expected)) / expected.max())
    rate = f"fold through {name}"
    return [
        Record(f"read {name}", PART, read, "CPU-s", "sherpa", their_read, their_read / read),
        Record(rate, PART, 1e6 * ours / n, "us/spectrum", "sherpa", 1e6 * theirs / n, theirs / ours),
        Record(
            f"fold into 0.7-7 keV of {name}", PART, 1e6 * band / n, "us/spectrum", "sherpa", 1e6 * theirs / n,
            theirs / band,
        ),
        Record(
            f"{rate}: largest difference from sherpa over largest rate", PART, error, "", "sherpa", 0.0,
            goal="<= 1e-6", passed=error <= 1e-6,
        ),
    ]  # fmt: skip
