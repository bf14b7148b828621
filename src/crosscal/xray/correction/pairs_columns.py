"""What the columns of published tables of temperatures mean.

A name is cut into words; one of them is a quantity (kT, Tx, temperature; norm; abundance), some say what part of it the
column holds (error, lower, upper, 90), and what is left is the telescope.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

#: Names of a quantity in published tables, in lower case.
NAMES = {
    "kT": ("kt", "tx", "ktx", "t", "temp", "temperature"),
    "norm": ("norm", "normalization", "normalisation", "em"),
    "Abundanc": ("abundanc", "abund", "abundance", "metallicity", "zfe", "fe"),
}
SOURCES = ("source", "name", "cluster", "object", "target", "src", "id", "sourcename", "objname")
#: Names of rows that are no sources.
AVERAGE = re.compile(
    r"(?i)<?((weighted|sample|arithmetic|grand|overall|unweighted)[ _]?)?(means?|averages?|avg|medians?|totals?|all|"
    r"std\.?([ _]?dev(iation)?)?|standard deviation|rms|scatter|stack(ed)?)\.?>?(\s*[(\[].*)?"
)
#: Values of a source, not of a telescope.
CONSTANTS = {"nH": ("nh", "nhgal", "nhi"), "Redshift": ("z", "redshift", "zspec", "zcl")}
_PARTS = {
    "err": "err", "error": "err", "sd": "err", "sigma": "err", "unc": "err", "std": "err",
    "lo": "lo", "low": "lo", "lower": "lo", "minus": "lo", "neg": "lo", "min": "lo", "errlo": "errlo",
    "hi": "hi", "high": "hi", "upper": "hi", "up": "hi", "plus": "hi", "pos": "hi", "max": "hi", "errhi": "errhi",
    "errm": "errlo", "errp": "errhi", "errlow": "errlo", "errup": "errhi", "samples": "samples", "corr": "corr",
    "errminus": "errlo", "errplus": "errhi", "errneg": "errlo", "errpos": "errhi", "elo": "errlo", "ehi": "errhi",
    "eup": "errhi", "eminus": "errlo", "eplus": "errhi", "uncertainty": "err", "errlower": "errlo", "errupper": "errhi",
    "limit": "limit", "flag": "limit",
}  # fmt: skip
# Words that are no telescope where they stand before the quantity: err_kT_pn, sigma_kT_pn, delta_kT_pn.
_BEFORE = frozenset({"err", "error", "sd", "sigma", "unc", "std", "delta", "errlo", "errhi", "errminus", "errplus"})
_LEVEL = {"68": 0.6827, "90": 0.90, "95": 0.95, "99": 0.99}
_SIGMAS = {"1": 0.6827, "2": 0.9545, "3": 0.9973}


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes
    ----------
    name : str
        In the table.
    quantity : str
        kT, norm, Abundanc; source, telescope, nH, Redshift.
    part : str
        "value", "err", "lo", "hi" (bounds or errors), "errlo", "errhi" or "limit".
    telescope : str
    level : float or None
        Confidence level of an error that the name states.
    """

    name: str
    quantity: str
    part: str = "value"
    telescope: str = ""
    level: float | None = None


def column_of(name: str) -> Column | None:
    """Return what a column holds by its name; None where that is not known."""
    if exact := _exact(name):
        return exact
    text, parts = name.strip(), []
    vizier = re.match(r"([eEl])_(.+)", text)
    if vizier:
        # VizieR's e_ is the (lower) error, E_ the upper one, l_ a limit flag.
        parts.append({"e": "err", "E": "errhi", "l": "limit"}[vizier.group(1)])
        text = vizier.group(2)
    if text[-1:] in "+-":
        parts.append("errhi" if text[-1] == "+" else "errlo")
        text = text[:-1]
    text = re.sub(r"(?i)(?<![a-z])(n_h|t_x)(?![a-z])", lambda m: m.group().replace("_", ""), text)
    words = [w for w in re.split(r"[^A-Za-z0-9]+", re.sub(r"(?i)err(?=90|68|95)", "err_", text)) if w]
    quantity, rest, level = "", [], None
    early = {"delta": "err", **_PARTS}
    for k, word in enumerate(words):
        found = _quantity(word)
        if not found and not quantity and (inner := _attached(word)):
            found = inner
            parts.append("err")
        if found and not quantity:
            quantity = found
        elif word.lower() in _PARTS and quantity:
            parts.append(_PARTS[word.lower()])
        elif word.lower() in _BEFORE and not quantity and any(_quantity(later) for later in words[k + 1 :]):
            parts.append(early[word.lower()])
        elif word in _LEVEL:
            level = _LEVEL[word]
        elif not word.isdigit():
            rest.append(word)
    if not quantity or "samples" in parts or "corr" in parts:
        return None
    if quantity in CONSTANTS and (rest or parts):
        return None
    return Column(name, quantity, _part(parts), "_".join(rest), level)


def _exact(name: str) -> Column | None:
    """Return what a column in the package's own spelling holds: kT_pn, kT_err_pn, kT_err_lo_pn."""
    found = re.fullmatch(r"(kT|norm|Abundanc)(_err(?:_lo|_hi)?)?_(.+)", name)
    words = [] if found is None else re.split(r"[^A-Za-z0-9]+", found.group(3))
    if found is None or any(w.lower().rstrip("0123456789") in _PARTS or w in _LEVEL for w in words):
        return None
    part = {None: "value", "_err": "err", "_err_lo": "errlo", "_err_hi": "errhi"}[found.group(2)]
    return Column(name, found.group(1), part, found.group(3))


def _quantity(word: str) -> str:
    if word == "Z":
        return "Abundanc"
    lowered = word.lower()
    for table in (NAMES, CONSTANTS):
        for quantity, names in table.items():
            if lowered in names:
                return quantity
    return ""


def _attached(word: str) -> str:
    """Return the quantity whose error a word is: dkT, ekT, dTx."""
    return _quantity(word[1:]) if word[:1] in ("d", "e") and word[1:] in ("kT", "Tx", "kTx") else ""


def _part(parts: list[str]) -> str:
    if "limit" in parts:
        return "limit"
    for side in ("lo", "hi"):
        if f"err{side}" in parts or ("err" in parts and side in parts):
            return f"err{side}"
        if side in parts:
            return side
    return "err" if "err" in parts else "value"


def source_column(names: Iterable[str]) -> str | None:
    """Return the column that names the sources."""
    lowered = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(list(names))}
    return next((lowered[key] for key in SOURCES if key in lowered), None)


def stated_levels(texts: Iterable[str]) -> set[float]:
    """Return the confidence levels that comments state of errors: in per cent, or as multiples of sigma."""
    found = set()
    for sentence in (s for text in texts for s in re.split(r"[.;]\s", text)):
        if not re.search(r"(?i)confiden|error|uncertaint|c\.l\.", sentence):
            continue
        found |= {_LEVEL[n] for n in re.findall(r"(?<![\d.])(68|90|95|99)(?:\.\d+)?\s*\\?(?:%|per ?cent)", sentence)}
        if not re.search(r"(?i)detect|clip|outlier|above|larger", sentence):
            sigmas = re.findall(r"(?i)(?<![\d.])([123])[\s${\\-]*(?:sigma|\u03c3)", sentence)
            found |= {_SIGMAS[n] for n in sigmas}
    return found
