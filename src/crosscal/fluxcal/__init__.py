"""Spectrophotometric flux calibration of fibre spectra from standard stars.

    from crosscal import fluxcal

Names are imported on first use. See ``docs/`` for a tutorial.
"""

from importlib import import_module
from typing import Any

from crosscal.core.lazy import protect_names

_HERE = "crosscal.fluxcal"

_EXPORTS: dict[str, str] = {
    "Frame": f"{_HERE}.types",
    "Fibres": f"{_HERE}.types",
    "Catalogue": f"{_HERE}.types",
    "CalibrationVector": f"{_HERE}.types",
    "StarFit": f"{_HERE}.types",
    "StarStatus": f"{_HERE}.types",
    "read_frame": f"{_HERE}.frames",
    "write_frame": f"{_HERE}.frames",
    "read_catalogue": f"{_HERE}.catalogue",
    "Filter": f"{_HERE}.photometry",
    "load_filter": f"{_HERE}.filters",
    "ab_magnitude": f"{_HERE}.photometry",
    "vega_to_ab": f"{_HERE}.photometry",
    "TemplateLibrary": f"{_HERE}.templates",
    "load_templates": f"{_HERE}.template_files",
    "Curve": f"{_HERE}.curve",
    "combine": f"{_HERE}.combine",
    "calibrate": f"{_HERE}.calibrate",
    "Options": f"{_HERE}.calibrate",
    "Limits": f"{_HERE}.quality",
    "Calibrator": f"{_HERE}.calibrate",
    "Result": f"{_HERE}.result",
    "Night": f"{_HERE}.night",
    "calibrate_frames": f"{_HERE}.shared",
    "FluxcalJob": f"{_HERE}.config",
    "SiteExtinction": f"{_HERE}.extinction",
    "DustMap": f"{_HERE}.dust",
    "read_dust_map": f"{_HERE}.dust",
    "with_dust": f"{_HERE}.dust",
    "read_site": f"{_HERE}.sites",
    "apply_fluxcal": f"{_HERE}.kspecdr",
    "fetch_bosz": f"{_HERE}.bosz",
    "to_specutils": f"{_HERE}.spectra",
    "from_specutils": f"{_HERE}.spectra",
    "band_error": f"{_HERE}.apply",
    "transfer_function": f"{_HERE}.night",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'crosscal.fluxcal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


protect_names(__name__)
