"""Reading OGIP effective areas (ARF), and the energy grids that ARF and RMF share.

References
----------
George et al. 1992, CAL/GEN/92-002 and its addendum 92-002a.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from crosscal.xray.instrument.checks import GAP, Floats
from crosscal.xray.instrument.ogip_table import Table, find_table, opened

PathLike = str | os.PathLike[str]
#: Header cards (key, value, comment) by HDU.
Headers = Mapping[str, tuple[tuple[str, Any, str], ...]]

# Sherpa's replacement of a lower energy of exactly zero, where power laws diverge.
LOWEST_ENERGY = 1e-10
#: Columns of the table that is written, by number.
COLUMNS = MappingProxyType({1: "ENERG_LO", 2: "ENERG_HI", 3: "SPECRESP"})
# Cards that say how a file is laid out; a copy has its own.
_LAYOUT = re.compile(
    r"|SIMPLE|XTENSION|EXTEND|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|THEAP|CHECKSUM|DATASUM|EXTNAME|EXTVER|END|CONTINUE"
    r"|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM)\d+"
)
MATRIX_NAMES = ("MATRIX", "SPECRESP MATRIX")


@dataclass(frozen=True, eq=False)
class Arf:
    """An effective area as a file holds it: energies in keV, area in cm2, each of shape (n_energy,)."""

    energy_lo: Floats
    energy_hi: Floats
    area: Floats
    path: str = ""
    notes: tuple[str, ...] = ()
    mission: Mapping[str, str] = field(default_factory=dict)
    headers: Headers = field(default_factory=dict)


def mission_of(*headers: Mapping[str, Any]) -> dict[str, str]:
    """Return TELESCOP, INSTRUME, FILTER and DETNAM as the first header that has them says."""
    found = {}
    for key in ("TELESCOP", "INSTRUME", "FILTER", "DETNAM"):
        texts = [str(header.get(key) or "").strip() for header in headers]
        if any(texts):
            found[key] = next(text for text in texts if text)
    return found


def read_arf(path: PathLike) -> Arf:
    """Read an ARF.

    Raises
    ------
    DataFileError
        Naming file, HDU, column and row of whatever is wrong.

    Examples
    --------
    >>> arf = xray.read_arf("acis.arf")  # doctest: +SKIP
    >>> arf.energy_lo, arf.area  # doctest: +SKIP
    """
    with opened(path, "ARF") as hdus:
        hint = ""
        if any(hdu.name.upper() in MATRIX_NAMES for hdu in hdus):
            hint = " (it looks like an RMF)"
        table = find_table(hdus, str(path), names=("SPECRESP",), hduclas1="RESPONSE", hduclas2=("SPECRESP",), hint=hint)
        lo, hi, rows = energies(table)
        area = table.values("SPECRESP", unit="cm2", low=0.0)
        if not area.any():
            raise table.error("all values are 0", column="SPECRESP", expected="an effective area")
        headers = {"PRIMARY": kept_cards(hdus[0].header), "SPECRESP": kept_cards(table.header)}
        mission = mission_of(table.header, hdus[0].header)
        return Arf(lo, hi, area[rows], str(path), tuple(table.notes), mission, headers)


def kept_cards(header: fits.Header) -> tuple[tuple[str, Any, str], ...]:
    """Return the cards (key, value, comment) that a changed copy keeps: all that do not describe the file's layout."""
    found = []
    for card in header.cards:
        same = re.fullmatch(r"T(?:LMIN|LMAX|DMIN|DMAX)(\d)", card.keyword)
        if same and COLUMNS.get(int(same.group(1))) != str(header.get(f"TTYPE{same.group(1)}")).upper():
            continue
        if not _LAYOUT.fullmatch(card.keyword) and isinstance(card.value, str | bool | int | float):
            found.append((card.keyword, card.value, card.comment))
    return tuple(found)


def energies(table: Table) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return energy bins in increasing order and the rows of the file they come from.

    Gratings have them backwards; bins of no width (float32 cannot hold the steps of some old files) are left out:
    no photon falls into them.
    """
    lo = table.values("ENERG_LO", unit="keV", low=0.0)
    hi = table.values("ENERG_HI", unit="keV", low=0.0)
    if np.any(hi < lo) or not np.any(hi > lo):
        row = int(np.flatnonzero(hi < lo)[0]) if np.any(hi < lo) else 0
        raise table.error(
            f"ENERG_HI is {hi[row]:g} and ENERG_LO {lo[row]:g}", column="ENERG_HI", row=row,
            expected="ENERG_HI > ENERG_LO",
        )  # fmt: skip
    rows = np.flatnonzero(hi > lo)
    if rows.size < lo.size:
        table.note(f"{lo.size - rows.size} energy bins have no width; they are left out")
    if lo[rows[-1]] < lo[rows[0]]:
        rows = rows[::-1]
    lo, hi = lo[rows], hi[rows]
    _check_gaps(table, lo, hi, rows)
    if lo[0] == 0:
        lo[0] = LOWEST_ENERGY
        table.note(f"the lowest energy is 0; {LOWEST_ENERGY:g} keV is used")
    return lo, hi, rows


def _check_gaps(table: Table, lo: Floats, hi: Floats, rows: NDArray[np.int64]) -> None:
    """Refuse bins that leave a gap or overlap; tell of gaps beyond the rounding of float32 edges."""
    distance, width = np.abs(lo[1:] - hi[:-1]), (hi - lo)[1:]
    apart = distance > GAP * width + 1e-6 * hi[:-1]
    if apart.any():
        k = int(np.flatnonzero(apart)[0]) + 1
        raise table.error(
            f"the bin starts at {lo[k]:g} keV and the one before ends at {hi[k - 1]:g} keV",
            column="ENERG_LO", row=int(rows[k]), expected="bins in order, without gaps or overlap",
        )  # fmt: skip
    if np.any(distance > 1e-3 * width + 1e-6 * hi[:-1]):
        share = 100 * float(np.max(distance / width))
        table.note(
            f"the energy bins are apart by up to {share:.2g} % of a bin; each is taken to end where the next starts"
        )
