"""Floor: a finished run directory becomes one HTML file that needs nothing else.

from crosscal.report import write_report
write_report("runs/acis")
"""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "RunRecord": "crosscal.report.record",
    "SECTIONS": "crosscal.report.sections",
    "write_report": "crosscal.report.html",
}

__all__ = ["SECTIONS", "RunRecord", "write_report"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'crosscal.report' has no attribute {name!r}")
