"""Galactic and atmospheric extinction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.units import floats

#: Anchors of the R = 3.1 curve of Fitzpatrick 1999 (PASP 111, 63), table 3: 1e4 / lambda[A] against A / E(B-V).
_F99_X = np.array([0.0, 0.377, 0.820, 1.667, 1.828, 2.141, 2.433, 3.704, 3.846])
_F99_A = np.array([0.0, 0.265, 0.829, 2.688, 3.055, 3.806, 4.315, 6.265, 6.591])


def fitzpatrick99(wavelength: ArrayLike) -> NDArray[np.float64]:
    """A(lambda) / E(B-V) of the diffuse Galactic medium with R = 3.1 (Fitzpatrick 1999, table 3: cubic spline).

    Parameters
    ----------
    wavelength : array, Angstrom
        Between 2600 A and the far infrared.

    Raises
    ------
    InputError
        Below 2600 A, where the optical spline does not hold.
    """
    w = np.asarray(wavelength, dtype=float)
    if w.size and w.min() < 2600.0:
        raise InputError(f"wavelength {w.min():g} A", where="Fitzpatrick 1999 extinction", expected=">= 2600 A")
    return np.asarray(_f99_spline()(1e4 / w), dtype=float)


@cache
def _f99_spline() -> Any:
    """The spline through the anchors, which every star of a frame asks for."""
    from scipy.interpolate import CubicSpline

    return CubicSpline(_F99_X, _F99_A, bc_type="natural")


#: Coefficients of the optical a(y), b(y), y = 1e4 / lambda[A] - 1.82, of O'Donnell 1994 (ApJ 422, 158), table 1.
_O94_A = (1.0, 0.104, -0.609, 0.701, 1.137, -1.718, -0.827, 1.647, -0.505)
_O94_B = (0.0, 1.952, 2.908, -3.989, -7.985, 11.102, 5.491, -10.805, 3.347)


def odonnell94(wavelength: ArrayLike) -> NDArray[np.float64]:
    """A(lambda) / E(B-V) with R = 3.1: Cardelli, Clayton & Mathis 1989 with the optical part of O'Donnell 1994.

    A / A(V) = a(x) + b(x) / R, x = 1e4 / lambda[A] (CCM 1989, ApJ 345, 245, eq. 1, 2 and 4).

    Raises
    ------
    InputError
        Outside 1700 to 33000 A.
    """
    w = np.asarray(wavelength, dtype=float)
    if w.size and (w.min() < 1700.0 or w.max() > 33000.0):
        raise InputError(
            f"wavelengths {w.min():g} to {w.max():g} A", where="O'Donnell 1994 extinction", expected="1700 to 33000 A"
        )
    x = 1e4 / w
    y = x - 1.82
    infrared = np.power(x, 1.61)
    optical = [np.polynomial.polynomial.polyval(y, c) for c in (_O94_A, _O94_B)]
    ultraviolet = (
        1.752 - 0.316 * x - 0.104 / ((x - 4.67) ** 2 + 0.341),
        -3.090 + 1.825 * x + 1.206 / ((x - 4.62) ** 2 + 0.263),
    )
    a = np.select([x < 1.1, x <= 3.3], [0.574 * infrared, optical[0]], ultraviolet[0])
    b = np.select([x < 1.1, x <= 3.3], [-0.527 * infrared, optical[1]], ultraviolet[1])
    return np.asarray(3.1 * a + b)


#: Factor of the E(B-V) of Schlegel, Finkbeiner & Davis 1998 that Schlafly & Finkbeiner 2011 (ApJ 737, 103, section 6)
#: recommend together with Fitzpatrick's law.
SF11 = 0.86

#: Laws by name; each is A(lambda) / E(B-V) with R = 3.1.
EXTINCTION_LAWS = {"fitzpatrick99": fitzpatrick99, "odonnell94": odonnell94}


def redden(wavelength: ArrayLike, ebv: ArrayLike, law: str = "fitzpatrick99") -> NDArray[np.float64]:
    """Factor 10^(-0.4 k(lambda) E(B-V)) by which Galactic dust dims a star, shape ebv.shape + wavelength.shape."""
    curve = galactic_law(law)(wavelength)
    return 10 ** (-0.4 * np.multiply.outer(np.asarray(ebv, dtype=float), curve))


@dataclass(frozen=True, eq=False)
class SiteExtinction:
    """Atmospheric extinction of an observatory: magnitudes per airmass against wavelength in Angstrom.

    Examples
    --------
    >>> site = fluxcal.read_site("siding_spring.txt")  # doctest: +SKIP
    >>> site.factor(wavelength, airmass=1.2)  # doctest: +SKIP
    """

    name: str
    wavelength: NDArray[np.float64]
    magnitude: NDArray[np.float64]

    def __post_init__(self) -> None:
        where = f"extinction table {self.name!r}"
        w, m = floats(self.wavelength, "Angstrom", where=where), floats(self.magnitude, "mag", where=where)
        if w.ndim != 1 or w.size < 2 or m.shape != w.shape:
            raise InputError(f"shapes {w.shape}, {m.shape}", where=where, expected="two columns of at least 2 rows")
        if not (np.all(np.isfinite(m)) and np.all(np.isfinite(w)) and np.all(np.diff(w) > 0)):
            raise InputError("wavelengths do not increase or values are not finite", where=where, expected="a table")
        object.__setattr__(self, "wavelength", w)
        object.__setattr__(self, "magnitude", m)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        # In a job file a table is named, not given; the schema is a plain dictionary, so that nothing is imported.
        return {"type": "is-instance", "cls": cls}

    def factor(self, wavelength: ArrayLike, airmass: float) -> NDArray[np.float64]:
        """Transmission 10^(-0.4 k(lambda) X); constant k beyond the ends of the table."""
        if not (np.isfinite(airmass) and airmass >= 1.0 - 1e-6):
            raise InputError(f"airmass {airmass}", where=f"extinction table {self.name!r}", expected="a number >= 1")
        return 10 ** (-0.4 * airmass * np.interp(np.asarray(wavelength, dtype=float), self.wavelength, self.magnitude))


def airmass(zenith_distance: ArrayLike) -> NDArray[np.float64]:
    """Airmass of a zenith distance in degrees (Hardie 1962, in Astronomical Techniques, p. 178)."""
    z = np.deg2rad(np.asarray(zenith_distance, dtype=float))
    if np.any(np.abs(z) > np.deg2rad(85)):
        raise InputError("a zenith distance beyond 85 degrees", where="airmass", expected="0 to 85 degrees")
    s = 1 / np.cos(z) - 1
    return 1 + s - 0.0018167 * s - 0.002875 * s**2 - 0.0008083 * s**3


def refraction(wavelength: ArrayLike, *, pressure: float = 700.0, temperature: float = 8.0) -> NDArray[np.float64]:
    """Refraction in arcsec per tan(z) against wavelength in Angstrom: 206265 (n - 1) (Filippenko 1982, PASP 94, 715,
    eq. 1-4).

    ``pressure`` in mmHg would be Filippenko's; here hPa (his eq. 2 with 1 mmHg = 1.33322 hPa), temperature in Celsius.
    """
    s2 = (1e4 / np.asarray(wavelength, dtype=float)) ** 2
    n_15 = 1e-6 * (64.328 + 29498.1 / (146 - s2) + 255.4 / (41 - s2))
    p = pressure / 1.33322
    factor = p * (1 + (1.049 - 0.0157 * temperature) * 1e-6 * p) / (720.883 * (1 + 0.003661 * temperature))
    return 206264.806 * n_15 * factor


def galactic_law(name: str) -> Callable[[ArrayLike], NDArray[np.float64]]:
    """Return the function A(lambda)/E(B-V) called ``name``."""
    if name not in EXTINCTION_LAWS:
        raise UnknownNameError("extinction law", name, EXTINCTION_LAWS)
    return EXTINCTION_LAWS[name]
