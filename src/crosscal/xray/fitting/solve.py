"""The search for the best fit of one spectrum: where it starts, and which of several minima is the lowest."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from crosscal.xray.fitting import statistics
from crosscal.xray.fitting.engine import MAX_ITERATIONS, Status, covariance_of, fit_object
from crosscal.xray.fitting.source import ModelSource
from crosscal.xray.fitting.statistics import Data, Kind
from crosscal.xray.fitting.table import make_work

if TYPE_CHECKING:
    from crosscal.xray.emission.expression import Model

Array = NDArray[np.float64]

# In units of the statistic; the step that is left is applied, so that 1e-3 sigma remain at most.
TOLERANCE = 1e-6
# Temperatures tried as starts besides the model's own, keV: a fit from 1 keV to a hot plasma may end in a corner.
_STARTS = (0.3, 0.7, 1.5, 3.0, 6.0, 12.0)
# With several components: temperatures and photon indices of each, how many of their combinations are weighed by their
# best norms, and how many of the best are fitted to the end.
_GRIDS = {"kT": (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8), "PhoIndex": (1.0, 1.7, 2.4)}
_COMBINATIONS, _FITTED = 512, 6
# Minima whose statistic differs by less are one.
_SAME = 0.1
# A minimum that is higher by less, and farther away in errors, is named.
_RIVAL, _APART = 9.0, 3.0
# A velocity that starts at zero has no slope; lines of real plasmas have some hundred km/s.
_VELOCITY = 150.0
# Largest shift by the interpolation in redshift, in errors, that a fit may have.
_MOST_SHIFT = 0.2


@dataclass(frozen=True, eq=False)
class Solved:
    """The best fit in coordinates of the engine, and what was met on the way."""

    x: Array
    covariance: Array
    statistic: float
    status: Status
    work: Any
    notes: tuple[str, ...]


def solve(source: ModelSource, data: Data, background: Array, model: Model, scan: bool) -> Solved:
    """Fit from the model's own values and, with ``scan``, from other starts; return the lowest minimum."""
    n_free, n_group = len(source.names), data.counts.size
    x = source.to_engine({n: model.parameter(n).default for n in source.names})
    work = make_work(n_group, n_free, 1, 1)
    if not data.counts.sum() > 0:
        return Solved(x, np.full((n_free, n_free), np.nan), np.nan, Status.BAD_DATA, work, ())
    starts = _starts(source, data, x, background, model) if scan else [x]
    minima = [_descend(source, data, start, work) for start in starts]
    least = min((m.statistic for m in minima if np.isfinite(m.statistic)), default=np.nan)
    lowest = [m for m in minima if m.statistic < least + _SAME] or minima
    best = min(lowest, key=lambda m: (m.status > Status.AT_BOUND, m.statistic))
    best, told = _checked(source, data, best, work)
    told += _rivals(source, best, minima)
    return Solved(best.x, best.covariance, best.statistic, best.status, work, told)


def _descend(source: ModelSource, data: Data, start: Array, work: Any) -> Solved:
    x, n = start.copy(), start.size
    information, covariance = np.zeros((n, n)), np.full((n, n), np.nan)
    code, value, _ = fit_object(source, data, x, source.low, source.high, work, information, MAX_ITERATIONS, TOLERANCE)
    status = Status(code)
    if not covariance_of(information, source.low, source.high, work, covariance) and status == Status.OK:
        status = Status.SINGULAR
    return Solved(x, covariance, float(value), status, work, ())


def _rivals(source: ModelSource, best: Solved, minima: list[Solved]) -> tuple[str, ...]:
    """Name another minimum that describes the counts nearly as well."""
    sd = np.sqrt(np.diag(best.covariance))
    for m in sorted(minima, key=lambda m: m.statistic):
        apart = np.max(np.abs(m.x - best.x)[sd > 0] / sd[sd > 0], initial=0.0)
        if m.status <= Status.AT_BOUND and _SAME < m.statistic - best.statistic < _RIVAL and apart > _APART:
            values = zip(source.names, source.from_engine(m.x), strict=True)
            there = ", ".join(f"{n} = {v:.4g}" for n, v in values)
            return (f"another minimum is only {m.statistic - best.statistic:.1f} higher: {there}",)
    return ()


def _checked(source: ModelSource, data: Data, best: Solved, work: Any) -> tuple[Solved, tuple[str, ...]]:
    """Compare the interpolation in redshift with the model itself at the best fit and at its errors.

    The distance of the redshifts is halved, and the fit repeated, until parameters agree; the status says so where they
    do not.
    """
    while best.status <= Status.AT_BOUND and (shift := table_shift(source, data, best, work)) > _MOST_SHIFT:
        if min(source.spacing.values()) < 0.5 * source.narrowest:
            told = f"lines that cross bins of energy shift the parameters by {shift:.1f} of their errors"
            best = Solved(best.x, best.covariance, best.statistic, Status.INACCURATE, work, ())
            return best, (f"{told}: use broadened lines (bapec), or a response with finer bins",)
        source.spacing = {j: 0.5 * s for j, s in source.spacing.items()}
        best = _descend(source, data, best.x, work)
    return best, ()


def table_shift(source: ModelSource, data: Data, best: Solved, work: Any) -> float:
    """Return the largest shift of a parameter, in its errors, if the model itself were fitted: 0 without a table.

    The shift is F^-1 J' W (m_direct - m_table), with the weights W of the statistic, at the best fit and with each
    interpolated redshift at either end of its error.
    """
    n, worst = best.x.size, 0.0
    sd = np.sqrt(np.diag(best.covariance))
    places = [best.x]
    for j in source.spacing:
        places += [best.x + side * sd[j] * np.eye(n)[j] for side in (-1, 1)]
    for x in places if source.spacing else ():
        inside = np.clip(x, source.low, source.high)
        table, jacobian = np.empty(data.counts.size), np.empty((n, data.counts.size))
        source.evaluate(inside, table, jacobian)
        variance = np.maximum(table, 1e-10) + data.background / np.maximum(data.ratio, 1e-300) ** 2
        if data.kind >= Kind.CHI2:
            variance = np.maximum(data.variance, 1e-10)
        move = best.covariance @ (jacobian @ ((source.direct(inside) - table) / variance))
        worst = max(worst, float(np.max(np.abs(move[sd > 0] / sd[sd > 0]), initial=0.0)))
    return worst


def _starts(source: ModelSource, data: Data, x: Array, background: Array, model: Model) -> list[Array]:
    x = x.copy()
    for j, name in enumerate(source.names):
        if name.split("_")[0] == "Velocity" and j < source.n_shape and x[j] == 0.0:
            x[j] = min(_VELOCITY, source.high[j])
    emitters = [
        [n for n in names if n in source.names] for names in model.emitters if any(n in source.names for n in names)
    ]
    norms = [n for names in emitters for n in names if n.split("_")[0] == "norm"]
    if len(norms) > 1:
        return _several(source, data, x, background, emitters)
    return [_best_start(source, data, x, background, model)]


def _best_start(source: ModelSource, data: Data, x: Array, background: Array, model: Model) -> Array:
    """Return the better of the model's own values and other temperatures, norms scaled to the net counts."""
    norms = [j for j, n in enumerate(source.names) if n.split("_")[0] == "norm"]
    hot = [j for j, n in enumerate(source.names) if n.split("_")[0] == "kT" and model.nodes(n) is not None]
    net = max(
        float((data.counts - (background if data.kind < Kind.CHI2 else 0.0)).sum()), 0.1 * float(data.counts.sum())
    )
    starts = [x]
    for kT in _STARTS if hot else ():
        start = x.copy()
        # Several temperatures keep their ratios, so that components do not coincide.
        shift = np.log(kT) - (x[hot[0]] if source.log[hot[0]] else np.log(x[hot[0]]))
        for j in hot:
            start[j] = x[j] + shift if source.log[j] else x[j] * np.exp(shift)
        starts.append(np.clip(start, source.low, source.high))
    best, least = x, np.inf
    for start in starts:
        expected = source.counts(start)
        if norms and expected.sum() > 0:
            start = start.copy()
            start[norms] *= net / expected.sum()
            start = np.clip(start, source.low, source.high)
            expected = source.counts(start)
        value = statistics.total(data, np.maximum(expected, 1e-25)[None, :])
        if np.isfinite(value) and value < least:
            best, least = start, value
    return best


def _several(source: ModelSource, data: Data, x: Array, background: Array, emitters: list[list[str]]) -> list[Array]:
    """Return the model's own values, and the best of many combinations of temperatures and slopes of the components,
    each with the norms that describe the counts best (non-negative least squares)."""
    index = {n: j for j, n in enumerate(source.names)}
    norms = [index[n] for names in emitters for n in names if n.split("_")[0] == "norm"]
    dark = x.copy()
    dark[norms] = np.clip(0.0, source.low[norms], source.high[norms])
    ground = source.counts(dark)
    size = max(2, int(_COMBINATIONS ** (1 / len(emitters))))
    choices, folded = [], []
    for names in emitters:
        shapes = [index[n] for n in names if n.split("_")[0] in _GRIDS and index[n] < source.n_shape]
        grids = [(x[j], *_coordinates(source, j)) for j in shapes]
        options = list(product(*grids))
        options = [options[k] for k in np.unique(np.linspace(0, len(options) - 1, min(len(options), size)).astype(int))]
        own = [index[n] for n in names if n.split("_")[0] == "norm"]
        points = np.tile(dark, (len(options), 1))
        for k, values in enumerate(options):
            points[k, shapes] = values
            points[k, own] = 1.0
        choices.append([(shapes, values, own) for values in options])
        folded.append(source.many(points) - ground if own else np.zeros((len(options), ground.size)))
    target = data.counts - (background if data.kind < Kind.CHI2 else 0.0) - ground
    weight = 1.0 / np.sqrt(np.maximum(np.abs(data.counts), 1.0) if data.kind < Kind.CHI2 else data.variance)
    found = []
    for combination in product(*(range(len(c)) for c in choices)):
        rows = np.stack([folded[e][k] for e, k in enumerate(combination)])
        amounts, residual = nnls((rows * weight).T, target * weight)
        start = dark.copy()
        for e, k in enumerate(combination):
            shapes, values, own = choices[e][k]
            start[shapes] = values
            # A component that starts at nothing has no derivatives by its shape.
            start[own] = max(amounts[e], 1e-3 * max(target.sum(), 1.0) / max(rows[e].sum(), 1e-300))
        found.append((residual, combination, start))
    found.sort(key=lambda f: f[0])
    kept: list[Array] = [x]
    taken: list[tuple[int, ...]] = []
    for _, combination, start in found:
        # Neighbours on the grid end in the same minimum.
        if all(max(abs(a - b) for a, b in zip(combination, other, strict=True)) > 1 for other in taken):
            taken.append(combination)
            kept.append(np.clip(start, source.low, source.high))
        if len(taken) == _FITTED:
            break
    return kept


def _coordinates(source: ModelSource, j: int) -> list[float]:
    values = np.array(_GRIDS[source.names[j].split("_")[0]])
    return [v for v in (np.log(values) if source.log[j] else values) if source.low[j] < v < source.high[j]]
