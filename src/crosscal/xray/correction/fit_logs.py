"""Results of fits in the logs that XSPEC writes."""

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


def read_xspec_log(path: str | os.PathLike[str]) -> dict[str, Fitted]:
    """Return the parameters of the last fit in a log of XSPEC, by name (kT, kT_2, ...).

    Errors are those of the command ``error`` where it was given after the fit, scaled from its rise of the statistic
    (2.706 by default, 90 %) to 1, else the "+/-" of the fit.

    Raises
    ------
    DataFileError
        If the file holds no fitted model.
    """
    source = existing_file(path, what="XSPEC log")
    numbered: dict[int, tuple[str, Fitted]] = {}
    delta = 2.706
    for line in read_text(source).splitlines():
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
    if not numbered:
        raise DataFileError(
            "no fitted model",
            where=str(path),
            expected="a log of XSPEC after fit (and error); a save file (.xcm) has no errors",
        )
    out: dict[str, Fitted] = {}
    for _, (name, fitted) in sorted(numbered.items()):
        key, k = name, 2
        while key in out:
            key, k = f"{name}_{k}", k + 1
        out[key] = fitted
    return out


def _positive(text: str) -> float:
    value = math.nan if text == "-" else float(text)
    return value if value > 0 else math.nan
