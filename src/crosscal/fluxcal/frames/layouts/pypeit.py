"""One-dimensional spectra of PypeIt (spec1d_*.fits).

Described at https://pypeit.readthedocs.io (out_spec1D and the SpecObj data model): an extension for each object, a
table with a row for each pixel: OPT_WAVE (vacuum, Angstrom), OPT_COUNTS (electrons), OPT_COUNTS_IVAR, OPT_MASK (true is
good), after calibration OPT_FLAM (1e-17 erg/s/cm2/A) and OPT_FLAM_IVAR; BOX_... where only a boxcar was extracted.
PypeIt does not name standards: of a frame of type "standard" every object is one, else they are named by the user.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.core.reading import parsing
from crosscal.fluxcal.frames.layouts.base import Given, Layout, ivar_of, marks_hdu, number, seconds, variance_of
from crosscal.fluxcal.types import Fibres, Frame


def matches(hdus: fits.HDUList) -> bool:
    """Whether the file is PypeIt's and holds objects."""
    return "VERSPYP" in hdus[0].header and any(_is_object(hdu) for hdu in hdus)


def _is_object(hdu: Any) -> bool:
    return isinstance(hdu, fits.BinTableHDU) and _way(hdu) is not None


def _way(hdu: Any) -> str | None:
    """How the spectrum was extracted: OPT, else BOX."""
    names = set(hdu.columns.names)
    return next((way for way in ("OPT", "BOX") if {f"{way}_WAVE", f"{way}_COUNTS"} <= names), None)


def read(hdus: fits.HDUList, path: Path, given: Given) -> Frame:
    """Read the objects of a spec1d file; all must have as many pixels."""
    header, where = hdus[0].header, str(path)
    objects = [hdu for hdu in hdus if _is_object(hdu)]
    lengths = {len(hdu.data) for hdu in objects}
    if len(lengths) != 1:
        raise DataFileError(f"objects of {sorted(lengths)} pixels", where=where, expected="one detector")
    rows = []
    for hdu in objects:
        with parsing("a spectrum cannot be used", where=f"{where}[{hdu.name}]", expected="PypeIt's columns"):
            rows.append(_spectrum(hdu))
    notes = []
    boxcar = sum(_way(hdu) == "BOX" for hdu in objects)
    if boxcar:
        notes.append(f"{boxcar} objects have only a boxcar extraction")
    exposure = seconds(header, given, where, "EXPTIME")
    wavelength, flux, variance = (np.array(part) for part in zip(*rows, strict=True))
    return Frame(
        flux, variance, wavelength, _fibres(objects, header), exposure,
        airmass=given.airmass if given.airmass is not None else number(header, "AIRMASS"),
        mjd=number(header, "MJD") + 0.5 * exposure / 86400.0, medium=given.medium or "vacuum", name=path.name,
        header=header.copy(), extras={h.name or f"HDU{k}": h for k, h in enumerate(hdus[1:], 1)}, notes=tuple(notes),
        layout="pypeit",
    )  # fmt: skip


def _spectrum(hdu: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Wavelength, counts and variance; masked pixels have no wavelength in PypeIt and are given that of a line."""
    way, names = _way(hdu), set(hdu.columns.names)
    wave, counts, ivar = (np.array(hdu.data[f"{way}_{key}"], dtype=float) for key in ("WAVE", "COUNTS", "COUNTS_IVAR"))
    good = np.array(hdu.data[f"{way}_MASK"], dtype=bool) if f"{way}_MASK" in names else np.ones(wave.size, dtype=bool)
    known = np.flatnonzero(wave > 0)
    if known.size < 2:
        raise ValueError("no pixel has a wavelength")
    pixel = np.arange(wave.size)
    filled = np.interp(pixel, known, wave[known])
    for end, inner in ((pixel < known[0], known[:2]), (pixel > known[-1], known[-2:])):
        step = (wave[inner[1]] - wave[inner[0]]) / (inner[1] - inner[0])
        filled[end] = wave[inner[0]] + step * (pixel[end] - inner[0])
    return filled, np.nan_to_num(counts), variance_of(ivar, ~good | (wave <= 0))


def _fibres(objects: list[Any], header: Any) -> Fibres:
    standard = str(header.get("FRAMETYP", "")).lower().find("standard") >= 0
    names, places = [], []
    for hdu in objects:
        own = hdu.header
        name = str(own.get("MASKDEF_OBJNAME", "")).strip()
        names.append(name if name and name.upper() != "SERENDIP" else str(own.get("NAME", hdu.name)))
        # One slit has the position of the telescope; a mask states each object's.
        lone = len(objects) == 1
        places.append([number(own, k) if k in own else number(header, k) if lone else np.nan for k in ("RA", "DEC")])
    kind = np.full(len(objects), "C" if standard else "P")
    nan = np.full(len(objects), np.nan)
    ra, dec = np.array(places).T
    return Fibres(np.array(names), ra, dec, nan, nan, kind)


def write(frame: Frame, marks: NDArray[np.uint8]) -> list[Any]:
    """The tables with OPT_FLAM, OPT_FLAM_IVAR and OPT_FLAM_SIG (BOX_...) of the calibrated spectra."""
    made: list[Any] = [fits.PrimaryHDU(header=frame.header)]
    row = 0
    for hdu in frame.extras.values():
        if not _is_object(hdu):
            made.append(hdu)
            continue
        way = _way(hdu)
        if frame.calibrated:
            values = {"FLAM": frame.flux[row], "FLAM_IVAR": ivar_of(frame.variance[row])}
            values["FLAM_SIG"] = np.sqrt(np.nan_to_num(frame.variance[row]))
        else:
            values = {"COUNTS": frame.flux[row], "COUNTS_IVAR": ivar_of(frame.variance[row])}
        new = {f"{way}_{key}": np.asarray(value, dtype=float) for key, value in values.items()}
        old = [c for c in hdu.columns if c.name not in new]
        columns = [*old, *(fits.Column(key, "D", array=value) for key, value in new.items())]
        made.append(fits.BinTableHDU.from_columns(columns, header=hdu.header))
        row += 1
    return [*made, marks_hdu(marks)]


LAYOUT = Layout("Spectra of PypeIt (spec1d)", "https://pypeit.readthedocs.io", matches, read, write)
