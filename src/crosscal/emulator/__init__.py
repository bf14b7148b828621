"""Floor: learn a smooth map from points, know its domain and its error, evaluate it fast.

from crosscal.emulator import TrainingTable, train, save, load, validate
"""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "CLASSES": "registry",
    "EMULATORS": "registry",
    "Emulator": "base",
    "Input": "table",
    "TrainingTable": "table",
    "Validation": "validation",
    "load": "storage",
    "save": "storage",
    "train": "registry",
    "validate": "validation",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"crosscal.emulator.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'crosscal.emulator' has no attribute {name!r}")
