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
    "read_frame": f"{_HERE}.frames.red",
    "write_frame": f"{_HERE}.frames.red",
    "read_catalogue": f"{_HERE}.stars.catalogue",
    "Filter": f"{_HERE}.stars.photometry",
    "load_filter": f"{_HERE}.stars.filters",
    "ab_magnitude": f"{_HERE}.stars.photometry",
    "vega_to_ab": f"{_HERE}.stars.photometry",
    "TemplateLibrary": f"{_HERE}.stars.templates",
    "load_templates": f"{_HERE}.stars.template_files",
    "Curve": f"{_HERE}.curve.curve",
    "combine": f"{_HERE}.curve.combine",
    "calibrate": f"{_HERE}.calibrate",
    "Options": f"{_HERE}.calibrate",
    "Limits": f"{_HERE}.quality",
    "Calibrator": f"{_HERE}.calibrate",
    "Result": f"{_HERE}.result",
    "Night": f"{_HERE}.night.night",
    "calibrate_frames": f"{_HERE}.night.shared",
    "FluxcalJob": f"{_HERE}.config",
    "SiteExtinction": f"{_HERE}.stars.extinction",
    "DustMap": f"{_HERE}.stars.dust",
    "read_dust_map": f"{_HERE}.stars.dust",
    "with_dust": f"{_HERE}.stars.dust",
    "read_site": f"{_HERE}.stars.sites",
    "apply_fluxcal": f"{_HERE}.kspecdr",
    "fetch_bosz": f"{_HERE}.bosz",
    "to_specutils": f"{_HERE}.frames.spectra",
    "from_specutils": f"{_HERE}.frames.spectra",
    "band_error": f"{_HERE}.curve.apply",
    "transfer_function": f"{_HERE}.night.night",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'crosscal.fluxcal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


protect_names(__name__)
