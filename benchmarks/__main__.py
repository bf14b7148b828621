"""``python -m benchmarks [part ...] [--quick] [--json FILE] [--measured FILE]``: run benchmarks, print one table.

``--measured docs/measured.json`` also puts the records into the file that the documentation's page of comparisons is
made of; modules that were not run keep their earlier records there.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import pkgutil
import platform
import sys
import time
from pathlib import Path

# One BLAS thread, before NumPy loads: CPU-seconds must not count spinning threads.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("JAX_ENABLE_X64", "true")

import benchmarks
from benchmarks.record import Record

NOT_BENCHMARKS = {"record", "fluxcal_simulator"}
#: Long jobs that are run only by name.
ON_REQUEST = {
    *("memory", "xray_pairs", "concordance_scale", "concordance_honesty", "lightcurves_honesty"),
    *("fluxcal_variance", "fluxcal_coverage", "fluxcal_reddening"),
}


def modules(parts: list[str]) -> list[str]:
    """Return the benchmark modules whose name starts with one of ``parts`` (all if empty)."""
    names = sorted(
        m.name
        for m in pkgutil.iter_modules(benchmarks.__path__)
        if not m.name.startswith("_") and m.name not in NOT_BENCHMARKS and (m.name not in ON_REQUEST or m.name in parts)
    )
    return [n for n in names if not parts or any(n == p or n.startswith(p + "_") for p in parts)]


def show(records: list[Record]) -> None:
    """Print records as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_lines=False)
    for column in ("part", "name", "value", "unit", "peer", "peer value", "ratio", "goal", "passed", "note"):
        table.add_column(column, overflow="fold")

    def number(x: float | None) -> str:
        return "" if x is None else f"{x:.4g}"

    for r in records:
        passed = {None: "", True: "yes", False: "NO"}[r.passed]
        table.add_row(
            r.part,
            r.name,
            number(r.value),
            r.unit,
            r.peer,
            number(r.peer_value),
            number(r.ratio),
            r.goal,
            passed,
            r.note,
        )
    Console(width=190 if not sys.stdout.isatty() else None).print(table)


def machine() -> dict[str, str]:
    """Describe this machine, as far as it matters for the figures."""
    from importlib.metadata import version

    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), processor)
    except OSError:
        pass
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "jax", "numba"))
    return {
        "processor": f"{processor}, {os.cpu_count()} cores",
        "system": platform.system(),
        "Python": f"{platform.python_version()} with {packages}",
    }


def keep(path: Path, name: str, records: list[Record], quick: bool) -> None:
    """Put the records of one module into a file of measured figures, in place of its earlier ones."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    entry = {"date": date, "quick": quick, "machine": machine(), "records": [r.as_dict() for r in records]}
    content = dict(sorted({**content, name: entry}.items()))
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def whole_run(seconds: float, modules: int) -> list[Record]:
    """How long it took to measure everything, which must stay short enough to be done, and on how fast a processor."""
    name = f"all {modules} benchmarks in one run"
    total = Record(name, "all", seconds, "s", goal="< 900", passed=seconds < 900)
    return [total, Record("ten million additions in a Python loop", "all", python_seconds(), "CPU s")]


def python_seconds() -> float:
    """CPU time of ten million additions, a yardstick for the speed of one core."""
    start, total = time.process_time(), 0
    for k in range(10_000_000):
        total += k
    return time.process_time() - start


def main() -> int:
    """Run and report; the exit code is 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help="a part (xray) or a module (xray_library); all if none")
    parser.add_argument("--quick", action="store_true", help="smaller samples, for a look")
    parser.add_argument("--json", type=Path, help="also write the records here")
    parser.add_argument("--measured", type=Path, help="also put the records into this file, beside earlier ones")
    arguments = parser.parse_args()
    chosen = modules(arguments.parts)
    if not chosen:
        parser.error(f"no benchmark called {' '.join(arguments.parts)}; known: {', '.join(modules([]))}")
    records: list[Record] = []
    begin = time.perf_counter()
    for name in chosen:
        start = time.perf_counter()
        print(f"running {name} ...", file=sys.stderr, flush=True)
        found = importlib.import_module(f"benchmarks.{name}").records(arguments.quick)
        if arguments.measured:
            keep(arguments.measured, name, found, arguments.quick)
        records += found
        print(f"  {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    if not arguments.parts and not arguments.quick:
        records += (whole := whole_run(time.perf_counter() - begin, len(chosen)))
        if arguments.measured:
            keep(arguments.measured, "whole_run", whole, False)
    show(records)
    if arguments.json:
        arguments.json.write_text(json.dumps([r.as_dict() for r in records], indent=1) + "\n")
    return 1 if any(r.passed is False for r in records) else 0


if __name__ == "__main__":
    sys.exit(main())
