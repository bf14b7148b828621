"""How real stars differ from the templates of a library: learned from CALSPEC, judged on stars that were left out.

``python -m benchmarks.fluxcal_mismatch`` prints the table of ``stars/data/mismatch.toml``. Each star is a standard of
one frame without noise and losses; the magnitude of its template, whose level photometry sets, less that of the star is
averaged about nodes and regressed on [M/H] (ridge: differences of 10 mmag per dex are usual).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fluxcal_simulator import BANDS, STARS, Night, Sky, frame_of, noiseless
from benchmarks.record import Record

NODES = np.concatenate([np.arange(3850.0, 4500.0, 100.0), np.arange(4600.0, 9000.0, 200.0)])
FEH = -1.0
#: Usual change with metallicity, usual difference between stars, usual mean difference: mmag per dex, mmag, mmag.
SLOPE_SD, STAR_SD, MEAN_SD = 15.0, 5.0, 30.0


def differences(data: Path, names: tuple[str, ...], library: Any) -> tuple[np.ndarray, np.ndarray]:
    """Template minus star in mmag at the nodes (n, m), NaN where masked, and [M/H] of the templates (n,)."""
    from crosscal import fluxcal
    from crosscal.fluxcal.stars.filters import load_filters

    night: Night = noiseless(Sky.read(data, names))
    frame, catalogue = frame_of(night)
    options = fluxcal.Options(fwhm=9.0, rv_required=False, ebv_error=0.0)
    filters = load_filters(BANDS, directory=data / "fluxcal" / "filters")
    result = fluxcal.Calibrator(catalogue, library, filters, options).calibrate(frame, loo=False)
    good = ~options.masked(night.grid, "vacuum")
    rows, metals = [], []
    for star in (s for s in result.stars if s.model is not None):
        truth = 1e-17 * night.counts[star.fibre] / night.exposure * night.curve
        apart = -2500 * np.log10(star.model / truth)
        near = [good & (np.abs(night.grid - a) < (60 if a < 4500 else 120)) for a in NODES]
        rows.append([np.mean(apart[inside]) if inside.any() else np.nan for inside in near])
        metals.append(star.feh)
    return np.array(rows), np.array(metals)


def learn(apart: np.ndarray, feh: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, slope, common and star (m,) in mmag, at nodes that every star has (else interpolated)."""
    design = np.stack([np.ones(feh.size), feh - FEH], axis=1)
    prior = np.diag([STAR_SD / MEAN_SD, STAR_SD / SLOPE_SD]) ** 2
    known = np.isfinite(apart).all(axis=0)
    inverse = np.linalg.inv(design.T @ design + prior)
    mean, slope = inverse @ design.T @ apart[:, known]
    left = apart[:, known] - design @ np.array([mean, slope])
    # Residuals of a fit of two numbers to n stars, drawn towards what is usual.
    star = np.sqrt((np.sum(left**2, axis=0) + 2 * STAR_SD**2) / feh.size)
    common = star * np.sqrt(np.max(np.einsum("ij,jk,ik->i", design, inverse, design)))
    columns = {"mean": mean, "slope": slope, "common": common, "star": star}
    return {k: np.interp(NODES, NODES[known], v) for k, v in columns.items()}


def left_out(apart: np.ndarray, feh: np.ndarray) -> np.ndarray:
    """Differences (n, m) of each star that remain after the correction learned from the others."""
    rows = []
    for k in range(feh.size):
        others = learn(np.delete(apart, k, axis=0), np.delete(feh, k))
        rows.append(apart[k] - others["mean"] - (feh[k] - FEH) * others["slope"])
    return np.array(rows)


def records(quick: bool) -> list[Record]:
    """RMS of the differences before the correction, and of stars left out after it."""
    if "CROSSCAL_DATA" not in os.environ:
        return [Record("stars against templates", "fluxcal", None, "mmag", note="skipped: CROSSCAL_DATA is not set")]
    data = Path(os.environ["CROSSCAL_DATA"])
    apart, feh = differences(data, STARS[:4] if quick else STARS, uncorrected(data))
    after = left_out(apart, feh)
    made = []
    for low, high in ((3800, 4000), (4000, 4500), (4500, 6500), (6500, 9000)):
        inside = (low <= NODES) & (high > NODES)
        a, b = (float(np.sqrt(np.nanmean(v[:, inside] ** 2))) for v in (after, apart))
        made.append(
            Record(f"stars against templates, {low}-{high} A", "fluxcal", a, "mmag", "without correction", b, a / b)
        )
    return made


def uncorrected(data: Path) -> Any:
    """The library as it is published, refined."""
    from crosscal import fluxcal

    path = data / "fluxcal" / "kurucz_sdss" / "kurucz_stds_v5.fit"
    return fluxcal.load_templates("kurucz-sdss", path, correct=False)


def iterate(data: Path, names: tuple[str, ...] = STARS, steps: int = 2) -> dict[str, np.ndarray]:
    """The table in mmag: stars are fitted again with the corrected templates, and what remains is added."""
    from crosscal.fluxcal.stars.mismatch import Mismatch

    library = uncorrected(data)
    found = learn(*differences(data, names, library))
    for _ in range(steps - 1):
        table = {**found, "wavelength": NODES, "feh": FEH, "source": ""}
        more = learn(*differences(data, names, library.corrected(Mismatch.of(table))))
        found = {**more, **{k: found[k] + more[k] for k in ("mean", "slope")}}
    return found


if __name__ == "__main__":
    learned = iterate(Path(os.environ["CROSSCAL_DATA"]))
    print(f"feh = {FEH}\nwavelength = {NODES.astype(int).tolist()}")
    for key, column in learned.items():
        print(f"{key} = {np.round(column, 1).tolist()}")
