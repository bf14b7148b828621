"""What the data constrain: which telescopes overlap in time, and which factors sit at a prior limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.lightcurves.layout import Layout
from crosscal.lightcurves.types import LightCurve, LightCurves

#: A draw counts as "at the limit" within this share of the prior range; this share of draws makes a warning.
NEAR_LIMIT, TOO_MANY = 0.02, 0.01
#: A posterior as wide as this share of its uniform prior is the prior.
UNCONSTRAINED = 0.8


@dataclass(frozen=True, eq=False)
class Overlap:
    """Overlap of telescopes in time.

    Attributes
    ----------
    codes : tuple of str
    window : float
        Two points within this time are compared directly.
    pairs : int array (k, k)
        Number of points of code a (row) with a point of code b within the window.
    component : int array (k,)
        Connected group of each code; -1 for a code without points. The reference is in group 0.

    Examples
    --------
    >>> result.diagnostics.overlap.isolated  # doctest: +SKIP
    """

    codes: tuple[str, ...]
    window: float
    pairs: NDArray[np.int64]
    component: NDArray[np.int64]

    def isolated(self) -> tuple[str, ...]:
        """Codes with points that no chain of overlaps connects to the reference."""
        return tuple(c for c, group in zip(self.codes, self.component, strict=True) if group > 0)


def overlap(curves: LightCurves, window: float) -> Overlap:
    """Build the overlap graph; two codes are linked where at least 2 points of one have a partner in the other.

    Parameters
    ----------
    window : float
        A small part of the time scale of variability: inside it the source hardly changes.
    """
    k = len(curves.codes)
    pairs = np.zeros((k, k), dtype=np.int64)
    for curve in curves.files:
        pairs += _pairs(curve, window)
    present = np.sum([curve.counts for curve in curves.files], axis=0) > 0
    linked = (np.maximum(pairs, pairs.T) >= 2) | _single(curves, pairs)
    component = np.full(k, -1, dtype=np.int64)
    group = 0
    for start in np.flatnonzero(present):
        if component[start] >= 0:
            continue
        stack = [int(start)]
        while stack:
            a = stack.pop()
            if component[a] < 0:
                component[a] = group
                stack += [int(b) for b in np.flatnonzero(linked[a] & present & (component < 0))]
        group += 1
    return Overlap(curves.codes, float(window), pairs, component)


def _pairs(curve: LightCurve, window: float) -> NDArray[np.int64]:
    k = len(curve.codes)
    times = [curve.time[curve.code == a] for a in range(k)]
    pairs = np.zeros((k, k), dtype=np.int64)
    for a in range(k):
        for b in range(k):
            if a == b or not len(times[a]) or not len(times[b]):
                continue
            right = np.searchsorted(times[b], times[a]).clip(max=len(times[b]) - 1)
            left = np.maximum(right - 1, 0)
            nearest = np.minimum(np.abs(times[b][right] - times[a]), np.abs(times[b][left] - times[a]))
            pairs[a, b] = int(np.sum(nearest <= window))
    return pairs


def _single(curves: LightCurves, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """A code with one point in all can have no second partner: one is enough to link it."""
    total = np.sum([curve.counts for curve in curves.files], axis=0)
    lonely = total <= 1
    return (np.maximum(pairs, pairs.T) >= 1) & (lonely[:, None] | lonely[None, :])


def at_limits(layout: Layout, vectors: NDArray[np.float64]) -> dict[int, str]:
    """Return free places whose draws pile up at a prior limit: place to "lower", "upper" or "both".

    A systematic error at its lower limit (usually zero) is an answer, not a problem, and is left out.
    """
    found = {}
    natural_floor = set(layout.syserr.ravel().tolist())
    for p in np.flatnonzero(layout.free):
        width = layout.high[p] - layout.low[p]
        low = np.mean(vectors[:, p] < layout.low[p] + NEAR_LIMIT * width) > TOO_MANY and p not in natural_floor
        high = np.mean(vectors[:, p] > layout.high[p] - NEAR_LIMIT * width) > TOO_MANY
        if low or high:
            found[int(p)] = "both" if low and high else "lower" if low else "upper"
    return found


def prior_dominated(layout: Layout, vectors: NDArray[np.float64]) -> tuple[int, ...]:
    """Return free places whose posterior standard deviation is more than 80 % of that of the uniform prior."""
    prior = (layout.high - layout.low) / np.sqrt(12.0)
    wide = vectors.std(axis=0) > UNCONSTRAINED * prior
    uniform = np.isinf(layout.half_normal)
    return tuple(int(p) for p in np.flatnonzero(layout.free & wide & uniform))
