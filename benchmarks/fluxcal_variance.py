"""Where the chromatic scatter of fibres comes from: covariances of slopes between pairs of measurements (real frames).

Reads CROSSCAL_DATA. The slope of each star against its frame's curve, without a field over the plate, averaged over
the exposures of a plate configuration. The covariance of two measurements is what they share: the star (its template
and its photometry) with its place, the place alone, the fibre, or the configuration. From the robust scatters of sums
and differences of pairs, cov = (sd(a + b)^2 - sd(a - b)^2) / 4; given as its signed square root.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.fluxcal_loo import night
from benchmarks.record import Record
from crosscal.core.robust import mad_sd

#: Neighbours are within this part of the plate's half size.
NEAR = 0.12


def shared_sd(value: NDArray[np.float64], pairs: NDArray[np.bool_]) -> tuple[float, float, int]:
    """Signed square root of the covariance of pairs (i < j), its error, and their number."""
    i, j = np.nonzero(np.triu(pairs, 1))
    if i.size < 10:
        return float("nan"), float("nan"), int(i.size)

    def covariance(index: NDArray[np.int64]) -> float:
        a, b = value[i[index]], value[j[index]]
        # Both orders of each pair, so that the result does not depend on the order.
        difference = np.concatenate([a - b, b - a])
        return float(mad_sd(a + b) ** 2 - mad_sd(difference) ** 2) / 4

    def root(x: float) -> float:
        return float(np.sign(x) * np.sqrt(abs(x)))

    rng = np.random.default_rng(1)
    again = [root(covariance(rng.integers(0, i.size, i.size))) for _ in range(200)]
    return root(covariance(np.arange(i.size))), float(np.std(again)), int(i.size)


def records(quick: bool) -> list[Record]:
    """Components of the slopes' scatter in each arm (every third frame if quick)."""
    where = os.environ.get("CROSSCAL_DATA")
    if not where:
        return [Record("variance of slopes", "fluxcal", None, "", note="skipped: CROSSCAL_DATA is not set")]
    from crosscal.fluxcal.night.shared import gather_results
    from crosscal.fluxcal.options import Options

    found: list[Record] = []
    for arm in ("red", "blue"):
        run = night(Path(where), arm, 3 if quick else 1, loo=False, position=False)
        data = gather_results(run.results, Options())
        slope = data.value[:, 1].copy()
        for q in range(data.tangent.size):
            slope[data.configuration == q] -= np.median(slope[data.configuration == q])
        slope /= 0.4 * np.log(10)
        same_star = data.star[:, None] == data.star[None, :]
        together = data.configuration[:, None] == data.configuration[None, :]
        distance = np.hypot(*(data.place[:, None, :] - data.place[None, :, :]).transpose(2, 0, 1))
        kinds: dict[str, NDArray[np.bool_]] = {
            "one star in two configurations (star and place)": same_star & ~together,
            "two stars at one place in two configurations (place)": ~same_star & ~together & (distance < NEAR),
            "two near stars in one configuration (place and configuration)": together & ~same_star & (distance < NEAR),
            "two far stars in two configurations (nothing)": ~same_star & ~together & (distance > 1.0),
        }
        note = f"{slope.size} stars in {data.tangent.size} configurations"
        found.append(Record(f"slopes, {arm}: all", "fluxcal", float(mad_sd(slope)), "mag/1000 A", note=note))
        for name, pairs in kinds.items():
            value, error, n = shared_sd(slope, pairs)
            found.append(
                Record(f"slopes, {arm}: {name}", "fluxcal", value, "mag/1000 A", note=f"+- {error:.3f}; {n} pairs")
            )
    return found
