"""Light curves: coverage of scales and calibrated fluxes where the data are not as the model says, and warnings.

Three telescopes, 100 points each; what is wrong concerns telescope B. A result counts as warned if it says anything
about errors, outliers, seasons or the process; coverage is that of results without a warning, and of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.record import Record
from crosscal.core.random import generator
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.synthetic import Truth, simulate
from crosscal.lightcurves.types import LightCurve, LightCurves

PART = "lightcurves"
POINTS, SPAN = 100, 1000.0


def clean(curve: LightCurve, mine: Any, rng: np.random.Generator) -> LightCurve:
    """Leave the light curve as it is."""
    return curve


def small_errors(curve: LightCurve, mine: Any, rng: np.random.Generator) -> LightCurve:
    """State errors of B that are 2.5 times too small."""
    return replace(curve, error=np.where(mine, curve.error / 2.5, curve.error))


def seasons(curve: LightCurve, mine: Any, rng: np.random.Generator) -> LightCurve:
    """Offset B by 5 % (rms) in each of five seasons."""
    offset = 1 + 0.05 * rng.standard_normal(5)
    season = np.minimum((5 * curve.time / SPAN).astype(int), 4)
    return replace(curve, flux=np.where(mine, curve.flux * offset[season], curve.flux))


def outliers(curve: LightCurve, mine: Any, rng: np.random.Generator) -> LightCurve:
    """Put 5 % of the points of B 8 sigma off."""
    hit = mine & (rng.random(len(mine)) < 0.05)
    return replace(curve, flux=curve.flux + hit * 8 * curve.error * rng.choice([-1, 1], len(mine)))


def supernova(curve: LightCurve, mine: Any, rng: np.random.Generator) -> LightCurve:
    """See a supernova instead of a random walk: a rise of 15 d, a decline of 60 d, six times the level before."""
    peak = rng.uniform(0.2, 0.6) * SPAN
    t = curve.time - peak
    rise = 5 * np.exp(-t / 60.0) / (1 + np.exp(-t / 15.0))
    return replace(curve, flux=np.asarray(1 + rise))


CASES: dict[str, Callable[[LightCurve, Any, np.random.Generator], LightCurve]] = {
    "clean": clean, "errors 2.5 times too small": small_errors, "5 % offsets by season": seasons,
    "5 % outliers of 8 sigma": outliers, "supernova": supernova,
}  # fmt: skip
#: Warnings that concern the model of errors and process.
SIGNS = ("errors of", "further off", "with season", "more smoothly", "5 sigma")


@dataclass(frozen=True)
class Outcome:
    """One replicate: what it was warned of, and which intervals of scale and calibrated flux hold the truth."""

    signs: tuple[str, ...]
    scale: dict[float, bool]
    flux: dict[float, float]

    @property
    def warned(self) -> bool:
        """Whether something was said about errors, outliers, seasons or process."""
        return bool(self.signs)


def replicate(case: str, k: int, **options: Any) -> Outcome:
    """Simulate, calibrate, and compare with the truth."""
    rng = generator(17, case, k)
    curves, truth = source(case, k, rng)
    result = intercalibrate(curves, draws=1000, seed=k, **options)
    signs = tuple(sign for sign in SIGNS if any(sign in text for text in result.warnings))
    c = result.factors.codes.index("B")
    mine = curves.continuum.code == 1
    scales, fluxes = result.factors.scale[:, c], result.calibrated(draws=1000)[:, mine]
    scale, flux = {}, {}
    for level in (0.68, 0.95):
        at = [0.5 - level / 2, 0.5 + level / 2]
        low, high = np.quantile(scales, at)
        scale[level] = bool(low <= truth.scale[1] <= high)
        lower, upper = np.quantile(fluxes, at, axis=0)
        true = truth.flux[0][mine]
        flux[level] = float(np.mean((true >= lower) & (true <= upper)))
    return Outcome(signs, scale, flux)


def source(case: str, k: int, rng: np.random.Generator) -> tuple[LightCurves, Truth]:
    """Simulate a source; of a supernova all telescopes see the same true curve."""
    make = CASES[case]
    # Seasons of 120 d are separated by gaps of 80 d, for as many points.
    curves, truth = simulate(seed=20_000 + k, points=POINTS if make is not seasons else 5 * POINTS // 3, span=SPAN)
    curve = curves.continuum
    if make is seasons:
        seen = curve.time % 200 < 120
        curve, truth = curve.take(seen), replace(truth, flux=(truth.flux[0][seen],))
    mine = curve.code == 1
    if make is not supernova:
        return LightCurves(make(curve, mine, rng)), truth
    true = make(curve, mine, rng).flux
    phi, G = truth.scale[curve.code], truth.shift[curve.code]
    error = 0.02 * true / phi * rng.uniform(0.7, 1.3, len(true))
    flux = (true + G) / phi + error * rng.standard_normal(len(true))
    return LightCurves(replace(curve, flux=flux, error=error)), replace(truth, flux=(true,))


def summary(outcomes: list[Outcome]) -> dict[str, float]:
    """Return the share warned, and the coverage at 95 % of scale and flux, of all and of those not warned."""
    quiet = [o for o in outcomes if not o.warned]
    found = {"warned": float(np.mean([o.warned for o in outcomes])), "quiet": float(len(quiet))}
    for level in (0.68, 0.95):
        for name, some in (("all", outcomes), ("quiet", quiet)):
            found[f"scale {level} {name}"] = float(np.mean([o.scale[level] for o in some])) if some else np.nan
            found[f"flux {level} {name}"] = float(np.mean([o.flux[level] for o in some])) if some else np.nan
    return found


def records(quick: bool) -> list[Record]:
    """Run 100 replicates of each case (6 with ``quick``)."""
    n = 6 if quick else 100
    found = []
    for case in CASES:
        s = summary([replicate(case, k) for k in range(n)])
        note = (
            f"warned {s['warned']:.2f}; coverage at 68 / 95 %: scale {s['scale 0.68 all']:.2f} / "
            f"{s['scale 0.95 all']:.2f}, flux {s['flux 0.68 all']:.2f} / {s['flux 0.95 all']:.2f}; of {s['quiet']:.0f} "
            f"without a warning: scale {s['scale 0.68 quiet']:.2f} / {s['scale 0.95 quiet']:.2f}, flux "
            f"{s['flux 0.68 quiet']:.2f} / {s['flux 0.95 quiet']:.2f}"
        )
        goal, passed = ("<= 0.1", s["warned"] <= 0.1) if case == "clean" else (">= 0.9", s["warned"] >= 0.9)
        found.append(
            Record(f"share warned: {case}, {n} replicates", PART, s["warned"], "", goal=goal, passed=passed, note=note)
        )
    return found
