"""Merged spectra of Subaru's PFS (pfsMerged-VISIT.fits, also pfsArm), with their pfsConfig beside them.

Described at https://github.com/Subaru-PFS/datamodel (datamodel.txt, PfsFiberArraySet, PfsConfig): FIBERID, WAVELENGTH
(nm, vacuum), FLUX, MASK (bits named by ``MP_...`` in the header), SKY, NORM, COVAR (variance and two neighbours), and a
table CONFIG. Spectra are FLUX / NORM. The pfsConfig (or pfsDesign) holds positions and targetType (3 is a flux
standard). Calibrated spectra are in nJy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.core.reading import parsing
from crosscal.fluxcal.frames.layouts.base import Given, Layout, bits, image, keyed, marks_hdu, number, replaced, seconds
from crosscal.fluxcal.types import Fibres, Frame

#: Planes of the mask that make a pixel bad.
BAD = ("BAD", "SAT", "CR", "NO_DATA", "UNMASKEDNAN", "BAD_FLAT", "BAD_SKY")
#: TargetType: science, sky, flux standard; others are not on an object.
TYPES = {1: "P", 2: "S", 3: "C"}
GOOD_FIBRE = 1
#: 1e-17 erg/s/cm2/A in nJy at a wavelength in Angstrom: times lambda^2 / c.
NANOJANSKY = 1e-17 * 1e32 / 2.99792458e18


def matches(hdus: fits.HDUList) -> bool:
    """Whether the HDUs have the names of a set of fibre arrays."""
    names = {hdu.name.upper() for hdu in hdus}
    return {"FIBERID", "WAVELENGTH", "FLUX", "MASK", "COVAR"} <= names


def read(hdus: fits.HDUList, path: Path, given: Given) -> Frame:
    """Read merged spectra and the configuration in the same directory."""
    parts, header, where = keyed(hdus), hdus[0].header, str(path)
    with parsing("an image cannot be used", where=where, expected="images of numbers"):
        flux = image(parts["FLUX"], f"{where}[FLUX]")
        covariance = image(parts["COVAR"], f"{where}[COVAR]", (len(flux), 3, flux.shape[1]))
        # WAVELENGTH is in nanometre.
        wavelength = 10 * image(parts["WAVELENGTH"], f"{where}[WAVELENGTH]", flux.shape)
        norm = image(parts["NORM"], f"{where}[NORM]", flux.shape) if "NORM" in parts else np.ones_like(flux)
        mask = np.array(parts["MASK"].data).astype(np.int64)
        bad = (mask & bits(header, BAD, "MP_") != 0) | ~(norm > 0)
        identifier = np.array(parts["FIBERID"].data).astype(np.int64)
        calibrated = str(parts["FLUX"].header.get("BUNIT", "")).strip() == "nJy"
        exposure = 1.0 if calibrated and given.exposure is None else _exposure(hdus, given, where)
    with np.errstate(divide="ignore", invalid="ignore"):
        flux, variance = flux / norm, covariance[:, 0] / norm**2
    if calibrated:
        unit = NANOJANSKY * wavelength**2
        flux, variance = flux / unit, variance / unit**2
    bad |= ~np.isfinite(flux) | ~(variance > 0)
    notes: list[str] = []
    config = _config(path, header)
    with (
        parsing("not a configuration of PFS", where=config, expected="fiberId, ra, dec, targetType"),
        fits.open(config, memmap=False) as opened,
    ):
        fibres = _fibres(opened[1].data, identifier, str(config))
    notes.append(f"targets are those of {config.name}")
    return Frame(
        np.where(bad, 0.0, flux), np.where(bad, np.nan, variance), wavelength, fibres, exposure,
        airmass=given.airmass if given.airmass is not None else number(header, "AIRMASS"),
        mjd=number(header, "MJD") + 0.5 * exposure / 86400.0, medium=given.medium or "vacuum", name=path.name,
        header=header.copy(), extras=parts, notes=tuple(notes), calibrated=calibrated, layout="pfs",
    )  # fmt: skip


def _exposure(hdus: fits.HDUList, given: Given, where: str) -> float:
    """Stated, of the header, or of the table CONFIG."""
    header = dict(hdus[0].header)
    if "EXPTIME" not in header and "CONFIG" in {h.name.upper() for h in hdus}:
        table = hdus["CONFIG"].data
        if "expTime" in table.columns.names:
            header["EXPTIME"] = float(table["expTime"][0])
    return seconds(header, given, where, "EXPTIME")


def _config(path: Path, header: Any) -> Path:
    """The pfsConfig, or pfsDesign, of a file's design and visit in its directory."""
    found = sorted(path.parent.glob("pfsConfig-*.fits*")) or sorted(path.parent.glob("pfsDesign-*.fits*"))
    visit = path.name.split("-")[1].split(".")[0] if "-" in path.name else ""
    own = [p for p in found if visit and f"-{visit}." in p.name]
    chosen = own or found
    if len(chosen) != 1:
        raise DataFileError(
            f"{len(chosen)} files pfsConfig-*.fits for visit {visit}",
            where=str(path.parent),
            expected="the pfsConfig of this visit beside the spectra",
        )
    return chosen[0]


def _fibres(table: Any, identifier: NDArray[np.int64], where: str) -> Fibres:
    names = {n.upper(): n for n in table.columns.names}
    own = np.asarray(table[names["FIBERID"]]).astype(np.int64)
    order = {int(f): k for k, f in enumerate(own)}
    missing = [int(f) for f in identifier if int(f) not in order]
    if missing:
        raise DataFileError(f"no row for fibre {missing[0]}", where=where, expected="every fibre of the spectra")
    row = np.array([order[int(f)] for f in identifier])

    def column(key: str) -> NDArray[Any]:
        return np.asarray(table[names[key]])[row]

    kind = np.array([TYPES.get(int(t), "U") for t in column("TARGETTYPE")])
    if "FIBERSTATUS" in names:
        kind[(column("FIBERSTATUS") != GOOD_FIBRE) & (kind != "U")] = "N"
    place = column("PFICENTER") if "PFICENTER" in names else column("PFINOMINAL")
    x, y = 1e3 * place.astype(float).T
    name = column("OBJID").astype(str)
    return Fibres(name, column("RA").astype(float), column("DEC").astype(float), x, y, kind)


def write(frame: Frame, marks: NDArray[np.uint8]) -> list[Any]:
    """FLUX and COVAR with the frame's spectra, times NORM as FLUX / NORM is what is used; calibrated in nJy."""
    unit: Any = NANOJANSKY * frame.wavelength**2 if frame.calibrated else 1.0
    norm = np.array(frame.extras["NORM"].data, dtype=float) if "NORM" in frame.extras else np.ones_like(frame.flux)
    covariance = np.array(frame.extras["COVAR"].data, dtype=float)
    variance = frame.variance * (unit * norm) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(covariance[:, 0] > 0, variance / covariance[:, 0], np.nan)
    made = {
        "FLUX": ((frame.flux * unit * norm).astype(np.float32), {"BUNIT": "nJy" if frame.calibrated else "electron"}),
        "COVAR": ((covariance * ratio[:, None]).astype(np.float32), {}),
    }
    rest = [replaced(h, made[k][0], **made[k][1]) if k in made else h for k, h in frame.extras.items()]
    return [fits.PrimaryHDU(header=frame.header), *rest, marks_hdu(marks)]


LAYOUT = Layout(
    "Merged spectra of PFS (pfsMerged) with their pfsConfig",
    "https://github.com/Subaru-PFS/datamodel",
    matches,
    read,
    write,
)
