"""One cell of a published table: a number with its errors, a limit, or nothing."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

#: What published tables write where there is no measurement.
EMPTY = frozenset({"", "nan", "na", "n/a", "-", "--", "---", "...", "....", "\u2026", "\\nodata", "nodata", "null",
                   "none", "masked"})  # fmt: skip
#: Numbers that mark a missing value as often as they are one; they are used only if the user says which.
MARKERS = frozenset({-99.0, -999.0, -9999.0, -99.9, -99.99, -999.9, -999.99})

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?"
_PLUS_MINUS = re.compile(rf"^\(?({_NUMBER})\s*(?:\+/-|\+-|±|\\pm)\s*({_NUMBER})\)?(?:[x×]10\^?)?([eE]?[+-]?\d+)?$")
_DIGITS = re.compile(r"^([+-]?\d+(?:\.(\d+))?)\((\d+)\)(?:[eE]([+-]?\d+))?$")
_TWO_SIDED = re.compile(rf"^({_NUMBER})\s*(?:\^?\{{?\+({_NUMBER})\}}?\s*_?\{{?-({_NUMBER})\}}?)$")
_TWO_SIDED_TURNED = re.compile(rf"^({_NUMBER})\s*_\{{?-({_NUMBER})\}}?\s*\^\{{?\+({_NUMBER})\}}?$")
_LIMIT = re.compile(rf"^([<>])\s*=?\s*({_NUMBER})$")


class Cell(NamedTuple):
    """A measured number; ``limit`` is 1 for an upper, -1 for a lower limit; NaN where something is absent."""

    value: float
    low: float = math.nan
    high: float = math.nan
    limit: int = 0


NOTHING = Cell(math.nan)


def is_empty(text: str) -> bool:
    """Whether a cell holds no measurement."""
    return text.strip().strip("${}").casefold() in EMPTY


def read_cell(text: str) -> Cell | None:
    """Read one cell: ``1.05``, ``1.05 +/- 0.02``, ``1.05(2)``, ``1.05 +0.03 -0.02``, ``<0.3``; None if it is none of
    these.

    LaTeX's ``$``, ``\\pm``, ``^{+a}_{-b}`` and ``<`` written as ``\\lt`` are understood.
    """
    if is_empty(text):
        return NOTHING
    plain = text.strip().replace("$", "").replace("\u2212", "-").replace("\\lt", "<").replace("\\gt", ">")
    plain = plain.replace("\\,", "").replace("~", " ").strip()
    try:
        return Cell(float(plain))
    except ValueError:
        pass
    if found := _LIMIT.match(plain):
        return Cell(_number(found[2]), limit=1 if found[1] == "<" else -1)
    if found := _PLUS_MINUS.match(plain):
        power = 10.0 ** int(found[3].lstrip("eE")) if found[3] else 1.0
        error = _number(found[2]) * power
        return Cell(_number(found[1]) * power, error, error)
    if found := _DIGITS.match(plain):
        power = 10.0 ** int(found[4]) if found[4] else 1.0
        error = int(found[3]) * 10.0 ** -len(found[2] or "") * power
        return Cell(float(found[1]) * power, error, error)
    if found := _TWO_SIDED.match(plain):
        return Cell(_number(found[1]), _number(found[3]), _number(found[2]))
    if found := _TWO_SIDED_TURNED.match(plain):
        return Cell(_number(found[1]), _number(found[2]), _number(found[3]))
    return None


def _number(text: str) -> float:
    return float(text.replace("d", "e").replace("D", "e"))
