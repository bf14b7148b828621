"""Which magnitude system a band is in, what its filter is called elsewhere, and what columns published catalogues have.

The facts are data: ``data/bands.toml`` (families of passbands) and ``data/surveys.toml`` (columns of catalogues).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

SYSTEMS = ("AB", "Vega")


@dataclass(frozen=True)
class Band:
    """A passband of a known family: ``system``, ``offset`` m_AB - m_Vega (0 for AB), and who gives the offset."""

    family: str
    letter: str
    system: str
    offset: float = 0.0
    source: str = ""
    speclite: str = ""


@dataclass(frozen=True)
class Survey:
    """Columns of a published catalogue; ``bands`` maps (family, letter) to the columns of magnitude and error."""

    name: str
    title: str
    signature: tuple[str, ...]
    columns: Mapping[str, str]
    bands: Mapping[tuple[str, str], tuple[str, str]]
    epoch: float | None


@cache
def _table(name: str) -> dict[str, Any]:
    text = (files("crosscal.fluxcal.stars") / "data" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def identify(name: str) -> Band | None:
    """The family and letter of a filter by its name as speclite, SVO, KSPECDR or a file spells it; None if unknown.

    "gaiadr3-G", "GAIA/GAIA3.G" and "gaia_g" are bands of Gaia, "2MASS/2MASS.Ks" and "2mass_k" of 2MASS.
    """
    # "GAIA/GAIA3.G" or "ps1_g": what stands behind the last mark is the band.
    head, _, letter = re.sub(r"[-_.]([^-_.]*)$", r"\0\1", name.strip()).rpartition("\0")
    prefix = head.lower()
    if not letter:
        return None
    for family, facts in _table("bands").items():
        if prefix not in facts["names"] or (prefix == "" and letter not in set("ugrizy")):
            continue
        known = {k.lower(): k for k in facts.get("offset", {})} | {
            k.lower(): v for k, v in facts.get("alias", {}).items()
        }
        if known and letter.lower() not in known:
            return None
        letter = known.get(letter.lower(), letter)
        speclite = f"{facts['speclite']}-{letter}" if "speclite" in facts else ""
        offset = float(facts.get("offset", {}).get(letter, 0.0))
        return Band(family, letter, facts["system"], offset, facts.get("source", ""), speclite)
    return None


def vega_offsets() -> dict[str, float]:
    """m_AB - m_Vega of all bands that have one, by the names of their families ("gaiadr3-RP")."""
    return {
        f"{family}-{letter}": float(value)
        for family, facts in _table("bands").items()
        for letter, value in facts.get("offset", {}).items()
    }


@cache
def surveys() -> tuple[Survey, ...]:
    """The catalogues whose columns are known."""
    return tuple(
        Survey(
            name,
            facts["title"],
            tuple(facts["signature"]),
            facts["columns"],
            {(f, b): (c[0], c[1]) for f, rows in facts["bands"].items() for b, c in rows.items()},
            facts.get("epoch"),
        )
        for name, facts in _table("surveys").items()
    )


def recognise(columns: Iterable[str]) -> Survey | None:
    """The published catalogue that has these columns, or None."""
    there = set(columns)
    return next((s for s in surveys() if there.issuperset(s.signature)), None)
