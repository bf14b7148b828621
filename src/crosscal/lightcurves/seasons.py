"""Factors that change from season to season: every season of a telescope becomes a telescope of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.units import plain
from crosscal.lightcurves.types import LightCurve, LightCurves


def season_edges(curves: LightCurves, gap: float) -> NDArray[np.float64]:
    """Return the middles of the gaps longer than ``gap`` in the times of all files together."""
    if not gap > 0:
        raise InputError(f"gap {gap:g}", where="seasons", expected="a time > 0")
    time = np.sort(np.concatenate([curve.time for curve in curves.files]))
    wide = np.flatnonzero(np.diff(time) > gap)
    return 0.5 * (time[wide] + time[wide + 1])


def split_seasons(
    curves: LightCurves, *, gap: Any = None, edges: Any = (), keep: Sequence[str] | None = None
) -> LightCurves:
    """Split telescopes into seasons, so that each season has its own phi and G: code "B" becomes "B@1", "B@2", ...

    Parameters
    ----------
    gap : float or quantity, optional
        Seasons are separated by gaps longer than this.
    edges : sequence of float, quantities or astropy Times
        Or the times that separate them.
    keep : sequence of str, optional
        Telescopes that are not split; the reference by default.

    Raises
    ------
    InputError
        If neither or both of gap and edges are given, or the edges do not increase or convert.

    Examples
    --------
    >>> seasons = lightcurves.split_seasons(curves, gap=60.0)  # doctest: +SKIP
    """
    if (gap is None) == (len(edges) == 0):
        raise InputError("gap and edges", where="seasons", expected="one of them")
    if gap is not None:
        at = season_edges(curves, float(plain(gap, curves.time_unit, where="seasons, gap")))
    else:
        at = curves.times(edges, where="seasons, edges")
    if np.any(np.diff(at) <= 0):
        raise InputError("the edges do not increase", where="seasons", expected="increasing times")
    whole = set(curves.codes[:1] if keep is None else keep)
    season = [np.searchsorted(at, curve.time, side="right") for curve in curves.files]
    used: list[tuple[int, int]] = []
    for c, code in enumerate(curves.codes):
        if code in whole:
            used.append((c, -1))
            continue
        found = sorted(
            {int(s) for curve, seen in zip(curves.files, season, strict=True) for s in seen[curve.code == c]}
        )
        used += [(c, s) for s in found] or [(c, -1)]
    names = tuple(curves.codes[c] + (f"@{s + 1}" if s >= 0 else "") for c, s in used)

    def change(curve: LightCurve, seen: NDArray[np.int64]) -> LightCurve:
        code = np.empty_like(curve.code)
        for new, (c, s) in enumerate(used):
            code[(curve.code == c) & ((seen == s) | (s < 0))] = new
        back = np.argsort(curve.order)  # in input order, so that flags are numbered alike
        label = np.array([curve.flag_labels[c][k] for c, k in zip(curve.code, curve.flag, strict=True)], dtype=np.int64)
        return LightCurve.build(
            curve.name, names, curve.time[back], curve.flux[back], curve.error[back], code[back], label[back],
            unit=curve.unit,
        )  # fmt: skip

    files = [change(curve, seen) for curve, seen in zip(curves.files, season, strict=True)]
    return replace(curves, continuum=files[0], lines=tuple(files[1:]))
