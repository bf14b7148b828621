"""All choices of a flux calibration in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import ConfigError, UnknownNameError
from crosscal.core.units import plain
from crosscal.fluxcal.stars.extinction import EXTINCTION_LAWS, SiteExtinction
from crosscal.fluxcal.stars.lsf import Resolution
from crosscal.fluxcal.stars.matching import MATCHERS
from crosscal.fluxcal.stars.score import METRICS

METHODS = ("throughput", "ivar-mean")
#: What a Quantity is converted to; plain numbers are in these units.
_UNITS = {
    "radius": "arcsec", "fwhm": "angstrom", "smooth_scale": "angstrom", "rv_limit": "km / s", "rv_spread": "km / s"
}  # fmt: skip
SMOOTHINGS = ("spline", "savgol", "none")

#: Strong telluric bands in Angstrom (air): B, H2O, A, H2O, H2O and the 9300 A complex.
TELLURIC = (
    (6860.0, 6970.0),
    (7160.0, 7340.0),
    (7585.0, 7710.0),
    (8120.0, 8350.0),
    (8930.0, 9800.0),
)
#: Interstellar Ca II H, K and Na I D, and the sky line at 5577 A.
INTERSTELLAR = ((3926.0, 3940.0), (3964.0, 3973.0), (5568.0, 5586.0), (5884.0, 5902.0))


_POSITIVE = (
    "radius", "template_error", "mag_floor", "rv_limit", "rv_spread", "smooth_scale", "n_sigma", "colour_limit",
    "position_scale",
)  # fmt: skip
_NOT_NEGATIVE = ("photometric_weight", "ebv", "common_grey", "common_slope", "position_sd", "position_grey_sd")


def _is_resolution(fwhm: Resolution) -> bool:
    """Whether it is a positive number, or pairs with increasing wavelengths and positive widths."""
    if not isinstance(fwhm, tuple):
        return bool(np.isfinite(fwhm) and fwhm > 0)
    if not fwhm or any(len(pair) != 2 for pair in fwhm):
        return False
    wavelength, width = np.array(fwhm, dtype=float).T
    return bool(np.all(np.diff(wavelength) > 0) and np.all(np.isfinite(width)) and np.all(width > 0))


@dataclass(frozen=True)
class Options:
    """How to calibrate.

    Attributes
    ----------
    match : "position" or "index"; radius : arcsec
    snr_floor : float
        Least median signal-to-noise ratio per pixel of a standard.
    fwhm : float, or tuple of (wavelength, FWHM) pairs, or None
        Resolution of the spectra in Angstrom, constant or interpolated along the spectrum; None: SPECFWHM of the
        header, else 3.4 pixels.
    metric : "chi2" or "huber"
    continuum_terms : int
        Terms of the marginalised continuum in the first pass (0: one per 250 A, 6 to 12).
    second_terms : int
        Terms in the second pass, when templates have been multiplied by the first throughput; 0 switches the pass off.
    template_error : float
        Fractional error floor of templates, added to each pixel's variance in the score.
    mag_floor : float
        Error floor of magnitudes and of synthetic colours.
    photometric_weight : float
        Weight of colours in the choice of templates (0 = spectrum alone).
    coverage : float
        Least part of a band that the spectrum must cover to be used as a check, and templates to be used at all.
    rv_limit, rv_spread : float, km/s
        Largest velocity searched, and prior standard deviation of the stars' velocities.
    ebv : float
        Used for stars without E(B-V) in the catalogue.
    law : str
        Galactic extinction law.
    colour_limit : float
        Largest RMS of (synthetic - catalogue) magnitudes about their mean.
    method : "throughput" or "ivar-mean"
    smooth : "spline", "savgol" or "none"; smooth_scale : Angstrom
        Distance of knots, or window.
    n_sigma : float
        Clipping of pixels in the combination.
    slope_order : int
        Order of the chromatic polynomial that may differ from star to star (0: grey only).
    position : bool
        Let the losses vary smoothly over the plate (x, y).
    position_sd : float
        Prior of the chromatic field: mag per 1000 A.
    position_grey_sd : float
        Prior of the grey field: mag; 0 switches it off.
    position_scale : float
        Correlation length of the fields, as a fraction of the plate's half size (0.2 m).
    position_shared : bool
        Frames that are calibrated together (a night, a job of several frames) share what of the field they have in
        common, if there are three or more plate configurations; matters only with ``position``.
    position_gradient : (float, float)
        Prior mean of the gradient of the throughput's slope in x and y, mag per 1000 A at the plate's edge: what other
        frames of the instrument show.
    rv_required : bool
        Reject stars without a significant velocity; else they are used at rest (a velocity hardly moves a smooth
        curve), with NaN as their velocity error.
    common_grey, common_slope : float
        Known common errors of the photometry (mag; mag per 1000 A): they do not average down over stars.
    site : SiteExtinction or None
        Corrects counts to zero airmass.
    mask : extra masked wavelength ranges
    grey_sigma, slope_sigma : float
        Stars farther than this many robust standard deviations from the others are rejected.
    """

    match: str = "position"
    radius: float = 1.5
    snr_floor: float = 3.0
    fwhm: Resolution | None = None
    metric: str = "chi2"
    continuum_terms: int = 0
    second_terms: int = 3
    template_error: float = 0.03
    mag_floor: float = 0.015
    photometric_weight: float = 50.0
    coverage: float = 0.995
    rv_limit: float = 600.0
    rv_spread: float = 200.0
    rv_required: bool = False
    ebv: float = 0.0
    law: str = "fitzpatrick99"
    colour_limit: float = 0.15
    method: str = "throughput"
    smooth: str = "spline"
    smooth_scale: float = 120.0
    n_sigma: float = 4.0
    slope_order: int = 2
    position: bool = False
    position_sd: float = 0.08
    position_grey_sd: float = 0.0
    position_scale: float = 0.3
    position_shared: bool = True
    position_gradient: tuple[float, float] = (0.0, 0.0)
    common_grey: float = 0.01
    common_slope: float = 0.005
    site: SiteExtinction | None = None
    mask: tuple[tuple[float, float], ...] = TELLURIC + INTERSTELLAR
    grey_sigma: float = 5.0
    slope_sigma: float = 5.0

    def __post_init__(self) -> None:
        for key, unit in _UNITS.items():
            object.__setattr__(self, key, plain(getattr(self, key), unit, where=f"fluxcal options, {key}"))
        for kind, value, known in (
            ("matching", self.match, MATCHERS),
            ("metric", self.metric, METRICS),
            ("combination", self.method, METHODS),
            ("smoothing", self.smooth, SMOOTHINGS),
            ("extinction law", self.law, EXTINCTION_LAWS),
        ):
            if value not in known:
                raise UnknownNameError(kind, str(value), known, where="fluxcal options")
        for key in _POSITIVE:
            if not (np.isfinite(getattr(self, key)) and getattr(self, key) > 0):
                raise ConfigError(
                    f"{key} = {getattr(self, key)}", where="fluxcal options", expected="a positive number"
                )
        for key in _NOT_NEGATIVE:
            if not (np.isfinite(getattr(self, key)) and getattr(self, key) >= 0):
                raise ConfigError(f"{key} = {getattr(self, key)}", where="fluxcal options", expected="a number >= 0")
        if self.fwhm is not None and not _is_resolution(self.fwhm):
            raise ConfigError(
                f"fwhm = {self.fwhm}",
                where="fluxcal options",
                expected="Angstrom > 0, or pairs of increasing wavelength and FWHM > 0",
            )
        if not 0 < self.coverage <= 1:
            raise ConfigError(f"coverage = {self.coverage}", where="fluxcal options", expected="between 0 and 1")
        if not 0 <= self.slope_order <= 3:
            raise ConfigError(f"slope_order = {self.slope_order}", where="fluxcal options", expected="0 to 3")
        if any(not low < high for low, high in self.mask):
            raise ConfigError("a masked range does not increase", where="fluxcal options", expected="[low, high]")

    def masked(self, wavelength: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Pixels inside a masked range."""
        inside = np.zeros(np.shape(wavelength), dtype=bool)
        for low, high in self.mask:
            inside |= (wavelength >= low) & (wavelength <= high)
        return inside
