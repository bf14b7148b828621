"""Cuts, units and zero points common to all readers, and binning."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import ConfigError, DataFileError, InputError, UnknownNameError
from crosscal.core.options import Band, Positive, option, options
from crosscal.lightcurves.formats.curves import Columns, Curves
from crosscal.lightcurves.formats.vocabulary import TIMES
from crosscal.lightcurves.timesystem import TimeSystem

#: Flux density of magnitude zero, erg / s / cm2 / A: of AB magnitudes at the filter's wavelength, and Bessell's V.
ZEROPOINTS = {
    "V": 3.63e-9, "g": 5.02e-9, "zg": 4.75e-9, "zr": 2.63e-9, "zi": 1.74e-9, "o": 2.36e-9, "c": 3.83e-9,
}  # fmt: skip
#: Effective wavelengths in Angstrom, for flux densities per frequency.
WAVELENGTHS = {
    "V": 5500.0, "g": 5200.0, "zg": 4783.0, "zr": 6417.0, "zi": 7867.0, "o": 6790.0, "c": 5330.0,
}  # fmt: skip
#: The unit of fluxes that zero points give.
PER_WAVELENGTH = "erg / (s cm2 Angstrom)"
#: Flux density of AB magnitude zero (Oke & Gunn 1983, ApJ 266, 713), mJy.
AB_ZERO = 3631e3

_MAGNITUDE = 2.5 / np.log(10)


@options
class Selection:
    """Cuts, units and choices for tables.

    Attributes
    ----------
    zeropoint : float, mapping or None
        Flux of magnitude zero, or one per filter; `ZEROPOINTS` where a filter is not given.
    unit : float
        Fluxes and errors are divided by it (1e-15 gives numbers near one for bright nuclei).
    time_start : float
        Subtracted from the times, after the cut in time.
    time_range : (start, stop) or None
        Points with start <= time <= stop are kept; times as they are in the file.
    rebin : float or None
        Width of time bins; 0 (or None, False) keeps the points.
    errlimit : float, None or "auto"
        Largest error in magnitudes; for fluxes 2.5 / ln(10) times the relative error. "auto" is 0.1 for the magnitudes
        of ASAS-SN and ZTF, and no limit elsewhere.
    keylabel : str
        Prefix of every code.
    codes : tuple of str
        Use only these telescopes.
    error : float or None
        Error of points without a quoted error, in magnitudes or in the unit of the fluxes. By default such points
        are excluded.
    merge_objects : bool
        Merge object ids, fields or observers in the same filter; by default they are kept separate.
    by_camera : bool
        Use one code per camera, if the survey identifies them.
    use_flux : bool
        Use the flux column of a survey that also gives magnitudes.
    time_format : str
        Time format of tables that do not state it, such as "jd", "mjd", "hjd", "bjd".
    position : (ra, dec) or None
        Position of the source, ICRS degrees; needed to merge heliocentric or barycentric times with others.
    columns : mapping of str to str
        Column names by role ("time", "flux", "error", "magnitude", "telescope", "filter"), for columns that are not
        recognised by name.

    Examples
    --------
    >>> cuts = lightcurves.Selection(time_range=(58000.0, 59000.0), rebin=1.0, errlimit=0.1)  # doctest: +SKIP
    >>> curves = lightcurves.read_ztf("ztf.csv", cuts)  # doctest: +SKIP
    """

    zeropoint: float | dict[str, float] | None = option(default=None, example={"V": 3.6e-9, "zg": 4.8e-9})
    unit: Positive = option(default=1.0, example=1e-15)
    time_start: float = option(default=0.0, example=2450000.0)
    time_range: Band | None = option(default=None, example=[2458000.0, 2459000.0])
    rebin: float | None = option(default=None, example=1.0)
    errlimit: Positive | Literal["auto"] | None = "auto"
    keylabel: str = option(default="", example="a_")
    codes: tuple[str, ...] = option(default=(), example=["ztf_zg", "asas_g"])
    error: Positive | None = option(default=None, example=0.02)
    merge_objects: bool = False
    by_camera: bool = False
    use_flux: bool = False
    time_format: str = option(default="", example="mjd")
    position: tuple[float, float] | None = option(default=None, example=[12.34, 56.78])
    columns: dict[str, str] = option(factory=dict, example={"flux": "f_nu"})

    def __post_init__(self) -> None:
        if self.rebin and not self.rebin > 0:
            raise ConfigError(f"bin width {self.rebin:g}", where="selection", expected="a width > 0, or none")
        if self.time_format and self.time_format not in TIMES:
            raise UnknownNameError("time format", self.time_format, [k for k, v in TIMES.items() if v.format])
        if self.position is not None and not (0 <= self.position[0] <= 360 and -90 <= self.position[1] <= 90):
            raise ConfigError(f"position {self.position}", where="selection", expected="(ra, dec) in degrees")

    def zero(self, band: str) -> float:
        """Return the flux of magnitude zero in a filter.

        Raises
        ------
        InputError
            If there is none.
        """
        found = self.zero_or_none(band)
        if found is None:
            raise InputError(f"no zero point for filter {band!r}", where="selection", expected="zeropoint per filter")
        return found

    def zero_or_none(self, band: str) -> float | None:
        """Return the flux of magnitude zero in a filter, where one is given or known."""
        if isinstance(self.zeropoint, dict):
            if band in self.zeropoint:
                return float(self.zeropoint[band])
        elif self.zeropoint is not None:
            return float(self.zeropoint)
        return ZEROPOINTS.get(band)

    def flux(self, mag: NDArray, mag_error: NDArray, band: str) -> tuple[NDArray, NDArray]:
        """Turn magnitudes into fluxes: f = f0 10^(-0.4 m), sd = f ln(10) / 2.5 sd_m."""
        flux = self.zero(band) * 10 ** (-0.4 * mag)
        return flux, flux * mag_error * np.log(10) / 2.5

    def finish(self, groups: Curves, *, errlimit: float | None) -> Curves:
        """Apply cuts, units and binning; codes left without points are dropped.

        ``errlimit`` is the limit where the selection leaves it to the survey.

        Raises
        ------
        DataFileError
            If nothing is left.
        """
        kept = groups.like(TimeSystem(**{**vars(groups.system), "zero": groups.system.zero + self.time_start}))
        limit = errlimit if self.errlimit == "auto" else self.errlimit
        far = 0
        for code, (time, flux, error) in groups.items():
            name = self.keylabel + code
            if self.codes and name not in self.codes:
                continue
            good = np.ones(len(time), dtype=bool)
            if self.time_range is not None:
                good &= (time >= self.time_range[0]) & (time <= self.time_range[1])
            if limit is not None:
                # Inclusive, whatever the rounding of the way from magnitudes to fluxes and back.
                close = _MAGNITUDE * error <= float(limit) * np.abs(flux) * (1 + 1e-9)
                far += int(np.sum(good & ~close))
                good &= close
            t, f, e = time[good] - self.time_start, flux[good] / self.unit, error[good] / self.unit
            order = np.argsort(t, kind="stable")
            t, f, e = t[order], f[order], e[order]
            if self.rebin and len(t):
                t, f, e = rebin(t, f, e, float(self.rebin))
            if len(t):
                unit = groups.units.get(code, "")
                unit = f"{self.unit:g} {unit}" if unit and self.unit != 1 else unit
                kept.put(name, (t, f, e), unit, groups.bands.get(code, ""))
        if far:
            kept.notes.append(f"{groups.source}: {far} points with errors above {limit:g} mag are not used")
        if not kept:
            raise DataFileError("no points are left after the cuts", where=groups.source, expected="wider cuts")
        return kept


def rebin(time: NDArray, flux: NDArray, error: NDArray, width: float) -> Columns:
    """Average points in greedy bins [t_i, t_i + width): inverse-variance means of time and flux, 1/sqrt(sum 1/e^2).

    Parameters
    ----------
    time, flux, error : arrays (n,)
        Sorted by time.
    width : float
        In the unit of time.

    Raises
    ------
    InputError
        If the width is not positive or the times are not sorted.

    Examples
    --------
    >>> time, flux, error = lightcurves.rebin(time, flux, error, width=1.0)  # doctest: +SKIP
    """
    if not width > 0:
        raise InputError(f"bin width {width:g}", where="rebin", expected="a width > 0")
    if np.any(np.diff(time) < 0):
        raise InputError("times are not sorted", where="rebin", expected="increasing times")
    starts = []
    position = 0
    while position < len(time):
        starts.append(position)
        position = max(int(np.searchsorted(time, time[position] + width, side="left")), position + 1)
    if not starts:
        return time, flux, error
    weight = 1.0 / error**2
    total = np.add.reduceat(weight, starts)
    return (
        np.add.reduceat(time * weight, starts) / total,
        np.add.reduceat(flux * weight, starts) / total,
        1.0 / np.sqrt(total),
    )
