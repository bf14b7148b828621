"""The nouns of flux calibration: frame, fibres, catalogue, star fit, per-star vector, combined curve.

Shapes: ``n_fib`` fibres, ``n_pix`` pixels, ``n_b`` bands, ``n_star`` standards. Wavelengths in Angstrom, positions in
degrees, fluxes in erg/s/cm2/Angstrom, magnitudes in AB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.display import brief, brief_html
from crosscal.core.errors import InputError
from crosscal.core.sketch import Sketch
from crosscal.core.units import floats, plain
from crosscal.fluxcal.flux_units import from_quantities
from crosscal.fluxcal.stars.reddening import FieldReddening

MEDIA = ("air", "vacuum")


def as_floats(value: Any, where: str, /, **units: str) -> None:
    """Replace fields of a frozen dataclass by float64 arrays in their units (:func:`crosscal.core.units.floats`)."""
    for key, unit in units.items():
        object.__setattr__(value, key, floats(getattr(value, key), unit, where=f"{where}, {key}"))


def as_texts(value: Any, *keys: str) -> None:
    """Replace fields of a frozen dataclass by arrays of str without blanks around; bytes (of FITS) are decoded."""
    for key in keys:
        given: Any = getattr(value, key)
        array: Any = np.ma.filled(given, "") if np.ma.isMA(given) else np.asarray(given)
        if array.dtype.kind == "S":
            array = np.char.decode(array, "latin-1")
        object.__setattr__(value, key, np.char.strip(array.astype(str)) if array.size else array.astype(str))


class StarStatus(IntEnum):
    """The outcome for one candidate standard star.

    Examples
    --------
    >>> [star.name for star in result.stars if star.status == fluxcal.StarStatus.USED]  # doctest: +SKIP
    """

    USED = 0
    NO_SIGNAL = 1
    LOW_SNR = 2
    NOT_IN_CATALOGUE = 3
    AMBIGUOUS_MATCH = 4
    NO_BANDS = 5
    OUTSIDE_LIBRARY = 6
    RV_FAILED = 7
    COLOUR_OUTLIER = 8
    GREY_OUTLIER = 9
    SLOPE_OUTLIER = 10
    DUPLICATE = 11
    TEMPLATE_OUTLIER = 12
    VELOCITY_OUTLIER = 13


#: One sentence for each status, written to tables and HISTORY lines.
REASONS: Mapping[StarStatus, str] = {
    StarStatus.USED: "used",
    StarStatus.NO_SIGNAL: "no finite pixel with positive variance",
    StarStatus.LOW_SNR: "signal-to-noise ratio below the floor",
    StarStatus.NOT_IN_CATALOGUE: "no catalogue star within the matching radius",
    StarStatus.AMBIGUOUS_MATCH: "more than one catalogue star within the matching radius",
    StarStatus.NO_BANDS: "no magnitude in a band that the templates cover",
    StarStatus.OUTSIDE_LIBRARY: "no template near the star's colours",
    StarStatus.RV_FAILED: "no significant velocity peak",
    StarStatus.COLOUR_OUTLIER: "colours disagree with the best template",
    StarStatus.GREY_OUTLIER: "throughput far from the other stars",
    StarStatus.SLOPE_OUTLIER: "chromatic slope far from the other stars",
    StarStatus.TEMPLATE_OUTLIER: "spectrum fits its template much worse than the other stars do",
    StarStatus.VELOCITY_OUTLIER: "velocity far from the other stars",
    StarStatus.DUPLICATE: "another fibre matches the same catalogue star more closely",
}


@dataclass(frozen=True, eq=False)
class Fibres:
    """The fibre table of a frame.

    Attributes
    ----------
    name : array of str (n_fib,)
    ra, dec : array (n_fib,), degrees (ICRS); NaN where unknown
    x, y : array (n_fib,), position on the plate in micrometre; NaN where unknown
    type : array of str (n_fib,)
        P program, S sky, C flux standard, F guide, N broken, U unused.

    Examples
    --------
    >>> frame.fibres.name, frame.fibres.type  # doctest: +SKIP
    """

    name: NDArray[np.str_]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    type: NDArray[np.str_]

    __repr__ = brief
    _repr_html_ = brief_html

    def __post_init__(self) -> None:
        as_texts(self, "name", "type")
        as_floats(self, "fibre table", ra="deg", dec="deg", x="um", y="um")
        n = np.size(self.name)
        for key in ("ra", "dec", "x", "y", "type"):
            if np.shape(getattr(self, key)) != (n,):
                raise InputError(
                    f"{np.shape(getattr(self, key))} values of {key}", where="fibre table", expected=f"shape ({n},)"
                )

    def __len__(self) -> int:
        return self.name.size

    def retyped(self, index: ArrayLike, type: str) -> Fibres:
        """Return a copy in which the fibres with these 0-based numbers have another type."""
        types = self.type.copy()
        types[np.asarray(index)] = type
        return replace(self, type=types)


@dataclass(frozen=True, eq=False)
class Frame:
    """One reduced frame: counts (or flux) of every fibre.

    Attributes
    ----------
    flux : array (n_fib, n_pix)
        Counts of the whole exposure, or flux in 1e-17 erg/s/cm2/A where ``calibrated``. A Quantity (counts, electrons,
        photons or ADU, each also per s or per Angstrom; or flux density) is converted to that.
    variance : array (n_fib, n_pix)
        NaN = bad pixel.
    wavelength : array (n_fib, n_pix) or (n_pix,), Angstrom, increasing
    fibres : Fibres
    exposure : float, seconds
    airmass : float (NaN where unknown)
    mjd : float, middle of the exposure where known, else NaN
    medium : "air" or "vacuum"
        Of the wavelengths.
    name : str
    header : mapping-like, untouched header of the file (or empty)
    extras : mapping of HDU name to HDU, passed through untouched
    notes : tuple of str
        What the reader had to assume or repair.
    calibrated : bool
    dispaxis : 1 or 2, the axis of dispersion in the file (arrays here always have fibres first)
    layout : str, of the file it was read from, in which it is written back
    resolution : float or pairs of (wavelength, FWHM), Angstrom, where the file states it, else None

    Examples
    --------
    >>> frame = fluxcal.read_frame("red_0027.fits")  # doctest: +SKIP
    """

    flux: NDArray[np.float64]
    variance: NDArray[np.float64]
    wavelength: NDArray[np.float64]
    fibres: Fibres
    exposure: float
    airmass: float = float("nan")
    mjd: float = float("nan")
    medium: str = "air"
    name: str = ""
    header: Any = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    calibrated: bool = False
    dispaxis: int = 1
    layout: str = "red"
    resolution: float | tuple[tuple[float, float], ...] | None = None

    __repr__ = brief
    _repr_html_ = brief_html

    def __post_init__(self) -> None:
        where = self.name or "frame"
        shape = np.shape(self.flux)
        if len(shape) != 2 or 0 in shape:
            raise InputError(f"counts of shape {shape}", where=where, expected="(n_fib, n_pix)")
        object.__setattr__(self, "exposure", float(plain(self.exposure, "s", where=where)))
        wavelength = floats(self.wavelength, "Angstrom", where=f"{where}[WAVELA]", contiguous=False)
        if wavelength.shape == shape[1:]:
            wavelength = np.broadcast_to(wavelength, shape)
        object.__setattr__(self, "wavelength", wavelength)
        for key in ("variance", "wavelength"):
            if np.shape(getattr(self, key)) != shape:
                raise InputError(f"{key} of shape {np.shape(getattr(self, key))}", where=where, expected=f"{shape}")
        if len(self.fibres) != shape[0]:
            rows = f"{len(self.fibres)} rows in the fibre table"
            raise InputError(rows, where=where, expected=f"{shape[0]}, one per spectrum")
        if not (np.isfinite(self.exposure) and self.exposure > 0):
            raise InputError(f"exposure of {self.exposure} s", where=where, expected="a positive time")
        if self.medium not in MEDIA:
            raise InputError(f"wavelengths in {self.medium!r}", where=where, expected="'air' or 'vacuum'")
        if not np.all(np.isfinite(self.wavelength)):
            raise InputError("a wavelength is not finite", where=f"{where}[WAVELA]", expected="finite numbers")
        if np.any(np.diff(self.wavelength, axis=1) <= 0):
            row = int(np.argmax(np.any(np.diff(self.wavelength, axis=1) <= 0, axis=1)))
            raise InputError(
                "wavelengths do not increase", where=f"{where}[WAVELA], fibre {row + 1}", expected="increasing numbers"
            )
        flux, variance, calibrated = from_quantities(
            self.flux, self.variance, self.exposure, wavelength, self.calibrated, where
        )
        for key, value in (("flux", flux), ("variance", variance), ("calibrated", calibrated)):
            object.__setattr__(self, key, value)
        if np.any(self.variance < 0):
            row, pixel = np.argwhere(self.variance < 0)[0]
            place = f"{where}[VARIANCE], fibre {row + 1}, pixel {pixel + 1}"
            expected = "variances >= 0, or NaN for a bad pixel"
            raise InputError(f"negative variance {self.variance[row, pixel]:g}", where=place, expected=expected)

    def _sketch_(self) -> Sketch:
        flux = np.where(self.good, self.flux, np.nan)
        label = f"brightest spectrum ({'calibrated' if self.calibrated else 'counts'})"
        return Sketch(self.grid, flux[int(np.argmax(np.nansum(flux, axis=1)))], "wavelength (\u00c5)", label)

    @property
    def good(self) -> NDArray[np.bool_]:
        """Pixels with finite counts and a positive finite variance, shape (n_fib, n_pix)."""
        return self.usable(slice(None))

    def usable(self, fibres: Any) -> NDArray[np.bool_]:
        """`good` of some fibres: a 0-based number, an array of them, or a slice."""
        flux, variance = self.flux[fibres], self.variance[fibres]
        with np.errstate(invalid="ignore"):
            return np.isfinite(flux) & np.isfinite(variance) & (variance > 0)

    @cached_property
    def grid(self) -> NDArray[np.float64]:
        """The wavelength grid on which curves of this frame are given: a copy of that of its first fibre."""
        return self.wavelength[0].copy()


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Photometry of standard stars.

    Attributes
    ----------
    name : array of str (n,)
    ra, dec : array (n,), degrees, at ``epoch``
    bands : tuple of str
        Names of filters.
    magnitude, error : array (n, n_b), AB; NaN where there is no measurement
    pm_ra, pm_dec : array (n,), mas/yr (pm_ra includes cos(dec)); zero if unknown
    ebv : array (n,)
        E(B-V) of the Galactic foreground; NaN where unknown.
    epoch : float, Julian year of the positions
    notes : tuple of str
        What the reader assumed or left out.

    Examples
    --------
    >>> stars = fluxcal.read_catalogue("stars.csv", bands={"decam2014-g": "mag_g"})  # doctest: +SKIP
    >>> stars.name, stars.magnitude  # doctest: +SKIP
    """

    name: NDArray[np.str_]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    bands: tuple[str, ...]
    magnitude: NDArray[np.float64]
    error: NDArray[np.float64]
    pm_ra: NDArray[np.float64]
    pm_dec: NDArray[np.float64]
    ebv: NDArray[np.float64]
    epoch: float = 2000.0
    notes: tuple[str, ...] = ()

    __repr__ = brief
    _repr_html_ = brief_html

    def __post_init__(self) -> None:
        as_texts(self, "name")
        as_floats(
            self, "catalogue",
            ra="deg", dec="deg", magnitude="mag", error="mag", pm_ra="mas / yr", pm_dec="mas / yr", ebv="mag",
        )  # fmt: skip
        n, b = len(self.name), len(self.bands)
        if n == 0:
            raise InputError("no stars", where="catalogue", expected="at least one row")
        if np.shape(self.magnitude) != (n, b) or np.shape(self.error) != (n, b):
            shape = np.shape(self.magnitude)
            raise InputError(f"magnitudes of shape {shape}", where="catalogue", expected=f"({n}, {b})")
        for key in ("ra", "dec", "pm_ra", "pm_dec", "ebv"):
            if np.shape(getattr(self, key)) != (n,):
                raise InputError(
                    f"{key} has shape {np.shape(getattr(self, key))}", where="catalogue", expected=f"({n},)"
                )
        if not (np.all(np.isfinite(self.ra)) and np.all(np.abs(self.dec) <= 90)):
            raise InputError("positions are not finite or beyond the poles", where="catalogue", expected="degrees")
        if np.any(self.error[np.isfinite(self.magnitude)] <= 0):
            raise InputError("an error of a magnitude is not positive", where="catalogue", expected="errors > 0")

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True, eq=False)
class StarFit:
    """The model of one standard star and how it was found; all numbers that quality tables show.

    ``model`` (n_pix,) is in erg/s/cm2/A on the star's own pixels, ``model_variance`` its independent part;
    ``model_modes`` (3, n_pix) are correlated errors of ln model (grey, slope, curvature); ``mismatch`` (2, n_pix) the
    standard deviations of ln model by which real stars differ from templates: all alike, and each by itself; ``dust``
    (n_pix,) the change of ln model with one standard deviation of the field's E(B-V) (``reddening``), common to stars.

    Examples
    --------
    >>> star = result.stars[0]  # doctest: +SKIP
    """

    fibre: int
    name: str
    status: StarStatus
    snr: float = float("nan")
    separation: float = float("nan")
    catalogue_row: int = -1
    teff: float = float("nan")
    logg: float = float("nan")
    feh: float = float("nan")
    template: str = ""
    rv: float = float("nan")
    rv_error: float = float("nan")
    rv_peak: float = float("nan")
    chi2: float = float("nan")
    dof: int = 0
    scale: float = float("nan")
    scale_error: float = float("nan")
    colour_residual: float = float("nan")
    ebv: float = 0.0
    bands: tuple[str, ...] = ()
    dropped_bands: tuple[str, ...] = ()
    model: NDArray[np.float64] | None = None
    model_variance: NDArray[np.float64] | None = None
    model_modes: NDArray[np.float64] | None = None
    mismatch: NDArray[np.float64] | None = None
    reddening: FieldReddening | None = None
    dust: NDArray[np.float64] | None = None

    __repr__ = brief
    _repr_html_ = brief_html

    @property
    def reason(self) -> str:
        """Why the star was not used, or "used"."""
        return REASONS[self.status]


@dataclass(frozen=True, eq=False)
class CalibrationVector:
    """F_model / (counts/s) of one star.

    ``value`` [erg/s/cm2/A per count/s] and its independent ``variance`` have shape (n_pix,); ``good`` marks the usable
    pixels; ``rate``, ``rate_variance`` and ``model`` are kept because throughputs, not their inverses, are averaged
    without bias; ``modes`` (k, n_pix) are correlated errors of ln value; ``mismatch`` (2, n_pix) as that of a StarFit,
    zero by default. Of several arms the pixels follow one another; ``starts`` are the numbers of their first ones.

    Examples
    --------
    >>> vector = result.vectors[0]  # doctest: +SKIP
    """

    wavelength: NDArray[np.float64]
    value: NDArray[np.float64]
    variance: NDArray[np.float64]
    good: NDArray[np.bool_]
    star: str
    rate: NDArray[np.float64]
    rate_variance: NDArray[np.float64]
    model: NDArray[np.float64]
    model_variance: NDArray[np.float64]
    modes: NDArray[np.float64]
    x: float = float("nan")
    y: float = float("nan")
    mismatch: NDArray[np.float64] | None = None
    starts: tuple[int, ...] = (0,)

    __repr__ = brief
    _repr_html_ = brief_html

    def __post_init__(self) -> None:
        if self.mismatch is None:
            object.__setattr__(self, "mismatch", np.zeros((2, np.size(self.value))))
        keys = ("value", "variance", "rate", "rate_variance", "model", "model_variance", "modes", "mismatch")
        as_floats(self, f"calibration vector of {self.star}", wavelength="Angstrom", **dict.fromkeys(keys, ""))
        object.__setattr__(self, "good", np.ascontiguousarray(self.good, dtype=bool))
