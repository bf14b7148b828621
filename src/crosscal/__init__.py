"""CrossCal: find what must change so that astronomical instruments agree, and how sure we are.

The four parts are imported on first use, so that ``import crosscal`` stays light:

    from crosscal import xray, concordance, lightcurves, fluxcal
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crosscal.core.caches import provide_caches

__version__ = "0.1.0"

_PARTS = ("xray", "concordance", "lightcurves", "fluxcal")

__all__ = ["__version__", "concordance", "enable_x64", "fluxcal", "lightcurves", "show_progress", "xray"]

if TYPE_CHECKING:
    from crosscal import concordance, fluxcal, lightcurves, xray
    from crosscal.compute.progress import show_progress
    from crosscal.inference.jaxconfig import enable_x64


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return import_module(f"crosscal.{name}")
    if name == "enable_x64":
        return import_module("crosscal.inference.jaxconfig").enable_x64
    if name == "show_progress":
        return import_module("crosscal.compute.progress").show_progress
    raise AttributeError(f"module 'crosscal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


# Before anything that keeps a cache is imported.
provide_caches()
