"""A saved session of XSPEC or Sherpa as the start of a fit: files, channels, groups, statistic, model and values."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crosscal.core.errors import DataFileError, InputError
from crosscal.xray.correction.sherpa_save import read_sherpa
from crosscal.xray.correction.xcm import Xcm, read_xcm
from crosscal.xray.fitting.fit import fit
from crosscal.xray.instrument.grouping import Groups, group
from crosscal.xray.instrument.ogip_spectrum import read_observation

if TYPE_CHECKING:
    from crosscal.xray.fitting.result import FitResult
    from crosscal.xray.instrument.response import Response
    from crosscal.xray.instrument.spectrum import Spectrum

#: Relative distance from the ends of Sherpa's ranges: they are edges of channels, which belong to one side only.
_INSIDE = 1e-6
#: Spectrum files of a session, as `read_observation` calls them.
ROLES = ("pha", "arf", "rmf", "background")


def read_session(path: str | os.PathLike[str]) -> Xcm:
    """Read a save file of XSPEC (.xcm) or a script of Sherpa's ``save_all`` (.py), without executing it.

    Raises
    ------
    DataFileError
        If it cannot be read, or holds what a fit cannot follow.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".xcm", ".py", ".save"):
        raise DataFileError(
            f"a session with suffix {suffix!r}", where=str(path),
            expected="a save file of XSPEC, .xcm, or a script of Sherpa's save_all, .py",
        )  # fmt: skip
    saved = read_xcm(path) if suffix == ".xcm" else read_sherpa(path)
    if saved.barred:
        raise DataFileError(
            f"{', '.join(saved.barred)} of the session cannot be followed", where=str(path),
            expected="a session without it, or a job with its own [model] and [spectrum]",
        )  # fmt: skip
    return saved


def files_of(saved: Xcm, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `read_observation`: files of the session where none are ``given``."""
    found: dict[str, Any] = {role: given.get(role) or saved.files.get(role) for role in ROLES}
    found["pha"] = given.get("pha") or saved.spectrum
    if not given.get("background"):
        found["background"] = "none" if saved.background == "none" else found["background"] or "auto"
    return {**found, "row": given.get("row") or saved.row}


def with_flags(saved: Xcm, spectrum: Spectrum) -> Spectrum:
    """Return the spectrum with the groups and the quality that the session has set, or without groups."""
    for name, flags in saved.flags.items():
        if flags.shape != (spectrum.n_channel,):
            raise InputError(
                f"{flags.size} flags of {name}", where="session", expected=f"{spectrum.n_channel}, one a channel"
            )
    changed: dict[str, Any] = dict(saved.flags)
    if not saved.grouped:
        changed["grouping"] = np.zeros(spectrum.n_channel, dtype=np.int16)
    return replace(spectrum, **changed) if changed else spectrum


def groups_of(saved: Xcm, spectrum: Spectrum, response: Response) -> Groups:
    """Return the channels and groups that the session fits."""
    if saved.noticed is None:
        return group(spectrum, response, None, ignored=raw_channels(saved.ignored, spectrum))
    ranges = sorted(saved.noticed)
    band = (ranges[0][0] * (1 + _INSIDE), ranges[-1][1] * (1 - _INSIDE))
    gaps = [(a[1] * (1 + _INSIDE), b[0] * (1 - _INSIDE)) for a, b in pairwise(ranges)]
    return group(spectrum, response, band, ignored=[gap for gap in gaps if gap[0] < gap[1]])


def raw_channels(text: str, spectrum: Spectrum) -> str:
    """Return arguments of ``ignore`` whose whole numbers are channels of the file.

    XSPEC counts channels from 1, and groups where the file has groups.
    """
    starts = np.flatnonzero(spectrum.grouping >= 0)
    if starts.size == 0 or starts[0] != 0:
        starts = np.append(0, starts)
    ends = np.append(starts[1:], spectrum.n_channel) - 1

    def raw(word: str) -> str:
        found = re.fullmatch(r"(\*\*|\d+)(?:-(\*\*|\d+))?", word)
        if found is None:
            return word
        low, high = found.group(1), found.group(2) or found.group(1)
        first = "**" if low == "**" else str(int(starts[_inside(low, starts)]) + spectrum.first_channel)
        last = "**" if high == "**" else str(int(ends[_inside(high, starts)]) + spectrum.first_channel)
        return f"{first}-{last}"

    return " ".join(raw(word) for word in text.replace(",", " ").split())


def _inside(number: str, starts: Any) -> int:
    return min(max(int(number), 1), len(starts)) - 1


def told(saved: Xcm, path: str | os.PathLike[str], result: FitResult) -> tuple[str, ...]:
    """Return what of the session the fit did not use, and which limits of it the best fit is beyond."""
    notes = []
    if saved.commands:
        notes.append(f"{path}: commands that are not used: {'; '.join(saved.commands)}")
    if saved.background == "none" and "background" in saved.files:
        notes.append(f"{path}: the session fits without its background, and so does this fit")
    for name in result.names:
        low, high = saved.limits.get(name, (-np.inf, np.inf))
        if not low <= result.values[name] <= high:
            value = f"{name} = {result.values[name]:.4g}"
            notes.append(f"{path}: {value} is beyond the session's limits {low:g} to {high:g}, which are not used")
    return tuple(notes)


def fit_session(path: str | os.PathLike[str], **options: Any) -> FitResult:
    """Fit the spectrum of a saved session again: its model, start values, free parameters, channels and statistic.

    Parameters
    ----------
    path : path
        A save file of XSPEC (.xcm) or a script of Sherpa's ``save_all`` (.py); it is read, not executed.
    **options
        Of `crosscal.xray.fit`.

    Raises
    ------
    DataFileError
        If the session cannot be read or followed.
    InputError
        As of `crosscal.xray.fit` and `crosscal.xray.read_observation`.

    Examples
    --------
    >>> from crosscal.xray.correction.session import fit_session
    >>> print(fit_session("cluster.xcm").answer)  # doctest: +SKIP
    """
    saved = read_session(path)
    spectrum, response = read_observation(**files_of(saved, {}))
    spectrum = with_flags(saved, spectrum)
    chosen = {"statistic": saved.choice, "groups": groups_of(saved, spectrum, response), **options}
    found = fit(spectrum, response, saved.model, **chosen)
    return replace(found, notes=(*found.notes, *told(saved, path, found)))
