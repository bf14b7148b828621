"""Sizes of fluxes and errors that tell of different units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Instruments whose fluxes of the same sources differ by a larger factor are told.
_FACTOR = 100.0
#: Relative errors outside this range are told.
_ERRORS = (1e-7, 10.0)


def size_doubts(
    fields: Mapping[str, Any], channels: Sequence[tuple[str, str]], row: NDArray, column: NDArray
) -> tuple[str, ...]:
    """What is said of instruments whose fluxes, or whose errors, have another size than those of the others.

    Parameters
    ----------
    fields : mapping
        Those of a comparison, in the order of ``row`` and ``column``, its channels and columns.
    """
    if fields.get("additive", False):
        return ()
    told = []
    there = np.isfinite(fields["log_rate"])
    y, i, j = fields["log_rate"][there], row[there], column[there]
    if len(y):
        counts = np.maximum(np.bincount(j), 1)
        away = y - (np.bincount(j, y) / counts)[j]
        shared = counts[j] > 1
        number = np.bincount(i[shared], minlength=len(channels))
        level = np.bincount(i[shared], away[shared], len(channels)) / np.maximum(number, 1)
        level[number == 0] = np.nan
        if np.any(number) and np.nanmax(level) - np.nanmin(level) > np.log(_FACTOR):
            most, least = (channels[int(k)][0] for k in (np.nanargmax(level), np.nanargmin(level)))
            factor = float(np.exp(np.nanmax(level) - np.nanmin(level)))
            told.append(f"Fluxes of {most!r} are about {factor:.1g} times those of {least!r}: are they in one unit?")
    variance = fields.get("variance")
    if variance is not None and np.any(np.isfinite(variance)):
        with np.errstate(over="ignore"):
            relative = float(np.sqrt(np.expm1(np.nanmedian(variance))))
        if not _ERRORS[0] < relative < _ERRORS[1]:
            told.append(f"Errors are about {relative:.1g} times the fluxes: are they in the unit of the fluxes?")
    return tuple(told)
