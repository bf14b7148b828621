"""Which catalogue star is in which fibre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.core.units import floats
from crosscal.fluxcal.types import Catalogue, Fibres

MAS_PER_DEGREE = 3.6e6


@dataclass(frozen=True, eq=False)
class Match:
    """The result of matching n fibres.

    Attributes
    ----------
    row : array of int (n,), catalogue row, -1 where none
    separation : array (n,), arcsec to that row, or to the nearest row where there is no match
    ambiguous : array of bool (n,), more than one catalogue star within the radius
    duplicate : array of bool (n,), lost its star to a closer fibre
    """

    row: NDArray[np.int64]
    separation: NDArray[np.float64]
    ambiguous: NDArray[np.bool_]
    duplicate: NDArray[np.bool_]


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Unit vectors (n, 3) of positions in degrees."""
    a, d = (np.deg2rad(floats(v, "deg", where="positions")) for v in (ra, dec))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def move(catalogue: Catalogue, epoch: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions (ra, dec) in degrees after proper motion from the catalogue's epoch to another Julian year."""
    years = epoch - catalogue.epoch if np.isfinite(epoch) else 0.0
    dec = catalogue.dec + catalogue.pm_dec * years / MAS_PER_DEGREE
    cosine = np.clip(np.cos(np.deg2rad(catalogue.dec)), 1e-6, None)
    return (catalogue.ra + catalogue.pm_ra * years / MAS_PER_DEGREE / cosine) % 360.0, np.clip(dec, -90, 90)


def match_positions(fibres: Fibres, catalogue: Catalogue, *, radius: float = 1.5, epoch: float = float("nan")) -> Match:
    """Match fibres to catalogue stars by position.

    A fibre keeps the nearest star if it is the only one within ``radius`` (arcsec) and no other fibre is closer to it.
    ``epoch`` is the Julian year of the observation, for proper motions.

    Raises
    ------
    InputError
        If the radius is not positive or no fibre has a position.
    """
    from scipy.spatial import cKDTree

    if not radius > 0:
        raise InputError(f"radius {radius} arcsec", where="positional matching", expected="a positive number")
    known = np.isfinite(fibres.ra) & np.isfinite(fibres.dec)
    if not known.any():
        raise InputError(
            "no fibre has a position", where="positional matching", expected="RA and DEC, or match = 'index' on purpose"
        )
    n = len(fibres)
    tree = cKDTree(unit_vectors(*move(catalogue, epoch)))
    chord, neighbour = tree.query(unit_vectors(fibres.ra[known], fibres.dec[known]), k=min(2, len(catalogue)))
    chord, neighbour = chord.reshape(known.sum(), -1), neighbour.reshape(known.sum(), -1)
    arcsec = np.rad2deg(2 * np.arcsin(np.clip(chord / 2, 0, 1))) * 3600
    separation, row = np.full(n, np.nan), np.full(n, -1)
    separation[known] = arcsec[:, 0]
    row[known] = np.where(arcsec[:, 0] <= radius, neighbour[:, 0], -1)
    ambiguous = np.zeros(n, dtype=bool)
    if arcsec.shape[1] > 1:
        ambiguous[known] = arcsec[:, 1] <= radius
    duplicate = np.zeros(n, dtype=bool)
    for star in np.unique(row[row >= 0]):
        rivals = np.flatnonzero(row == star)
        duplicate[np.setdiff1d(rivals, rivals[np.argmin(separation[rivals])])] = True
    return Match(row, separation, ambiguous, duplicate)


def match_index(fibres: Fibres, catalogue: Catalogue) -> Match:
    """The explicit fallback: the k-th fibre (in the order given) is the k-th row of the catalogue.

    Raises
    ------
    InputError
        If there are more fibres than rows.
    """
    n = len(fibres)
    if n > len(catalogue):
        raise InputError(
            f"{n} fibres", where="matching by index", expected=f"at most {len(catalogue)} (catalogue rows)"
        )
    row = np.arange(n)
    apart = np.linalg.norm(
        unit_vectors(fibres.ra, fibres.dec) - unit_vectors(catalogue.ra[row], catalogue.dec[row]), axis=-1
    )
    no = np.zeros(n, dtype=bool)
    return Match(row, np.rad2deg(2 * np.arcsin(np.clip(apart / 2, 0, 1))) * 3600, no, no.copy())


MATCHERS = ("position", "index")
