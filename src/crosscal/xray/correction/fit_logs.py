"""Results of fits in logs: those that XSPEC writes, and text with the tables of Sherpa's ``conf`` and ``covar``."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass

from crosscal.core.errors import DataFileError
from crosscal.core.files import existing_file
from crosscal.core.reading import read_text

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_PARAMETER = re.compile(
    rf"^#?\s*(\d+)\s+\d+\s+(\S+)\s+(\S+)\s+(?:(\S*[A-Za-z^/]\S*)\s+)?({_NUMBER})\s+(frozen|=.*|\+/-\s+({_NUMBER}|-))\s*$"
)
_RANGE = re.compile(rf"^#?\s*(\d+)\s+({_NUMBER})\s+({_NUMBER})\s+\(({_NUMBER}),({_NUMBER})\)")
_SIGMAS = re.compile(rf"^#?\s*\w+ ({_NUMBER})-sigma \(.*%\) bounds:")
_BOUNDS = re.compile(rf"^#?\s*\w+\.(\w+)\s+({_NUMBER})\s+({_NUMBER}|-----)\s+({_NUMBER}|-----)\s*$")
_DELTA = re.compile(rf"Confidence Range \(({_NUMBER})\)")


@dataclass(frozen=True)
class Fitted:
    """A parameter of a fit.

    Attributes
    ----------
    value : float
    below, above : float
        1-sigma errors; NaN where the log has none, 0 for a parameter that was held.
    """

    value: float
    below: float
    above: float


def read_fit_log(path: str | os.PathLike[str]) -> dict[str, Fitted]:
    """Return the parameters of the last fit in a log of XSPEC or Sherpa, by name (kT, kT_2, ...).

    XSPEC: errors are those of the command ``error`` where it was given after the fit, scaled from its rise of the
    statistic (2.706 by default, 90 %) to 1, else the "+/-" of the fit. Sherpa: the bounds that ``conf`` or ``covar``
    print, divided by their number of sigmas.

    Raises
    ------
    DataFileError
        If the file holds no fitted model.
    """
    source = existing_file(path, what="log of fits")
    lines = read_text(source).splitlines()
    numbered = _of_sherpa(lines) if any(_SIGMAS.match(line) for line in lines) else _of_xspec(lines)
    if not numbered:
        raise DataFileError(
            "no fitted model",
            where=str(path),
            expected="a log of XSPEC after fit (and error) or of Sherpa after conf; save files have no errors",
        )
    out: dict[str, Fitted] = {}
    for _, (name, fitted) in sorted(numbered.items()):
        key, k = name, 2
        while key in out:
            key, k = f"{name}_{k}", k + 1
        out[key] = fitted
    return out


def _of_xspec(lines: list[str]) -> dict[int, tuple[str, Fitted]]:
    """Return name and values by XSPEC's number of the parameter."""
    numbered: dict[int, tuple[str, Fitted]] = {}
    delta = 2.706
    for line in lines:
        if found := _PARAMETER.match(line):
            number, name, value = int(found.group(1)), found.group(3), float(found.group(5))
            if number == 1:
                numbered = {}
            held = not found.group(6).startswith("+/-")
            error = 0.0 if held else _positive(found.group(7))
            numbered[number] = (name, Fitted(value, error, error))
        elif found := _DELTA.search(line):
            delta = float(found.group(1))
        elif (found := _RANGE.match(line)) and int(found.group(1)) in numbered:
            name, old = numbered[int(found.group(1))]
            scale = 1 / math.sqrt(delta)
            # XSPEC writes 0 for an end that it did not find.
            low, high = (float(found.group(k)) for k in (2, 3))
            below = (old.value - low) * scale if low else math.nan
            above = (high - old.value) * scale if high else math.nan
            numbered[int(found.group(1))] = (name, Fitted(old.value, below, above))
    return numbered


def _of_sherpa(lines: list[str]) -> dict[int, tuple[str, Fitted]]:
    """Return name and values of the last table of bounds, by row."""
    numbered: dict[int, tuple[str, Fitted]] = {}
    sigmas = 1.0
    for line in lines:
        if found := _SIGMAS.match(line):
            numbered, sigmas = {}, float(found.group(1))
        elif found := _BOUNDS.match(line):
            # Sherpa writes ----- for an end that it did not find; lower bounds are negative.
            below, above = (math.nan if text == "-----" else abs(float(text)) / sigmas for text in found.groups()[2:])
            numbered[len(numbered)] = (found.group(1), Fitted(float(found.group(2)), below or math.nan, above))
    return numbered


def _positive(text: str) -> float:
    value = math.nan if text == "-" else float(text)
    return value if value > 0 else math.nan
