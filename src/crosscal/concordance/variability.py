"""Sources that vary between non-simultaneous observations: a random walk of G in time inside each campaign."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.types import CELL_FIELDS, Comparison
from crosscal.core.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Walk:
    """Which columns follow one another in time.

    Attributes
    ----------
    data : Comparison
        With columns sorted by campaign, band and time.
    gap : array (M,)
        Time since the preceding column of the same campaign and band; 0 for the first.
    group : int array (M,)
        Which variance rate applies: one per band.
    groups : tuple of str
        Names of the bands.
    """

    data: Comparison
    gap: Floats
    group: NDArray[np.int64]
    groups: tuple[str, ...]

    def links(self, rates: Floats) -> Floats:
        """Precision of G_j - G_{j-1} for variance rates per group (variance of ln flux per unit of time), (M,)."""
        precision = np.zeros(len(self.gap))
        used = self.gap > 0
        precision[used] = 1.0 / (self.gap[used] * np.asarray(rates)[self.group[used]])
        return precision


def independent(data: Comparison) -> Walk:
    """Return a walk without links: every column has its own flux."""
    return Walk(data, np.zeros(data.n_columns), np.zeros(data.n_columns, np.int64), ())


def random_walk(data: Comparison) -> Walk:
    """Link the columns of each campaign and band in time order: G(t + dt) - G(t) ~ N(0, q dt).

    Returns
    -------
    walk : Walk
        With the columns of the comparison reordered.

    Raises
    ------
    InputError
        If there are no campaigns or times, or one campaign holds two columns at the same time (simultaneous
        measurements must share one source name).

    Examples
    --------
    >>> walk = concordance.random_walk(data)  # doctest: +SKIP
    """
    if data.campaign is None or data.time is None:
        raise InputError(
            "source variability needs times and campaigns", where=data.label, expected="columns for time and campaign"
        )
    time = np.bincount(data.column, data.time, data.n_columns) / np.diff(data.indptr)
    bands = np.array([band for _, band in data.columns])
    order = np.lexsort((time, bands, data.campaign))
    same = (data.campaign[order][1:] == data.campaign[order][:-1]) & (bands[order][1:] == bands[order][:-1])
    gap = np.concatenate([[0.0], np.where(same, np.diff(time[order]), 0.0)])
    clash = np.flatnonzero(same & (gap[1:] <= 0))
    if len(clash):
        first, second = (data.columns[order[clash[0] + k]][0] for k in (0, 1))
        raise InputError(
            f"sources {first!r} and {second!r} of one campaign have the same time",
            where=data.label,
            expected="one source name for simultaneous measurements",
        )
    groups = tuple(dict.fromkeys(bands[order]))
    number = {name: k for k, name in enumerate(groups)}
    sorted_data = reorder_columns(data, order)
    return Walk(sorted_data, gap, np.array([number[b] for b in bands[order]]), tuple(str(g) for g in groups))


def reorder_columns(data: Comparison, order: NDArray[np.int64]) -> Comparison:
    """Return the comparison with its columns in another order."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    cells = np.lexsort((data.row, rank[data.column]))
    chosen = {
        name: None if (values := getattr(data, name)) is None else np.ascontiguousarray(values[cells])
        for name in CELL_FIELDS
    }
    return replace(
        data,
        columns=tuple(data.columns[k] for k in order),
        row=data.row[cells],
        column=rank[data.column[cells]].astype(np.int32),
        campaign=None if data.campaign is None else data.campaign[order],
        **chosen,  # type: ignore[arg-type]
    )
