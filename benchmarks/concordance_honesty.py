"""Bias and coverage where logarithms mislead: faint instruments, and few sources without errors."""

from __future__ import annotations

import numpy as np

from benchmarks.record import Record


def faint(
    snr: float, replicates: int, noise: str | None = None, sources: int = 200, tau: float = 0.05
) -> tuple[float, float, float]:
    """Return bias of ln(faint / others), its standard error, and coverage of the 95 % interval.

    Three instruments, one of the given S/N and two of S/N 20, Gaussian errors in flux. The true areas are drawn from
    the prior, N(0, tau^2): where the prior contributes, coverage is 95 % for such areas, and more for nominal ones.
    """
    from crosscal.concordance import Comparison, Noise, Sampling, make_model
    from crosscal.concordance.routes import sample

    means, inside = [], []
    for k in range(replicates):
        rng = np.random.default_rng([k, int(10 * snr)])
        flux = rng.lognormal(0.0, 1.0, sources)
        sd = flux[:, None] * np.array([1 / snr, 0.05, 0.05])
        true = rng.normal(0.0, tau, 3)
        sd = sd * np.exp(true)
        measured = flux[:, None] * np.exp(true) + rng.normal(size=sd.shape) * sd
        used = measured > 0 if noise == "log-normal" else np.ones(sd.shape, bool)
        j, i = np.nonzero(used)
        data = Comparison.from_cells(
            np.array(["faint", "a", "b"])[i], [f"s{x}" for x in j], flux=measured[used], error=sd[used]
        )
        found = sample(
            make_model(data, noise=Noise(kind=noise)),  # type: ignore[arg-type]
            Sampling(draws=400, warmup=100, chains=1) if noise is None else Sampling(draws=1500, warmup=300, chains=1),
            seed=k,
        )
        contrast = (found.b[..., 0] - found.b[..., 1:].mean(axis=-1)).ravel()
        low, high = np.quantile(contrast, [0.025, 0.975])
        truth = true[0] - true[1:].mean()
        means.append(contrast.mean() - truth)
        inside.append(low < truth < high)
    return float(np.mean(means)), float(np.std(means) / np.sqrt(replicates)), float(np.mean(inside))


def few(n: int, m: int, replicates: int, sigma: float = 0.05) -> float:
    """Return the coverage of 95 % intervals of ratios for N instruments, M sources, no errors and default priors."""
    from crosscal.concordance import Sampling, make_model, simulate
    from crosscal.concordance.routes import sample

    inside = []
    for k in range(replicates):
        case = simulate(n, m, tau=0.05, sigma=sigma, seed=k)
        found = sample(make_model(case.data), Sampling(draws=1500, warmup=300, chains=1), seed=k)
        b = found.b.reshape(-1, n)
        for i in range(1, n):
            low, high = np.quantile(b[:, i] - b[:, 0], [0.025, 0.975])
            inside.append(low < case.b[i] - case.b[0] < high)
    return float(np.mean(inside))


def records(quick: bool) -> list[Record]:
    """Measure bias and coverage with the default noise, and beside it with errors taken as Gaussian in ln flux."""
    replicates = 20 if quick else 200
    found: list[Record] = []
    for snr in (1.5, 3.0, 5.0, 10.0):
        before, _, covered_before = faint(snr, max(10, replicates // 5), "log-normal")
        bias, error, covered = faint(snr, replicates)
        sd = error * np.sqrt(replicates)
        found += [
            Record(f"200 sources, S/N {snr:g}: bias of ln ratio", "concordance", bias, "", peer="log-normal errors",
                   peer_value=before, goal="|bias| <= 0.3 sd", passed=abs(bias) <= 0.3 * sd + 2 * error,
                   note=f"sd of one answer {sd:.4f}"),
            Record(f"200 sources, S/N {snr:g}: coverage of 95 %", "concordance", covered, "", peer="log-normal errors",
                   peer_value=covered_before, goal="0.93-0.97",
                   passed=abs(covered - 0.95) <= 0.02 + 2 * np.sqrt(0.05 * 0.95 / replicates)),
        ]  # fmt: skip
    for n, m in ((2, 1), (5, 1), (2, 2), (2, 3), (4, 3)):
        covered = few(n, m, 2 * replicates)
        found.append(
            Record(f"{n} instruments, {m} sources without errors: coverage of 95 %", "concordance", covered, "",
                   goal="0.93-0.99", passed=0.93 - 2 * np.sqrt(0.0475 / (2 * replicates)) <= covered <= 0.99)
        )  # fmt: skip
    return found
