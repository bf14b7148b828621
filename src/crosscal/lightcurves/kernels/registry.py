"""The kernels by name; other packages add theirs through the entry-point group ``crosscal.kernels``."""

from __future__ import annotations

from crosscal.core.errors import InputError
from crosscal.core.registry import Registry
from crosscal.lightcurves.kernels.base import Kernel, Variability

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
        "running-mean": "crosscal.lightcurves.kernels.running:RunningMean",
    },
)


def kernel(name: str | Variability) -> Variability:
    """Return the kernel called ``name`` (an instance passes through).

    Raises
    ------
    UnknownNameError
        With the closest known names.
    """
    return name if isinstance(name, Variability) else KERNELS.get(name)()


def process(name: str | Variability, *, where: str) -> Kernel:
    """Return the kernel called ``name`` where only a Gaussian process will do.

    Raises
    ------
    UnknownNameError
        With the closest known names.
    InputError
        If it is none.
    """
    found = kernel(name)
    if not isinstance(found, Kernel):
        raise InputError(
            f"{name!r} is not a Gaussian process, so it has no evidence and cannot simulate", where=where,
            expected=f"one of {', '.join(processes())}",
        )  # fmt: skip
    return found


def processes() -> list[str]:
    """Return the names of the kernels that are Gaussian processes."""
    return [name for name in KERNELS.names() if issubclass(KERNELS.get(name), Kernel)]
