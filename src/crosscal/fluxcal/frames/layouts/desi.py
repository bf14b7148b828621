"""Frames of DESI (frame-CAMERA-EXPID.fits).

Described at https://desidatamodel.readthedocs.io (exposures/NIGHT/EXPID/frame-CAMERA-EXPID): FLUX in electrons per
Angstrom, IVAR, MASK (0 is good), WAVELENGTH (vacuum), RESOLUTION (banded matrices), FIBERMAP. Standards have the bits
STD_FAINT (33) or STD_BRIGHT (35) of DESI_TARGET or its forms of survey validation (desitarget's targetmask.yaml);
white dwarfs (34) have no templates here. A fibre whose FIBERSTATUS is not 0 is not a standard.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.core.reading import parsing
from crosscal.fluxcal.flux_units import EXPECTED, FLUX_UNIT, count_unit
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

STANDARDS = (1 << 33) | (1 << 35)
TARGET_COLUMNS = ("DESI_TARGET", "SV1_DESI_TARGET", "SV2_DESI_TARGET", "SV3_DESI_TARGET", "CMX_TARGET")
#: DESI writes calibrated spectra in this spelling.
CALIBRATED = "10**-17 erg/(s cm2 Angstrom)"
#: Full width at half maximum of a Gaussian in standard deviations.
FWHM = 2.3548


def matches(hdus: fits.HDUList) -> bool:
    """Whether the HDUs have DESI's names."""
    names = {hdu.name.upper() for hdu in hdus}
    return {"FLUX", "IVAR", "WAVELENGTH", "FIBERMAP"} <= names


def read(hdus: fits.HDUList, path: Path, given: Given) -> Frame:
    """Read a frame of DESI."""
    parts = {hdu.name.upper(): hdu for hdu in hdus}
    header, where = parts["FLUX"].header, str(path)
    notes: list[str] = []
    with parsing("an image cannot be used", where=where, expected="images of numbers"):
        flux = image(parts["FLUX"], f"{where}[FLUX]")
        ivar = image(parts["IVAR"], f"{where}[IVAR]", flux.shape)
        bad = image(parts["MASK"], f"{where}[MASK]", flux.shape) != 0 if "MASK" in parts else None
        wavelength = image(parts["WAVELENGTH"], f"{where}[WAVELENGTH]")
    unit = str(header.get("BUNIT", "")).strip()
    if not unit:
        unit = "electron/Angstrom"
        notes.append("the file states no unit: electrons per Angstrom, as DESI's data model says")
    calibrated = unit.lower() in (FLUX_UNIT.lower(), CALIBRATED.lower())
    # "photon/bin" is DESI's word for counts in a pixel.
    kind = count_unit(unit.replace("/bin", ""))
    if kind is None and not calibrated:
        raise DataFileError(f"BUNIT {unit!r}", where=f"{where}[FLUX]", expected=EXPECTED)
    exposure = seconds(header, given, f"{where}[FLUX]", "EXPTIME", default=1.0 if calibrated else None)
    variance = variance_of(ivar, bad)
    if kind is not None and not calibrated:
        factor = kind.factor(exposure, wavelength)
        flux, variance = flux * factor, variance * factor**2
    with parsing("the fibre map cannot be used", where=f"{where}[FIBERMAP]", expected="DESI's columns"):
        fibres = _fibres(parts["FIBERMAP"].data, notes)
    width = None
    if "RESOLUTION" in parts:
        with parsing("the resolution cannot be used", where=f"{where}[RESOLUTION]", expected="(nspec, ndiag, nwave)"):
            width = resolution(image(parts["RESOLUTION"], f"{where}[RESOLUTION]"), np.atleast_2d(wavelength)[0])
    medium = "air" if str(header.get("AIRORVAC", "vac")).strip().lower() == "air" else "vacuum"
    start = number(header, "MJD-OBS") if "MJD-OBS" in header else number(header, "MJD")
    return Frame(
        flux, variance, wavelength, fibres, exposure,
        airmass=given.airmass if given.airmass is not None else number(header, "AIRMASS"),
        mjd=start + 0.5 * exposure / 86400.0, medium=given.medium or medium, name=path.name,
        header=hdus[0].header.copy(), extras=keyed(hdus), notes=tuple(notes), calibrated=calibrated, layout="desi",
        resolution=width,
    )  # fmt: skip


def _fibres(table: Any, notes: list[str]) -> Fibres:
    names = {n.upper(): n for n in table.columns.names}

    def column(key: str, default: Any) -> Any:
        return np.asarray(table[names[key]]) if key in names else np.full(len(table), default)

    kind = np.where(np.isin(texts(column("OBJTYPE", "TGT")), ["SKY", "BAD"]), "S", "P")
    for key in TARGET_COLUMNS:
        if key in names:
            kind[(column(key, 0).astype(np.int64) & STANDARDS != 0) & (kind == "P")] = "C"
    status = column("FIBERSTATUS", 0).astype(np.int64)
    out = (kind == "C") & (status != 0)
    if out.any():
        notes.append(f"{out.sum()} standards are excluded by FIBERSTATUS")
    kind[out] = "N"
    # Focal-plane positions are in millimetre.
    x, y = (1e3 * column(f"FIBERASSIGN_{a}", np.nan).astype(float) for a in "XY")
    ra, dec = (column(f"TARGET_{a}", np.nan).astype(float) for a in ("RA", "DEC"))
    return Fibres(column("TARGETID", 0).astype(str), ra, dec, x, y, kind)


def resolution(
    matrix: NDArray[np.float64], wavelength: NDArray[np.float64], n: int = 12
) -> tuple[tuple[float, float], ...]:
    """FWHM in Angstrom at ``n`` wavelengths, the median over fibres of the bands' second moments.

    Parameters
    ----------
    matrix : array (n_fib, n_diag, n_pix)
        Diagonals from the highest offset to the lowest.
    wavelength : array (n_pix,)
    """
    half = (matrix.shape[1] - 1) / 2
    offset = (half - np.arange(matrix.shape[1]))[None, :, None]
    total = matrix.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.sum(matrix * offset, axis=1) / total
        square = np.sum(matrix * offset**2, axis=1) / total - mean**2
        width = FWHM * np.sqrt(np.clip(square, 0, None)) * np.gradient(wavelength)
    width = np.where(total > 0, width, np.nan)
    found = []
    for part in np.array_split(np.arange(wavelength.size), n):
        inside = width[:, part]
        if np.isfinite(inside).any():
            found.append((float(wavelength[part].mean()), float(np.nanmedian(inside))))
    if not found or min(w for _, w in found) <= 0:
        raise ValueError("the diagonals have no width")
    return tuple(found)


def write(frame: Frame, marks: NDArray[np.uint8]) -> list[Any]:
    """The HDUs of the frame with its spectra; IVAR is 0 for bad pixels, MASK is as it was read."""
    unit = CALIBRATED if frame.calibrated else "electron"
    made = {
        "FLUX": (np.nan_to_num(frame.flux).astype(np.float32), {"BUNIT": unit}),
        "IVAR": (ivar_of(frame.variance), {}),
    }
    hdus = []
    for hdu in (fits.PrimaryHDU(header=frame.header), *frame.extras.values()):
        name = hdu.name.upper()
        if name in made:
            data, keywords = made[name]
            hdus.append(replaced(hdu, data, **keywords))
        else:
            hdus.append(hdu)
    return [*hdus, marks_hdu(marks)]


LAYOUT = Layout(
    "Frames of DESI (frame-CAMERA-EXPID.fits)", "https://desidatamodel.readthedocs.io", matches, read, write
)
