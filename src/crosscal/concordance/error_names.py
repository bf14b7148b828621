"""What names of columns and texts say of errors: that a column holds them, of which value, and at which level."""

from __future__ import annotations

import math
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
#: Levels in names of columns of errors, such as err_90, e95pct, err_2sigma, cl95.
_LEVEL_IN_NAME = re.compile(
    r"(?i)(?P<percent>9\d(?:\.\d+)?)_?(?:%|pc|pct|percent|cl|conf)?(?:_?(?:lo|hi|low|high|upper|lower))?$|"
    r"cl_?(?P<percent2>9\d)|(?<![\d.])(?P<sigmas>[2-5])_?(?:sigma|sig|sd)(?![a-z])|(?P<fwhm>fwhm)"
)
_LEVEL_IN_TEXT = re.compile(
    r"(?i)(?<![\d.])(?P<percent>9\d(?:\.\d+)?)\s*(?:\\?%|per ?cent)|(?<![\d.])(?P<sigmas>[2-5])[- ]?(?:sigma|\u03c3)|"
    r"(?P<fwhm>\bfwhm\b|full width at half)"
)


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


def level_in_name(name: str, value: str) -> tuple[str, float] | None:
    """Return the words with which a name states another interval than one standard error, and its level.

    A number that the name of the ``value`` contains too is a wavelength or an energy.
    """
    level = _stated(_LEVEL_IN_NAME.search(name))
    if level is not None and re.sub(r"\D", "", level[0]) in re.findall(r"\d+", value) and level[0] != "fwhm":
        return None
    return level


def level_in_text(text: str) -> tuple[str, float] | None:
    """Return the words with which a text states another interval than one standard error, and its level."""
    return _stated(_LEVEL_IN_TEXT.search(text))


def _stated(found: re.Match[str] | None) -> tuple[str, float] | None:
    if found is None:
        return None
    parts = found.groupdict()
    if percent := parts["percent"] or parts.get("percent2"):
        return found[0].strip(" _"), float(percent) / 100
    # The full width at half maximum of a Gaussian is 2.355 standard errors.
    sigmas = 2.3548 if parts["fwhm"] else float(parts["sigmas"])
    return found[0].strip(" _"), math.erf(sigmas / math.sqrt(2))
