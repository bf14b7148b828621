"""Mistyped names of arguments are told with the closest ones that a function has."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from crosscal.core.errors import UnknownNameError

F = TypeVar("F", bound=Callable[..., Any])


class UnknownArgumentError(UnknownNameError, TypeError):
    """An argument that a function does not have; it is a TypeError, too, as Python's own."""


def check_keywords(function: Callable[..., Any], given: Mapping[str, Any], *, where: str | None = None) -> None:
    """Check names of keyword arguments against a function's.

    Raises
    ------
    UnknownArgumentError
        Naming the function, with the closest names.
    """
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    named = [name for name, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for name in given:
        if name not in named:
            shown = [n for n in named if n != "self"]
            raise UnknownArgumentError("argument", name, shown, where=where or function.__name__)


def keywords(function: F, where: str | None = None) -> F:
    """Let a function refuse arguments that it does not have with `UnknownArgumentError`; a decorator.

    Parameters
    ----------
    function : callable
        Without ``**``.
    where : str, optional
        What messages call it, instead of its name.
    """
    known = frozenset(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if not known.issuperset(kwargs):
            check_keywords(function, kwargs, where=where)
        return function(*args, **kwargs)

    return checked  # type: ignore[return-value]
