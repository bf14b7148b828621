"""Names by number: long columns of instruments and sources, and names that differ by their spelling only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError

#: Names are numbered so many at a time.
_BLOCK = 262_144


class Coded(NamedTuple):
    """Names by number: entry k is ``names[code[k]]``; the names are in the order in which they first appear."""

    names: NDArray[np.str_]
    code: NDArray[np.int32]

    def at(self, k: int) -> str:
        """Return the name of entry k."""
        return str(self.names[self.code[k]])


class Coder:
    """Numbers names in the order in which they appear, block by block, so that long columns need little memory."""

    def __init__(self, column: str, where: str) -> None:
        self.column, self.where = column, where
        self._number: dict[Any, int] = {}
        self._done = 0

    def codes(self, values: Sequence[Any] | NDArray) -> NDArray[np.int32]:
        """Return the numbers of the next names.

        Raises
        ------
        InputError
            If a name is empty.
        """
        array = np.asarray(values)
        found = np.empty(len(array), np.int32)
        number = self._number
        for first in range(0, len(array), _BLOCK):
            block = array[first : first + _BLOCK]
            # Of equal names in succession, as in sorted tables, one is looked up.
            new = np.ones(len(block), bool)
            new[1:] = block[1:] != block[:-1]
            starts = np.flatnonzero(new)
            words = np.char.strip(block[starts] if block.dtype.kind == "U" else block[starts].astype(str))
            if np.any(words == ""):
                row = self._done + first + int(starts[np.argmax(words == "")]) + 1
                raise InputError("an empty name", where=f"{self.where}, row {row}, column {self.column!r}")
            codes = np.array([number.setdefault(word, len(number)) for word in words.tolist()], np.int32)
            found[first : first + len(block)] = codes[np.cumsum(new) - 1]
        self._done += len(array)
        return found

    @property
    def names(self) -> NDArray[np.str_]:
        """All names so far."""
        return np.array(list(self._number), dtype=str)


def coded(values: Any, column: str, where: str) -> Coded:
    """Return names by number."""
    if isinstance(values, Coded):
        return values
    coder = Coder(column, where)
    code = coder.codes(values)
    return Coded(coder.names, code)


def _loose(name: str) -> str:
    """Return a name without case, blanks, underscores and invisible characters, with plain dashes and letters."""
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name)
        name = "".join("-" if unicodedata.category(c) == "Pd" or c == "\u2212" else c for c in name)
        name = "".join(c for c in name if unicodedata.category(c) != "Cf")
    # 2.0 is 2.
    return re.sub(r"(?<=\d)\.0+(?!\d)", "", re.sub(r"[\s_]+", "", name)).casefold()


def look_alikes(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups of different names that differ by case, blanks, underscores, dashes or spelling in Unicode only."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_loose(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def refuse_look_alikes(names: NDArray, where: str, what: str = "instruments") -> None:
    """Refuse instruments (or bands) whose names differ by case or blanks only.

    Raises
    ------
    InputError
        Naming them, and how they are merged.
    """
    for group in look_alikes(sorted({str(n) for n in names})):
        shown = ", ".join(repr(n) for n in group)
        merged = ", ".join(f'"{n}" = "{group[0]}"' for n in group[1:])
        renamed = f" (rename = {{ {merged} }} merges them)" if what == "instruments" else ""
        raise InputError(
            f"{what} {shown} differ by case or blanks only",
            where=where,
            expected=f"one spelling{renamed}, or names that differ by more",
        )
