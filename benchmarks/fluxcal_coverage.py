"""Errors against truth by wavelength, and whether the stated errors cover them: frames of real stars (CALSPEC).

Templates do not fit real stars exactly, so this is where an error bar that leaves the templates out is found too small.
Frames are made by :mod:`benchmarks.fluxcal_simulator`, which shares no code with the calibrator. Errors are those of
bands of 500 A relative to 5900-6400 A: the common level is set by fibre losses, which no template enters. The simulated
catalogues have independent errors only, so the calibrator is told that they have no common one.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fluxcal_simulator import BANDS, STARS, Night, Sky, frame_of, joined, simulate
from benchmarks.record import Record

#: Stars for the frames of the crossed table, whose correction is learned from the others; a G star is in each half.
HELD = (STARS[2], STARS[4], STARS[6], STARS[8])
EDGES = np.arange(3900.0, 8901.0, 500.0)
REFERENCE = (5900.0, 6400.0)
CELLS = tuple((n, snr) for n in (5, 12, 20) for snr in (30.0, 100.0))


def weights(grid: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Weights (n_band, n_pix) of the mean of each band less that of the reference; NaN where a band has no pixel."""
    rows = []
    for low, high in (*itertools.pairwise(EDGES), REFERENCE):
        inside = good & (grid >= low) & (grid < high)
        rows.append(inside / inside.sum() if inside.any() else np.full(grid.size, np.nan))
    made = np.array(rows[:-1]) - rows[-1]
    # The reference itself has nothing to be compared with.
    made[EDGES[:-1] == REFERENCE[0]] = np.nan
    return made


def errors(curve: Any, night: Night, masked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Errors (n_band,) of ln C in bands relative to the reference, and the stated standard deviations, mmag."""
    good = np.isfinite(curve.value) & ~masked
    w = weights(night.grid, good)
    error = w[:, good] @ np.log(curve.value[good] / night.curve[good])
    independent = (w[:, good] ** 2) @ (curve.variance[good] / curve.value[good] ** 2)
    sd = np.sqrt(independent + np.sum((w[:, good] @ curve.modes[:, good].T) ** 2, axis=1))
    return 1085.7 * error, 1085.7 * sd


def run(
    data: Path, n: int, snr: float, frames: int, *, names: tuple[str, ...] = STARS, seed: int = 0, library: Any = None,
    **choices: Any,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Errors and stated standard deviations (frames, n_band) of simulated frames, mmag."""
    from crosscal import fluxcal
    from crosscal.fluxcal.stars.filters import load_filters

    sky = Sky.read(data, names)
    nights = [simulate(sky, n, snr, 10_000 * n + int(snr) + 1000 * seed + 7 * k) for k in range(frames)]
    made = [frame_of(night, k) for k, night in enumerate(nights)]
    filters = load_filters(BANDS, directory=data / "fluxcal" / "filters")
    options = fluxcal.Options(**{"fwhm": 9.0, "common_grey": 0.0, "common_slope": 0.0, **choices})
    if library is None:
        library = fluxcal.load_templates("kurucz-sdss", data / "fluxcal" / "kurucz_sdss" / "kurucz_stds_v5.fit")
    calibrator = fluxcal.Calibrator(joined([c for _, c in made]), library, filters, options)
    found = []
    for (frame, _), night in zip(made, nights, strict=True):
        result = calibrator.calibrate(frame, loo=False)
        if result.curve is not None:
            found.append(errors(result.curve, night, options.masked(night.grid, "vacuum")))
    return np.array([e for e, _ in found]), np.array([s for _, s in found])


def share(error: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Part of the frames whose error is within one standard deviation, in each band."""
    return np.where(np.isfinite(error).all(axis=0), np.mean(np.abs(error) < sd, axis=0), np.nan)


def table(data: Path, frames: int, cells: tuple[tuple[int, float], ...] = CELLS, **choices: Any) -> str:
    """Coverage, median absolute error and median stated error by band for each number of stars and S/N."""
    lines = ["band           " + " ".join(f"{low:.0f}".rjust(5) for low in EDGES[:-1])]
    for n, snr in cells:
        error, sd = run(data, n, snr, frames, **choices)
        for name, row, form in (
            ("coverage", share(error, sd), "5.2f"),
            ("|error|", np.median(np.abs(error), axis=0), "5.1f"),
            ("bias", np.median(error, axis=0), "5.1f"),
            ("stated", np.median(sd, axis=0), "5.1f"),
        ):
            head = f"n {n:2d} S/N {snr:3.0f} " if name == "coverage" else ""
            lines.append(f"{head:12s}{name:9s}" + " ".join(format(v, form) for v in row))
    return "\n".join(lines)


def crossed(data: Path) -> Any:
    """The library with differences learned from the stars that are not :data:`HELD`."""
    from benchmarks.fluxcal_mismatch import FEH, NODES, iterate, uncorrected
    from crosscal.fluxcal.stars.mismatch import Mismatch

    learned = iterate(data, tuple(name for name in STARS if name not in HELD))
    return uncorrected(data).corrected(Mismatch.of({**learned, "wavelength": NODES, "feh": FEH, "source": ""}))


def records(quick: bool) -> list[Record]:
    """Coverage and median error of each band; the error of a coverage is 0.47 / sqrt(frames)."""
    if "CROSSCAL_DATA" not in os.environ:
        return [Record("coverage by band", "fluxcal", None, "", note="skipped: CROSSCAL_DATA is not set")]
    frames, cells = (3, CELLS[:1]) if quick else (24, CELLS)
    data, made = Path(os.environ["CROSSCAL_DATA"]), []
    library = crossed(data)
    for n, snr in cells:
        error, sd = run(data, n, snr, frames, names=HELD, library=library)
        held, size = 100 * share(error, sd), np.median(np.abs(error), axis=0)
        known = np.isfinite(held)
        for what, unit, row in (("68 % intervals hold", "%", held), ("median error", "mmag", size)):
            bands = ", ".join(f"{low:.0f}: {v:.0f}" for low, v in zip(EDGES[:-1][known], row[known], strict=True))
            note = f"{frames} frames; from each band's first Angstrom: {bands}"
            name = f"{n} stars, S/N {snr:.0f}: {what}, mean over bands"
            made.append(Record(name, "fluxcal", float(np.mean(row[known])), unit, note=note))
    return made


if __name__ == "__main__":
    where = Path(os.environ["CROSSCAL_DATA"])
    print(table(where, int(os.environ.get("CROSSCAL_FRAMES", "40")), names=HELD, library=crossed(where)))
