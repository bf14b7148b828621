"""Light curves of one source from many telescopes: scale, shift and error model of each, and the merged curve.

    from crosscal import lightcurves

Names are imported on first use. See ``docs/`` for a tutorial.
"""

from importlib import import_module
from typing import Any

from crosscal.core.lazy import protect_names

_MODULES: dict[str, tuple[str, ...]] = {
    "calibrated": ("Calibrated",),
    "diagnostics": ("Diagnostics",),
    "figures": ("figures",),
    "formats.pycali": ("read_block_file", "read_pycali", "write_pycali"),
    "formats.curves": ("Curves",),
    "formats.registry": ("LAYOUTS",),
    "formats.survey": (
        "Selection",
        "from_timeseries",
        "merge",
        "read",
        "read_asassn",
        "read_atlas",
        "read_columns",
        "read_table",
        "read_ztf",
        "rebin",
    ),
    "identifiability": ("Overlap",),
    "intercalibrate": ("compare_kernels", "intercalibrate"),
    "job": ("PART", "TEMPLATE", "LightcurvesJob", "demo", "job_from_param_file", "run"),
    "kernels.base": ("Kernel",),
    "kernels.registry": ("KERNELS",),
    "model": ("Model",),
    "normalise": ("Normalisation",),
    "outliers": ("LeaveOneOut", "remove_outliers"),
    "physical": ("Factors",),
    "problem": ("make_problem",),
    "reconstruct": ("Reconstruction", "reconstruct"),
    "result": ("Result",),
    "seasons": ("split_seasons",),
    "settings": ("Settings",),
    "synthetic": ("Truth", "simulate"),
    "timesystem": ("TimeSystem",),
    "types": ("LightCurve", "LightCurves"),
}
_EXPORTS = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"crosscal.lightcurves.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'crosscal.lightcurves' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


protect_names(__name__)
