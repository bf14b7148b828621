"""Designs over named parameters: product grids and quasi-random point sets.

Both give ``names``, ``points`` of shape (n, d) and ``len``; a library, a sweep or an emulator needs no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError, UnknownNameError

SCALES = ("linear", "log")


@dataclass(frozen=True)
class Axis:
    """One named, strictly increasing axis.

    Parameters
    ----------
    name : str
    values : array, shape (n,)
    unit : str
        As astropy spells it ("keV"), empty if dimensionless.
    scale : "linear" or "log"
        In which coordinate the axis is smooth; interpolators use it.
    """

    name: str
    values: NDArray[np.float64]
    unit: str = ""
    scale: str = "linear"

    def __post_init__(self) -> None:
        values = np.atleast_1d(np.asarray(self.values, dtype=float))
        where = f"axis {self.name!r}"
        if values.ndim != 1 or values.size == 0:
            raise InputError("no values", where=where, expected="a non-empty list of numbers")
        if not np.all(np.isfinite(values)):
            raise InputError("values are not finite", where=where, expected="finite numbers")
        if np.any(np.diff(values) <= 0):
            raise InputError("values do not increase", where=where, expected="strictly increasing numbers")
        if self.scale not in SCALES:
            raise UnknownNameError("axis scale", self.scale, SCALES, where=where)
        if self.scale == "log" and values[0] <= 0:
            raise InputError(f"a logarithmic axis holds {values[0]:g}", where=where, expected="positive numbers")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @classmethod
    def from_range(cls, name: str, low: float, high: float, n: int, *, unit: str = "", scale: str = "linear") -> Axis:
        """Make an axis of ``n`` points from ``low`` to ``high``, evenly spaced in ``scale``."""
        if n < 1:
            raise InputError(f"{n} points", where=f"axis {name!r}", expected="at least 1")
        if scale == "log" and not (low > 0 and high > 0):
            raise InputError(
                f"a logarithmic axis from {low:g} to {high:g}",
                where=f"axis {name!r}",
                expected="positive limits",
            )
        values = np.geomspace(low, high, n) if scale == "log" else np.linspace(low, high, n)
        return cls(name, values, unit, scale)

    @property
    def coordinate(self) -> NDArray[np.float64]:
        """The values, or their natural logarithm where ``scale`` is "log"."""
        return np.log(self.values) if self.scale == "log" else self.values

    def __len__(self) -> int:
        return self.values.size


@dataclass(frozen=True)
class Grid:
    """The Cartesian product of axes, in C order (the last axis varies fastest)."""

    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        names = [axis.name for axis in self.axes]
        if not names:
            raise InputError("a grid without axes", expected="at least one axis")
        if len(set(names)) != len(names):
            raise InputError(f"axis names repeat in {names}", expected="each name once")

    @property
    def names(self) -> tuple[str, ...]:
        """Axis names in order."""
        return tuple(axis.name for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values per axis."""
        return tuple(len(axis) for axis in self.axes)

    @property
    def points(self) -> NDArray[np.float64]:
        """All points, shape (n, d)."""
        return self.take(np.arange(len(self)))

    def take(self, index: ArrayLike) -> NDArray[np.float64]:
        """Return the points with the flat numbers ``index`` (shape (m,)) as an (m, d) array."""
        positions = np.unravel_index(np.asarray(index, dtype=np.int64), self.shape)
        return np.stack([axis.values[k] for axis, k in zip(self.axes, positions, strict=True)], axis=-1)

    def axis(self, name: str) -> Axis:
        """Return the axis called ``name``."""
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise UnknownNameError("axis", name, self.names)

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return (low, high) per axis name."""
        return {axis.name: (float(axis.values[0]), float(axis.values[-1])) for axis in self.axes}

    def __mul__(self, other: Grid) -> Grid:
        return Grid(self.axes + other.axes)

    def __len__(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Scatter:
    """A design of scattered points, shape (n, d), with the box it was drawn from."""

    names: tuple[str, ...]
    points: NDArray[np.float64]
    box: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        points = np.atleast_2d(np.asarray(self.points, dtype=float))
        if points.shape[1] != len(self.names):
            raise InputError(
                f"points have {points.shape[1]} columns",
                where="scattered design",
                expected=f"{len(self.names)}",
            )
        if not np.all(np.isfinite(points)):
            raise InputError("points are not finite", where="scattered design", expected="finite numbers")
        points.setflags(write=False)
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "points", points)
        if not self.box:
            box = {n: (float(c.min()), float(c.max())) for n, c in zip(self.names, points.T, strict=True)}
            object.__setattr__(self, "box", box)

    def take(self, index: ArrayLike) -> NDArray[np.float64]:
        """Return the points with the numbers ``index`` as an (m, d) array."""
        return self.points[np.asarray(index, dtype=np.int64)]

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return (low, high) per name."""
        return dict(self.box)

    def __len__(self) -> int:
        return self.points.shape[0]


def quasi_random(
    box: Mapping[str, tuple[float, float]],
    n: int,
    *,
    method: str = "sobol",
    seed: int = 0,
    log: Sequence[str] = (),
) -> Scatter:
    """Fill a box with ``n`` quasi-random points.

    Parameters
    ----------
    box : mapping of name to (low, high)
    n : int
        Number of points; a power of two keeps a Sobol set balanced.
    method : "sobol" or "latin-hypercube"
    seed : int
        Seed of the scrambling.
    log : sequence of str
        Names to spread evenly in logarithm.
    """
    import warnings

    from scipy.stats import qmc

    makers = {"sobol": qmc.Sobol, "latin-hypercube": qmc.LatinHypercube}
    if method not in makers:
        raise UnknownNameError("design", method, makers)
    for name, (low, high) in box.items():
        if not high > low:
            raise InputError(f"limits {low:g}, {high:g}", where=f"axis {name!r}", expected="low < high")
    low, high = np.array(list(box.values()), dtype=float).T
    is_log = np.array([name in log for name in box])
    if np.any(is_log & (low <= 0)):
        raise InputError("a logarithmic axis reaches zero", where="quasi-random design", expected="positive limits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Sobol's note on sizes that are no power of two
        unit = makers[method](len(box), rng=np.random.default_rng(seed)).random(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        curved = np.exp(np.log(low) + unit * (np.log(high) - np.log(low)))
    points = np.where(is_log, curved, low + unit * (high - low))
    return Scatter(tuple(box), points, {k: (float(a), float(b)) for k, (a, b) in box.items()})
