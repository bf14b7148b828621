"""Concordance at scale: many sources, many instruments, tables of a million sources, and tables summed in chunks."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import Record, peak_bytes


def _per_sweep(sample: Callable[[int], Any]) -> float:
    """Return the seconds of one sweep: the slope between runs long enough that starting up does not matter."""
    few, many = 20, 120
    while True:
        spent = []
        for count in (few, many):
            begin = time.perf_counter()
            sample(count)
            spent.append(time.perf_counter() - begin)
        short, long = spent
        if long - short > max(1.0, short) or many > 200_000:
            return (long - short) / (many - few)
        many *= 4


def _work(n: int, m: int, filled: float, draws: int, warmup: int, pipe: Any) -> None:
    from crosscal.concordance import Sampling, fit, make_model, simulate
    from crosscal.concordance.pattern_samplers import collapsed_log_density
    from crosscal.concordance.routes import sample

    tiny = simulate(4, 20, sigma=0.05, filled=0.9, seed=0).data
    fit(tiny, draws=50, warmup=10)  # compiled code is loaded once per machine, not once per data set
    case = simulate(n, m, tau=0.05, sigma=np.linspace(0.02, 0.1, n), filled=filled, seed=1)
    idle = peak_bytes() / 2**20
    start, cpu = time.perf_counter(), time.process_time()
    result = fit(case.data, tau=0.05, draws=draws, warmup=warmup, chains=2, leave_one_out=False, predictive=0, seed=1)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = peak_bytes() / 2**20
    from crosscal.inference.diagnostics import effective_sizes

    model = make_model(case.data)
    begin = time.perf_counter()
    pattern = model.patterns
    setup = time.perf_counter() - begin
    s, cells = np.full(n, 1e-3), pattern.per_channel().astype(float)
    begin = time.perf_counter()
    for _ in range(5):
        collapsed_log_density(
            *pattern.arrays[:6], 0.5, cells, model.prior.precision, np.zeros(n), model.variance.df, model.variance.beta,
            model.variance.scale, s,
        )  # fmt: skip
    evaluation = (time.perf_counter() - begin) / 5
    sweep = _per_sweep(lambda count: sample(model, Sampling(route="gibbs", draws=count, warmup=0, chains=1), seed=2))
    sizes = effective_sizes(result.posterior_draws.tree)
    contrast = result.log_factor - result.log_factor.mean(axis=1, keepdims=True)
    pull = (contrast.mean(axis=0) - (case.b - case.b.mean())) / contrast.std(axis=0)
    pipe.send(
        {
            "wall": wall, "cpu": cpu, "peak": peak, "idle": idle, "setup": setup, "evaluation": evaluation,
            "sweep": sweep, "ess": float(np.nanmin(sizes["ess_bulk"])), "rhat": float(np.nanmax(sizes["rhat"])),
            "cells": case.data.n_cells, "patterns": pattern.size, "pull": float(np.abs(pull).max()),
        }
    )  # fmt: skip


def _work_wide(n: int, m: int, filled: float, pipe: Any) -> None:
    """Many instruments, few sources each: assembled from cells, fitted with all defaults."""
    from crosscal.concordance import Comparison, fit, simulate

    fit(simulate(4, 20, sigma=0.05, filled=0.9, seed=0).data, draws=50, warmup=10)
    rng = np.random.default_rng(1)
    cells = np.unique(rng.integers(0, n * m, int(filled * n * m)))
    i, j = cells % n, cells // n
    sigma, b, g = np.linspace(0.02, 0.1, n), rng.normal(0, 0.05, n), rng.normal(size=m)
    y = b[i] + g[j] - 0.5 * sigma[i] ** 2 + sigma[i] * rng.standard_normal(len(i))
    start, cpu = time.perf_counter(), time.process_time()
    data = Comparison.from_cells(np.char.add("i", i.astype(str)), np.char.add("s", j.astype(str)), flux=np.exp(y))
    result = fit(data, tau=0.05, seed=1)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - start
    truth = b[[int(name[1:]) for name in data.channel_names]]
    contrast = result.log_factor - result.log_factor.mean(axis=1, keepdims=True)
    pull = (contrast.mean(axis=0) - (truth - truth.mean())) / contrast.std(axis=0)
    pipe.send({
        "cpu": cpu, "wall": wall, "peak": peak_bytes() / 2**20, "pull": float(pull.std()), "cells": data.n_cells,
        "converged": float(result.posterior_draws.converged),
    })  # fmt: skip


def write_long(path: str, n: int, m: int) -> list[float]:
    """Write a Parquet table of n instruments x m sources with errors of 2 to 4 % and excess scatter of 1 to 5 %."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rng = np.random.default_rng(1)
    b, sigma = rng.normal(0, 0.05, n), np.linspace(0.01, 0.05, n)
    names, writer = pa.array([f"instrument {k + 1}" for k in range(n)]), None
    for first in range(0, m, 100_000):
        size = min(100_000, m - first)
        i, j = np.tile(np.arange(n), size), np.repeat(np.arange(size), n)
        error = rng.uniform(0.02, 0.04, len(i))
        v = error**2 + sigma[i] ** 2
        flux = np.exp(rng.standard_normal(size)[j] + b[i] - 0.5 * v + rng.standard_normal(len(i)) * np.sqrt(v))
        table = pa.table(
            {"instrument": names.take(pa.array(i)), "source": first + j, "flux": flux, "flux_err": flux * error}
        )
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return b.tolist()


def _write(path: str, n: int, m: int, pipe: Any) -> None:
    pipe.send(write_long(path, n, m))


def _work_long(path: str, b: list[float], pipe: Any) -> None:
    """A complete table of many sources with errors: read in batches, fitted with all defaults."""
    from crosscal.concordance import fit, read_table

    start, cpu = time.perf_counter(), time.process_time()
    data = read_table(path, error="flux_err")
    read = time.process_time() - cpu
    result = fit(data, tau=0.05, noise="log-normal", seed=1)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - start
    pull = (result.relative.mean(axis=0) - (np.array(b) - np.mean(b))) / result.relative.std(axis=0)
    pipe.send({
        "cpu": cpu, "wall": wall, "read": read, "peak": peak_bytes() / 2**20, "cells": data.n_cells,
        "pull": float(np.abs(pull).max()), "route": result.posterior_draws.method,
    })  # fmt: skip


def _work_chunks(path: str, executor: str, workers: int, pipe: Any) -> None:
    """The same table, never in memory."""
    from contextlib import ExitStack

    from crosscal.concordance import fit_parquet

    with ExitStack() as stack:
        options: dict[str, Any] = {}
        if executor == "dask":
            import distributed

            # One cluster for all passes over the table.
            cluster = stack.enter_context(
                distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
            )
            options["client"] = stack.enter_context(distributed.Client(cluster, set_as_default=False))
        start = time.perf_counter()
        result = fit_parquet(path, error="flux_err", tau=0.05, seed=1, executor=executor, **options)
    pipe.send({"wall": time.perf_counter() - start, "peak": peak_bytes() / 2**20, "b": result.log_factor,
               "cells": result.n_cells})  # fmt: skip


def measure(work: Callable[..., None], *arguments: Any) -> Any:
    """Run in a fresh process, so that its peak memory is its own."""
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    process = context.Process(target=work, args=(*arguments, child))
    process.start()
    child.close()
    found = parent.recv()
    process.join()
    return found


def _many_instruments(quick: bool) -> list[Record]:
    found = []
    for m, limit in ((10_000, 120.0), (100_000, 600.0))[: 1 if quick else 2]:
        n = 200 if quick else 1000
        case = measure(_work_wide, n, m, 0.01)
        note = (
            f"{case['cells']} cells, assembling included; spread of pulls of contrasts {case['pull']:.2f}, converged "
            f"{bool(case['converged'])}"
        )
        found += [
            Record(f"{n} x {m} 1 % filled: fit, CPU", "concordance", case["cpu"], "s", goal=f"<= {limit:g} s",
                   passed=case["cpu"] <= limit and 0.8 < case["pull"] < 1.2 and bool(case["converged"]), note=note),
            Record(f"{n} x {m} 1 % filled: peak memory", "concordance", case["peak"], "MiB", goal="< 4096 MiB",
                   passed=case["peak"] < 4096),
        ]  # fmt: skip
    return found


def _many_sources(quick: bool) -> list[Record]:
    n, m = 5, 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "table.parquet")
        b = measure(_write, path, n, m)
        case = measure(_work_long, path, b)
        found = [
            Record(f"{n} x {m} with errors: read and fit, CPU", "concordance", case["cpu"], "s", goal="<= 120 s",
                   passed=case["cpu"] <= 120 and case["pull"] < 4,
                   note=f"{case['read']:.1f} s to read; route {case['route']}; largest pull {case['pull']:.1f}"),
            Record(f"{n} x {m} with errors: peak memory", "concordance", case["peak"], "MiB", goal="< 2048 MiB",
                   passed=case["peak"] < 2048),
        ]  # fmt: skip
        rows = 10 * m
        measure(_write, path, n, rows // n)
        one = measure(_work_chunks, path, "serial", 1)
        two = measure(_work_chunks, path, "dask", 2)
        same = bool(np.array_equal(one["b"], two["b"]))
        found += [
            Record(f"{rows} rows summed in chunks: two Dask workers, wall", "concordance", two["wall"], "s",
                   peer="one process", peer_value=one["wall"], goal="the same bits", passed=same,
                   note=f"{one['cells']} cells; the draws are {'the same' if same else 'NOT the same'} bit for bit"),
            Record(f"{rows} rows summed in chunks: peak memory", "concordance", one["peak"], "MiB"),
        ]  # fmt: skip
    return found


def records(quick: bool) -> list[Record]:
    """Measure all cases (10 times fewer sources when quick)."""
    n, m = 100, 10_000 if quick else 100_000
    found: list[Record] = []
    for name, filled, draws, limit in (("complete", 1.0, 1000, 10.0), ("10 % filled", 0.1, 1200, 300.0)):
        case = measure(_work, n, m, filled, draws, 100)
        label = f"{n} x {m} {name}"
        note = (
            f"{case['cells']:.3g} cells, {case['patterns']:.0f} patterns, min bulk ESS {case['ess']:.0f}, "
            f"max R-hat {case['rhat']:.3f}, largest pull of a contrast {case['pull']:.1f}"
        )
        good = case["ess"] >= 400 and case["rhat"] < 1.01
        found += [
            Record(f"{label}: posterior, wall", "concordance", case["wall"], "s", goal=f"< {limit:g} s with ESS >= 400",
                   passed=case["wall"] < limit and good, note=note),
            Record(f"{label}: posterior, CPU", "concordance", case["cpu"], "s"),
            Record(f"{label}: peak memory", "concordance", case["peak"], "MiB", goal="< 2048 MiB",
                   passed=case["peak"] < 2048, note=f"{case['idle']:.0f} MiB of it before the fit, data included"),
            Record(f"{label}: sufficient statistics", "concordance", 1e3 * case["setup"], "ms"),
            Record(f"{label}: collapsed evaluation", "concordance", 1e3 * case["evaluation"], "ms"),
            Record(f"{label}: block-Gibbs sweep", "concordance", 1e3 * case["sweep"], "ms"),
        ]  # fmt: skip
    return [*found, *_many_instruments(quick), *_many_sources(quick)]
