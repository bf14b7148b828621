"""Calibrated frames as files: curve, covariance and stars in HDUs, keywords and HISTORY; the curve read back (FITS)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from crosscal.core.display import brief, brief_html
from crosscal.core.errors import DataFileError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing
from crosscal.fluxcal.curve.curve import Curve
from crosscal.fluxcal.curve.position import Field, PlatePrior, PlateTerm
from crosscal.fluxcal.curve.shared_plate import SharedField
from crosscal.fluxcal.frames.reading import write_frame
from crosscal.fluxcal.frames.spectra import to_specutils
from crosscal.fluxcal.tables import star_table
from crosscal.fluxcal.types import Frame

if TYPE_CHECKING:
    from crosscal.fluxcal.result import FluxCalibration


@dataclass(frozen=True, eq=False)
class CalibratedFrame:
    """A calibrated frame and the result it comes from.

    Examples
    --------
    >>> calibrated = result.apply()  # doctest: +SKIP
    >>> calibrated.flux, calibrated.variance  # doctest: +SKIP
    >>> calibrated.write("calibrated.fits")  # doctest: +SKIP
    """

    frame: Frame
    result: FluxCalibration

    __repr__ = brief
    _repr_html_ = brief_html

    @property
    def flux(self) -> Any:
        """Fluxes (n_fib, n_pix), 1e-17 erg/s/cm2/A."""
        return self.frame.flux

    @property
    def variance(self) -> Any:
        """Variances of single pixels (n_fib, n_pix)."""
        return self.frame.variance

    @property
    def wavelength(self) -> Any:
        """Wavelengths (n_fib, n_pix), Angstrom."""
        return self.frame.wavelength

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Write the frame with curve, covariance modes, star table, keywords and HISTORY."""
        return write_calibrated(self, path, overwrite=overwrite)

    def to_specutils(self, fibre: int | None = None) -> Any:
        """A ``Spectrum`` of one fibre (0-based), or a ``SpectrumCollection`` of all."""
        return to_specutils(self.frame, fibre)


def write_calibrated(calibrated: CalibratedFrame, path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
    """Write a calibrated frame under the file contract: keywords, HISTORY, HDUs FLUXCAL and FLUXSTAR."""
    result = calibrated.result
    curve = result.curve
    assert curve is not None
    rms = curve.rms if np.isfinite(curve.rms) else 0.0
    keywords: dict[str, tuple[Any, str]] = {
        "FLUXCAL": (True, "flux calibrated?"),
        "FCALNSTR": (len(result.used), "standard stars used"),
        "FCALRMS": (round(float(rms), 6), "fractional scatter of stars about the curve"),
        "FCALMETH": (result.options.method, "combination of stars"),
        "FCALLIB": (result.template_library[:40], "template library"),
        "FCALSRC": (result.source[:60], "where the curve comes from"),
    }
    write_frame(
        path,
        calibrated.frame,
        doubtful=extrapolated_pixels(curve, calibrated.frame),
        keywords=keywords,
        history=history_lines(result),
        tables={"FLUXCAL": curve_hdu(result, curve), "FLUXSTAR": star_hdu(result), **plate_hdus(curve)},
        overwrite=overwrite,
    )
    return Path(path)


def extrapolated_pixels(curve: Curve, frame: Frame) -> NDArray[np.bool_]:
    """Pixels (n_fib, n_pix) of a frame where the curve was extrapolated."""
    known = curve.covered & ~curve.extrapolated
    if not curve.extrapolated.any() or not known.any():
        return np.zeros(frame.flux.shape, dtype=bool)
    low, high = curve.wavelength[known][[0, -1]]
    return frame.good & ((frame.wavelength < low) | (frame.wavelength > high))


def history_lines(result: FluxCalibration) -> tuple[str, ...]:
    """One line for each standard star: template, velocity and scale of those that were used, why others were not."""
    lines = [f"fluxcal: flux scale from {len(result.used)} of {len(result.stars)} standard stars"]
    if result.reddening is not None:
        lines.append(f"fluxcal: {result.reddening}"[:72])
    if result.together:
        lines.append(f"fluxcal: one fit with {' '.join(n for n in result.together if n != result.info.name)}"[:72])
    for s in result.stars:
        what = f"T={s.teff:.0f} g={s.logg:.2f} m={s.feh:+.2f} RV={s.rv:+.0f} scale={s.scale:.3e}"
        # A HISTORY card holds 72 characters.
        lines.append(f"fluxcal {s.name[:16]} {what if s.status == 0 else f'rejected: {s.reason}'}"[:72])
    return tuple(lines)


def curve_hdu(result: FluxCalibration, curve: Curve) -> fits.BinTableHDU:
    """The curve, its independent and total variances, covariance modes and per-star curves, against wavelength.

    Cov(C_i, C_j) = VARIANCE_I delta_ij + C_i C_j sum_k MODES_ik MODES_jk.
    """
    n = curve.wavelength.size

    def column(name: str, values: Any, unit: str = "") -> fits.Column:
        return fits.Column(name, "D", unit=unit, array=values)

    per_count = "1e-17 erg/(s cm2 Angstrom) per (count/s)"
    columns = [
        column("WAVELENGTH", curve.wavelength, "Angstrom"),
        column("C", curve.value, per_count),
        column("VARIANCE", curve.total_variance),
        column("VARIANCE_I", curve.variance),
        column("SCATTER", curve.scatter),
        fits.Column("N_STARS", "J", array=curve.n_stars),
        fits.Column("BRIDGED", "L", array=curve.bridged),
        fits.Column("EXTRAPOLATED", "L", array=curve.extrapolated),
    ]
    if len(curve.modes):
        columns.append(fits.Column("MODES", f"{len(curve.modes)}D", array=curve.modes.T.copy()))
    if result.vectors and result.vectors[0].value.size == n:
        stars = np.stack([np.where(v.good, v.value, np.nan) for v in result.vectors], axis=1)
        errors = np.stack([np.where(v.good, v.variance, np.nan) for v in result.vectors], axis=1)
        columns.append(fits.Column("C_STARS", f"{stars.shape[1]}D", array=stars))
        columns.append(fits.Column("VARIANCE_STARS", f"{stars.shape[1]}D", array=errors))
    hdu = fits.BinTableHDU.from_columns(columns, name="FLUXCAL")
    for k, vector in enumerate(result.vectors):
        hdu.header[f"STAR{k + 1}"] = vector.star
    hdu.header["COMMENT"] = "Cov(C_i,C_j) = VARIANCE_I d_ij + C_i C_j sum_k MODES_ik MODES_jk"
    return hdu


def star_hdu(result: FluxCalibration) -> fits.BinTableHDU:
    """The table of stars as an HDU."""
    hdu = fits.table_to_hdu(star_table(result), character_as_bytes=False)
    hdu.name = "FLUXSTAR"
    return hdu


def plate_hdus(curve: Curve) -> dict[str, fits.BinTableHDU]:
    """The field over the plate as HDU FLUXPLATE (one row for each order that has one); empty without a field.

    f(r) = MEAN . (r - CENTRE) + sum_i k(r, PLACE_i) ALPHA_i in ln throughput, with r = (X, Y) / 0.2 m and
    k = SD^2 exp(-|r - r'|^2 / 2 SCALE^2) + GRAD_SD^2 (r - CENTRE) . (r' - CENTRE). Where frames share a field, k is
    that times OWN_i (1 for stars of this configuration, else 0) plus COM_SD^2 exp(-|r - r'|^2 / 2 COM_SCAL^2).
    """
    if curve.plate is None:
        return {}
    rows = [(k, f) for k, f in enumerate(curve.plate.fields) if f is not None]
    n = len(rows[0][1].place)

    def column(name: str, form: str, values: list[Any]) -> fits.Column:
        return fits.Column(name, form, array=np.array(values))

    shared = [f for _, f in rows if isinstance(f, SharedField)]
    extra = [
        column("COM_SD", "D", [f.common_sd for f in shared]),
        column("COM_SCAL", "D", [f.common_scale for f in shared]),
        column("OWN", f"{n}B", [f.own.astype(np.uint8) for f in shared]),
    ]
    hdu = fits.BinTableHDU.from_columns(
        [
            column("ORDER", "J", [k for k, _ in rows]),
            column("SD", "D", [f.sd for _, f in rows]),
            column("SCALE", "D", [f.scale for _, f in rows]),
            column("GRAD_SD", "D", [f.gradient_sd for _, f in rows]),
            column("MEAN", "2D", [f.gradient_mean for _, f in rows]),
            column("CENTRE", "2D", [f.centre for _, f in rows]),
            column("PLACE", f"{2 * n}D", [f.place.ravel() for _, f in rows]),
            column("ALPHA", f"{n}D", [f.alpha for _, f in rows]),
            column("INVERSE", f"{n * n}D", [f.inverse.ravel() for _, f in rows]),
            *(extra if shared else ()),
        ],
        name="FLUXPLATE",
    )
    hdu.header["TILT"] = (curve.plate.tilt, "c1 = field 1 - TILT * field 2")
    hdu.header["NORDER"] = (len(curve.plate.fields), "orders: grey, slope, curvature")
    return {"FLUXPLATE": hdu}


def _read_plate(hdus: fits.HDUList) -> PlateTerm | None:
    if "FLUXPLATE" not in hdus:
        return None
    table, n_orders = hdus["FLUXPLATE"].data, int(hdus["FLUXPLATE"].header["NORDER"])
    fields: list[Field | None] = [None] * n_orders
    sd, gradient_sd, mean, scale = [0.0] * n_orders, 0.0, (0.0, 0.0), 0.3
    for row in table:
        k, alpha = int(row["ORDER"]), np.array(row["ALPHA"], dtype=float).ravel()
        place, inverse = (np.array(row[key], dtype=float).reshape(alpha.size, -1) for key in ("PLACE", "INVERSE"))
        centre, slope = (np.array(row[key], dtype=float) for key in ("CENTRE", "MEAN"))
        sd[k], scale = float(row["SD"]), float(row["SCALE"])
        if k == 1:
            gradient_sd, mean = float(row["GRAD_SD"]), (float(slope[0]), float(slope[1]))
        common = (place, centre, alpha, inverse, sd[k], scale, float(row["GRAD_SD"]), slope)
        fields[k] = Field(*common)
        if "OWN" in table.columns.names:
            own = np.array(row["OWN"], dtype=bool).ravel()
            fields[k] = SharedField(*common, float(row["COM_SD"]), float(row["COM_SCAL"]), own)
    tilt = float(hdus["FLUXPLATE"].header.get("TILT", 0.0))
    return PlateTerm(tuple(fields), PlatePrior(tuple(sd), scale, gradient_sd, mean), tilt)


def read_curve(path: str | os.PathLike[str]) -> Curve:
    """Read the curve back from a calibrated frame (or a file with the HDU FLUXCAL).

    Raises
    ------
    DataFileError
        If the file has no such HDU.

    Examples
    --------
    >>> curve = fluxcal.read_curve("calibrated.fits")  # doctest: +SKIP
    """
    source = existing_file(path, what="calibrated frame")
    with (
        parsing("not a calibrated frame", where=source, expected="a frame calibrated by crosscal"),
        fits.open(source, memmap=False) as hdus,
    ):
        if "FLUXCAL" not in hdus:
            raise DataFileError("no HDU FLUXCAL", where=str(source), expected="a frame calibrated by crosscal")
        table = hdus["FLUXCAL"].data
        names = set(table.columns.names)
        value = np.array(table["C"], dtype=float)
        n = value.size
        modes = np.array(table["MODES"], dtype=float).reshape(n, -1).T if "MODES" in names else np.zeros((0, n))
        return Curve(
            np.array(table["WAVELENGTH"], dtype=float),
            value,
            np.array(table["VARIANCE_I"], dtype=float),
            modes,
            np.isfinite(value),
            np.array(table["BRIDGED"], dtype=bool),
            np.array(table["N_STARS"], dtype=int),
            np.array(table["SCATTER"], dtype=float),
            (),
            np.zeros((0, 1)),
            np.zeros((0, 1)),
            rms=float(hdus[0].header.get("FCALRMS", np.nan)),
            plate=_read_plate(hdus),
            extrapolated=np.array(table["EXTRAPOLATED"], dtype=bool) if "EXTRAPOLATED" in names else np.zeros(n, bool),
        )
