"""Wrong standards: how often a star with a wrong catalogue magnitude is caught, and how far the scale is off."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.fluxcal_simulator import BANDS, Sky, frame_of, simulate
from benchmarks.record import Record

CASES = ((3, 1), (5, 1), (5, 2), (12, 1))


def caught(data: Path, n: int, wrong: int, frames: int, *, error: float = 1.0, grey: float = 0.15) -> dict[str, float]:
    """Share of wrong stars that are rejected or whose frame fails, of right stars that are rejected, and the error of
    the scale in mmag (median over frames that passed) beside that of the same frames without a wrong star.
    """
    from crosscal import fluxcal
    from crosscal.fluxcal.stars.filters import load_filters

    sky, library = Sky.read(data), fluxcal.load_templates("kurucz-sdss")
    filters = load_filters(BANDS, directory=data / "fluxcal" / "filters")
    found, lost, offset, clean = [], [], [], []
    for k in range(frames):
        night = simulate(sky, n, 40.0, 1000 * n + 100 * wrong + k, grey=grey)
        frame, catalogue = frame_of(night)
        shifted = catalogue.magnitude.copy()
        shifted[:wrong] += error if k % 2 else -error
        for magnitude, offsets in ((shifted, offset), (catalogue.magnitude, clean)):
            calibrator = fluxcal.Calibrator(
                replace(catalogue, magnitude=magnitude), library, filters, fluxcal.Options(fwhm=9.0)
            )
            result = calibrator.calibrate(frame, loo=False)
            used = {s.fibre for s in result.used}
            if offsets is offset:
                found += [not result.passed or f not in used for f in range(wrong)]
            else:
                lost += [f not in used for f in range(n)]
            if result.passed:
                offsets.append(1e3 * abs(2.5 * np.log10(np.nanmedian(result.curve.value / night.curve))))
    return {
        "caught": float(np.mean(found)), "lost": float(np.mean(lost)),
        "offset": float(np.median(offset)) if offset else float("nan"), "clean": float(np.median(clean)),
    }  # fmt: skip


def records(quick: bool) -> list[Record]:
    """Share of wrong stars that are caught, and the error of the scale beside that without a wrong star."""
    if "CROSSCAL_DATA" not in os.environ:
        return [Record("wrong standards caught", "fluxcal", None, "%", note="skipped: CROSSCAL_DATA is not set")]
    made = []
    for n, wrong in CASES:
        found = caught(Path(os.environ["CROSSCAL_DATA"]), n, wrong, 4 if quick else 16)
        name = f"{wrong} of {n} standards 1 mag wrong"
        made.append(Record(f"{name}: caught", "fluxcal", 100 * found["caught"], "%"))
        made.append(Record(f"{name}: scale off by", "fluxcal", found["offset"], "mmag", "none wrong", found["clean"]))
    return made
