"""Emulators as one file: an npz archive of plain arrays with a JSON description; nothing is ever unpickled."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.errors import DataFileError
from crosscal.core.files import atomic_path, existing_file
from crosscal.core.reading import parsing
from crosscal.emulator.base import Emulator
from crosscal.emulator.registry import CLASSES
from crosscal.emulator.table import Input

FORMAT = "crosscal-emulator"
VERSION = 1


def save(emulator: Emulator, path: str | os.PathLike[str]) -> Path:
    """Write an emulator to ``path`` (customarily ``.npz``), atomically, and return the path."""
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "kind": emulator.kind,
        "inputs": [asdict(i) for i in emulator.inputs],
        "outputs": list(emulator.outputs),
        "settings": emulator.settings(),
        "report": dict(emulator.report),
        "provenance": dict(emulator.provenance),
    }
    text = json.dumps(facts, default=_plain)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        content: dict[str, Any] = {
            "_description": np.frombuffer(text.encode(), dtype=np.uint8),
            "_residual_sd": emulator.residual_sd,
            **emulator.arrays(),
        }
        np.savez(stream, **content)
    return Path(path)


def load(path: str | os.PathLike[str]) -> Emulator:
    """Read an emulator that `save` wrote; the library it was trained on is not needed.

    Raises
    ------
    DataFileError
        If the file is absent, damaged, not an emulator, or of a newer version of the format.
    """
    source = existing_file(path, what="emulator")
    expected = "a file written by CrossCal's emulator.save"
    with parsing("not an emulator, or damaged", where=path, expected=expected, told=False):
        with np.load(source, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        facts = json.loads(bytes(arrays.pop("_description")).decode())
        residual_sd = arrays.pop("_residual_sd")
        ours = facts["format"] == FORMAT and facts["version"] <= VERSION
    if not ours:
        raise DataFileError(
            f"format {facts['format']!r} version {facts['version']}",
            where=str(path),
            expected=f"{FORMAT!r} up to version {VERSION}",
        )
    with parsing("an emulator with missing parts, or parts that do not fit", where=path, expected=expected):
        if any(array.dtype.kind not in "fiu" or not np.all(np.isfinite(array)) for array in arrays.values()):
            raise ValueError("an array does not hold finite numbers")
        emulator = CLASSES.get(facts["kind"], where=str(path)).from_arrays(
            arrays,
            facts["settings"],
            inputs=tuple(Input(**i) for i in facts["inputs"]),
            outputs=tuple(facts["outputs"]),
            residual_sd=residual_sd,
            report=facts["report"],
            provenance=facts["provenance"],
        )
        _check(emulator)
    return emulator


def _check(emulator: Emulator) -> None:
    """Raise ValueError unless the arrays make a map of the inputs to the outputs."""
    if not isinstance(emulator.report, dict) or not isinstance(emulator.provenance, dict):
        raise ValueError("report or provenance is not a mapping")
    n = len(emulator.outputs)
    if not n or not all(isinstance(name, str) for name in (*emulator.outputs, *emulator.names)):
        raise ValueError("inputs or outputs without names")
    if emulator.residual_sd.shape != (n,):
        raise ValueError(f"{emulator.residual_sd.shape} residuals of {n} outputs")
    low, high = np.array([(i.low, i.high) for i in emulator.inputs], dtype=float).T
    # The corners of the domain reach every part of each array's index range.
    values = emulator.predict(np.stack([low, 0.5 * (low + high), high]))
    if values.shape != (3, n) or not np.all(np.isfinite(values)):
        raise ValueError("its values are not finite")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
