"""Units in which frames come: counts in any spelling, per second or per Angstrom, or calibrated flux."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.units import floats
from crosscal.fluxcal.stars.resample import pixel_edges

#: Calibrated spectra are kept in this unit: single-precision fluxes in erg/s/cm2/A underflow their inverse variance.
FLUX_SCALE = 1e-17
FLUX_UNIT = "1e-17 erg/s/cm2/Angstrom"

#: Spellings of what a detector counts. A count, an electron and a photon are taken for the same: the scale of the
#: curve absorbs a gain.
COUNTED = {
    "", "count", "counts", "ct", "cts", "adu", "dn", "electron", "electrons", "e-", "e", "photon", "photons", "ph",
    "photoelectron", "photoelectrons",
}  # fmt: skip
_SECOND = r"(?:s|sec|second|seconds)"
_LENGTH = r"(?:a|aa|ang|angstrom|angstroms|å)"
EXPECTED = "counts, electrons, photons or ADU, each also per s or per Angstrom, or erg/s/cm2/Angstrom"


@dataclass(frozen=True)
class CountUnit:
    """A unit of counts: whether it is per second and per Angstrom."""

    per_second: bool = False
    per_angstrom: bool = False

    def factor(self, exposure: float, wavelength: NDArray[np.float64]) -> Any:
        """What turns values in this unit into counts of the exposure in each pixel: 1, s, A or s A."""
        factor: Any = exposure if self.per_second else 1.0
        if self.per_angstrom:
            factor = factor * np.stack([np.diff(pixel_edges(row)) for row in np.atleast_2d(wavelength)])
        return factor


def count_unit(text: str) -> CountUnit | None:
    """Read the spelling of a unit of counts ("counts", "electron/A", "ct s-1", "e-/s/Angstrom"); None for another."""
    rest = " " + re.sub(r"\*\*|\^", "", text.strip().lower()).replace(" per ", "/").replace("*", " ") + " "
    rest = re.sub(r"[()]", " ", rest)
    found = []
    for unit in (_SECOND, _LENGTH):
        pattern = rf"/ *{unit}(?=[ /.])|(?<=[ .]){unit} *-1(?=[ /.])"
        found.append(re.search(pattern, rest) is not None)
        rest = re.sub(pattern, " ", rest)
    return CountUnit(*found) if rest.strip(" .") in COUNTED else None


def from_quantities(
    flux: Any, variance: Any, exposure: float, wavelength: NDArray[np.float64], calibrated: bool, where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Counts of the exposure (or fluxes in :data:`FLUX_UNIT`) and variances as plain arrays, and whether it is flux.

    Plain numbers are returned as they are; Quantities are converted. A variance without a unit is in the square of the
    unit of the flux.

    Raises
    ------
    InputError
        If a unit is none of counts or flux, or that of the variance is not the square of that of the spectra.
    """
    unit, square = getattr(flux, "unit", None), getattr(variance, "unit", None)
    if unit is None and square is None:
        return floats(flux, where=where), floats(variance, where=where), calibrated
    from astropy import units as u

    flam = u.Unit("erg / (s cm2 Angstrom)")
    if unit is None:
        raise InputError(f"variances in {square}", where=where, expected="plain numbers, or spectra with a unit too")
    stated, unit = unit, u.Unit(unit)
    if unit.is_equivalent(flam):
        factor: Any = unit.to(flam) / FLUX_SCALE
        calibrated = True
    elif (kind := _counts(unit)) is not None:
        factor = kind.factor(exposure, wavelength)
        calibrated = False
    else:
        raise InputError(f"spectra in {stated}", where=where, expected=EXPECTED)
    own = unit**2
    if square is not None and not ((u.Unit(square).is_equivalent(own) and calibrated) or u.Unit(square) == own):
        raise InputError(f"variances in {square}", where=where, expected=f"the square of {stated}, the spectra's unit")
    values = floats(flux if not hasattr(flux, "to_value") else flux.to_value(unit), where=where)
    squares = floats(variance if not hasattr(variance, "to_value") else variance.to_value(own), where=where)
    return values * factor, squares * factor**2, calibrated


def _counts(unit: Any) -> CountUnit | None:
    """The kind of counts of an astropy unit; None for another."""
    from astropy import units as u

    for counted in (u.dimensionless_unscaled, u.ct, u.electron, u.adu, u.photon, u.DN):
        for seconds in (False, True):
            for length in (False, True):
                if unit == counted / (u.s if seconds else 1) / (u.AA if length else 1):
                    return CountUnit(seconds, length)
    return None
