"""How values with many numbers present themselves: what they are and how large, not every number."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import fields
from typing import Any

from crosscal.core.errors import CrossCalError

#: Longest text of one field, and of an answer.
LONGEST, LONGEST_ANSWER = 60, 240


def brief(value: Any) -> str:
    """Return the ``repr`` of a dataclass with arrays as shapes and long collections as numbers of items.

    A dataclass takes it by ``__repr__ = brief`` in its body.

    Examples
    --------
    >>> Curve(time=np.arange(3.0), name="a")            # doctest: +SKIP
    Curve(time=array(3,), name='a')
    """
    shown = ", ".join(f"{f.name}={_short(getattr(value, f.name))}" for f in fields(value) if f.repr)
    return f"{type(value).__name__}({shown})"


def by_answer(value: Any) -> str:
    """Return the ``repr`` of a result: its kind and its answer, shortened where it is long.

    A result takes it by ``__repr__ = by_answer`` in its body. What has no answer yet presents itself by `brief`.
    """
    try:
        text = str(value.answer)
    except CrossCalError:
        return brief(value)
    return f"<{type(value).__name__}: {text if len(text) <= LONGEST_ANSWER else text[: LONGEST_ANSWER - 3] + '...'}>"


def _short(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None and shape != ():
        return f"array{tuple(int(n) for n in shape)}"
    if hasattr(type(value), "__dataclass_fields__"):
        return f"<{type(value).__name__}>"
    text = repr(value)
    if len(text) <= LONGEST and "\n" not in text:
        return text
    if isinstance(value, Mapping):
        return f"<mapping of {len(value)}>"
    if isinstance(value, Sized) and not isinstance(value, str):
        return f"<{type(value).__name__} of {len(value)}>"
    return text[: LONGEST - 3].splitlines()[0] + "..."
