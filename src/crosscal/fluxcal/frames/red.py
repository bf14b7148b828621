"""RED frames of 2dfdr and KSPECDR: reading, checking, repairing (FITS)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.core.files import atomic_path, existing_file
from crosscal.core.reading import parsing
from crosscal.fluxcal.flux_units import EXPECTED, FLUX_UNIT, CountUnit, count_unit
from crosscal.fluxcal.frames.layouts.base import MARKS, Given, Layout, seconds
from crosscal.fluxcal.stars.extinction import airmass as airmass_of
from crosscal.fluxcal.types import Fibres, Frame

FLUX_UNITS = {FLUX_UNIT.lower(), "10^-17 erg/s/cm2/angstrom"}

#: KSPECDR's target classes.
CLASS_TO_TYPE = {8: "C", 9: "S"}

#: What KSPECDR and 2dfdr also call an HDU.
OTHER_NAMES = {"VARIANCE": ("VARIANCE", "VAR"), "FIBRES": ("FIBRES", "FIBRES_IFU")}

#: Where headers keep the exposure time: 2dfdr, and others.
EXPOSURE_KEYS = ("EXPOSED", "EXPTIME", "EXPOSURE")

WAVELA_POLICIES = ("rebuild", "refuse", "trust")


def read(hdus: fits.HDUList, target: Path, given: Given) -> Frame:
    """Read a RED frame: PRIMARY counts (n_fib, n_pix), VARIANCE or VAR (NaN = bad), WAVELA (Angstrom; nm is detected;
    else the linear scale of the header), FIBRES or FIBRES_IFU.
    """
    airmass, medium, wavela = given.airmass, given.medium, given.wavela
    if wavela not in WAVELA_POLICIES:
        raise UnknownNameError("policy for WAVELA", wavela, WAVELA_POLICIES)
    parts = {(hdu.name or "PRIMARY").upper(): hdu for hdu in hdus}
    roles = {role: next((n for n in names if n in parts), names[0]) for role, names in OTHER_NAMES.items()}
    parts = {next((role for role, own in roles.items() if own == n), n): hdu for n, hdu in parts.items()}
    made = None
    if "WAVELA" not in parts and "PRIMARY" in parts:
        with parsing("the header's scale cannot be used", where=target, expected="numbers"):
            made = _from_header(parts["PRIMARY"])
    if made is not None:
        parts["WAVELA"] = made
    for name in ("PRIMARY", "VARIANCE", "WAVELA", "FIBRES"):
        if name not in parts or (name != "FIBRES" and parts[name].data is None):
            raise DataFileError(
                f"no data in HDU {name}",
                where=str(target),
                expected=f"PRIMARY, VARIANCE, WAVELA and FIBRES; the file has {', '.join(parts)}",
            )
    header = parts["PRIMARY"].header.copy()
    with parsing("DISPAXIS or an image cannot be used", where=target, expected="1 or 2, and images of numbers"):
        dispaxis = int(header.get("DISPAXIS", 1))
        flux = np.array(parts["PRIMARY"].data, dtype=float)
        variance = np.array(parts["VARIANCE"].data, dtype=float)
    if dispaxis == 2:
        flux, variance = flux.T, variance.T
    notes = [] if made is None else ["the file has no WAVELA: wavelengths are those of CRVAL1, CRPIX1 and CDELT1"]
    if flux.ndim != 2:
        raise DataFileError(f"image of shape {flux.shape}", where=f"{target}[PRIMARY]", expected="(NFIB, NPIX)")
    with parsing("WAVELA or the header's scale cannot be used", where=target, expected="wavelengths"):
        wavelength = _wavelength(parts["WAVELA"], flux.shape, header, str(target), wavela, notes)
    with parsing("a value of the header cannot be used", where=f"{target}[PRIMARY]", expected="numbers"):
        calibrated, kind = _unit(header, str(target))
        default = 1.0 if calibrated or kind.per_second else None
        exposure = seconds(header, given, f"{target}[PRIMARY]", *EXPOSURE_KEYS, default=default)
        flux, variance = to_counts(flux, variance, kind, exposure, wavelength, notes)
        secz, mjd = _airmass(header, airmass), _mid_exposure(header, exposure)
    with parsing("the fibre table cannot be used", where=f"{target}[FIBRES]", expected="columns of 2dfdr or KSPECDR"):
        fibres = _fibres(parts["FIBRES"], header, len(flux), str(target), notes)
    return Frame(
        flux=flux,
        variance=variance,
        wavelength=wavelength,
        fibres=fibres,
        exposure=exposure,
        airmass=secz,
        mjd=mjd,
        medium=medium or _medium(header),
        name=target.name,
        header=header,
        extras={name: hdu for name, hdu in parts.items() if name != "PRIMARY"},
        notes=tuple(notes),
        calibrated=calibrated,
        dispaxis=dispaxis,
    )


def _wavelength(
    hdu: Any, shape: tuple[int, int], header: fits.Header, where: str, policy: str, notes: list[str]
) -> NDArray[np.float64]:
    """WAVELA in Angstrom, checked against the linear scale of a scrunched frame."""
    values = np.array(hdu.data, dtype=float)
    if values.ndim == 1:
        values = np.broadcast_to(values, shape).copy() if values.shape == shape[1:] else values[None]
    if values.shape != shape and values.T.shape == shape:
        values = values.T
    if values.shape != shape:
        raise DataFileError(f"WAVELA of shape {values.shape}", where=f"{where}[WAVELA]", expected=f"{shape}")
    unit = str(hdu.header.get("BUNIT", "")).strip().lower()
    peak = np.nanmax(values) if np.isfinite(values).any() else np.nan
    factor = {"nm": 10.0, "nanometer": 10.0, "nanometers": 10.0, "um": 1e4, "micron": 1e4, "m": 1e10}.get(unit)
    if factor is None:
        factor = 1e4 if peak < 50 else 10.0 if peak < 2500 else 1.0
    if factor != 1.0:
        notes.append(f"WAVELA was converted to Angstrom (times {factor:g})")
    values = values * factor
    if not np.any(np.isfinite(values)) or not 1500 < np.nanmedian(values) < 60000:
        raise DataFileError(
            f"wavelengths around {np.nanmedian(values):g} A", where=f"{where}[WAVELA]", expected="1500 to 60000 A"
        )
    linear = _header_scale(header, shape[1])
    if linear is None or not header.get("SCRUNCH", False):
        return values
    step = abs(linear[1] - linear[0])
    worst = float(np.nanmax(np.abs(values - linear)) / step)
    if worst <= 0.5 or policy == "trust":
        return values
    if policy == "refuse":
        raise DataFileError(
            f"the frame is scrunched but WAVELA differs from its header by up to {worst:.1f} pixels",
            where=f"{where}[WAVELA]",
            expected="wavelengths of the scrunched pixels",
        )
    notes.append(f"WAVELA was not updated by scrunching (up to {worst:.1f} pixels off); rebuilt from CRVAL1, CDELT1")
    return np.broadcast_to(linear, shape).copy()


def _from_header(primary: Any) -> Any:
    """An HDU of wavelengths from the header's linear scale, where a file has none (2dfdr's scrunched frames)."""
    data = primary.data
    if data is None or data.ndim != 2:
        return None
    n = data.shape[0] if int(primary.header.get("DISPAXIS", 1)) == 2 else data.shape[1]
    scale = _header_scale(primary.header, n)
    return None if scale is None else fits.ImageHDU(np.broadcast_to(scale, (data.size // n, n)).copy(), name="WAVELA")


def _header_scale(header: fits.Header, n: int) -> NDArray[np.float64] | None:
    """The linear wavelength scale of the header in Angstrom, or None."""
    step = header.get("CDELT1", header.get("CD1_1"))
    if step is None or "CRVAL1" not in header or float(step) == 0:
        return None
    scale = float(header["CRVAL1"]) + float(step) * (np.arange(1, n + 1) - float(header.get("CRPIX1", 1.0)))
    factor = 1e4 if abs(scale).max() < 50 else 10.0 if abs(scale).max() < 2500 else 1.0
    return np.asarray(scale * factor, dtype=float)


def _unit(header: fits.Header, where: str) -> tuple[bool, CountUnit]:
    """Whether the frame is calibrated already, and the unit of its counts."""
    unit = str(header.get("BUNIT", "")).strip()
    if unit.lower() in FLUX_UNITS or header.get("FLUXCAL") is True:
        return True, CountUnit()
    kind = count_unit(unit)
    if kind is None:
        raise DataFileError(f"BUNIT {unit!r}", where=f"{where}[PRIMARY]", expected=EXPECTED)
    return False, kind


def to_counts(
    flux: NDArray[np.float64],
    variance: NDArray[np.float64],
    kind: CountUnit,
    exposure: float,
    wavelength: NDArray[np.float64],
    notes: list[str],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts of the whole exposure in each pixel, and their variances, from values per second or per Angstrom."""
    if kind == CountUnit():
        return flux, variance
    factor = kind.factor(exposure, wavelength)
    by = [
        what for what, per in (("the exposure time", kind.per_second), ("the pixels' widths", kind.per_angstrom)) if per
    ]
    notes.append(f"counts are those of the file times {' and '.join(by)}")
    return flux * factor, variance * factor**2


def _airmass(header: fits.Header, given: float | None) -> float:
    if given is not None:
        return float(given)
    if "AIRMASS" in header:
        return float(header["AIRMASS"])
    zenith = [float(header[k]) for k in ("ZDSTART", "ZDEND") if k in header]
    return float(np.mean(airmass_of(np.array(zenith)))) if zenith and max(zenith) < 85 else float("nan")


def _mid_exposure(header: fits.Header, exposure: float) -> float:
    for key in ("UTMJD", "MJD-OBS", "MJD"):
        if key in header:
            return float(header[key]) + 0.5 * exposure / 86400.0
    return float("nan")


def _medium(header: fits.Header) -> str:
    kind = str(header.get("CTYPE1", "")).strip().upper()
    return "vacuum" if kind.startswith("WAVE") and kind != "WAVELENGTH" else "air"


def _fibres(hdu: Any, header: fits.Header, n: int, where: str, notes: list[str]) -> Fibres:
    """The fibre table of 2dfdr (radians) or KSPECDR (degrees), with the header's FIB<n> types on top."""
    names = {str(c).upper(): str(c) for c in hdu.columns.names}
    data = hdu.data
    if len(data) != n:
        raise DataFileError(f"{len(data)} rows", where=f"{where}[FIBRES]", expected=f"{n}, one per spectrum")

    def column(*choices: str) -> Any:
        found = next((names[c] for c in choices if c in names), None)
        return None if found is None else np.asarray(data[found])

    def number(*choices: str) -> NDArray[np.float64]:
        found = column(*choices)
        return np.full(n, np.nan) if found is None else found.astype(float)

    def angle(key: str) -> NDArray[np.float64]:
        if (degrees := column(f"TARGET_{key}")) is not None:
            return degrees.astype(float)
        values = number(key)
        unit = str(hdu.columns[names[key]].unit or "").lower() if key in names else "deg"
        radians = unit.startswith("rad") or (not unit.startswith("deg") and np.nanmax(np.abs(values)) <= 2 * np.pi)
        return np.rad2deg(values) if radians else values

    kind, classes = column("TYPE"), column("TARGET_CLASS")
    if kind is None and classes is None:
        raise DataFileError("no column TYPE", where=f"{where}[FIBRES]", expected="TYPE or target_class")
    types = np.array([str(t).strip().upper()[:1] or "U" for t in kind]) if kind is not None else np.full(n, "P")
    if classes is not None:
        for value, letter in CLASS_TO_TYPE.items():
            types[classes == value] = letter
    overrides = [i for i in range(n) if isinstance(header.get(f"FIB{i + 1}"), str) and header[f"FIB{i + 1}"].strip()]
    for i in overrides:
        types[i] = header[f"FIB{i + 1}"].strip().upper()[:1]
    if overrides:
        notes.append(f"{len(overrides)} fibre types were taken from FIB<n> keywords")
    names_column = column("NAME")
    label = np.array([str(v).strip() for v in names_column]) if names_column is not None else np.full(n, "")
    # KSPECDR writes FIB1, FIB2, ...: fibre labels, not names of stars.
    label = np.array(["" if s.upper() == f"FIB{i + 1}" else s for i, s in enumerate(label)], dtype=str)
    return Fibres(label, angle("RA"), angle("DEC"), number("X"), number("Y"), types.astype(str))


def write(frame: Frame, marks: NDArray[np.uint8]) -> list[Any]:
    """PRIMARY and VARIANCE in float32, WAVELA, FIBRES, MASK; everything else as it was read."""
    header = (frame.header or fits.Header()).copy()
    for key in ("CHECKSUM", "DATASUM", "BZERO", "BSCALE"):
        header.remove(key, ignore_missing=True)
    header["BUNIT"] = (FLUX_UNIT if frame.calibrated else "counts", "unit of the spectra")
    header.setdefault("EXPOSED", frame.exposure)
    turn = (lambda a: a.T) if frame.dispaxis == 2 else (lambda a: a)
    with np.errstate(over="ignore"):
        flux, variance = turn(frame.flux).astype(np.float32), turn(frame.variance).astype(np.float32)
    made: dict[str, Any] = {
        "VARIANCE": fits.ImageHDU(variance, _image_header(frame.extras.get("VARIANCE")), name="VARIANCE"),
        "WAVELA": fits.ImageHDU(frame.wavelength, name="WAVELA"),
        "FIBRES": frame.extras.get("FIBRES") or _fibre_hdu(frame.fibres),
        "MASK": fits.ImageHDU(turn(marks), name="MASK"),
    }
    made["WAVELA"].header["BUNIT"] = "Angstrom"
    made["MASK"].header["COMMENT"] = MARKS
    order = [*[n for n in frame.extras if n not in made], *made]
    order.sort(key=lambda n: list(frame.extras).index(n) if n in frame.extras else len(frame.extras))
    return [fits.PrimaryHDU(flux, header), *[made.get(n, frame.extras.get(n)) for n in order]]


def _image_header(hdu: Any) -> fits.Header | None:
    if hdu is None:
        return None
    header = hdu.header.copy()
    for key in ("BZERO", "BSCALE", "CHECKSUM", "DATASUM"):
        header.remove(key, ignore_missing=True)
    return header


def _fibre_hdu(fibres: Fibres) -> Any:
    width = max([len(s) for s in fibres.name] + [1])
    columns = [
        fits.Column("NAME", f"{width}A", array=fibres.name),
        fits.Column("RA", "D", unit="rad", array=np.deg2rad(fibres.ra)),
        fits.Column("DEC", "D", unit="rad", array=np.deg2rad(fibres.dec)),
        fits.Column("X", "D", unit="um", array=fibres.x),
        fits.Column("Y", "D", unit="um", array=fibres.y),
        fits.Column("TYPE", "1A", array=fibres.type),
    ]
    return fits.BinTableHDU.from_columns(columns, name="FIBRES")


def mark_failed(source: str | os.PathLike[str], path: str | os.PathLike[str], reason: str) -> None:
    """Copy a frame with FLUXCAL = F and the reason; all data stay as they are.

    Raises
    ------
    InputError
        If the copy would replace the source.
    """
    if os.path.realpath(source) == os.path.realpath(path):
        raise InputError("the frame would overwrite itself", where=str(path), expected="another path")
    with (
        parsing("the frame cannot be copied", where=source, expected="a FITS file"),
        fits.open(existing_file(source, what="frame"), memmap=False) as hdus,
    ):
        hdus[0].header["FLUXCAL"] = (False, "flux calibrated?")
        hdus[0].header["FCALFAIL"] = (reason[:60], "why not")
        hdus[0].header.add_history(f"fluxcal failed: {reason}")
        with atomic_path(path) as temporary:
            hdus.writeto(temporary, overwrite=True)


def retyped(frame: Frame, index: Any, type: str) -> Frame:
    """Return a copy of a frame in which fibres (0-based numbers) have another type."""
    return replace(frame, fibres=frame.fibres.retyped(index, type))


#: 2dfdr's manual (https://aat.anu.edu.au/science/software/2dfdr) and https://github.com/hbahk/kspecdr.
LAYOUT = Layout(
    "RED frames of 2dfdr and KSPECDR", "https://github.com/hbahk/kspecdr", lambda hdus: "PRIMARY" in hdus, read, write
)
