"""Effective samples per CPU-second on 3 instruments x 94 sources, beside the plain parametrisation under NUTS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import Record, cpu_seconds


def _problem() -> tuple[Any, str]:
    """The published-like hard XCAL table where the data directory is known, else its synthetic counterpart."""
    from crosscal.concordance import Noise, make_model, make_prior, published_like, read_matrix

    def state(data: Any) -> Any:
        return make_model(data, make_prior(data, 0.025), Noise(beta=0.028**2))

    directory = os.environ.get("CROSSCAL_DATA")
    path = Path(directory or "") / "concordance" / "surrogate_hard_XCAL.csv"
    if directory and path.exists():
        return state(read_matrix(path)), "surrogate hard XCAL"
    return state(published_like("XCAL_hard", seed=1).data), "synthetic hard XCAL"


def _smallest(b: np.ndarray, sigma: np.ndarray) -> tuple[float, float]:
    from arviz_stats.base import array_stats

    def least(x: np.ndarray) -> float:
        return min(float(array_stats.ess(x[..., i], method="bulk")) for i in range(x.shape[-1]))

    return least(b), least(sigma)


def _plain(model: Any, draws: int) -> tuple[np.ndarray, np.ndarray]:
    from crosscal.concordance.densities import full_problem
    from crosscal.inference.registry import sample

    posterior = sample(
        full_problem(model, shifted=False), "nuts", seed=1, draws=draws, warmup=draws, chains=2, dense_mass=False,
        precondition=False,
    )  # fmt: skip
    tree = posterior.tree["posterior"]
    return tree["B"].values, tree["sigma"].values


def records(quick: bool) -> list[Record]:
    """Measure block Gibbs, slice, collapsed NUTS, and the plain parametrisation in one run."""
    from crosscal.concordance import Sampling
    from crosscal.concordance.routes import sample

    model, label = _problem()
    seconds, (b, sigma) = cpu_seconds(lambda: _plain(model, 100 if quick else 150))
    plain = [size / seconds for size in _smallest(b, sigma)]
    found = []
    for route, draws in (("gibbs", 20_000), ("slice", 20_000), ("nuts", 1000)):
        sample(model, Sampling(route=route, draws=50, warmup=10), seed=1)  # type: ignore[arg-type]
        seconds, result = cpu_seconds(lambda r=route, d=draws: sample(model, Sampling(route=r, draws=d), seed=1))
        rates = [size / seconds for size in _smallest(result.b, np.sqrt(result.s))]
        for name, rate, peer in zip(("B", "sigma"), rates, plain, strict=True):
            goal = ">= 1000" if route == "gibbs" else ""
            found.append(
                Record(
                    f"{label} 3 x 94, {route}: min ESS of {name} per CPU-second", "concordance", rate, "1 / s",
                    peer="NUTS, plain (B, G, s)", peer_value=peer, ratio=rate / peer, goal=goal,
                    passed=rate >= 1000 if goal else None,
                    note="compilation of compiled kernels excluded, of NUTS included" if route != "nuts" else "",
                )
            )  # fmt: skip
    return found
