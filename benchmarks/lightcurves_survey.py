"""Light curves: processor time of a source of a survey.

Five telescopes of 300 points each; PyCALI's cost is that of its own example of 1595 points and five telescopes.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.__main__ import python_seconds
from benchmarks.record import Record
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.survey.one import record_of
from crosscal.lightcurves.synthetic import simulate

PART = "lightcurves"
#: CPU-seconds of PyCALI 0.2.3, one source; from the specification of this part.
PYCALI_SECONDS = 561.0
#: CPU-seconds a source that are asked for.
GOALS = {"auto": 0.5, "laplace": 0.25}


def measure(n: int, sampler: str) -> tuple[float, float, float]:
    """Return the mean CPU-seconds of a source, and the median and smallest effective size; compilation is outside."""
    sizes: list[float] = []
    start = 0.0
    for k in range(n + 1):
        curves, _ = simulate(seed=1000 + k, codes=tuple("ABCDE"), points=300, span=2000.0)
        if k == 1:
            start = time.process_time()
        record = record_of(intercalibrate(curves, sampler=sampler, draws=1000, seed=k))
        sizes.append(record["ess"])
    return (time.process_time() - start) / n, float(np.median(sizes)), float(min(sizes))


def records(quick: bool) -> list[Record]:
    """Measure 200 sources (10 with ``quick``) by each route."""
    n = 10 if quick else 200
    # Figures of processor time compare between machines by this loop; 0.40 s is that of the specification.
    found = [Record("ten million additions in a Python loop", PART, python_seconds(), "CPU s")]
    for sampler, goal in GOALS.items():
        seconds, median, least = measure(n, sampler)
        found.append(
            Record(
                f"CPU-seconds a source of a survey, 5 telescopes of 300 points, sampler {sampler}, {n} sources", PART,
                seconds, "s", peer="PyCALI (published example)", peer_value=PYCALI_SECONDS,
                ratio=PYCALI_SECONDS / seconds, goal=f"<= {goal:g}", passed=seconds <= goal,
                note=f"effective size: median {median:.0f}, smallest {least:.0f}",
            )
        )  # fmt: skip
    return found
