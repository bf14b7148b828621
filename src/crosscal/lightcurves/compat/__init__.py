"""PyCALI compatibility: its options, parameter file, text outputs and helper functions, under its names.

Its defects are mended here: nothing exits the interpreter or changes the working directory; every line is
reconstructed with its own process; a telescope seen only in lines is normalised by its line; ``time_range`` uses both
ends; ``rebin=False`` disables; zero points go by filter; outliers are judged by exact leave-one-out residuals, keep
their flags and the order of the input. The internal files of its sampler (sample.txt, sample_info.txt, levels.txt,
sampler_state.txt) have no counterpart and are not written.
"""

from importlib import import_module
from typing import Any

_MODULES: dict[str, tuple[str, ...]] = {
    "api": ("Cali", "Config", "plot_results", "simple_plot"),
    "helpers": (
        "convert_asassn", "convert_mydata", "convert_ztf", "data_rebin", "format", "format_blocks",
        "generate_mock_data", "load_pycali_data", "load_pycali_data_flag", "remove_outliers",
    ),
    "options": ("Options", "read_param_file"),
    "outputs": ("write_pycali_outputs",),
}  # fmt: skip
_EXPORTS = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"crosscal.lightcurves.compat.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'crosscal.lightcurves.compat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
