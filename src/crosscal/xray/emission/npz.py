"""Read ``.npz`` files with suspicion: whole, without pickle, or one sentence that names the file."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError

# What zipfile and numpy raise on truncated or scrambled files; NotImplementedError for methods that zip might have.
BROKEN = (
    OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError, MemoryError, OverflowError,
    NotImplementedError, SyntaxError, RecursionError, RuntimeError, struct.error, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_arrays(path: Path | Traversable, what: str, *, expected: str | None = None) -> dict[str, NDArray]:
    """Return all arrays of a file.

    Raises
    ------
    DataFileError
        If the file is not a whole ``.npz``, or holds objects that need pickle.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except BROKEN as error:
        raise DataFileError(f"not a {what}, or damaged", where=str(path), expected=expected) from error
