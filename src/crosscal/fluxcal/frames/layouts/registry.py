"""The layouts of frames by name; the first that matches a file reads it, and RED frames come last."""

from __future__ import annotations

from astropy.io import fits

from crosscal.core.registry import Registry
from crosscal.fluxcal.frames.layouts.base import Layout

_HERE = "crosscal.fluxcal.frames.layouts"

#: A member is a :class:`Layout`.
LAYOUTS = Registry(
    "frame layout",
    {
        "desi": f"{_HERE}.desi:LAYOUT",
        "pfs": f"{_HERE}.pfs:LAYOUT",
        "pypeit": f"{_HERE}.pypeit:LAYOUT",
        "sdss": f"{_HERE}.sdss:LAYOUT",
        "red": "crosscal.fluxcal.frames.red:LAYOUT",
    },
)


def layout_of(hdus: fits.HDUList, name: str | None = None) -> Layout:
    """The layout called ``name``, or the first that matches the HDUs.

    Raises
    ------
    UnknownNameError
        If there is no layout of this name.
    """
    if name is not None:
        return LAYOUTS.get(name)
    members = [LAYOUTS.get(key) for key in LAYOUTS.names() if key != "red"]
    return next((layout for layout in members if layout.matches(hdus)), LAYOUTS.get("red"))
