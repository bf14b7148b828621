"""Frames of SDSS and BOSS: spFrame (one camera, one exposure).

Described at https://data.sdss.org/datamodel/files/BOSS_SPECTRO_REDUX/RUN2D/PLATE4/spFrame.html, by HDU number:
0 flat-fielded counts, 1 inverse variance, 2 bits of SPPIXMASK, 3 trace set of log10 wavelength (vacuum), 4 trace set
of the dispersion, 5 plug map. A trace set is a series of Legendre polynomials in x from -1 at XMIN to 1 at XMAX, with
x moved by XJUMPVAL between XJUMPLO and XJUMPHI where the detector has two halves (idlutils, traceset2xy). Standards
are SPECTROPHOTO_STD and REDDEN_STD.

spPlate (several exposures and both cameras combined on log10 wavelength = COEFF0 + COEFF1 i) and spCFrame hold fluxes
in 1e-17 erg/s/cm2/A: each exposure was calibrated by itself before, so that no curve of this frame exists. They are
recognised and refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.polynomial import chebyshev, legendre
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.core.reading import parsing
from crosscal.fluxcal.flux_units import FLUX_UNIT
from crosscal.fluxcal.frames.layouts.base import (
    Given,
    Layout,
    image,
    ivar_of,
    keyed,
    marks_hdu,
    number,
    replaced,
    seconds,
    texts,
    variance_of,
)
from crosscal.fluxcal.types import Fibres, Frame

STANDARDS = ("SPECTROPHOTO_STD", "REDDEN_STD")
#: Bits of SPPIXMASK that make a pixel useless: NOPLUG, BADTRACE, BADFLAT, BADARC, FULLREJECT, NOSKY, BRIGHTSKY, NODATA.
BAD = sum(1 << bit for bit in (0, 1, 2, 3, 18, 22, 23, 24))
POLYNOMIALS = {"legendre": legendre.legvander, "chebyshev": chebyshev.chebvander}


def matches(hdus: fits.HDUList) -> bool:
    """Whether HDU 5 is a plug map, and HDU 3 a trace set or what calibrated files of SDSS have there."""
    if len(hdus) < 6 or not isinstance(hdus[5], fits.BinTableHDU):
        return False
    if not {"OBJTYPE", "RA", "DEC"} <= {n.upper() for n in hdus[5].columns.names}:
        return False
    return bool(_calibrated(hdus)) or _is_trace_set(hdus[3])


def _is_trace_set(hdu: Any) -> bool:
    return isinstance(hdu, fits.BinTableHDU) and {"FUNC", "XMIN", "XMAX", "COEFF"} <= {
        n.upper() for n in hdu.columns.names
    }


def _calibrated(hdus: fits.HDUList) -> str:
    """What a file with calibrated fluxes is called; empty for an spFrame."""
    if isinstance(hdus[3], fits.ImageHDU):
        return "spPlate" if "COEFF0" in hdus[0].header and "COEFF1" in hdus[0].header else "spCFrame"
    unit = str(hdus[0].header.get("BUNIT", "")).lower()
    return "file" if unit.startswith(("1e-17", "1.0e-17", "10^(-17)")) else ""


def read(hdus: fits.HDUList, path: Path, given: Given) -> Frame:
    """Read an spFrame."""
    header, where = hdus[0].header, str(path)
    if len(hdus) > 3 and (kind := _calibrated(hdus)):
        raise DataFileError(
            f"the fluxes of this {kind} are calibrated already",
            where=where,
            expected="the spFrame files of its exposures, which hold counts",
        )
    with parsing("an image cannot be used", where=where, expected="an spFrame"):
        flux = image(hdus[0], f"{where}[0]")
        ivar = image(hdus[1], f"{where}[1]", flux.shape)
        bad = np.array(hdus[2].data).astype(np.int64) & BAD != 0
        wavelength = 10 ** trace_set(hdus[3].data, flux.shape)
    exposure = seconds(header, given, f"{where}[0]", "EXPTIME")
    with parsing("the plug map cannot be used", where=f"{where}[5]", expected="OBJTYPE, RA, DEC"):
        fibres = _fibres(hdus[5].data, len(flux))
    # TAI is in seconds of MJD.
    start = number(header, "TAI-BEG") / 86400.0 if "TAI-BEG" in header else number(header, "MJD")
    return Frame(
        np.nan_to_num(flux), variance_of(ivar, bad), wavelength, fibres, exposure,
        airmass=given.airmass if given.airmass is not None else number(header, "AIRMASS"),
        mjd=start + 0.5 * exposure / 86400.0, medium=given.medium or "vacuum", name=path.name, header=header.copy(),
        extras=keyed(hdus), layout="sdss",
    )  # fmt: skip


def trace_set(table: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Values (n_trace, n_pix) of a trace set at pixels 0, 1, ...

    Raises
    ------
    ValueError
        If the function is neither Legendre's nor Chebyshev's polynomials, or there are other numbers of traces.
    """
    names = {n.upper() for n in table.columns.names}
    func = str(texts(table["FUNC"]).ravel()[0]).lower()
    if func not in POLYNOMIALS:
        raise ValueError(f"trace set of {func!r}")
    low, high = (float(np.ravel(table[key])[0]) for key in ("XMIN", "XMAX"))
    coefficients = np.array(table["COEFF"][0], dtype=float)
    if coefficients.ndim != 2 or len(coefficients) != shape[0]:
        raise ValueError(f"coefficients of shape {coefficients.shape} for {shape[0]} spectra")
    x = np.arange(shape[1], dtype=float)
    if "XJUMPVAL" in names:
        first, last, by = (float(np.ravel(table[f"XJUMP{key}"])[0]) for key in ("LO", "HI", "VAL"))
        x = x + by * np.clip((x - first) / (last - first), 0, 1)
    unit = 2 * (x - 0.5 * (low + high)) / (high - low)
    return np.asarray(coefficients @ POLYNOMIALS[func](unit, coefficients.shape[1] - 1).T)


def _fibres(table: Any, n: int) -> Fibres:
    if len(table) != n:
        raise ValueError(f"{len(table)} rows for {n} spectra")
    names = {c.upper(): c for c in table.columns.names}
    kind = texts(table[names["OBJTYPE"]])
    types = np.where(np.isin(kind, STANDARDS), "C", np.where(kind == "SKY", "S", np.where(kind == "NA", "U", "P")))
    if "FIBERID" in names:
        name = np.asarray(table[names["FIBERID"]]).astype(str)
    else:
        name = np.arange(1, n + 1).astype(str)

    def column(key: str, factor: float = 1.0) -> NDArray[np.float64]:
        found = np.asarray(table[names[key]]).astype(float) if key in names else np.full(n, np.nan)
        return np.asarray(factor * found)

    return Fibres(name, column("RA"), column("DEC"), column("XFOCAL", 1e3), column("YFOCAL", 1e3), types)


def write(frame: Frame, marks: NDArray[np.uint8]) -> list[Any]:
    """HDU 0 and 1 with the frame's spectra, inverse variance 0 for bad pixels; all others as they were read."""
    extras = list(frame.extras.values())
    unit = FLUX_UNIT if frame.calibrated else "electrons"
    first = replaced(fits.PrimaryHDU(header=frame.header), frame.flux.astype(np.float32), BUNIT=unit)
    return [first, replaced(extras[0], ivar_of(frame.variance)), *extras[1:], marks_hdu(marks)]


LAYOUT = Layout("Frames of SDSS and BOSS (spFrame)", "https://data.sdss.org/datamodel", matches, read, write)
