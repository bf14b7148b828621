"""Readers of survey tables (ASAS-SN, ZTF, ATLAS) and plain columns, with magnitudes, cuts and binning.

Every reader returns a mapping of code to (time, flux, error); `merge` joins such mappings into `LightCurves`.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing, read_text
from crosscal.lightcurves.types import LightCurves, curve_from_arrays

Columns = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

#: Flux density of magnitude zero, erg / s / cm2 / A: of AB magnitudes at the filter's wavelength, and Bessell's V.
ZEROPOINTS = {
    "V": 3.63e-9, "g": 5.02e-9, "zg": 4.75e-9, "zr": 2.63e-9, "zi": 1.74e-9, "o": 2.36e-9, "c": 3.83e-9,
}  # fmt: skip
#: Effective wavelengths in Angstrom, for flux densities per frequency.
WAVELENGTHS = {"V": 5500.0, "g": 5200.0, "zg": 4783.0, "zr": 6417.0, "zi": 7867.0, "o": 6790.0, "c": 5330.0}


_MAGNITUDE = 2.5 / np.log(10)


class Curves(dict[str, Columns]):
    """What a reader of survey tables gives: code to (time, flux, error), shown by numbers of points."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{code}: {len(columns[0])} points" for code, columns in self.items())
        return f"<Curves {shown}>"


@dataclass(frozen=True)
class Selection:
    """Cuts and units common to all readers.

    Parameters
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
        Width of time bins; None, False or 0 keeps the points.
    errlimit : float or None
        Largest error in magnitudes; for fluxes 2.5 / ln(10) times the relative error.
    keylabel : str
        Put before every code.
    """

    zeropoint: float | Mapping[str, float] | None = None
    unit: float = 1.0
    time_start: float = 0.0
    time_range: tuple[float, float] | None = None
    rebin: float | None = None
    errlimit: float | None = 0.1
    keylabel: str = ""
    codes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.unit > 0:
            raise InputError(f"unit {self.unit:g}", where="selection", expected="a number > 0")
        if self.time_range is not None and not self.time_range[0] < self.time_range[1]:
            raise InputError(f"time range {self.time_range}", where="selection", expected="start < stop")
        if self.rebin and not self.rebin > 0:
            raise InputError(f"bin width {self.rebin:g}", where="selection", expected="a width > 0, or none")
        if self.errlimit is not None and not self.errlimit > 0:
            raise InputError(f"error limit {self.errlimit:g}", where="selection", expected="a number > 0")

    def zero(self, band: str) -> float:
        """Return the flux of magnitude zero in a filter."""
        if isinstance(self.zeropoint, Mapping):
            if band in self.zeropoint:
                return float(self.zeropoint[band])
        elif self.zeropoint is not None:
            return float(self.zeropoint)
        if band not in ZEROPOINTS:
            raise InputError(f"no zero point for filter {band!r}", where="selection", expected="zeropoint per filter")
        return ZEROPOINTS[band]

    def flux(self, mag: NDArray, mag_error: NDArray, band: str) -> tuple[NDArray, NDArray]:
        """Turn magnitudes into fluxes: f = f0 10^(-0.4 m), sd = f ln(10) / 2.5 sd_m."""
        flux = self.zero(band) * 10 ** (-0.4 * mag)
        return flux, flux * mag_error * np.log(10) / 2.5

    def finish(self, groups: Mapping[str, Columns], source: str) -> Curves:
        """Apply cuts, units and binning; codes left without points are dropped.

        Raises
        ------
        DataFileError
            If nothing is left.
        """
        kept = Curves()
        for code, (time, flux, error) in groups.items():
            name = self.keylabel + code
            if self.codes and name not in self.codes:
                continue
            good = np.isfinite(time) & np.isfinite(flux) & np.isfinite(error) & (error > 0)
            if self.time_range is not None:
                good &= (time >= self.time_range[0]) & (time <= self.time_range[1])
            if self.errlimit is not None:
                # Inclusive, whatever the rounding of the way from magnitudes to fluxes and back.
                good &= _MAGNITUDE * error <= self.errlimit * np.abs(flux) * (1 + 1e-9)
            t, f, e = time[good] - self.time_start, flux[good] / self.unit, error[good] / self.unit
            order = np.argsort(t, kind="stable")
            t, f, e = t[order], f[order], e[order]
            if self.rebin and len(t):
                t, f, e = rebin(t, f, e, float(self.rebin))
            if len(t):
                kept[name] = (t, f, e)
        if not kept:
            raise DataFileError("no points are left after the cuts", where=source, expected="wider cuts")
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


def _table(path: str | os.PathLike[str], *, delimiter: str | None = ",") -> tuple[dict[str, list[str]], str]:
    """Read a table with one header row into columns of text; comment lines start with # (a header may, too)."""
    source = existing_file(path, what="light-curve table")
    text = source.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = [line for line in text if line.strip()]
    comments = [line for line in lines if line.startswith("#")]
    lines = [line for line in lines if not line.startswith("#")]
    if lines and comments and _is_number(lines[0].replace(",", " ").split()[0]):
        lines.insert(0, comments[-1].lstrip("#"))  # the header is a comment, as in ATLAS tables
    if not lines:
        raise DataFileError("the table is empty", where=str(path), expected="a header and rows")
    with parsing("the table cannot be read", where=path, expected="comma-separated columns"):
        rows = list(csv.reader(lines, delimiter=delimiter)) if delimiter else [line.split() for line in lines]
    header = [word.strip() for word in rows[0]]
    for k, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DataFileError(f"{len(row)} columns", where=f"{path}, row {k}", expected=f"{len(header)}")
    return {name: [row[c].strip() for row in rows[1:]] for c, name in enumerate(header)}, str(path)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _numbers(table: Mapping[str, list[str]], name: str, source: str) -> NDArray[np.float64]:
    values = np.empty(len(table[name]))
    for k, word in enumerate(table[name]):
        try:
            # ">15.3" is an upper limit in ASAS-SN tables; empty cells mark missing values.
            values[k] = float(word) if word and not word.startswith(">") else np.nan
        except ValueError:
            raise DataFileError(
                f"{word!r} is not a number", where=f"{source}, column {name!r}, row {k + 2}", expected="a number"
            ) from None
    return values


def _need(table: Mapping[str, list[str]], names: Sequence[str], source: str, what: str) -> None:
    missing = [n for n in names if n not in table]
    if missing:
        raise DataFileError(f"no column {missing[0]!r}", where=source, expected=f"{what} with {', '.join(names)}")


def read_asassn(
    path: str | os.PathLike[str], selection: Selection | None = None, *, use_flux: bool = False, by_camera: bool = False
) -> Curves:
    """Read an ASAS-SN light curve: Sky Patrol V2 (``JD, Flux, Mag, Quality``) or the older one (``HJD, mag``).

    Parameters
    ----------
    selection : Selection, optional
        Cuts and units; the defaults of `Selection` otherwise.
    use_flux : bool
        Take the flux column (mJy) rather than magnitudes: F_lambda = F_nu c / lambda^2.
    by_camera : bool
        One code per camera and filter ("asas_bbV") rather than per filter ("asas_V").

    Raises
    ------
    DataFileError
        If the file is absent or is no such table, naming row and column.
    """
    cuts = selection or Selection()
    table, source = _table(path)
    modern = "JD" in table
    names = (
        ("JD", "Flux", "Flux Error", "Mag", "Mag Error", "Quality", "Camera", "Filter")
        if modern
        else ("HJD", "flux(mJy)", "flux_err", "mag", "mag_err", "Camera", "Filter")
    )
    _need(table, names, source, "an ASAS-SN table")
    time, flux, flux_error, mag, mag_error = (_numbers(table, n, source) for n in names[:5])
    good = np.array(table["Quality"]) == "G" if modern else mag_error < 99
    camera, band = np.array(table["Camera"]), np.array(table["Filter"])
    label = np.char.add(camera, band) if by_camera else band
    groups = {}
    for name in dict.fromkeys(label.tolist()):
        mine = good & (label == name)
        if not mine.any():
            continue
        one = str(band[mine][0])
        if use_flux:
            if one not in WAVELENGTHS:
                raise UnknownNameError("filter", one, WAVELENGTHS, where=f"{source}, column 'Filter'")
            per_mjy = 1e-26 * 2.99792458e10 / (WAVELENGTHS[one] * 1e-8) ** 2 * 1e-8
            columns = flux[mine] * per_mjy, flux_error[mine] * per_mjy
        else:
            columns = cuts.flux(mag[mine], mag_error[mine], one)
        groups[f"asas_{name}"] = (time[mine], *columns)
    return cuts.finish(groups, source)


def read_ztf(path: str | os.PathLike[str], selection: Selection | None = None) -> Curves:
    """Read a ZTF table (``hjd, mag, magerr, catflags, filtercode``); only ``catflags == 0`` is used.

    Parameters
    ----------
    selection : Selection, optional
        Cuts and units; the defaults of `Selection` otherwise.

    Raises
    ------
    DataFileError
        If the file is absent or is no such table, naming row and column.
    """
    cuts = selection or Selection()
    table, source = _table(path)
    _need(table, ("hjd", "mag", "magerr", "catflags", "filtercode"), source, "a ZTF table")
    time, mag, error, flags = (_numbers(table, n, source) for n in ("hjd", "mag", "magerr", "catflags"))
    band = np.array(table["filtercode"])
    groups = {}
    for name in dict.fromkeys(band.tolist()):
        mine = (flags == 0) & (band == name)
        if mine.any():
            groups[f"ztf_{name}"] = (time[mine], *cuts.flux(mag[mine], error[mine], str(name)))
    return cuts.finish(groups, source)


def read_atlas(path: str | os.PathLike[str], selection: Selection | None = None, *, chi_limit: float = 10.0) -> Curves:
    """Read ATLAS forced photometry (``MJD m dm uJy duJy F err chi/N ...``): fluxes in uJy, ``err == 0`` only.

    Difference fluxes may be negative: use ``normalisation="spread"`` and ``errlimit=None``.

    Parameters
    ----------
    selection : Selection, optional
        Cuts and units; the defaults of `Selection` otherwise.
    chi_limit : float
        Largest reduced chi2 of the fit of the star's image.

    Raises
    ------
    DataFileError
        If the file is absent or is no such table, naming row and column.
    """
    cuts = selection or Selection(errlimit=None)
    with open(existing_file(path, what="ATLAS table"), encoding="utf-8", errors="replace") as stream:
        comma = "," in stream.readline()
    table, source = _table(path, delimiter="," if comma else None)
    _need(table, ("MJD", "uJy", "duJy", "F"), source, "an ATLAS table")
    time, flux, error = (_numbers(table, n, source) for n in ("MJD", "uJy", "duJy"))
    good = np.ones(len(time), dtype=bool)
    if "err" in table:
        good &= _numbers(table, "err", source) == 0
    if "chi/N" in table:
        good &= _numbers(table, "chi/N", source) < chi_limit
    band = np.array(table["F"])
    groups = {}
    for name in dict.fromkeys(band.tolist()):
        mine = good & (band == name)
        if mine.any():
            groups[f"atlas_{name}"] = (time[mine], flux[mine], error[mine])
    return cuts.finish(groups, source)


def read_columns(path: str | os.PathLike[str], code: str, selection: Selection | None = None) -> Curves:
    """Read plain columns time, flux, error (further columns are ignored) of one telescope.

    Parameters
    ----------
    code : str
        Name of the telescope.
    selection : Selection, optional
        Cuts and units; the defaults of `Selection` otherwise.

    Raises
    ------
    DataFileError
        If the file is absent or is no such table, naming row and column.
    """
    cuts = selection or Selection(errlimit=None)
    source = existing_file(path, what="light-curve file")
    rows = []
    for number, line in enumerate(read_text(source, what="light-curve file").splitlines(), start=1):
        words = line.replace(",", " ").split()
        if not words or line.startswith("#"):
            continue
        try:
            rows.append([float(w) for w in words[:3]])
        except ValueError:
            raise DataFileError("not numbers", where=f"{path}, line {number}", expected="time flux error") from None
        if len(words) < 3:
            raise DataFileError(f"{len(words)} columns", where=f"{path}, line {number}", expected="time flux error")
    if not rows:
        raise DataFileError("no data points", where=str(path), expected="rows time flux error")
    time, flux, error = np.array(rows).T
    return cuts.finish({code: (time, flux, error)}, str(path))


def merge(
    *groups: Mapping[str, Columns] | Sequence[Mapping[str, Columns]],
    name: str = "continuum",
    unit: str = "",
    time_format: str = "",
) -> LightCurves:
    """Join what the readers gave into one set of light curves; the first code is the reference.

    Parameters
    ----------
    *groups : mapping of code to (time, flux, error)
        What the readers return; a list of them does as well.
    name : str
        Of the light curve.
    unit : str
        Of the fluxes.
    time_format : str
        As astropy's Time knows it ("jd", "mjd"); empty if unknown.

    Raises
    ------
    InputError
        If two groups hold the same code.
    """
    joined: dict[str, Columns] = {}
    for group in (g for one in groups for g in ([one] if isinstance(one, Mapping) else one)):
        if not isinstance(group, Mapping):
            what = f"a group of type {type(group).__name__}"
            raise InputError(
                what, where="merge", expected="what read_ztf, read_asassn, read_atlas, read_columns return"
            )
        for code, columns in group.items():
            if code in joined:
                raise InputError(f"the code {code!r} is in two files", where="merge", expected="a keylabel for one")
            joined[code] = columns
    return LightCurves(curve_from_arrays(joined, name=name, unit=unit), time_format=time_format)
