"""Concordance at scale: 100 instruments x 1e5 sources, complete and 10 % filled at random."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
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


def measure(n: int, m: int, filled: float, draws: int, warmup: int) -> dict[str, float]:
    """Run in a fresh process, so that its peak memory is its own."""
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    process = context.Process(target=_work, args=(n, m, filled, draws, warmup, child))
    process.start()
    child.close()
    found = parent.recv()
    process.join()
    return found


def records(quick: bool) -> list[Record]:
    """Measure both cases (10 times fewer sources when quick)."""
    n, m = 100, 10_000 if quick else 100_000
    found: list[Record] = []
    for name, filled, draws, limit in (("complete", 1.0, 1000, 10.0), ("10 % filled", 0.1, 1200, 300.0)):
        case = measure(n, m, filled, draws, 100)
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
    return found
