"""What every family of changes to a calibration can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from inspect import signature
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from crosscal.core.errors import ConfigError, InputError, UnknownNameError
from crosscal.core.parameter import Parameter
from crosscal.core.units import plain
from crosscal.xray.modifiers import design

if TYPE_CHECKING:
    from crosscal.xray.instrument.response import Response

Theta = ArrayLike | Mapping[str, Any] | None


#: Makes a modifier of a name or table in a job file.
Build = Callable[[Any], "Modifier"]
#: What ``*`` and ``+`` make of two modifiers; the module of combinations puts itself here.
COMBINATIONS: dict[str, Callable[[tuple[Modifier, ...]], Modifier]] = {}


def checked_options(
    name: str, options: Mapping[str, Any], known: Sequence[str], required: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the options of a job file.

    Raises
    ------
    UnknownNameError
        For one that is not ``known``.
    ConfigError
        If a ``required`` one is missing.
    """
    where = f"modifier {name!r}"
    for option in options:
        if option not in known:
            raise UnknownNameError("option", option, known, where=where)
    for option in required:
        if option not in options:
            raise ConfigError(f"the option {option!r} is missing", where=where, expected=f"options {', '.join(known)}")
    return dict(options)


class _ForClassOrInstance:
    """A method that a family offers on itself with default settings: ``Gaussian.grid(...)``."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is not None:
            return self.function.__get__(instance)

        def with_default_settings(*arguments: Any, **keywords: Any) -> Any:
            return self.function(owner(), *arguments, **keywords)

        with_default_settings.__doc__ = self.__doc__
        return with_default_settings


class Modifier(ABC):
    """A family phi_theta(E): area'(E) = area(E) phi_theta(E).

    A member states ``name`` and ``parameters`` and implements ``_factor``. A parameter's default is the value
    at which the family changes nothing, unless the family says otherwise by ``null``.

    Examples
    --------
    >>> modifier = xray.Gaussian()  # doctest: +SKIP
    >>> modifier.names, modifier.defaults  # doctest: +SKIP
    >>> corrected = modifier.apply(telescope, [0.1, 1.8, 0.9])  # doctest: +SKIP
    """

    name: ClassVar[str]
    acts_on: ClassVar[str] = "area"

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters theta, in the order of the last axis of theta arrays."""

    @abstractmethod
    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        """Return phi at ``energy`` (n,) for ``theta`` (..., d), shape (..., n), using ``xp`` only."""

    @property
    def linear(self) -> bool:
        """Whether phi = offset + theta @ basis."""
        return False

    @property
    def amplitude(self) -> str | None:
        """The parameter A of a family phi = 1 + A g(E), where the others, which may be none, decide g; else None."""
        return None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Parameter names in order."""
        return tuple(p.name for p in self.parameters)

    @cached_property
    def defaults(self) -> tuple[float, ...]:
        """Parameter defaults in order."""
        return tuple(p.default for p in self.parameters)

    @property
    def null(self) -> tuple[float, ...]:
        """Parameters at which nothing changes."""
        return self.defaults

    @classmethod
    def from_options(cls, options: Mapping[str, Any], build: Build) -> Modifier:
        """Build a member from the options of a job file.

        A family whose settings are not plain numbers, texts and lists says here what it makes of them; ``build``
        makes a modifier of a name or table inside the options.

        Raises
        ------
        UnknownNameError
            For an option that the family does not have.
        """
        plan = checked_options(cls.name, options, tuple(signature(cls).parameters))
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in plan.items()})

    def parameter(self, name: str) -> Parameter:
        """Return the parameter called ``name``."""
        for p in self.parameters:
            if p.name == name:
                return p
        raise UnknownNameError("parameter", name, self.names, where=f"modifier {self.name!r}")

    def theta(self, theta: Theta = None, xp: ModuleType = np) -> Any:
        """Return parameters as one array of shape (..., d).

        A mapping may leave names out (they take their defaults) and its values may be arrays that broadcast.
        """
        where = f"modifier {self.name!r}"
        if theta is None:
            theta = {}
        if isinstance(theta, Mapping):
            for name in theta:
                if name not in self.names:
                    raise UnknownNameError("parameter", str(name), self.names, where=where)
            given = [plain(theta.get(p.name, p.default), p.unit, where=where) for p in self.parameters]
            values = [xp.asarray(value, dtype=float) for value in given]
            return xp.stack(xp.broadcast_arrays(*values), axis=-1)
        array = xp.asarray(theta, dtype=float)
        if array.shape[-1:] != (len(self.names),):
            raise InputError(
                f"parameters of shape {array.shape}",
                where=where,
                expected=f"a last axis of {len(self.names)}: {', '.join(self.names)}",
            )
        return array

    def check(self, theta: Theta = None) -> np.ndarray:
        """Return ``theta`` as an array (..., d) after checking each parameter's range."""
        array = self.theta(theta)
        for k, p in enumerate(self.parameters):
            column = array[..., k]
            for end in (column.min(), column.max()) if column.size else ():
                p.check(end, where=f"modifier {self.name!r}")
        return array

    def factor(self, energy: ArrayLike, theta: Theta = None, xp: ModuleType = np) -> Any:
        """Return phi_theta(E).

        Parameters
        ----------
        energy : array, shape (n,), keV or a Quantity
        theta : array of shape (..., d), mapping of names, or None for the defaults
        xp : numpy or jax.numpy

        Returns
        -------
        array, shape (..., n)
        """
        energy = np.asarray(plain(energy, "keV", where=f"modifier {self.name!r}"), dtype=float)
        if energy.ndim != 1:
            raise InputError(
                f"energies of shape {energy.shape}", where=f"modifier {self.name!r}", expected="one dimension"
            )
        return self._factor(energy, self.theta(theta, xp), xp)

    def offset(self, energy: ArrayLike) -> np.ndarray:
        """Return phi at theta = 0 of a linear family, shape (n,)."""
        self._require_linear()
        return np.ones(np.shape(energy))

    def basis(self, energy: ArrayLike) -> np.ndarray:
        """Return d phi / d theta of a linear family, shape (d, n)."""
        self._require_linear()
        theta = np.eye(len(self.names))
        return self.factor(energy, theta) - self.offset(energy)

    def _require_linear(self) -> None:
        if not self.linear:
            raise InputError(f"the modifier {self.name!r} is not linear in its parameters", expected="a linear family")

    def apply(self, response: Response, theta: Theta = None) -> Response:
        """Return ``response`` with its area multiplied by phi_theta at the mid-points of its energy bins.

        Raises
        ------
        InputError
            If a parameter is out of range or phi is negative somewhere.
        """
        factor = self.factor(response.energy, self._one(theta))
        if np.any(factor < 0) or not np.all(np.isfinite(factor)):
            k = int(np.argmin(np.where(np.isfinite(factor), factor, -np.inf)))
            raise InputError(
                f"the factor is {factor[k]:.4g} at {response.energy[k]:.4g} keV",
                where=f"modifier {self.name!r}",
                expected="a finite factor >= 0 at every energy",
            )
        return response.with_area(response.area * factor)

    def _one(self, theta: Theta) -> np.ndarray:
        array = self.check(theta)
        if array.ndim != 1:
            raise InputError(
                f"parameters of shape {array.shape}",
                where=f"modifier {self.name!r}",
                expected=f"one set of {len(self.names)} numbers",
            )
        return array

    def __mul__(self, other: Modifier) -> Modifier:
        """Apply both: phi = phi_1 phi_2."""
        return COMBINATIONS["product"]((self, other))

    def __add__(self, other: Modifier) -> Modifier:
        """Add deviations: phi = 1 + (phi_1 - 1) + (phi_2 - 1)."""
        return COMBINATIONS["sum"]((self, other))

    @_ForClassOrInstance
    def grid(self, **axes: Any) -> design.ModifierGrid:
        """Make a grid over the parameters; see :func:`crosscal.xray.modifiers.design.grid`."""
        return design.grid(self, **axes)

    @_ForClassOrInstance
    def scatter(self, n: int, **keywords: Any) -> design.ModifierScatter:
        """Make a quasi-random design; see :func:`crosscal.xray.modifiers.design.scatter`."""
        return design.scatter(self, n, **keywords)


class BasisModifier(Modifier):
    """A family with phi = 1 + theta @ basis(E), or phi = exp(theta @ basis(E)) if ``log``."""

    log: bool

    @abstractmethod
    def functions(self, energy: np.ndarray) -> np.ndarray:
        """Return the basis functions at ``energy`` (n,), shape (d, n)."""

    @property
    def linear(self) -> bool:
        """Whether phi itself, not its logarithm, is the linear sum."""
        return not self.log

    def basis(self, energy: ArrayLike) -> np.ndarray:
        """Return d phi / d theta (d ln phi / d theta is ``functions``), shape (d, n)."""
        self._require_linear()
        return self.functions(np.asarray(energy, dtype=float))

    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        total = theta @ xp.asarray(self.functions(energy))
        return xp.exp(total) if self.log else xp.asarray(self.offset(energy)) + total

    @property
    def prior_covariance(self) -> np.ndarray | None:
        """Prior covariance of theta where the family brings one, shape (d, d)."""
        return None
