"""Light curves of one source from many telescopes: scale, shift and error model of each, and the merged curve.

    from crosscal import lightcurves

Names are imported on first use. See ``docs/`` for a tutorial.
"""

from importlib import import_module
from typing import Any

_EXPORTS: dict[str, str] = {
    "LightCurve": "crosscal.lightcurves.types",
    "LightCurves": "crosscal.lightcurves.types",
    "Model": "crosscal.lightcurves.model",
    "Normalisation": "crosscal.lightcurves.normalise",
    "Settings": "crosscal.lightcurves.settings",
    "read_pycali": "crosscal.lightcurves.formats.pycali",
    "write_pycali": "crosscal.lightcurves.formats.pycali",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'crosscal.lightcurves' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
