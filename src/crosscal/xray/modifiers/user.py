"""A user's own function of energy."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import getsource, signature
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from crosscal.core.errors import ConfigError, InputError
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import Build, Modifier, checked_options

# Limits of a parameter for which nobody gave any.
_WIDE = 1e6


def imported(text: str) -> Callable[..., Any]:
    """Return the function that "module:name" means, from the search path of modules or a directory before it.

    ``/home/me/work/my_module:ripple`` also looks for ``my_module.py`` in that directory.

    Raises
    ------
    ConfigError
        If there is no such module or function.
    """
    place, _, name = text.rpartition(":")
    directory, module = os.path.split(place)
    expected = "'module:function', with module.py beside the job file or installed"
    if not (module.replace(".", "a").isidentifier() and name.isidentifier()):
        raise ConfigError(f"the function {text!r}", where="modifier 'function'", expected=expected)
    if directory and directory not in sys.path:
        # Processes that are started later inherit the path, so that they find the function too.
        sys.path.append(directory)
    try:
        function = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            f"the module {module!r} cannot be imported ({error})", where="modifier 'function'", expected=expected
        ) from error
    except AttributeError as error:
        raise ConfigError(
            f"the module {module!r} has no {name!r}", where="modifier 'function'", expected=expected
        ) from error
    return function


def _arguments(function: Callable[..., Any]) -> dict[str, tuple[float, float, float]]:
    """Return (default, low, high) of the arguments after ``energy`` and ``xp``.

    Raises
    ------
    ConfigError
        If the second argument is not ``xp`` (or np): a function without it would get the array module as its parameter.
    """
    every = list(signature(function).parameters.values()) if callable(function) else []
    if every and (len(every) < 2 or every[1].name not in ("xp", "np", "jnp", "numpy")):
        raise ConfigError(
            f"the function takes ({', '.join(p.name for p in every)})", where="modifier 'function'",
            expected="energy and xp, then its parameters: def ripple(energy, xp, *, depth)",
        )  # fmt: skip
    given = every[2:]
    named = [p for p in given if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return {p.name: (0.0 if p.default is p.empty else float(p.default), -_WIDE, _WIDE) for p in named}


@dataclass(frozen=True, eq=False)
class UserFunction(Modifier):
    """Your own function: phi = ``function(energy, xp, **parameters)``.

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
                Parameter(
                    name, float(limits[0]), float(limits[1]), float(limits[2]), description="as the function has it"
                )
                for name, limits in given.items()
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
    def from_options(cls, options: Mapping[str, Any], build: Build) -> UserFunction:
        """Build from ``function`` ("module:name"), ``parameters`` (name: [default, low, high]) and ``neutral``.

        Without ``parameters`` they are those of the function after ``energy`` and ``xp``; they start at their defaults
        there, or at 0, and have no limits but the axes of the library.
        """
        plan = checked_options(cls.name, options, ("function", "parameters", "neutral"), required=("function",))
        function = imported(str(plan["function"]))
        given = plan.get("parameters", _arguments(function))
        return cls(function, given, plan.get("neutral"))

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

    def __repr__(self) -> str:
        # The text of the function stands for it, so that results of another version are not taken for its own.
        try:
            text = getsource(self.function)
        except (OSError, TypeError):
            text = repr(self.function)
        code = hashlib.sha256(text.encode()).hexdigest()[:16]
        return (
            f"UserFunction({getattr(self.function, '__qualname__', 'function')}, {code}, {self.given}, {self.neutral})"
        )
