"""Options stated once: a frozen dataclass is the table of a job file, the arguments of Python, and their documentation.

A field's type says what is allowed (``Positive``, ``Fraction``, ``Band``, ``Literal[...]``), its entry under
"Attributes" in the class's docstring says what it means; job files, templates and error messages are made from both.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from crosscal.core.errors import ConfigError, UnknownNameError
from crosscal.core.keywords import keywords
from crosscal.core.units import plain

T = TypeVar("T")


class Increasing:
    """Marks two numbers ``low < high``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        # Schemas are plain dictionaries, so that classes with options need not import the validator of job files.
        return {
            "type": "function-before",
            "function": {"type": "no-info", "function": increasing},
            "schema": handler(source),
        }


def increasing(value: Any) -> tuple[float, float]:
    """Return two finite or infinite numbers ``low < high``.

    Raises
    ------
    ConfigError
        If it is anything else.
    """
    numbers = list(value) if isinstance(value, list | tuple | np.ndarray) else []
    if len(numbers) != 2 or not all(
        isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in numbers
    ):
        raise ConfigError(f"two numbers low < high, got {value!r:.60}")
    low, high = map(float, numbers)
    if not low < high:
        raise ConfigError(f"low < high, got {low}, {high}")
    return low, high


Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
#: Two increasing numbers, such as an energy band in keV.
Band = Annotated[tuple[float, float], Increasing()]

_WORDS: dict[type, tuple[str, Callable[[Any, Any], bool], str]] = {
    Gt: ("gt", lambda a, b: a > b, ">"),
    Ge: ("ge", lambda a, b: a >= b, ">="),
    Lt: ("lt", lambda a, b: a < b, "<"),
    Le: ("le", lambda a, b: a <= b, "<="),
}


def option(
    *, default: Any = MISSING, example: Any = None, shown: bool = False, factory: Any = MISSING, unit: str = ""
) -> Any:
    """Return a field of an options class.

    Parameters
    ----------
    default : object, optional
        Without one the key is required.
    example : object, optional
        What a template of a job file shows instead of the default.
    shown : bool
        Whether the template sets the key (else it stands there as a comment).
    factory : callable, optional
        Makes the default.
    unit : str
        What a Quantity is converted to; plain numbers are in it.
    """
    metadata = {"example": example, "shown": shown, "unit": unit}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field, option))
def options(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass with keyword arguments, whose values are checked against their types' limits.

    In a job file its table takes no other keys. A class with ``open_table = True`` takes them and has them in ``rest``.
    """
    given = cls.__dict__.get("__post_init__")

    def __post_init__(self: Any) -> None:
        for f in fields(self):
            if f.metadata.get("unit"):
                where = f"{type(self).__name__}, {f.name}"
                object.__setattr__(self, f.name, plain(getattr(self, f.name), f.metadata["unit"], where=where))
        check_options(self)
        if given is not None:
            given(self)

    cls.__post_init__ = __post_init__  # type: ignore[attr-defined]
    extra = "allow" if getattr(cls, "open_table", False) else "forbid"
    cls.__pydantic_config__ = {"extra": extra, "arbitrary_types_allowed": True}  # type: ignore[attr-defined]
    made = dataclass(frozen=True, kw_only=True)(cls)
    made.__init__ = keywords(made.__init__, where=made.__name__)  # type: ignore[method-assign]
    return made


class OpenTable:
    """Base of a table whose remaining keys are names that the table itself knows (parameters, axes)."""

    open_table = True

    @property
    def rest(self) -> dict[str, Any]:
        """The remaining keys."""
        known = {f.name for f in fields(self)}  # type: ignore[arg-type]
        return {k: v for k, v in vars(self).items() if k not in known}


@cache
def hints(cls: Any) -> Mapping[str, Any]:
    """Return the resolved types of an options class's fields, with their limits."""
    return get_type_hints(cls, include_extras=True)


def check_options(value: Any) -> None:
    """Check each field of an options object against the limits and choices in its type.

    Raises
    ------
    ConfigError
        Naming class and field; UnknownNameError for a choice that does not exist, with the closest ones.
    """
    for f in fields(value):
        _check(getattr(value, f.name), hints(type(value))[f.name], f"{type(value).__name__}, {f.name}")  # type: ignore[arg-type]


def _check(value: Any, annotation: Any, where: str) -> None:
    kind = get_origin(annotation)
    if kind in (Union, UnionType):
        members = get_args(annotation)
        if value is None and type(None) in members:
            return
        fitting = [m for m in members if _is_of(value, m)]
        if len(fitting) == 1:
            _check(value, fitting[0], where)
    elif kind is Literal:
        if value not in get_args(annotation):
            raise UnknownNameError("choice", str(value), map(str, get_args(annotation)), where=where)
    elif kind is Annotated:
        base, *marks = get_args(annotation)
        _check(value, base, where)
        for mark in marks:
            _check_limit(value, mark, where)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _is_of(value: Any, annotation: Any) -> bool:
    """Whether a value can be meant by one member of a union."""
    kind = get_origin(annotation)
    if kind is Annotated:
        return _is_of(value, get_args(annotation)[0])
    if kind is Literal:
        return isinstance(value, str) and all(isinstance(a, str) for a in get_args(annotation))
    if annotation is float:
        return _is_number(value)
    target = kind or annotation
    return isinstance(target, type) and isinstance(value, target)


def _check_limit(value: Any, mark: Any, where: str) -> None:
    if isinstance(mark, Increasing):
        try:
            increasing(value)
        except ConfigError as error:
            raise ConfigError(error.what, where=where) from None
    for kind, (name, holds, sign) in _WORDS.items():
        if isinstance(mark, kind):
            limit = getattr(mark, name)
            if not (isinstance(value, int | float | np.number) and holds(value, limit)):
                raise ConfigError(f"{value!r:.60}", where=where, expected=f"a number {sign} {limit:g}")


@cache
def meanings(cls: Any) -> Mapping[str, str]:
    """Return what each field means: its entry under "Attributes" (or "Parameters") in the class's docstring."""
    known = {f.name for f in fields(cls)} if is_dataclass(cls) else set()
    found: dict[str, str] = {}
    for base in cls.__mro__:
        if is_dataclass(base):
            found = {**_entries(inspect.cleandoc(base.__doc__ or ""), known), **found}
    return found


def _entries(text: str, known: set[str]) -> dict[str, str]:
    """Return the entries of a docstring's section: name, or names, and the indented text below."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        head = re.match(r"^(\w+(?:, \w+)*)(?: ?:|$)", line)
        if head and all(n in known for n in head[1].split(", ")):
            names = head[1].split(", ")
        elif line.startswith("    ") and names:
            for name in names:
                found[name] = f"{found.get(name, '')} {line.strip()}".strip()
        else:
            names = []
    return found


def default_of(f: Field[Any]) -> Any:
    """Return a field's default, MISSING where it is required."""
    return f.default_factory() if f.default_factory is not MISSING else f.default
