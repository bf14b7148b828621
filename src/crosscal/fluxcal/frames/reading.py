"""Frames from files of any layout, and back (FITS)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from crosscal.core.files import atomic_path, check_path_first, existing_file
from crosscal.core.keywords import keywords
from crosscal.core.reading import parsing
from crosscal.fluxcal.frames.layouts.base import Given
from crosscal.fluxcal.frames.layouts.registry import LAYOUTS, layout_of
from crosscal.fluxcal.types import Frame


@keywords
def read_frame(
    path: str | os.PathLike[str],
    *,
    exposure: float | None = None,
    airmass: float | None = None,
    medium: str | None = None,
    wavela: str = "rebuild",
    layout: str | None = None,
) -> Frame:
    """Read a frame.

    Parameters
    ----------
    path : path
        RED frames of 2dfdr and KSPECDR, frames of DESI, PFS (pfsMerged with its pfsConfig), PypeIt (spec1d), SDSS and
        BOSS (spFrame).
    exposure, airmass, medium : optional
        Used instead of what the header says.
    wavela : "rebuild", "refuse" or "trust"
        What to do with a scrunched RED frame whose WAVELA disagrees with the linear scale of its header.
    layout : str, optional
        Name of the layout; by default that which the file's HDUs have.

    Raises
    ------
    DataFileError
        If a part is missing or is not what the layout says; the message names the HDU and key.
    InputError
        If values are impossible (negative variance, wavelengths that do not increase).
    UnknownNameError
        If there is no such layout or policy.

    Examples
    --------
    >>> frame = fluxcal.read_frame("red_0027.fits")  # doctest: +SKIP
    >>> frame = fluxcal.read_frame("mine.fits", exposure=1800.0, airmass=1.2, medium="air")  # doctest: +SKIP
    """
    target = existing_file(path, what="frame")
    with parsing("not a FITS file", where=target, expected="a frame"), fits.open(target, memmap=False) as opened:
        hdus = fits.HDUList(list(opened))
        for hdu in hdus:
            _ = hdu.data  # what was asked for stays in memory when the file is closed
        member = layout_of(hdus, layout)
    return member.read(hdus, target, Given(exposure, airmass, medium, wavela))


def write_frame(
    path: str | os.PathLike[str],
    frame: Frame,
    *,
    keywords: Mapping[str, tuple[Any, str]] | None = None,
    history: tuple[str, ...] = (),
    tables: Mapping[str, Any] | None = None,
    overwrite: bool = True,
    doubtful: NDArray[np.bool_] | None = None,
) -> None:
    """Write a frame in the layout that it was read from; HDUs without spectra stay as they were.

    Parameters
    ----------
    path : path
        Written under a temporary name and renamed: it is whole or absent.
    frame : Frame
    keywords : mapping of key to (value, comment), set in the first HDU
    history : HISTORY lines
    tables : mapping of HDU name to a FITS HDU, appended (replacing HDUs of the same name)
    overwrite : bool
        Replace an existing file; otherwise that is an error.
    doubtful : array of bool (n_fib, n_pix), optional
        Pixels that MASK of a RED frame, else FCALMASK, marks with 2 (1 is a bad pixel).

    Raises
    ------
    InputError
        If the arguments are swapped.

    Examples
    --------
    >>> fluxcal.write_frame("copy.fits", frame)  # doctest: +SKIP
    """
    check_path_first(path, frame, Frame, where="write_frame")
    own = dict(tables or {})
    made = LAYOUTS.get(frame.layout).write(frame, _marks(frame, doubtful))
    last = {hdu.name.upper(): k for k, hdu in enumerate(made) if hdu.name}
    # A frame that is written anew has FCALMASK from before.
    hdus = [hdu for k, hdu in enumerate(made) if last.get(hdu.name.upper(), k) == k and hdu.name.upper() not in own]
    for key, (value, comment) in (keywords or {}).items():
        hdus[0].header[key] = (value, comment)
    for line in history:
        hdus[0].header.add_history(line)
    with atomic_path(path, overwrite=overwrite) as temporary:
        fits.HDUList([*hdus, *own.values()]).writeto(temporary, overwrite=True)


def _marks(frame: Frame, doubtful: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """1 for bad pixels, 2 for doubtful ones, else 0."""
    mask = (~frame.good).astype(np.uint8)
    return mask if doubtful is None else np.where(frame.good & doubtful, np.uint8(2), mask)
