"""Very many pairs: CPU time and memory of an inference of A, mu and sigma, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.record import Record

#: Number of sources, what is measured of them, and the most CPU-seconds.
CASES = (
    (10_000, ("kT",), 60),
    (10_000, ("kT", "norm", "Abundanc"), 60),
    (100_000, ("kT",), None),
)


def records(quick: bool) -> list[Record]:
    """Infer from 1e4 temperatures, from 1e4 temperatures, norms and abundances, and from 1e5 temperatures."""
    found = []
    for n, names, most in CASES:
        size = n // 10 if quick else n
        arguments = [sys.executable, "-m", "benchmarks._pairs", str(size), *names]
        done = subprocess.run(arguments, check=True, capture_output=True, text=True)
        report = json.loads(done.stdout.splitlines()[-1])
        label, seconds = f"{size} pairs of {', '.join(names)}", report["seconds"]
        goal, passed = ("", None) if most is None or quick else (f"<= {most}", seconds <= most)
        pulls = ", ".join(f"{k} {v}" for k, v in report["pulls"].items())
        note = f"pulls: {pulls}; {'converged' if report['converged'] else 'not converged'}"
        peak, before = report["peak"] / 2**30, report["before"] / 2**30
        found += [
            Record(label, "xray", seconds, "CPU s", goal=goal, passed=passed, note=note),
            Record(f"{label}: memory", "xray", peak, "GiB", note=f"{before:.2f} GiB before the inference"),
        ]
    return found
