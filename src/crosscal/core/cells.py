"""One cell of a published table: a number with its errors, a limit, or nothing."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

#: What published tables write where there is no measurement.
EMPTY = frozenset({"", "nan", "na", "n/a", "n.a.", "<na>", "-", "--", "---", "\u2013", "\u2014", "..", "...", "....",
                   "\u2026", "nodata", "null", "\\n", "none", "masked", "indef"})  # fmt: skip
#: Numbers that mark a missing value as often as they are one; they are used only if the user says which.
MARKERS = (-99.0, -999.0, -9999.0, -99.9, -99.99, -999.9, -999.99)
#: Those of magnitudes, and of fluxes whose error is the same number.
HIGH_MARKERS = (99.0, 99.9, 99.99, 99.999, 999.0, 999.9, 999.99, 9999.0, 99999.0)

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?"
#: Exponents as Fortran writes them.
_FORTRAN = re.compile(r"(?<=[\d.])[dD](?=[+-]?\d+$)")
_POWER = r"\s*([eE][+-]?\d+)?$"
_BRACKETS = re.compile(rf"^\((.+)\){_POWER}")
_PLUS_MINUS = re.compile(rf"^({_NUMBER})\s*(?:\+/-|\+-|±|\\pm)\s*({_NUMBER})(\s*\\?%)?$")
_DIGITS = re.compile(rf"^([+-]?\d+(?:\.(\d+))?)\s*\((\d+|\d*\.\d+)\){_POWER}")
_IN_BRACKETS = re.compile(rf"^({_NUMBER})\s*[(\[]\s*([+-].*[^\s)\]])\s*[)\]]$")
_TWO_SIDED = re.compile(rf"^({_NUMBER})\s*\^?\{{?\+({_NUMBER})\}}?\s*[/_,]?\s*\{{?-({_NUMBER})(?:\}}{_POWER}|$)")
_TURNED = re.compile(rf"^({_NUMBER})\s*_?\{{?-({_NUMBER})\}}?\s*[/^,]?\s*\{{?\+({_NUMBER})(?:\}}{_POWER}|$)")
_LIMIT = re.compile(rf"^([<>])\s*=?\s*({_NUMBER})$")
#: An error smaller than this part of its value, of which it has the exponent and the value has not, is misread.
_SMALLEST = 1e-6
#: Raised signs and digits, as in 10⁻¹².
RAISED = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")
_POWER_OF_TEN = re.compile(r"(?<=[×x*])\s*10([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
#: Spellings that LaTeX and publishers use, and what they mean.
_SPELLINGS = (
    (re.compile(r"\\(?:tablenotemark|footnotemark|tnote|tablefootmark|phantom)\s*(?:\[[^\]]*\]|\{[^}]*\})"), ""),
    (
        re.compile(
            r"\$?\^\s*(?:\{\s*)?(?:[a-zA-Z]|\\(?:dag(?:ger)?|ddag(?:ger)?|ast)|\*)(?:\s*,\s*[a-zA-Z])*\s*\}?\$?$"
        ),
        "",
    ),
    (re.compile(r"\\ph[nds](?![a-zA-Z])|\\[,;!]|\\(?:mathrm|rm|it|bf)(?![a-zA-Z])"), ""),
    (re.compile(r"\\(?:[lc]?dots|nodata)(?![a-zA-Z])"), "..."),
    (re.compile(r"\\(?:lt|le|leq|leqslant|lesssim|textless)(?![a-zA-Z])|[\u2264\u2272]"), "<"),
    (re.compile(r"\\(?:gt|ge|geq|geqslant|gtrsim|textgreater)(?![a-zA-Z])|[\u2265\u2273]"), ">"),
    (re.compile(r"\s*(?:x|×|\*|\\times|\\cdot)\s*10\s*(?:\^\s*\{?\s*([+-]?\d+)\s*\}?|([+-]\d+))"), r"e\1\2"),
    (re.compile("[$]"), ""),
    (re.compile("\u2212"), "-"),
    (re.compile("[~\u00a0]"), " "),
)


class Cell(NamedTuple):
    """A measured number; ``limit`` is 1 for an upper, -1 for a lower limit; NaN where something is absent."""

    value: float
    low: float = math.nan
    high: float = math.nan
    limit: int = 0


NOTHING = Cell(math.nan)


def _tidy(text: str) -> str:
    """Return a cell in plain spelling."""
    plain = text.strip()
    if not plain.isascii() or "\\" in plain or "$" in plain or "10" in plain or "~" in plain:
        plain = _POWER_OF_TEN.sub(lambda found: f"10^{found[1].translate(RAISED)}", plain)
        for found, meant in _SPELLINGS:
            plain = found.sub(meant, plain)
    return plain.strip()


def is_empty(text: str) -> bool:
    """Whether a cell holds no measurement."""
    return text.strip("${} ").casefold() in EMPTY


def read_cell(text: str) -> Cell | None:
    """Read one cell: ``1.05``, ``1.05 +/- 0.02``, ``1.05 +/- 2%``, ``1.05(2)``, ``1.05 +0.03 -0.02``,
    ``1.05 (+0.03, -0.02)``, ``<0.3``; None if it is none of these.

    LaTeX's ``$``, ``\\pm``, ``^{+a}_{-b}``, ``\\times10^{-12}``, ``\\lt`` and footnote marks are understood.
    """
    plain = _tidy(text)
    if is_empty(plain):
        return NOTHING
    if "_" not in plain:
        try:
            return Cell(float(_FORTRAN.sub("e", plain)))
        except ValueError:
            pass
    if found := _LIMIT.match(plain):
        return Cell(_number(found[2]), limit=1 if found[1] == "<" else -1)
    if found := _BRACKETS.match(plain):
        inner = read_cell(found[1])
        # "(2)" alone may be -2, as accountants write it.
        return None if inner is None or math.isnan(inner.low) else _scaled(inner, found[2])
    return _with_errors(plain)


def _with_errors(plain: str) -> Cell | None:
    """Read a number with its error or errors."""
    if (found := _IN_BRACKETS.match(plain)) and ("." in found[2] or "." not in found[1]):
        # 5.1 (+0.2, -0.1) as 5.1 +0.2, -0.1; in 5.1(+2/-1) the errors may count last digits.
        plain = f"{found[1]} {found[2]}"
    if found := _DIGITS.match(plain):
        # Digits count in the last place of the number; with a decimal point they are the error itself.
        error = float(found[3]) * (1.0 if "." in found[3] else 10.0 ** -len(found[2] or ""))
        return _scaled(Cell(float(found[1]), error, error), found[4])
    if found := _PLUS_MINUS.match(plain):
        value, error = _number(found[1]), _number(found[2])
        error *= 0.01 * abs(value) if found[3] else 1.0
        cell, power = Cell(value, error, error), None
        texts = found[1], found[2]
    elif found := _TWO_SIDED.match(plain):
        cell, power = Cell(_number(found[1]), _number(found[3]), _number(found[2])), found[4]
        texts = found[1], found[3]
    elif found := _TURNED.match(plain):
        cell, power = Cell(_number(found[1]), _number(found[2]), _number(found[3])), found[4]
        texts = found[1], found[3]
    else:
        return None
    # In "1.05 +/- 0.02e-12" the power may belong to both.
    if "e" in texts[1].lower() and "e" not in texts[0].lower() and min(cell.low, cell.high) < _SMALLEST * abs(cell[0]):
        return None
    return _scaled(cell, power)


def _scaled(cell: Cell, power: str | None) -> Cell:
    """A cell times a power of ten, such as "e-12"."""
    if not power:
        return cell
    factor = 10.0 ** int(power[1:])
    return Cell(cell.value * factor, cell.low * factor, cell.high * factor, cell.limit)


def _number(text: str) -> float:
    return float(_FORTRAN.sub("e", text))
