"""Sweeps over grids: a resumable store, executors, and the loop between them.

from crosscal.compute import Store, Variable, sweep
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosscal.compute.executors import EXECUTORS, make_executor
    from crosscal.compute.layout import ChunkLayout
    from crosscal.compute.progress import display
    from crosscal.compute.schema import Coordinate, Variable, fingerprint
    from crosscal.compute.store import Store
    from crosscal.compute.sweeps import SweepReport, array_part, sweep

_EXPORTS = {
    "ChunkLayout": "layout",
    "Coordinate": "schema",
    "EXECUTORS": "executors",
    "Store": "store",
    "SweepReport": "sweeps",
    "Variable": "schema",
    "array_part": "sweeps",
    "display": "progress",
    "fingerprint": "schema",
    "make_executor": "executors",
    "sweep": "sweeps",
}

__all__ = [
    "EXECUTORS",
    "ChunkLayout",
    "Coordinate",
    "Store",
    "SweepReport",
    "Variable",
    "array_part",
    "display",
    "fingerprint",
    "make_executor",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"crosscal.compute.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'crosscal.compute' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
