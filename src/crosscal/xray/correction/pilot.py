"""A first fit of each source to the reference telescope: where its parameters are, and the range they can have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import FitError
from crosscal.xray.fitting.batch import Solutions, interval_batch, solve_batch
from crosscal.xray.fitting.engine import MEANING, Status
from crosscal.xray.fitting.fit import fit
from crosscal.xray.fitting.templates import FoldedTemplates

if TYPE_CHECKING:
    from crosscal.xray.correction.observations import Observation
    from crosscal.xray.emission.expression import Model

Floats = NDArray[np.float64]

#: Rise of the reference telescope's statistic at the ends of the range in which a source is tabulated (6.3 sigma).
REACH = 40.0
#: Half-width of that range in errors of the fit where no such ends are found.
WINDOW = 8.0


@dataclass(frozen=True, eq=False)
class Pilot:
    """A first fit of each source to the reference telescope, and the range in which its spectrum is tabulated.

    Attributes
    ----------
    names : tuple of str, p free parameters
    centre : array (N, p)
        Best fit; parameters of logarithmic scale (kT) and the norm in logarithm.
    scale : array (N, p)
        One standard deviation.
    log : array of bool (p,)
    low, high : arrays (N, p)
        Ends of the range, as ``v``; infinite for parameters in which the spectrum is linear.
    """

    names: tuple[str, ...]
    centre: Floats
    scale: Floats
    log: NDArray[np.bool_]
    low: Floats
    high: Floats

    def physical(self, v: Any, xp: Any = np) -> Any:
        """Turn standardised parameters (..., N, p) into physical ones."""
        y = self.centre + self.scale * v
        return xp.where(self.log, xp.exp(y), y)

    @cached_property
    def _middle_half(self) -> tuple[Floats, Floats]:
        bounded = np.isfinite(self.low)
        low, high = np.where(bounded, self.low, -1.0), np.where(bounded, self.high, 1.0)
        return 0.5 * (low + high), 0.5 * (high - low)

    def position(self, v: Any) -> Any:
        """Turn ``v`` (..., N, p) into places -1 to 1 in the range; unchanged for linear parameters."""
        middle, half = self._middle_half
        return (v - middle) / half

    def at(self, position: Any) -> Any:
        """Inverse of :meth:`position`."""
        middle, half = self._middle_half
        return middle + half * position


@dataclass(frozen=True)
class _Found:
    """Values, errors and ends of the range of one source, by parameter; ``trouble`` says why there are none."""

    values: Mapping[str, float]
    errors: Mapping[str, float]
    ends: Mapping[str, tuple[float, float]]
    trouble: str = ""


def fit_trusted(
    observations: Sequence[Observation], names: Sequence[str], free: Sequence[str], multiplicative: int | None
) -> tuple[Pilot, dict[str, str]]:
    """Fit the spectrum with most counts of each source.

    Spectra without background of one response and model go through the compiled engine.

    Returns
    -------
    pilot, trouble
        ``trouble`` says for each source that cannot be used why not; the pilot is of the others, in the order of
        ``names``.
    """
    chosen: dict[str, Observation] = {}
    for o in observations:
        if o.source not in chosen or o.spectrum.counts.sum() > chosen[o.source].spectrum.counts.sum():
            chosen[o.source] = o
    groups: dict[Any, list[Observation]] = {}
    for name in names:
        o = chosen[name]
        fast = o.spectrum.background is None and np.ndim(o.spectrum.areascale) == 0 and _tabulated(o.model)
        key = (id(o.response), id(o.model), o.mask.tobytes()) if fast else name
        groups.setdefault(key, []).append(o)
    found: dict[str, _Found] = {}
    for key, members in groups.items():
        found |= _fit_batch(members) if isinstance(key, tuple) else {key: _fit_one(members[0])}
    trouble = {name: found[name].trouble for name in names if found[name].trouble}
    good = [name for name in names if name not in trouble]
    return _pilot(chosen, good, tuple(free), found, multiplicative), trouble


def _tabulated(model: Model) -> bool:
    return all(n in model.linear or model.nodes(n) is not None for n in model.free)


def _trouble(status: int, at_limit: Sequence[str]) -> str:
    """Return why a fit cannot be used, or nothing; a linear parameter at its limit (an abundance of 0) does no harm."""
    if at_limit:
        return f"{' and '.join(at_limit)} reached a limit"
    return "" if status in (Status.OK, Status.AT_BOUND) else MEANING[Status(status)]


def _fit_batch(members: Sequence[Observation]) -> dict[str, _Found]:
    model = members[0].model
    templates = FoldedTemplates.build(members[0].response, model, mask=members[0].mask)
    unit = np.array([o.spectrum.exposure * float(o.spectrum.areascale) for o in members])
    counts = np.stack([o.spectrum.counts[members[0].mask] for o in members])
    start = {n: np.full(len(members), model.parameter(n).default) for n in model.free}
    if "kT" in start:
        start["kT"] = np.full(len(members), 4.0)
    total = templates.counts(None, **start).sum(axis=1)
    for n in model.free:
        if n.startswith("norm"):
            start[n] = start[n] * counts.sum(axis=1) / total
    low, high = templates.limits(model)
    x = np.broadcast_to(templates.nodes.to_engine(start), (len(members), len(templates.names)))
    solved = solve_batch(templates.table, counts, x, low, high)
    ends = [
        _ends(templates, solved, interval_batch(templates.table, counts, solved, j, REACH, low, high), j)
        for j in range(len(templates.nodes.axes))
    ]
    values = templates.nodes.from_engine(solved.x)
    sd = np.sqrt(np.diagonal(templates.nodes.covariance_from_engine(solved.x, solved.covariance), axis1=1, axis2=2))
    found = {}
    for i, o in enumerate(members):
        scale = [unit[i] if n.startswith("norm") else 1.0 for n in templates.names]
        shapes = range(len(templates.nodes.axes))
        inside = (solved.x[i] > low) & (solved.x[i] < high)
        at_limit = [n for j, n in enumerate(templates.names) if (j in shapes or n.startswith("norm")) and not inside[j]]
        found[o.source] = _Found(
            {n: values[i, k] / scale[k] for k, n in enumerate(templates.names)},
            {n: sd[i, k] / scale[k] for k, n in enumerate(templates.names)},
            {templates.names[j]: (float(ends[j][i, 0]), float(ends[j][i, 1])) for j in shapes},
            _trouble(int(solved.status[i]), at_limit if solved.status[i] == Status.AT_BOUND else ()),
        )
    return found


def _ends(templates: FoldedTemplates, solved: Solutions, ends: Floats, j: int) -> Floats:
    return np.asarray(templates.nodes.axes[j].from_coordinate(ends))


def _fit_one(o: Observation) -> _Found:
    result = fit(o.spectrum, o.response, o.model, band=o.band)
    shapes = [n for n in o.model.free if n not in o.model.linear]
    at_limit = []
    for n in (*shapes, *(n for n in o.model.linear if n in o.model.free and n.startswith("norm"))):
        ends = _limits(o.model, n)
        at_limit += [n] if not ends[0] < result.values[n] < ends[1] else []
    trouble = _trouble(int(result.status), at_limit if result.status == Status.AT_BOUND else ())
    ranges = {}
    for n in shapes if not trouble else ():
        try:
            ranges[n] = result.interval(n, REACH)
        except FitError:
            # Six sigma away a fit may fail; the range is then taken from the error.
            ranges[n] = (np.nan, np.nan)
    return _Found(result.values, result.errors, ranges, trouble)


def _limits(model: Model, name: str) -> tuple[float, float]:
    """Return the limits of a parameter: its own and those of the table that it is interpolated in."""
    nodes, p = model.nodes(name), model.parameter(name)
    return (p.low, p.high) if nodes is None else (max(p.low, float(nodes[0])), min(p.high, float(nodes[-1])))


def _pilot(
    chosen: Mapping[str, Observation],
    names: Sequence[str],
    free: tuple[str, ...],
    found: Mapping[str, _Found],
    multiplicative: int | None,
) -> Pilot:
    shape = (len(names), len(free))
    centre, scale = np.empty(shape), np.empty(shape)
    low, high = np.full(shape, -np.inf), np.full(shape, np.inf)
    log = np.zeros(len(free), dtype=bool)
    for k, n in enumerate(free):
        for i, name in enumerate(names):
            model, f = chosen[name].model, found[name]
            p = model.parameter(n)
            log[k] = k == multiplicative or (n not in model.linear and p.scale == "log" and p.low > 0)
            value, sd = float(f.values[n]), float(f.errors[n])
            centre[i, k], scale[i, k] = (np.log(value), sd / value) if log[k] else (value, sd)
            if n not in model.linear:
                ends = _range(_limits(model, n), f.ends.get(n, (np.nan, np.nan)), centre[i, k], scale[i, k], log[k])
                # An error that says nothing (a flat likelihood) is no unit to sample in.
                scale[i, k] = min(scale[i, k], 0.5 * (ends[1] - ends[0]))
                low[i, k], high[i, k] = ((e - centre[i, k]) / scale[i, k] for e in ends)
    return Pilot(free, centre, scale, log, low, high)


def _range(
    limits: tuple[float, float], ends: tuple[float, float], centre: float, scale: float, log: np.bool_
) -> tuple[float, float]:
    """Return the range of one parameter in its coordinate, inside its limits: the profile's ends, or 8 errors."""
    if log:
        limits, ends = tuple(np.log(limits)), tuple(np.log(ends))  # type: ignore[assignment]
    low = ends[0] if np.isfinite(ends[0]) else centre - WINDOW * scale
    high = ends[1] if np.isfinite(ends[1]) else centre + WINDOW * scale
    return max(float(low), float(limits[0])), min(float(high), float(limits[1]))
