"""All choices of a flux calibration in one frozen value, which is also the table ``[method]`` of job files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from crosscal.core.errors import ConfigError, UnknownNameError
from crosscal.core.options import Band, NotNegative, Positive, increasing, option, options
from crosscal.datasets import resolve
from crosscal.fluxcal.stars.extinction import EXTINCTION_LAWS, SiteExtinction
from crosscal.fluxcal.stars.lsf import Resolution
from crosscal.fluxcal.stars.resample import convert_medium
from crosscal.fluxcal.stars.sites import read_site

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


def _is_resolution(fwhm: Resolution) -> bool:
    """Whether it is a positive number, or pairs with increasing wavelengths and positive widths."""
    if not isinstance(fwhm, tuple):
        return bool(np.isfinite(fwhm) and fwhm > 0)
    if not fwhm or any(len(pair) != 2 for pair in fwhm):
        return False
    wavelength, width = np.array(fwhm, dtype=float).T
    return bool(np.all(np.diff(wavelength) > 0) and np.all(np.isfinite(width)) and np.all(width > 0))


@options
class Options:
    """Options of the calibration.

    Attributes
    ----------
    match : str
        How fibres are matched to stars: "position", or "index" for the order of rows (only if you are sure of it).
    radius : float
        Matching radius, arcsec.
    snr_floor : float
        Minimum median signal-to-noise ratio per pixel of a standard star.
    fwhm : float or list of pairs
        Resolution in A, constant or as pairs of wavelength and FWHM; by default that of the
        file, else it is fitted to the stars (3.4 pixels if they do not constrain it).
    metric : str
        Measure of the fit of templates to spectra.
    continuum_terms : int
        Terms of the free continuum in the first pass (0: one per 250 A, 6 to 12).
    second_terms : int
        Terms in the second pass, when templates have been multiplied by the first throughput; 0 switches the pass off.
    template_error : float
        Fractional error floor of templates, added to each pixel's variance in the score.
    mag_floor : float
        Error floor of magnitudes and of synthetic colours, mag.
    photometric_weight : float
        Weight of colours in the choice of templates (0: spectrum alone).
    coverage : float
        Minimum fraction of a band that the spectrum must cover for a check, and that templates must cover.
    rv_limit : float
        Largest velocity searched, km/s.
    rv_spread : float
        Prior standard deviation of the stars' velocities, km/s.
    rv_required : bool
        Reject stars without a significant velocity; otherwise they are used at zero velocity (which hardly affects a
        smooth curve), with NaN as their velocity error.
    ebv : float
        E(B-V) of stars without one in the catalogue.
    reddening : str
        "fit" (E(B-V) of the field from its stars, with the catalogue's or the map's value as the prior) or "map" (that
        value as it is, with a warning if the stars contradict it).
    ebv_error : float
        Error of E(B-V) of the catalogue or map, mag; by default 0.01 and 10 % of it in quadrature, 0 if it is exact.
    law : str
        Galactic extinction law with R = 3.1: "fitzpatrick99" or "odonnell94".
    colour_limit : float
        Largest RMS of (synthetic - catalogue) magnitudes about their mean, mag.
    method : str
        Combination of the stars; "ivar-mean" is biased at low signal-to-noise ratio.
    smooth : str
        Smoothing of the curve.
    smooth_scale : float
        Spacing of knots, or width of the window, A.
    extrapolation : float
        Largest extrapolation beyond the outermost pixels measured by stars (a frame that ends in a masked band), A.
    n_sigma : float
        Clipping of pixels in the combination.
    slope_order : int
        Order of the chromatic polynomial that may differ from star to star (0: grey only).
    position : bool or "auto"
        Fit losses that vary smoothly over the plate (x, y); "auto" if this predicts left-out stars better.
    position_sd : float
        Prior of the chromatic field, mag per 1000 A.
    position_grey_sd : float
        Prior of the grey field, mag; 0 switches it off.
    position_scale : float
        Correlation length of the fields, as a fraction of the plate's half size (0.2 m).
    position_shared : bool
        Fit the part of the field that is common to frames calibrated together, if there are three or more plate
        configurations; needs position.
    position_gradient : (x, y)
        Prior mean of the gradient of the throughput's slope, mag per 1000 A at the edge of the plate, as measured in
        other frames of the instrument.
    common_grey : float
        Known common error of the photometry, mag; it does not average out over stars.
    common_slope : float
        Known common error of the colours, mag per 1000 A (by default 8 mmag in g - i), in addition to the templates'.
    extinction_table : Path
        Atmospheric extinction of the site (or a SiteExtinction): counts are corrected to zero airmass.
    mask : list of (low, high)
        Masked ranges, A in air; by default telluric bands, interstellar lines and the sky line at 5577 A.
    grey_sigma, slope_sigma : float
        Stars farther than this many robust standard deviations from the others are rejected; more than half are kept.

    Examples
    --------
    >>> options = fluxcal.Options(fwhm=5.0, ebv=0.02)  # doctest: +SKIP
    """

    match: Literal["position", "index"] = "position"
    radius: Positive = option(default=1.5, unit="arcsec")
    snr_floor: NotNegative = 3.0
    fwhm: Resolution | None = option(default=None, example=4.0, unit="angstrom")
    metric: Literal["chi2", "huber"] = "chi2"
    continuum_terms: Annotated[int, Ge(0)] = 0
    second_terms: Annotated[int, Ge(0)] = 3
    template_error: Positive = 0.03
    mag_floor: Positive = 0.015
    photometric_weight: NotNegative = 50.0
    coverage: Annotated[float, Gt(0), Le(1)] = 0.995
    rv_limit: Positive = option(default=600.0, unit="km / s")
    rv_spread: Positive = option(default=200.0, unit="km / s")
    rv_required: bool = False
    ebv: NotNegative = 0.0
    reddening: Literal["fit", "map"] = "fit"
    ebv_error: NotNegative | None = option(default=None, example=0.02)
    law: str = "fitzpatrick99"
    colour_limit: Positive = 0.15
    method: Literal["throughput", "ivar-mean"] = "throughput"
    smooth: Literal["spline", "savgol", "none"] = "spline"
    smooth_scale: Positive = option(default=120.0, unit="angstrom")
    extrapolation: NotNegative = option(default=300.0, unit="angstrom")
    n_sigma: Positive = 4.0
    slope_order: Annotated[int, Ge(0), Le(3)] = 2
    position: bool | Literal["auto"] = "auto"
    position_sd: NotNegative = 0.08
    position_grey_sd: NotNegative = 0.0
    position_scale: Positive = 0.3
    position_shared: bool = True
    position_gradient: tuple[float, float] = (0.0, 0.0)
    common_grey: NotNegative = 0.01
    common_slope: NotNegative = 0.003
    extinction_table: Path | SiteExtinction | None = option(default=None, example="paranalextinct.dat")
    mask: tuple[Band, ...] = option(default=TELLURIC + INTERSTELLAR, example=[[7585.0, 7710.0]])
    grey_sigma: Positive = 3.5
    slope_sigma: Positive = 4.0

    def __post_init__(self) -> None:
        for pair in self.mask:
            increasing(pair)
        if self.law not in EXTINCTION_LAWS:
            raise UnknownNameError("extinction law", self.law, EXTINCTION_LAWS, where="Options, law")
        if self.fwhm is not None and not _is_resolution(self.fwhm):
            raise ConfigError(
                f"fwhm = {self.fwhm}",
                where="Options, fwhm",
                expected="Angstrom > 0, or pairs of increasing wavelength and FWHM > 0",
            )

    @property
    def site(self) -> SiteExtinction | None:
        """The site's extinction, read from its file where one is named."""
        table = self.extinction_table
        return table if table is None or isinstance(table, SiteExtinction) else read_site(resolve(table))

    def masked(self, wavelength: NDArray[np.float64], medium: str = "air") -> NDArray[np.bool_]:
        """Pixels inside a masked range; the ranges are in air, the pixels in ``medium``."""
        inside = np.zeros(np.shape(wavelength), dtype=bool)
        for low, high in self.mask:
            if medium == "vacuum":
                low, high = convert_medium(np.array([low, high]), "air", "vacuum")
            inside |= (wavelength >= low) & (wavelength <= high)
        return inside
