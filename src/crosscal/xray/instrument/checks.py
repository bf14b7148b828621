"""Checks that responses and spectra share."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.units import plain

Floats = NDArray[np.float64]

_ROUNDING = 2 * float(np.finfo(np.float32).eps)
# Share of an energy bin by which it may be apart from the next one: far below what folding resolves.
GAP = 1e-2
# A redistribution records each photon at most about once; larger sums can only be areas in cm2.
LARGEST_PROBABILITY = 1.5
BAND_RULES = ("overlap", "inside", "centre")


def band_mask(channel_lo: ArrayLike, channel_hi: ArrayLike, low: float, high: float, rule: str) -> NDArray[np.bool_]:
    """Return which channels belong to the band ``low`` to ``high`` (keV or Quantities).

    ``rule`` is "overlap" (any part of the channel lies in the band: Sherpa's and XSPEC's ``notice``),
    "inside" (the whole channel does) or "centre" (its mid-point does).
    """
    low, high = (float(plain(limit, "keV", where="band")) for limit in (low, high))
    if rule not in BAND_RULES:
        raise UnknownNameError("band rule", rule, BAND_RULES)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InputError(f"band {low:g} to {high:g} keV", expected="finite limits, the lower one first")
    lo, hi = np.asarray(channel_lo, dtype=float), np.asarray(channel_hi, dtype=float)
    # Files hold float32 edges: a channel that reaches a limit by rounding only does not overlap the band.
    slack_low, slack_high = _ROUNDING * abs(low), _ROUNDING * abs(high)
    if rule == "overlap":
        mask = (lo < high - slack_high) & (hi > low + slack_low)
    elif rule == "inside":
        mask = (lo >= low - slack_low) & (hi <= high + slack_high)
    else:
        centre = 0.5 * (lo + hi)
        mask = (centre >= low) & (centre <= high)
    if not mask.any():
        raise InputError(
            f"no channel lies in {low:g} to {high:g} keV",
            expected=f"a band within {lo.min():g} to {hi.max():g} keV",
        )
    return mask


def frozen_vector(values: ArrayLike, name: str, where: str, shape: tuple[int, ...] | None = None) -> Floats:
    array = np.array(values, dtype=float, copy=True)
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"{name} has shape {array.shape}", where=where, expected="one non-empty dimension")
    if shape is not None and array.shape != shape:
        raise InputError(f"{name} has {array.size} values", where=where, expected=f"{shape[0]}")
    if not np.all(np.isfinite(array)):
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise InputError(f"{name} is not finite at index {row}", where=where, expected="finite numbers")
    array.setflags(write=False)
    return array


def told_once(notes: Iterable[str]) -> list[str]:
    """Return notes that differ in names of files only once, with how many say the same."""
    groups: dict[str, list[str]] = {}
    for note in dict.fromkeys(notes):
        groups.setdefault(re.sub(r"\S*/\S*", "", note), []).append(note)
    return [
        same[0] if len(same) == 1 else f"{same[0].rstrip('.')} (and so in {len(same) - 1} more)"
        for same in groups.values()
    ]
