"""What an emulator learns from: named inputs, named outputs, and which points failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.grid import SCALES, Axis, Grid

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Input:
    """One input of an emulator: its range is the training domain.

    Parameters
    ----------
    name : str
    low, high : float
    unit : str
    scale : "linear" or "log"
        In which coordinate the map is smooth.
    """

    name: str
    low: float
    high: float
    unit: str = ""
    scale: str = "linear"

    def __post_init__(self) -> None:
        where = f"emulator input {self.name!r}"
        if self.scale not in SCALES:
            raise UnknownNameError("scale", self.scale, SCALES, where=where)
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise InputError(f"limits {self.low:g}, {self.high:g}", where=where, expected="finite low < high")
        if self.scale == "log" and self.low <= 0:
            raise InputError(f"a logarithmic input from {self.low:g}", where=where, expected="positive limits")

    def to_unit(self, values: Any, xp: Any = np) -> Any:
        """Map physical values to [-1, 1] over the training range, in the input's scale."""
        low, high = (np.log(self.low), np.log(self.high)) if self.scale == "log" else (self.low, self.high)
        x = xp.log(values) if self.scale == "log" else values
        return (x - 0.5 * (low + high)) / (0.5 * (high - low))

    def from_unit(self, values: Any) -> Any:
        """Invert `to_unit`."""
        low, high = (np.log(self.low), np.log(self.high)) if self.scale == "log" else (self.low, self.high)
        x = 0.5 * (low + high) + 0.5 * (high - low) * np.asarray(values)
        return np.exp(x) if self.scale == "log" else x


@dataclass(frozen=True, eq=False)
class TrainingTable:
    """Points and values of the map to learn.

    Parameters
    ----------
    inputs : tuple of Input
    outputs : tuple of str
    points : array, shape (n, d)
        In physical units, columns in the order of ``inputs``.
    values : array, shape (n, k)
        NaN rows are failed points.
    sd : array, shape (n, k), optional
        Noise of the values (0 or absent: exact).
    grid : Grid, optional
        Set if ``points`` is its product, in C order; smooth-grid emulators need it.
    provenance : mapping
        JSON-like record kept with the emulator.

    Raises
    ------
    InputError
        If shapes disagree, points lie outside the inputs' ranges, or too few points are finite.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    points: Floats
    values: Floats
    sd: Floats | None = None
    grid: Grid | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = "training table"
        points, values = np.asarray(self.points, dtype=float), np.asarray(self.values, dtype=float)
        d, k = len(self.inputs), len(self.outputs)
        if points.ndim != 2 or points.shape[1] != d or values.shape != (len(points), k):
            raise InputError(
                f"shapes {points.shape} and {values.shape}", where=where, expected=f"(n, {d}) and (n, {k})"
            )
        if not np.all(np.isfinite(points)):
            raise InputError("points are not finite", where=where, expected="finite numbers")
        for item, column in zip(self.inputs, points.T, strict=True):
            slack = 1e-9 * (item.high - item.low)
            if column.min() < item.low - slack or column.max() > item.high + slack:
                raise InputError(
                    f"{item.name} reaches {column.min():g} to {column.max():g}",
                    where=where,
                    expected=f"the input's range {item.low:g} to {item.high:g}",
                )
        if self.sd is not None:
            sd = np.asarray(self.sd, dtype=float)
            if sd.shape != values.shape or np.any(sd < 0):
                raise InputError(f"sd of shape {sd.shape}", where=where, expected=f"{values.shape}, not negative")
            object.__setattr__(self, "sd", sd)
        if self.grid is not None and (len(self.grid) != len(points) or len(self.grid.axes) != d):
            raise InputError(
                f"a grid of {len(self.grid)} points in {len(self.grid.axes)} dimensions",
                where=where,
                expected=f"{len(points)} points in {d}",
            )
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "outputs", tuple(self.outputs))
        if self.good.sum() < max(2 * d, 8):
            raise InputError(
                f"{int(self.good.sum())} of {len(points)} points are usable", where=where, expected="many more"
            )

    @classmethod
    def from_grid(
        cls,
        grid: Grid,
        outputs: Sequence[str],
        values: Any,
        sd: Any = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> TrainingTable:
        """Take values of shape ``(*grid.shape, k)``; axes with one value are left out of the inputs."""
        varying = tuple(axis for axis in grid.axes if len(axis) > 1)
        if not varying:
            raise InputError("no axis of the grid varies", where="training table", expected="axes with several values")
        inputs = tuple(Input(a.name, float(a.values[0]), float(a.values[-1]), a.unit, a.scale) for a in varying)
        fixed = {a.name: float(a.values[0]) for a in grid.axes if len(a) == 1}
        small = Grid(varying)
        k = len(outputs)
        return cls(
            inputs,
            tuple(outputs),
            small.points,
            np.asarray(values, dtype=float).reshape(-1, k),
            None if sd is None else np.asarray(sd, dtype=float).reshape(-1, k),
            small,
            {**(provenance or {}), "fixed_inputs": fixed},
        )

    @cached_property
    def good(self) -> NDArray[np.bool_]:
        """Points whose values are all finite, shape (n,)."""
        return np.all(np.isfinite(self.values), axis=1)

    @cached_property
    def unit_points(self) -> Floats:
        """Points in [-1, 1]^d, in each input's scale."""
        return np.stack([i.to_unit(c) for i, c in zip(self.inputs, self.points.T, strict=True)], axis=1)

    def take(self, index: Any) -> TrainingTable:
        """Return the table of some points; it is no longer a grid."""
        sd = None if self.sd is None else self.sd[index]
        return TrainingTable(
            self.inputs, self.outputs, self.points[index], self.values[index], sd, None, self.provenance
        )

    def halved(self) -> tuple[TrainingTable, NDArray[np.bool_]] | None:
        """Return the table on every second node of each axis, and which points it holds; None if too coarse.

        An axis keeps its ends, so that the points left out are never extrapolated to; one of few nodes is kept whole.
        """
        if self.grid is None:
            return None
        kept = []
        for axis in self.grid.axes:
            index = np.unique(np.append(np.arange(0, len(axis), 2), len(axis) - 1))
            kept.append(index if len(index) >= 4 else np.arange(len(axis)))
        if all(len(i) == len(a) for i, a in zip(kept, self.grid.axes, strict=True)):
            return None
        mask = np.zeros(self.grid.shape, dtype=bool)
        mask[np.ix_(*kept)] = True
        coarse = Grid(
            tuple(Axis(a.name, a.values[i], a.unit, a.scale) for a, i in zip(self.grid.axes, kept, strict=True))
        )
        flat = mask.ravel()
        sd = None if self.sd is None else self.sd[flat]
        return TrainingTable(
            self.inputs, self.outputs, self.points[flat], self.values[flat], sd, coarse, self.provenance
        ), flat
