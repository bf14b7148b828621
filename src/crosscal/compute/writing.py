"""Writing into a store: a chunk's values first, its ``done`` flag last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.compute.chunkfile import encode, padded, write_file
from crosscal.compute.ondisk import Header, flag_file, value_file
from crosscal.core.errors import StoreError

_RESUME = "free space and permission to write, then the same job again, which resumes"


def checked_values(
    header: Header, chunk: int, values: Mapping[str, ArrayLike], *, where: str
) -> dict[str, NDArray[Any]]:
    """Return the values of a chunk in the store's types.

    Raises
    ------
    StoreError
        If names or shapes are not the store's, or a type does not hold the values without loss.
    """
    if set(values) != set(header.variables):
        raise StoreError(
            f"variables {', '.join(sorted(values)) or 'none'}", where=where, expected=", ".join(header.variables)
        )
    swept = header.layout.shape(chunk)
    result = {}
    for name, variable in header.variables.items():
        array = np.asarray(values[name])
        shape = swept + tuple(header.sizes[d] for d in variable.dims[len(swept) :])
        if array.shape != shape:
            raise StoreError(f"{name} of shape {array.shape}", where=where, expected=f"{shape}")
        target = np.dtype(variable.dtype)
        converted = array
        if array.dtype != target:
            lossless = np.can_cast(array.dtype, target, "same_kind")
            converted = array.astype(target) if lossless else array
            if not lossless or (target.kind in "iu" and not np.array_equal(converted, array)):
                raise StoreError(f"{name} of type {array.dtype}", where=where, expected=f"{target} values")
        result[name] = converted
    return result


def write_values(path: Path, header: Header, chunk: int, values: Mapping[str, NDArray[Any]]) -> None:
    """Write what :func:`checked_values` returned, then the chunk's ``done`` flag.

    Raises
    ------
    StoreError
        If the disk is full or the place cannot be written; the store stays resumable.
    """
    lengths = header.layout.lengths
    with _reported(path, f"chunk {chunk} cannot be written"):
        for name, array in values.items():
            whole = padded(array, lengths + array.shape[len(lengths) :], header.variables[name].fill)
            write_file(value_file(path, header, name, chunk), encode(whole))
        write_file(flag_file(path, chunk), b"\x01")


def unmark(path: Path, chunk: int) -> None:
    """Mark a chunk as not done; StoreError if that cannot be written."""
    with _reported(path, "the flags of completed chunks cannot be written"):
        write_file(flag_file(path, chunk), b"\x00")


@contextmanager
def _reported(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what} ({error.strerror or error})", where=str(path), expected=_RESUME) from error
