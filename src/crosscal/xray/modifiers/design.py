"""Designs over the parameters of a modifier: they remember which modifier they are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.grid import Axis, Grid, Scatter, quasi_random
from crosscal.core.units import plain

if TYPE_CHECKING:
    from crosscal.core.parameter import Parameter


class Parametrised(Protocol):
    """What a design is made for: a modifier."""

    @property
    def name(self) -> str: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def defaults(self) -> tuple[float, ...]: ...
    @property
    def parameters(self) -> tuple[Parameter, ...]: ...

    def parameter(self, name: str) -> Parameter:
        """Return the parameter called ``name``."""


@dataclass(frozen=True)
class ModifierGrid(Grid):
    """A :class:`~crosscal.core.grid.Grid` over all parameters of ``modifier``, in its order."""

    modifier: Parametrised


@dataclass(frozen=True)
class ModifierScatter(Scatter):
    """A :class:`~crosscal.core.grid.Scatter` over all parameters of ``modifier``, in its order."""

    modifier: Parametrised | None = None


def _axis(parameter: Parameter, value: Any) -> Axis:
    where = f"axis {parameter.name!r}"
    if isinstance(value, Axis):
        axis = Axis(parameter.name, value.values, value.unit or parameter.unit, value.scale)
    elif isinstance(value, tuple):
        if len(value) != 3 or hasattr(value[2], "unit") or int(value[2]) != value[2]:
            raise InputError(f"the range {value!r}", where=where, expected="(low, high, number of values)")
        low, high = (float(plain(end, parameter.unit, where=where)) for end in value[:2])
        n = value[2]
        axis = Axis.from_range(parameter.name, low, high, int(n), unit=parameter.unit, scale=parameter.scale)
    else:
        if hasattr(value, "unit") and np.size(value) == 3 and not np.all(np.diff(value.value) > 0):
            # The number of values is no energy: (low, high, n) * unit gave it one.
            raise InputError(
                f"the range {value}",
                where=where,
                expected="units on the limits alone: (low * unit, high * unit, number)",
            )
        value = plain(value, parameter.unit, where=where)
        scale = parameter.scale if np.size(value) > 1 else "linear"
        axis = Axis(parameter.name, np.atleast_1d(np.asarray(value, dtype=float)), parameter.unit, scale)
    for end in (axis.values[0], axis.values[-1]):
        parameter.check(end, where=where)
    return axis


def grid(modifier: Parametrised, **axes: Any) -> ModifierGrid:
    """Make the product grid of ``axes``; a parameter that is not named stays at its default.

    An axis is (low, high, number of values), a list or array of values, one number, or an
    :class:`~crosscal.core.grid.Axis`.

    Raises
    ------
    InputError
        If a value is out of the parameter's range; UnknownNameError for a name the modifier lacks.
    """
    _known(modifier, axes)
    return ModifierGrid(tuple(_axis(p, axes.get(p.name, p.default)) for p in modifier.parameters), modifier=modifier)


def scatter(
    modifier: Parametrised, n: int, *, method: str = "sobol", seed: int = 0, **box: tuple[float, float]
) -> ModifierScatter:
    """Spread ``n`` quasi-random points over ``box`` (name = (low, high)); other parameters stay at default.

    Parameters of logarithmic scale are spread evenly in logarithm.
    """
    _known(modifier, box)
    if not box:
        raise InputError("an empty box", where=f"modifier {modifier.name!r}", expected="name=(low, high)")
    plain_box: dict[str, tuple[float, float]] = {}
    for name, (low, high) in box.items():
        parameter, where = modifier.parameter(name), f"axis {name!r}"
        ends = [parameter.check(plain(end, parameter.unit, where=where), where=where) for end in (low, high)]
        plain_box[name] = (ends[0], ends[1])
    log = [name for name in plain_box if modifier.parameter(name).scale == "log"]
    inner = quasi_random(plain_box, n, method=method, seed=seed, log=log)
    points = np.tile(np.asarray(modifier.defaults), (n, 1))
    points[:, [modifier.names.index(name) for name in plain_box]] = inner.points
    limits = {p.name: (p.default, p.default) for p in modifier.parameters} | dict(inner.box)
    return ModifierScatter(modifier.names, points, limits, modifier=modifier)


def _known(modifier: Parametrised, given: dict[str, Any]) -> None:
    for name in given:
        if name not in modifier.names:
            raise UnknownNameError("parameter", name, modifier.names, where=f"modifier {modifier.name!r}")
