"""Which fibres are standards that can be used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import UnknownNameError
from crosscal.fluxcal.stars.matching import MATCHERS, Match, match_index, match_positions
from crosscal.fluxcal.types import Catalogue, Fibres, Frame, StarFit, StarStatus


def signal_to_noise(frame: Frame, fibres: NDArray[np.int64]) -> NDArray[np.float64]:
    """Median of counts / sqrt(variance) over the good pixels of fibres (n,), shape (n,); NaN without good pixels."""
    good = frame.usable(fibres)
    ratio = np.where(good, frame.flux[fibres] / np.sqrt(np.where(good, frame.variance[fibres], 1.0)), np.nan)
    result = np.full(len(ratio), np.nan)
    some = good.any(axis=1)
    result[some] = np.nanmedian(ratio[some], axis=1)
    return result


def subset(fibres: Fibres, index: NDArray[np.int64]) -> Fibres:
    """The table of some fibres (0-based numbers)."""
    return Fibres(*(getattr(fibres, key)[index] for key in ("name", "ra", "dec", "x", "y", "type")))


def julian_year(mjd: float) -> float:
    """Julian year of a Modified Julian Date."""
    return 2000.0 + (mjd - 51544.5) / 365.25


def select_standards(
    frame: Frame,
    catalogue: Catalogue,
    *,
    snr_floor: float = 3.0,
    radius: float = 1.5,
    match: str = "position",
    usable: NDArray[np.bool_] | None = None,
) -> list[StarFit]:
    """List the standards (fibre type C) of a frame with what is known before fitting.

    Parameters
    ----------
    frame : Frame
    catalogue : Catalogue
    snr_floor : float
        Least median signal-to-noise ratio per pixel.
    radius : float, arcsec
    match : "position" or "index"
    usable : array of bool (n_b,), optional
        Bands of the catalogue that templates cover; a star needs one with a magnitude.

    Returns
    -------
    list of StarFit, in fibre order, with status USED or the reason of rejection.
    """
    if match not in MATCHERS:
        raise UnknownNameError("matching", match, MATCHERS)
    index = np.flatnonzero(frame.fibres.type == "C")
    if index.size == 0:
        return []
    fibres, snr = subset(frame.fibres, index), signal_to_noise(frame, index)
    if match == "index":
        found = match_index(fibres, catalogue)
    else:
        found = match_positions(fibres, catalogue, radius=radius, epoch=julian_year(frame.mjd))
    usable = np.ones(len(catalogue.bands), dtype=bool) if usable is None else usable
    stars = []
    for k, fibre in enumerate(index):
        row = int(found.row[k])
        name = str(catalogue.name[row]) if row >= 0 else str(fibres.name[k]) or f"fibre {fibre + 1}"
        star = StarFit(int(fibre), name, StarStatus.USED, float(snr[k]), float(found.separation[k]), row)
        stars.append(replace(star, status=_status(star, found, k, catalogue, usable, snr_floor)))
    return stars


def _status(
    star: StarFit, found: Match, k: int, catalogue: Catalogue, usable: NDArray[np.bool_], snr_floor: float
) -> StarStatus:
    if not np.isfinite(star.snr):
        return StarStatus.NO_SIGNAL
    if star.snr < snr_floor:
        return StarStatus.LOW_SNR
    if star.catalogue_row < 0:
        return StarStatus.NOT_IN_CATALOGUE
    if found.ambiguous[k]:
        return StarStatus.AMBIGUOUS_MATCH
    if found.duplicate[k]:
        return StarStatus.DUPLICATE
    if not np.any(np.isfinite(catalogue.magnitude[star.catalogue_row]) & usable):
        return StarStatus.NO_BANDS
    return StarStatus.USED
