"""A user's own function of energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import Modifier


def _tilt(energy: Any, xp: ModuleType, *, tilt: Any) -> Any:
    return (energy / 2.0) ** tilt


@dataclass(frozen=True, eq=False)
class UserFunction(Modifier):
    """A function of one's own: phi = ``function(energy, xp, **parameters)``.

    Parameters
    ----------
    function : callable
        Gets energies (n,) in keV, the array module ``xp`` (numpy, or jax.numpy inside samplers) and each
        parameter by name with a trailing axis of length 1, so that plain formulae broadcast to (..., n).
        It must be importable (not a lambda) to run in several processes.
    given : sequence of Parameter, or mapping of name to (default, low, high)
        The parameters; their defaults should give phi = 1, or say in ``neutral`` what does.
    neutral : sequence of float, optional

    Examples
    --------
    >>> def ripple(energy, xp, *, depth, period):
    ...     return 1 + depth * xp.sin(2 * xp.pi * energy / period)
    >>> UserFunction(ripple, {"depth": (0, -1, 1), "period": (2, 0.1, 10)}).names
    ('depth', 'period')
    """

    name: ClassVar[str] = "function"
    function: Callable[..., Any]
    given: Sequence[Parameter] | Mapping[str, tuple[float, float, float]]
    neutral: Sequence[float] | None = None

    def __post_init__(self) -> None:
        where = "modifier 'function'"
        if not callable(self.function):
            raise InputError(
                f"the function is a {type(self.function).__name__}", where=where, expected="something to call"
            )
        given = self.given
        if isinstance(given, Mapping):
            given = tuple(
                Parameter(name, float(limits[0]), float(limits[1]), float(limits[2])) for name, limits in given.items()
            )
        if not given or not all(isinstance(p, Parameter) for p in given):
            raise InputError(
                "the parameters are not described", where=where, expected="Parameters or name: (default, low, high)"
            )
        object.__setattr__(self, "given", tuple(given))
        if self.neutral is not None and len(self.neutral) != len(given):
            raise InputError(f"{len(self.neutral)} neutral values", where=where, expected=f"{len(given)}")
        probe = np.asarray(self.factor(np.array([0.5, 1.0, 5.0]), self.null))
        if probe.shape != (3,) or not np.all(np.isfinite(probe)):
            raise InputError(
                f"the function gives shape {probe.shape} at 3 energies", where=where, expected="3 finite factors"
            )

    @classmethod
    def example(cls) -> UserFunction:
        """A tilt (E / 2 keV)^tilt."""
        return cls(_tilt, (Parameter("tilt", 0.0, -5.0, 5.0, description="slope in ln E"),))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters as given."""
        return tuple(self.given)  # type: ignore[arg-type]

    @property
    def null(self) -> tuple[float, ...]:
        """``neutral``, or the defaults."""
        return self.defaults if self.neutral is None else tuple(map(float, self.neutral))

    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        values = {name: theta[..., k, None] for k, name in enumerate(self.names)}
        return self.function(energy, xp, **values)
