"""Signs that the model does not describe the data: residuals with heavy tails, factors that change with season."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, gammaln

from crosscal.lightcurves.model import Model

Floats = NDArray[np.float64]

#: Tails are judged of so many residuals, against Student's t of so many degrees of freedom.
LEAST_RESIDUALS, DEGREES = 20, 4.0
#: Gain in log density by heavy tails that is told.
CLEAR = 4.0
#: A change with season is told at this chance of finding it where there is none.
CHANCE = 5e-3
#: Points of a telescope in a season, at least.
LEAST_IN_SEASON = 3
#: Seasons are separated by gaps longer than this share of the whole; without gaps the time is cut in so many parts.
GAP_SHARE, PARTS = 0.04, 4


@dataclass(frozen=True)
class Trend:
    """How the level of one telescope changes from season to season against the others.

    ``size`` is the rms of the seasons' offsets over the telescope's mean flux; ``chance`` that of a larger chi2.
    """

    telescope: str
    size: float
    chi2: float
    differences: int
    chance: float
    gap: float

    @property
    def sentence(self) -> str:
        """What is told of a significant trend; nothing otherwise."""
        if not self.chance < CHANCE:
            return ""
        advice = f"season_gap = {self.gap:.3g}" if self.gap > 0 else "season_edges"
        return (
            f"The level of {self.telescope} changes with season by about {100 * self.size:.2g} % of its flux (chi2 = "
            f"{self.chi2:.0f} for {self.differences} differences): intervals are too narrow with one scale and shift; "
            f"fit a scale and shift for each season with {advice}."
        )


def heavy_tails(z: Floats) -> float:
    """Gain in log density of standardised residuals by Student's t over the normal, each with its best scale."""
    z = z[np.isfinite(z)]
    if len(z) < LEAST_RESIDUALS:
        return 0.0
    spread = max(float(np.sqrt(np.mean(z**2))), 1e-12)
    scales = spread * np.geomspace(0.1, 1.2, 40)
    shape = -0.5 * (DEGREES + 1) * np.log1p((z / scales[:, None]) ** 2 / DEGREES)
    # ln of the densities at zero: of Student's t, and of the normal one.
    top = float(gammaln(0.5 * (DEGREES + 1)) - gammaln(0.5 * DEGREES) - 0.5 * np.log(np.pi * DEGREES))
    best = float(np.max(np.sum(shape, axis=1) - len(z) * np.log(scales))) + len(z) * top
    normal = -0.5 * float(np.sum((z / spread) ** 2)) - len(z) * (0.5 * float(np.log(2 * np.pi)) + float(np.log(spread)))
    return best - normal


def tail_sentences(
    codes: tuple[str, ...], code: NDArray[np.int64], z: Floats, advice: str = "errors = 'student-t' or remove_outliers"
) -> list[str]:
    """What is told of telescopes whose residuals have heavy tails, and what to do."""
    told = []
    for c, name in enumerate(codes):
        gain = heavy_tails(z[code == c])
        if gain > CLEAR:
            told.append(
                f"Some points of {name} are outliers for Gaussian errors (log density {gain:.1f} higher with "
                f"heavy tails): try {advice}."
            )
    return told


def season_trends(model: Model, x: Floats) -> tuple[Trend, ...]:
    """Test each telescope but the reference for offsets between seasons, at given parameters (n,).

    Offsets are linear: with an indicator column for every season but the first, generalised least squares gives
    their values d and covariance V under the fitted process and errors, and chi2 = d' V^-1 d.
    """
    one, curve = model.files[0], model.curves.continuum
    if len(curve) < 2 * LEAST_IN_SEASON or curve.span <= 0:
        return ()
    edges, gap = _edges(curve.time)
    season = np.searchsorted(edges, curve.time)
    parts = model.parts(x, 0)
    flux = parts[1][curve.code] * one.flux - parts[2][curve.code]
    found = []
    for c in range(1, len(curve.codes)):
        mine = curve.code == c
        full = [s for s in np.unique(season[mine]) if np.sum(mine & (season == s)) >= LEAST_IN_SEASON]
        if len(full) < 2:
            continue
        extra = np.stack([mine & (season == s) for s in full[1:]], axis=1).astype(float)
        fitted = one.offsets(parts, extra)
        if fitted is None:
            continue
        n = len(full) - 1
        offsets, covariance = fitted
        value = float(offsets @ np.linalg.solve(covariance, offsets))
        level = abs(float(np.mean(flux[mine]))) or 1.0
        size = float(np.std([0.0, *offsets])) / level
        found.append(Trend(curve.codes[c], size, value, n, float(chdtrc(n, value)), gap))
    return tuple(found)


def _edges(time: Floats) -> tuple[Floats, float]:
    """Times that separate seasons, and the gap that does; equal parts, and 0, where there are no gaps."""
    steps = np.diff(time)
    least = GAP_SHARE * (time[-1] - time[0])
    wide = np.flatnonzero(steps > max(least, 20 * np.median(steps)))
    if len(wide):
        return 0.5 * (time[wide] + time[wide + 1]), float(0.99 * steps[wide].min())
    return np.linspace(time[0], time[-1], PARTS + 1)[1:-1], 0.0
