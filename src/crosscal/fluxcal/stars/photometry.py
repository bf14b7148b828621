"""Synthetic AB photometry and the Vega zero points.

AB magnitudes of photon-counting detectors: m = -2.5 log10( int f_nu T dnu/nu / int 3631 Jy T dnu/nu ), which in
wavelength is int f_lambda T lambda dlambda / ( c int (3631 Jy) T dlambda / lambda ) (Bessell & Murphy 2012, PASP 124,
140, eq. A12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.units import floats
from crosscal.fluxcal.stars.systems import identify, vega_offsets

#: Speed of light in Angstrom/s and in km/s.
C_ANGSTROM = 2.99792458e18
C_KMS = 299792.458
#: AB zero point 10^(-48.6/2.5) erg/s/cm2/Hz.
AB_FLUX = 10 ** (-48.6 / 2.5)
#: Pairs of wavelengths of which a filter remembers its coverage.
MOST_ENDS = 1000


def vega_to_ab(magnitude: ArrayLike, band: str) -> NDArray[np.float64]:
    """Return AB magnitudes of Vega ``magnitude`` in a band: m_AB = m_Vega + offset.

    The offsets and their sources are in ``stars/data/bands.toml``: Gaia (Riello et al. 2021; Evans et al. 2018 for
    DR2), 2MASS and Bessell's UBVRI (Blanton & Roweis 2007). The band may be spelt as speclite, SVO or KSPECDR do.

    Raises
    ------
    UnknownNameError
        If the band has no tabulated offset.

    Examples
    --------
    >>> fluxcal.vega_to_ab(12.3, "twomass-J")  # doctest: +SKIP
    """
    known = identify(band)
    if known is None or known.system != "Vega":
        raise UnknownNameError("Vega band", band, vega_offsets())
    return floats(magnitude, "mag", where="vega_to_ab") + known.offset


@dataclass(frozen=True, eq=False)
class Filter:
    """A passband: photon response against wavelength in Angstrom (only its shape matters).

    Examples
    --------
    >>> band = fluxcal.load_filter("decam2014-g")  # doctest: +SKIP
    >>> band.pivot  # doctest: +SKIP
    """

    name: str
    wavelength: NDArray[np.float64]
    response: NDArray[np.float64]

    def __post_init__(self) -> None:
        where = f"filter {self.name!r}"
        w, r = floats(self.wavelength, "Angstrom", where=where), floats(self.response, where=where)
        if w.ndim != 1 or w.size < 3 or r.shape != w.shape:
            raise InputError(f"shapes {w.shape}, {r.shape}", where=where, expected="two columns of at least 3 rows")
        if not (np.all(np.isfinite(w)) and np.all(np.diff(w) > 0)):
            raise InputError("wavelengths do not increase", where=where, expected="increasing Angstrom")
        if not np.all(np.isfinite(r)) or r.max() <= 0:
            raise InputError("no positive response", where=where, expected="numbers >= 0, not all zero")
        object.__setattr__(self, "wavelength", w)
        object.__setattr__(self, "response", np.clip(r, 0.0, None))

    @property
    def pivot(self) -> float:
        """Pivot wavelength sqrt( int T lambda dlambda / int T dlambda/lambda ), Angstrom."""
        w, r = self.wavelength, self.response
        return float(np.sqrt(np.trapezoid(r * w, w) / self._over_wavelength))

    def coverage(self, low: float, high: float) -> float:
        """Fraction of int T lambda dlambda that lies between two wavelengths."""
        known, ends = self._coverage, (float(low), float(high))
        if ends not in known:
            if len(known) >= MOST_ENDS:
                known.clear()
            known[ends] = self._between(*ends)
        return known[ends]

    @cached_property
    def _coverage(self) -> dict[tuple[float, float], float]:
        """Fractions by pairs of wavelengths: every star asks for those of its spectrum and of the templates."""
        return {}

    def _between(self, low: float, high: float) -> float:
        w = self.wavelength
        fine = np.unique(np.concatenate([w, np.clip([low, high], w[0], w[-1])]))
        weight = np.interp(fine, w, self.response) * fine
        inside = (fine >= low) & (fine <= high)
        if inside.sum() < 2:
            return 0.0
        return float(np.trapezoid(weight[inside], fine[inside]) / np.trapezoid(weight, fine))

    def weights(self, wavelength: ArrayLike) -> NDArray[np.float64]:
        """Weights w (n,) with sum(w * f_lambda) = mean flux density in units of 3631 Jy.

        The filter is interpolated to the spectrum where the spectrum is finer, and its integral over each sample's
        cell is used where the filter is finer, so that narrow filters on coarse spectra keep their area.
        """
        grid = np.asarray(wavelength, dtype=float)
        edges = np.concatenate([[1.5 * grid[0] - 0.5 * grid[1]], 0.5 * (grid[1:] + grid[:-1]), [grid[-1]]])
        edges[-1] = 1.5 * grid[-1] - 0.5 * grid[-2]
        fine = np.union1d(self.wavelength, edges)
        response = np.interp(fine, self.wavelength, self.response, left=0.0, right=0.0)
        middle = 0.5 * (fine[1:] + fine[:-1])
        # Simpson's rule is exact for lambda times a response that is linear between nodes.
        pieces = (response * fine)[1:] + (response * fine)[:-1] + 2 * (response[1:] + response[:-1]) * middle
        cumulative = np.concatenate([[0.0], np.cumsum(pieces * np.diff(fine) / 6)])
        energy = np.diff(np.interp(edges, fine, cumulative))
        return energy / (AB_FLUX * C_ANGSTROM * self._over_wavelength)

    @cached_property
    def _over_wavelength(self) -> float:
        """int T dlambda / lambda, exact for a response that is linear between nodes."""
        w, r = self.wavelength, self.response
        slope = np.diff(r) / np.diff(w)
        return float(np.sum((r[:-1] - slope * w[:-1]) * np.log(w[1:] / w[:-1]) + slope * np.diff(w)))


def ab_magnitude(filter: Filter, wavelength: ArrayLike, flux: ArrayLike) -> NDArray[np.float64]:
    """AB magnitude in ``filter`` of spectra ``flux`` (..., n) in erg/s/cm2/A on ``wavelength`` (n,) in Angstrom.

    A spectrum that does not cover the band gives the magnitude of the part it covers: check
    :meth:`Filter.coverage` first. A flux that is not positive gives NaN.

    Examples
    --------
    >>> fluxcal.ab_magnitude(fluxcal.load_filter("decam2014-g"), wavelength, flux)  # doctest: +SKIP
    """
    values = floats(flux, "erg / (s cm2 Angstrom)", where="ab_magnitude")
    mean = values @ filter.weights(floats(wavelength, "Angstrom", where="ab_magnitude"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean > 0, -2.5 * np.log10(mean), np.nan)


def covered(filters: Sequence[Filter], low: float, high: float, floor: float = 0.995) -> list[bool]:
    """Whether a spectrum from ``low`` to ``high`` covers each band (at least ``floor`` of its response)."""
    return [band.coverage(low, high) >= floor for band in filters]
