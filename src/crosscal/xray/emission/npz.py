"""Read ``.npz`` files with suspicion: whole, without pickle, or one sentence that names the file."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.core.reading import parsing


def read_arrays(path: Path | Traversable, what: str, *, expected: str | None = None) -> dict[str, NDArray]:
    """Return all arrays of a file.

    Raises
    ------
    DataFileError
        If the file is not a whole ``.npz``, or holds objects that need pickle.
    """
    with (
        parsing(f"not a {what}, or damaged", where=path, expected=expected, told=False),
        path.open("rb") as stream,
        np.load(stream, allow_pickle=False) as archive,
    ):
        return {name: archive[name] for name in archive.files}
