"""``python -m benchmarks [part ...] [--quick] [--json FILE]``: run the benchmarks and print one table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import sys
import time
from pathlib import Path

# One BLAS thread, before NumPy loads: CPU-seconds must not count spinning threads.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("JAX_ENABLE_X64", "true")

import benchmarks
from benchmarks.record import Record

NOT_BENCHMARKS = {"record"}


def modules(parts: list[str]) -> list[str]:
    """Return the benchmark modules whose name starts with one of ``parts`` (all if empty)."""
    names = sorted(
        m.name
        for m in pkgutil.iter_modules(benchmarks.__path__)
        if not m.name.startswith("_") and m.name not in NOT_BENCHMARKS
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


def main() -> int:
    """Run and report; the exit code is 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help="a part (xray) or a module (xray_library); all if none")
    parser.add_argument("--quick", action="store_true", help="smaller samples, for a look")
    parser.add_argument("--json", type=Path, help="also write the records here")
    arguments = parser.parse_args()
    chosen = modules(arguments.parts)
    if not chosen:
        parser.error(f"no benchmark called {' '.join(arguments.parts)}; known: {', '.join(modules([]))}")
    records: list[Record] = []
    for name in chosen:
        start = time.perf_counter()
        print(f"running {name} ...", file=sys.stderr, flush=True)
        records += importlib.import_module(f"benchmarks.{name}").records(arguments.quick)
        print(f"  {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    show(records)
    if arguments.json:
        arguments.json.write_text(json.dumps([r.as_dict() for r in records], indent=1) + "\n")
    return 1 if any(r.passed is False for r in records) else 0


if __name__ == "__main__":
    sys.exit(main())
