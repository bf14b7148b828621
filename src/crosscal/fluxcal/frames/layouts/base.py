"""What a layout of frames is, and what those with inverse variances and mask bits have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.fluxcal.types import Frame

#: What the marks of pixels mean.
MARKS = "1 = bad pixel, 2 = the curve was extrapolated"


@dataclass(frozen=True)
class Given:
    """What a user states instead of the file: exposure (s), airmass, medium, and the policy for WAVELA."""

    exposure: float | None = None
    airmass: float | None = None
    medium: str | None = None
    wavela: str = "rebuild"


@dataclass(frozen=True)
class Layout:
    """A way to keep the spectra of an exposure in FITS.

    Attributes
    ----------
    title : str
        One line, shown by ``crosscal list frame-layouts``.
    source : str
        The public description that it follows.
    matches : function of the HDUs
        Whether a file is of this layout.
    read : function of (HDUs, path, Given)
        Returns the Frame; its ``extras`` hold every HDU but the first.
    write : function of (Frame, marks)
        Returns the HDUs that it was read from, with the frame's spectra instead, and the marks (n_fib, n_pix): 1 for
        bad pixels, 2 where the curve was extrapolated.
    """

    title: str
    source: str
    matches: Callable[[fits.HDUList], bool]
    read: Callable[[fits.HDUList, Path, Given], Frame]
    write: Callable[[Frame, NDArray[np.uint8]], list[Any]]

    def __post_init__(self) -> None:
        # What a registry shows of its members is their docstring.
        object.__setattr__(self, "__doc__", self.title)


def keyed(hdus: fits.HDUList) -> dict[str, Any]:
    """All HDUs but the first by name, "HDU3" where one has none, in their order."""
    found: dict[str, Any] = {}
    for k, hdu in enumerate(hdus[1:], start=1):
        name = (hdu.name or f"HDU{k}").upper()
        found[name if name not in found else f"{name}:{k}"] = hdu
    return found


def image(hdu: Any, where: str, shape: tuple[int, ...] | None = None) -> NDArray[np.float64]:
    """An HDU's numbers.

    Raises
    ------
    DataFileError
        If it holds none, or has another shape.
    """
    if hdu is None or hdu.data is None:
        raise DataFileError("no data", where=where, expected="an image")
    values = np.array(hdu.data, dtype=float)
    if shape is not None and values.shape != shape:
        raise DataFileError(f"shape {values.shape}", where=where, expected=f"{shape}")
    return values


def variance_of(ivar: NDArray[np.float64], bad: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Variances, NaN where the inverse variance is not positive or the pixel is bad."""
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(ivar > 0, 1 / ivar, np.nan)
    return variance if bad is None else np.where(bad, np.nan, variance)


def ivar_of(variance: NDArray[np.float64]) -> NDArray[np.float32]:
    """Inverse variances, zero for bad pixels."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ivar = np.where(np.isfinite(variance) & (variance > 0), 1 / variance, 0.0)
    return np.asarray(ivar, dtype=np.float32)


def bits(header: Mapping[str, Any], names: Iterable[str], prefix: str) -> int:
    """The mask with the bits that a header gives to names (``MP_BAD = 0``)."""
    return sum(1 << int(header[prefix + name]) for name in names if prefix + name in header)


def seconds(header: Mapping[str, Any], given: Given, where: str, *keys: str, default: float | None = None) -> float:
    """The exposure time that is stated, or that of the first key that the header has, or the default.

    Raises
    ------
    DataFileError
        If there is none of them, or that of the header is not a positive number.
    """
    if given.exposure is not None:
        return float(given.exposure)
    for key in keys:
        if key in header:
            try:
                value = float(header[key])
            except (TypeError, ValueError):
                value = float("nan")
            if np.isfinite(value) and value > 0:
                return value
            raise DataFileError(f"{key} = {header[key]!r}", where=where, expected="a positive time in s")
    if default is not None:
        return default
    listed = " or ".join(keys)
    raise DataFileError("no exposure time", where=where, expected=f"{listed} in the header, or exposure=...")


def number(header: Mapping[str, Any], key: str) -> float:
    """A number of the header, NaN where there is none."""
    try:
        return float(header[key])
    except (KeyError, TypeError, ValueError):
        return float("nan")


def replaced(hdu: Any, data: NDArray[Any], **keywords: Any) -> Any:
    """A copy of an image HDU with other numbers and keywords."""
    header = hdu.header.copy()
    for key in ("BZERO", "BSCALE", "CHECKSUM", "DATASUM"):
        header.remove(key, ignore_missing=True)
    for key, value in keywords.items():
        header[key] = value
    kind = fits.PrimaryHDU if isinstance(hdu, fits.PrimaryHDU) else fits.ImageHDU
    return kind(data, header)


def marks_hdu(marks: NDArray[np.uint8]) -> Any:
    """An HDU FCALMASK, where a layout's own mask has no bit for what happened in the calibration."""
    hdu = fits.ImageHDU(marks, name="FCALMASK")
    hdu.header["COMMENT"] = MARKS
    return hdu


def texts(column: Any) -> NDArray[np.str_]:
    """A column of names without blanks around."""
    values = np.asarray(column)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "latin-1")
    return np.char.strip(values.astype(str))
