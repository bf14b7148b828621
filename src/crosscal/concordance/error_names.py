"""What names of columns say of errors: that a column holds them, and of which value."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LOW = r"lo(?:w(?:er)?)?|neg(?:ative)?|minus|down|mn"
_HIGH = r"hi(?:gh)?|up(?:per)?|pos(?:itive)?|plus"
#: Words for errors; they are patterns of regular expressions.
ERROR_WORDS = r"err(?:or)?|unc(?:ertainty)?|sigma|sd|rms|std"
#: Names of columns of errors: what is left of the name is that of the values.
ERROR_NAME = re.compile(rf"(?i)^(e_|err_|sigma_|d)(?=\w)|[_ ]?({ERROR_WORDS})s?$")
#: Names of errors to one side.
_SIDE = re.compile(
    rf"(?i)[_ ]?(?:(?:{ERROR_WORDS})[_ ]?(?:(?P<low>{_LOW}|l|m)|(?P<high>{_HIGH}|u|p|h))|"
    rf"(?:(?P<low2>{_LOW})|(?P<high2>{_HIGH}))[_ ]?(?:{ERROR_WORDS}))s?$"
)
#: Names with a word for errors or a level inside, such as err_90, e95pct, 2sigma; what is left of them is no value.
_INSIDE = re.compile(r"(?i)(^|[_ ])(err|unc|sigma)|(^|_)e\d|[1-5]_?sig|fwhm|[±∆Δδσ]|\+/-|\+-|^u\(")
#: Signs for errors in names: "pn ±", "σ_pn", "Δpn", "u(pn)".
SIGNS = re.compile(r"(?P<before>.+?)\s*(?:±|\+/-|\+-)$|(?:[∆Δδσ]_?|u(?=\())\(?(?P<after>.+?)\)?$")


def looks_like_errors(name: str) -> bool:
    """Whether the name of a column is one of errors, whichever value it belongs to."""
    return side_of(name) is not None or any(form.search(name) for form in (ERROR_NAME, _INSIDE))


def side_of(name: str) -> tuple[str, str] | None:
    """Return what a column of errors to one side belongs to, and "low" or "high"; None for other columns.

    CDS writes e_X for errors below and E_X for errors above where both are given.
    """
    found = _SIDE.search(name)
    if found is None:
        return None
    return name[: found.start()], "low" if found["low"] or found["low2"] else "high"


def twin_of(name: str, columns: Sequence[str]) -> list[str]:
    """The columns of errors below and above of which ``name`` is one; empty if the other is not there."""
    if name[:2] in ("e_", "E_") and {f"e_{name[2:]}", f"E_{name[2:]}"} <= set(columns):
        return [f"e_{name[2:]}", f"E_{name[2:]}"]
    own = side_of(name)
    if own is None:
        return []
    others = [c for c in columns if (side := side_of(c)) is not None and side[0] == own[0] and side[1] != own[1]]
    if len(others) != 1:
        return []
    return [name, others[0]] if own[1] == "low" else [others[0], name]
