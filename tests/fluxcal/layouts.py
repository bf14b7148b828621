"""Files in the layouts of surveys, written by hand from their public data models with astropy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.polynomial import legendre


def vacuum(air):
    """Vacuum wavelengths by the formula of VALD (Piskunov)."""
    s = (1e4 / air) ** 2
    n = 1 + 8.336624212083e-5 + 2.408926869968e-2 / (130.1065924522 - s) + 1.599740894897e-4 / (38.92568793293 - s)
    return air * n


def ivar(variance):
    return np.where(np.isfinite(variance), 1 / np.where(np.isfinite(variance), variance, 1), 0).astype(np.float32)


def table(name="", **columns):
    made = []
    for key, (form, values) in columns.items():
        made.append(fits.Column(key, form, array=values))
    return fits.BinTableHDU.from_columns(made, name=name or None)


def desi(path: Path, frame) -> Path:
    """frame-CAMERA-EXPID.fits: electrons per Angstrom in vacuum, a banded resolution matrix of sigma = 1.1 pixels."""
    wave = vacuum(frame.grid)
    width = np.gradient(wave)
    header = fits.Header({"EXPTIME": frame.exposure, "AIRMASS": 1.2, "MJD-OBS": 59000.0, "BUNIT": "electron/Angstrom"})
    kind = frame.fibres.type
    n, n_pix = frame.flux.shape
    offset = np.arange(5, -6, -1)
    band = np.exp(-0.5 * (offset / 1.1) ** 2)
    matrix = np.broadcast_to((band / band.sum())[None, :, None], (n, offset.size, n_pix)).astype(np.float32)
    mask = np.zeros((n, n_pix), dtype=np.int32)
    mask[0, 10] = 4
    fibres = table(
        "FIBERMAP",
        TARGETID=("K", np.arange(n) + 39627600000000000),
        DESI_TARGET=("K", np.where(kind == "C", 1 << 33, 1)),
        TARGET_RA=("D", frame.fibres.ra),
        TARGET_DEC=("D", frame.fibres.dec),
        FIBERASSIGN_X=("E", frame.fibres.x / 1e3),
        FIBERASSIGN_Y=("E", frame.fibres.y / 1e3),
        FIBERSTATUS=("J", np.zeros(n, dtype=int)),
        OBJTYPE=("3A", np.where(kind == "S", "SKY", "TGT")),
    )
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU((frame.flux / width).astype(np.float32), header),
            fits.ImageHDU(ivar(frame.variance) * width.astype(np.float32) ** 2, name="IVAR"),
            fits.ImageHDU(mask, name="MASK"),
            fits.ImageHDU(wave, name="WAVELENGTH"),
            fits.ImageHDU(matrix, name="RESOLUTION"),
            fibres,
            table("SCORES", SUM=("D", np.arange(n))),
        ]
    )
    hdus[0].name = "FLUX"
    hdus.writeto(path)
    return path


def pfs(path: Path, frame) -> Path:
    """pfsMerged-VISIT.fits with a norm of 0.5 to 1.5, and pfsConfig beside it with its rows in another order."""
    n, n_pix = frame.flux.shape
    norm = np.broadcast_to(np.linspace(0.5, 1.5, n_pix), (n, n_pix))
    variance = np.where(np.isfinite(frame.variance), frame.variance, 0.0) * norm**2
    covariance = np.stack([variance, 0.1 * variance, 0.0 * variance], axis=1)
    mask = np.where(np.isfinite(frame.variance), 0, 1 << 3).astype(np.int32)
    mask[1, 5] = 1 << 2  # interpolated pixels may be used
    header = fits.Header({"MP_BAD": 0, "MP_INTRP": 2, "MP_NO_DATA": 3, "DAMD_VER": 2})
    identifier = np.arange(1, n + 1)
    config = table("CONFIG", visit=("J", [42]), pfsDesignId=("K", [7]), expTime=("D", [frame.exposure]))
    hdus = [fits.PrimaryHDU(header=header), fits.ImageHDU(identifier.astype(np.int32), name="FIBERID")]
    hdus += [fits.ImageHDU(np.broadcast_to(vacuum(frame.grid) / 10, (n, n_pix)).copy(), name="WAVELENGTH")]
    hdus += [fits.ImageHDU((frame.flux * norm).astype(np.float32), name="FLUX"), fits.ImageHDU(mask, name="MASK")]
    hdus += [fits.ImageHDU(np.zeros((n, n_pix), dtype=np.float32), name="SKY")]
    hdus += [fits.ImageHDU(norm.astype(np.float32), name="NORM")]
    hdus += [fits.ImageHDU(covariance.astype(np.float32), name="COVAR"), config]
    target = path.parent / "pfsMerged-000042.fits"
    fits.HDUList(hdus).writeto(target)
    order = np.arange(n)[::-1]
    kinds = np.array([{"C": 3, "P": 1, "S": 2}[t] for t in frame.fibres.type])
    rows = table(
        "CONFIG",
        fiberId=("J", identifier[order]),
        objId=("K", 100 + order),
        ra=("D", frame.fibres.ra[order]),
        dec=("D", frame.fibres.dec[order]),
        targetType=("J", kinds[order]),
        fiberStatus=("J", np.ones(n)),
        pfiCenter=("2E", np.stack([frame.fibres.x, frame.fibres.y], axis=1)[order] / 1e3),
    )
    fits.HDUList([fits.PrimaryHDU(), rows]).writeto(path.parent / "pfsConfig-0x0000000000000007-000042.fits")
    return target


def sdss(path: Path, frame) -> Path:
    """spFrame: HDUs by number, wavelengths as a Legendre series of their logarithms."""
    n, n_pix = frame.flux.shape
    unit = np.linspace(-1, 1, n_pix)
    series = legendre.legfit(unit, np.log10(vacuum(frame.grid)), 12)
    coefficients = np.broadcast_to(series, (n, series.size)).copy()

    def traces(values):
        flat = values.size
        shape = f"({values.shape[1]},{values.shape[0]})"
        columns = [
            fits.Column("FUNC", "8A", array=["legendre"]),
            fits.Column("XMIN", "D", array=[0.0]),
            fits.Column("XMAX", "D", array=[n_pix - 1.0]),
            fits.Column("COEFF", f"{flat}D", dim=shape, array=values[None]),
        ]
        return fits.BinTableHDU.from_columns(columns)

    mask = np.zeros((n, n_pix), dtype=np.int32)
    mask[0, 7], mask[0, 8] = 1 << 18, 1 << 16  # FULLREJECT, and NEARBADPIXEL, which may be used
    kind = np.array([{"C": "SPECTROPHOTO_STD", "P": "GALAXY", "S": "SKY"}[t] for t in frame.fibres.type])
    plugs = table(
        FIBERID=("J", np.arange(1, n + 1)),
        OBJTYPE=("16A", kind),
        RA=("D", frame.fibres.ra),
        DEC=("D", frame.fibres.dec),
        XFOCAL=("D", frame.fibres.x / 1e3),
        YFOCAL=("D", frame.fibres.y / 1e3),
    )
    header = fits.Header({"EXPTIME": frame.exposure, "AIRMASS": 1.1, "TAI-BEG": 59000.0 * 86400, "CAMERAS": "b1"})
    fits.HDUList(
        [
            fits.PrimaryHDU(frame.flux.astype(np.float32), header),
            fits.ImageHDU(ivar(frame.variance)),
            fits.ImageHDU(mask),
            traces(coefficients),
            traces(np.full((n, 2), 1.0)),
            plugs,
            fits.ImageHDU(np.zeros((n, n_pix), dtype=np.float32)),
        ]
    ).writeto(path)
    return path


def pypeit(path: Path, frame) -> Path:
    """spec1d: an extension for each object; masked pixels at the ends have no wavelength."""
    header = fits.Header({"VERSPYP": "1.15.0", "EXPTIME": frame.exposure, "AIRMASS": 1.3, "MJD": 59000.0})
    hdus = [fits.PrimaryHDU(header=header)]
    wave = vacuum(frame.grid)
    good = np.isfinite(frame.variance)
    edge = np.zeros(frame.grid.size, dtype=bool)
    edge[:3], edge[-2:] = True, True
    for k in range(len(frame.flux)):
        hdu = table(
            f"SPAT{100 + k:04d}-SLIT0005-DET01",
            OPT_WAVE=("D", np.where(edge, 0.0, wave)),
            OPT_COUNTS=("D", frame.flux[k]),
            OPT_COUNTS_IVAR=("D", ivar(frame.variance[k])),
            OPT_MASK=("L", good[k] & ~edge),
            OPT_CHI2=("D", np.ones(frame.grid.size)),
        )
        hdu.header["MASKDEF_OBJNAME"] = str(frame.fibres.name[k])
        hdu.header["RA"], hdu.header["DEC"] = frame.fibres.ra[k], frame.fibres.dec[k]
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path)
    return path


WRITERS = {"desi": desi, "pfs": pfs, "sdss": sdss, "pypeit": pypeit}
