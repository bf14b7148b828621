"""Many sources: the likelihood of areas and variances expanded to second order about its maximum, and checked.

With fluxes integrated out the log likelihood L(B, s) is a sum over sources, so that it and its derivatives are sums
over chunks of sources. With many sources it is quadratic where the posterior lies; the priors are kept as they are.
The error of the expansion is measured at draws.
"""

# ruff: noqa: NPY002 - inside compiled code np.random is numba's own generator, seeded in each entry point

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosscal.concordance.chains import Draws
from crosscal.concordance.expansion_sums import column_sums
from crosscal.concordance.prior_sampler import NARROWEST, log_variance_prior
from crosscal.concordance.priors import AreaPrior
from crosscal.concordance.types import Comparison
from crosscal.concordance.variance import VarianceModel
from crosscal.core.errors import FitError
from crosscal.core.random import generator, integer_seed

Floats = NDArray[np.float64]
#: Columns summed at a time: the sums have the same bits however the chunks are spread over processes.
CHUNK = 65_536
#: The expansion is compared with the likelihood at so many draws; the standard deviation of the difference may be ...
CHECKED, LARGEST_ERROR = 32, 0.2
#: Newton's steps end when they are below this part of a posterior standard deviation.
CLOSE, MOST_STEPS = 0.03, 60

#: ``sums(b, s, slopes)``: log likelihood, gradient (2 N,) and lower triangle of the second derivatives (2 N, 2 N).
Sums = Callable[[Floats, Floats, bool], tuple[float, Floats, Floats]]


def sums_of(data: Comparison, kind: str) -> Sums:
    """Return the sums over a comparison in memory, chunk by chunk."""
    edges = [*range(0, data.n_columns, CHUNK), data.n_columns]
    v = np.zeros(data.n_cells) if kind == "unknown" or data.variance is None else data.variance

    def sums(b: Floats, s: Floats, slopes: bool) -> tuple[float, Floats, Floats]:
        parts = []
        for a, z in pairwise(edges):
            cells = slice(data.indptr[a], data.indptr[z])
            gradient, curvature = np.zeros(2 * len(b)), np.zeros((2 * len(b), 2 * len(b)))
            value = column_sums(  # type: ignore[call-arg]
                data.indptr[a : z + 1] - data.indptr[a], data.row[cells], data.log_rate[cells], v[cells], data.half,
                kind != "quoted", b, s, slopes, gradient, curvature,
            )  # fmt: skip
            parts.append((float(value), gradient, curvature))
        return added(parts)

    return sums


def added(parts: list[tuple[float, Floats, Floats]]) -> tuple[float, Floats, Floats]:
    """Add sums of chunks in their order."""
    value, gradient, curvature = 0.0, np.zeros_like(parts[0][1]), np.zeros_like(parts[0][2])
    for one in parts:
        value += one[0]
        gradient += one[1]
        curvature += one[2]
    return value, gradient, curvature


@dataclass(frozen=True, eq=False)
class Expansion:
    """Log likelihood about (b, s): value + gradient . d - d' precision d / 2, d = (B - b, s' - s), shapes 2 N."""

    b: Floats
    s: Floats
    value: float
    gradient: Floats
    precision: Floats

    def at(self, b: Floats, s: Floats) -> float:
        """Return the expanded log likelihood."""
        d = np.concatenate([b - self.b, s - self.s])
        return float(self.value + self.gradient @ d - 0.5 * d @ self.precision @ d)


def expand(sums: Sums, prior: AreaPrior, variance: VarianceModel, b: Floats, s: Floats) -> Expansion:
    """Expand about the maximum of the posterior of (B, ln s), found by Newton's steps from (b, s).

    Raises
    ------
    FitError
        If the steps do not converge.
    """
    n = len(b)
    mean = np.where(prior.flat, 0.0, prior.mean)
    estimated = variance.unknown
    best = -np.inf
    step, tried = np.zeros(2 * n), (b, s)
    for _ in range(MOST_STEPS):
        value, gradient, curvature = sums(*tried, True)
        precision = -(np.tril(curvature) + np.tril(curvature, -1).T)
        own, slope, bend = _log_prior(tried[0] - mean, tried[1], prior, variance)
        if not value + own >= best - 1e-9 * abs(value):
            # Too far: back, half as long.
            step = 0.5 * step
            tried = (b + step[:n], s * np.exp(step[n:]))
            continue
        best, (b, s) = value + own, tried
        scale = np.concatenate([np.ones(n), s])
        full_gradient = scale * gradient + slope
        hessian = precision * np.outer(scale, scale) - np.diag(np.concatenate([np.zeros(n), s * gradient[n:]])) + bend
        if not estimated:
            full_gradient, hessian = full_gradient[:n], hessian[:n, :n]
        # Directions of negative curvature, far from the maximum, are followed with the curvature's size.
        values, vectors = np.linalg.eigh(hessian)
        values = np.maximum(np.abs(values), 1e-8 * values.max())
        along = vectors.T @ full_gradient / values
        step = np.zeros(2 * n)
        step[: len(full_gradient)] = vectors @ along
        if np.max(np.abs(along) * np.sqrt(values)) < CLOSE:
            return Expansion(b, s, value, gradient, precision)
        step[n:] = np.clip(step[n:], -2.0, 2.0)
        tried = (b + step[:n], s * np.exp(step[n:]))
    raise FitError("The maximum of the posterior of areas and variances was not found: use route = 'gibbs'.")


def _log_prior(deviation: Floats, s: Floats, prior: AreaPrior, variance: VarianceModel) -> tuple[float, Floats, Floats]:
    """Log prior of (B, ln s), its gradient (2 N,), and minus its second derivatives (2 N, 2 N)."""
    n = len(s)
    pull = prior.precision @ deviation
    value = -0.5 * float(deviation @ pull)
    slope, bend = np.concatenate([-pull, np.zeros(n)]), np.zeros((2 * n, 2 * n))
    bend[:n, :n] = prior.precision
    if variance.unknown:
        half_t = variance.scale > 0
        nu = 2 * variance.df
        x = s / (nu * np.where(half_t, variance.scale, 1.0) ** 2 + s)
        value += sum(
            float(log_variance_prior(*one)) for one in zip(s, variance.df, variance.beta, variance.scale, strict=True)
        )
        slope[n:] = np.where(half_t, 0.5 - 0.5 * (nu + 1) * x, -variance.df + variance.beta / s)
        bend[range(n, 2 * n), range(n, 2 * n)] = np.where(half_t, 0.5 * (nu + 1) * x * (1 - x), variance.beta / s)
    return value, slope, bend


@njit(cache=True, nogil=True)
def _log_conditional(x, centre, tilt, bend, df, beta, scale):
    """Log density of ln s_i at s_i = x: the expanded likelihood and the prior."""
    d = x - centre
    return tilt * d - 0.5 * bend * d * d + log_variance_prior(x, df, beta, scale)


@njit(cache=True, nogil=True)
def _slice_variances(centre, slope, precision, df, beta, scale, s, width, sweeps, seed, keep):
    """Slice sampling by coordinates of ln s under slope . d - d' precision d / 2, d = s - centre, and its prior."""
    np.random.seed(seed)
    n = len(s)
    for k in range(sweeps):
        for i in range(n):
            tilt = slope[i]
            for e in range(n):
                if e != i:
                    tilt -= precision[i, e] * (s[e] - centre[e])
            own = (centre[i], tilt, precision[i, i], df[i], beta[i], scale[i])
            level = _log_conditional(s[i], *own) + np.log(1.0 - np.random.random())
            now = np.log(s[i])
            low = now - width[i] * np.random.random()
            high = low + width[i]
            for side in range(2):
                for _ in range(100):
                    if _log_conditional(np.exp(low if side == 0 else high), *own) <= level:
                        break
                    if side == 0:
                        low -= width[i]
                    else:
                        high += width[i]
            while True:
                u = low + np.random.random() * (high - low)
                x = np.exp(u)
                if _log_conditional(x, *own) > level or high - low < NARROWEST:
                    break
                if u < now:
                    low = u
                else:
                    high = u
            s[i] = x
        for i in range(n):
            keep[k, i] = s[i]


def draw(
    expansion: Expansion, prior: AreaPrior, variance: VarianceModel, seed: int, draws: int, chains: int
) -> tuple[Floats, Floats | None]:
    """Draw (B, s) from the expanded likelihood and the priors: (chains, draws, N) each; s is None where it is known.

    Raises
    ------
    FitError
        If the expansion has no maximum.
    """
    n = len(expansion.b)
    a, g = expansion.precision, expansion.gradient
    joint = a[:n, :n] + prior.precision
    lean = g[:n] + prior.precision @ (np.where(prior.flat, 0.0, prior.mean) - expansion.b)
    root = np.linalg.cholesky(joint)
    noise = generator(seed, "expansion").standard_normal((chains, draws, n))
    spread = noise @ np.linalg.inv(root)
    if not variance.unknown:
        return expansion.b + np.linalg.solve(joint, lean) + spread, None
    gain = np.linalg.solve(joint, np.column_stack([a[:n, n:], lean]))
    left = a[n:, n:] - a[n:, :n] @ gain[:, :n]
    slope = g[n:] - a[n:, :n] @ gain[:, n]
    if np.linalg.eigvalsh(left)[0] <= 0:
        raise FitError("The likelihood of the variances has no maximum in its expansion: use route = 'gibbs'.")
    s = np.empty((chains, draws, n))
    warmup = 100
    keep = np.empty((warmup + draws, n))
    width = 3.0 / np.sqrt(np.diag(left) * expansion.s**2 + variance.df)
    for k in range(chains):
        _slice_variances(
            expansion.s, slope, left, variance.df, variance.beta, variance.scale, expansion.s.copy(), width,
            warmup + draws, integer_seed(seed, "expansion", k), keep,
        )  # fmt: skip
        s[k] = keep[warmup:]
    b = expansion.b + gain[:, n] - (s - expansion.s) @ gain[:, :n].T + spread
    return b, s


def error_of(expansion: Expansion, sums: Sums, b: Floats, s: Floats | None) -> float:
    """Standard deviation over draws of log likelihood minus its expansion; 0 is perfect."""
    flat_b = b.reshape(-1, b.shape[-1])
    flat_s = np.zeros_like(flat_b) if s is None else s.reshape(-1, b.shape[-1])
    picks = np.linspace(0, len(flat_b) - 1, CHECKED).round().astype(int)
    points = [(flat_b[k], flat_s[k]) for k in picks]
    # Sums over a table on disk take all points in one pass.
    together = getattr(sums, "values", None)
    exact = together(points) if together is not None else [sums(*point, False)[0] for point in points]
    return float(np.std(np.array(exact) - [expansion.at(*point) for point in points]))


def explore_sums(
    sums: Sums, pilot: Sums, prior: AreaPrior, variance: VarianceModel, start: tuple[Floats, Floats], seed: int,
    draws: int, chains: int, progress: Any,
) -> Draws:  # fmt: skip
    """Sample areas and variances from sums over sources; ``pilot`` are those of a few sources, for the first steps."""
    with progress.stage("Expanding the likelihood", total=3) as advance:
        first = expand(pilot, prior, variance, *start)
        advance(1)
        found = expand(sums, prior, variance, first.b, first.s)
        advance(1)
        b, s = draw(found, prior, variance, seed, draws, chains)
        error = error_of(found, sums, b, s)
        advance(1)
    good = error <= LARGEST_ERROR
    told = (
        (
            f"The likelihood differs from its expansion by {error:.2f} (standard deviation over draws; at most "
            f"{LARGEST_ERROR} is accepted): use route = 'gibbs'."
        ),
    )
    n = len(found.b)
    alone = found.precision[:n, :n]
    return Draws(
        b, s, method="expansion", converged=good, messages=() if good else told,
        information=(alone, alone @ found.b + found.gradient[:n]),
    )  # fmt: skip
