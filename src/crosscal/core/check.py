"""A check of a result: what was checked, whether it passed, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One check that a result passed or failed.

    Attributes
    ----------
    name : str
        What was checked ("convergence").
    passed : bool
    why : str
        The number and its limit, or the reason, in words.
    """

    name: str
    passed: bool
    why: str = ""

    def __str__(self) -> str:
        return f"{'ok  ' if self.passed else 'FAIL'} {self.name}: {self.why}"
