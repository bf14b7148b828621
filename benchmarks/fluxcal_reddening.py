"""A wrong E(B-V) of the map: errors at the blue end before and after the field's own is fitted, and their coverage.

Frames are made by :mod:`benchmarks.fluxcal_simulator` of four stars of CALSPEC behind dust of a true E(B-V); the
library is corrected with the other five. The catalogue says another E(B-V). Before: that value is taken as exact
(``ebv_error = 0``), after: ``reddening = "fit"``, the default. Errors are those of ln C in 3950-4050 A relative to
5900-6400 A, where the common level is set by fibre losses; losses drawn at random are subtracted.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fluxcal_coverage import choices, errors
from benchmarks.fluxcal_simulator import BANDS, Night, Sky, frame_of, simulate
from benchmarks.record import Record

#: (E(B-V) of the map, true E(B-V)): right, without dust and with it; too low by 0.1 and 0.3; too high, 0.7 in truth.
TRUTHS = ((0.0, 0.0), (0.1, 0.1), (0.02, 0.12), (0.02, 0.32), (0.2, 0.14), (0.1, 0.07))
STARS, SNR = 12, 50.0
FRAMES, CHOICES = 24, 8
#: A(lambda) / E(B-V) at 1e4 / lambda, R = 3.1: Fitzpatrick 1999, PASP 111, 63, table 3.
LAW = (
    (0.377, 0.82, 1.667, 1.828, 2.141, 2.433, 3.704, 3.846),
    (0.265, 0.829, 2.688, 3.055, 3.806, 4.315, 6.265, 6.591),
)


def behind(sky: Sky, ebv: float) -> Sky:
    """The stars behind dust."""
    from scipy.interpolate import make_interp_spline

    law = make_interp_spline(*LAW, k=3)(1e4 / sky.wavelength)
    return replace(sky, flux=sky.flux * 10 ** (-0.4 * ebv * law))


def blue(result: Any, night: Night) -> tuple[float, float]:
    """Error and stated standard deviation of ln C in 3950-4050 A relative to 5900-6400 A, mmag."""
    grid, curve = night.grid, result.curve
    good = np.isfinite(curve.value) & ~result.options.masked(grid, "vacuum")
    w = np.zeros(grid.size)
    for (low, high), sign in (((3950.0, 4050.0), 1), ((5900.0, 6400.0), -1)):
        inside = good & (grid >= low) & (grid < high)
        w += sign * inside / inside.sum()
    lost = np.mean(night.slope[[s.fibre for s in result.used]]) * w @ (grid - 6300.0)
    error = 1085.7 * w[good] @ np.log(curve.value[good] / night.curve[good]) - lost
    independent = w[good] ** 2 @ (curve.variance[good] / curve.value[good] ** 2)
    return error, 1085.7 * np.sqrt(independent + np.sum((curve.modes[:, good] @ w[good]) ** 2))


def measure(data: Path, frames: int, count: int) -> dict[tuple[float, float], dict[str, np.ndarray]]:
    """For each truth rows of (E(B-V) used - true, its error, blue error, stated), and band errors over stated."""
    from crosscal import fluxcal
    from crosscal.fluxcal.stars.filters import load_filters

    filters = load_filters(BANDS, directory=data / "fluxcal" / "filters")
    common = fluxcal.Options(fwhm=9.0, common_grey=0.0, common_slope=0.0)
    kinds = {"before": replace(common, reddening="map", ebv_error=0.0), "after": common}
    found: dict[tuple[float, float], dict[str, list[Any]]] = {t: {} for t in TRUTHS}
    for number, (names, library) in enumerate(choices(data, count)):
        sky = Sky.read(data, names)
        for told, true in TRUTHS:
            dusty = behind(sky, true)
            for k in range(number, frames, count):
                night = simulate(dusty, STARS, SNR, 7_000_000 + k)
                frame, catalogue = frame_of(night, k)
                catalogue = replace(catalogue, ebv=np.full(STARS, told))
                for kind, options in kinds.items():
                    result = fluxcal.Calibrator(catalogue, library, filters, options).calibrate(frame, loo=False)
                    _, stated, lossless = errors(result, night, options.masked(night.grid, "vacuum"))
                    field = result.reddening
                    row = (field.used - true, field.error, *blue(result, night), field.stars - true)
                    found[told, true].setdefault(kind, []).append((*row, *(lossless / stated)))
        print(f"{number + 1} of {count} choices of stars", flush=True)
        for truth, kind in found.items():
            for key, rows in kind.items():
                print(truth, key, *(f"{v:.1f}" for v in summary(np.array(rows)).values()), flush=True)
    return {truth: {kind: np.array(rows) for kind, rows in kinds.items()} for truth, kinds in found.items()}


def summary(rows: np.ndarray) -> dict[str, float]:
    """Mean and 95 % blue error, 68 % coverage of it and of all bands, RMS and coverage of E(B-V) in mmag."""
    bands = rows[:, 5:]
    return {
        "mean": float(np.mean(rows[:, 2])),
        "p95": float(np.quantile(np.abs(rows[:, 2]), 0.95)),
        "covered": 100 * float(np.mean(np.abs(rows[:, 2]) < rows[:, 3])),
        "bands": 100 * float(np.mean(np.abs(bands[:, np.isfinite(bands).all(axis=0)]) < 1)),
        "ebv": 1e3 * float(np.sqrt(np.mean(rows[:, 0] ** 2))),
        "ebv_covered": 100 * float(np.mean(np.abs(rows[:, 0]) <= rows[:, 1])),
        "stated": 1e3 * float(np.mean(rows[:, 1])),
        "stars": 1e3 * float(np.mean(rows[:, 4])),
        "blue_stated": float(np.mean(rows[:, 3])),
    }


def records(quick: bool) -> list[Record]:
    """95 % errors at 4000 A after the fit beside those before it, and the coverage of the stated ones."""
    if "CROSSCAL_DATA" not in os.environ:
        return [Record("wrong E(B-V)", "fluxcal", None, "mmag", note="skipped: CROSSCAL_DATA is not set")]
    made = []
    found = measure(Path(os.environ["CROSSCAL_DATA"]), 1 if quick else FRAMES, 1 if quick else CHOICES)
    for (told, true), rows in found.items():
        before, after = (summary(rows[k]) for k in ("before", "after"))
        name = f"E(B-V) {true:g}, map {told:g}"
        made.append(
            Record(
                f"{name}: 95 % error at 4000 A", "fluxcal", after["p95"], "mmag", "map taken as exact", before["p95"],
                after["p95"] / before["p95"],
                note=f"mean {after['mean']:+.0f} (before {before['mean']:+.0f}); E(B-V) to {after['ebv']:.0f} mmag; "
                f"{after['covered']:.0f} % within the stated error (before {before['covered']:.0f} %), "
                f"{after['bands']:.0f} % of all bands",
            )
        )  # fmt: skip
    return made
