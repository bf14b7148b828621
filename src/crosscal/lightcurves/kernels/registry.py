"""The kernels by name; other packages add theirs through the entry-point group ``crosscal.kernels``."""

from __future__ import annotations

from crosscal.core.registry import Registry
from crosscal.lightcurves.kernels.base import Kernel

KERNELS = Registry(
    "kernel",
    {
        "drw": "crosscal.lightcurves.kernels.drw:DRW",
        "drw+jitter": "crosscal.lightcurves.kernels.drw:JitteredDRW",
        "two-drw": "crosscal.lightcurves.kernels.drw:TwoDRW",
        "matern32": "crosscal.lightcurves.kernels.matern:Matern32",
        "matern52": "crosscal.lightcurves.kernels.matern:Matern52",
        "sho": "crosscal.lightcurves.kernels.oscillator:SHO",
        "carma21": "crosscal.lightcurves.kernels.oscillator:CARMA21",
    },
)


def kernel(name: str | Kernel) -> Kernel:
    """Return the kernel called ``name`` (an instance passes through).

    Raises
    ------
    UnknownNameError
        With the closest known names.
    """
    return name if isinstance(name, Kernel) else KERNELS.get(name)()
