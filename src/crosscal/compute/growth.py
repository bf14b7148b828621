"""More points for a finished or unfinished store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from crosscal.compute.layout import ChunkLayout
from crosscal.compute.ondisk import (
    DONE,
    HEADER,
    Header,
    consolidate,
    coordinate_record,
    read_header,
    storable,
)
from crosscal.compute.schema import Coordinate, array_digest, as_coordinate
from crosscal.compute.store import Store
from crosscal.core.errors import InputError, StoreError


def grow(
    path: str | os.PathLike[str],
    coords: Mapping[str, Coordinate | ArrayLike | tuple[Any, ...]],
    *,
    job: Any,
) -> Store:
    """Append points to the one swept dimension of a store and open it; what is done stays done.

    Only one process may do this, and no sweep may run meanwhile. A killed call is completed by the same call.
    The last chunk, where it was not full, is computed again.

    Parameters
    ----------
    path : path
        A store with one swept dimension.
    coords : mapping
        All coordinates along the swept dimension, for all points: the old values first, then the new ones.
    job : mapping, dataclass, ...
        The description of the grown job; it replaces the old one in store and fingerprint.

    Raises
    ------
    InputError
        If coordinates are missing, get shorter, or change an old value.
    StoreError
        If the store has several swept dimensions, or cannot be written.
    """
    target = Path(path)
    old = read_header(target, growing=True)
    if len(old.layout.dims) != 1:
        raise StoreError(f"swept dimensions {old.layout.dims}", where=str(target), expected="one, to grow along it")
    (dim,) = old.layout.dims
    given = {name: as_coordinate(name, c) for name, c in coords.items()}
    n = _checked_length(target, old, dim, given)
    new = _grown_header(old, dim, n, given, job)
    try:
        _write(target, old, new, given)
    except OSError as error:
        raise StoreError(
            f"the store cannot be grown ({error.strerror or error})",
            where=str(target),
            expected="free space and permission to write, then the same call again",
        ) from error
    return Store.open(target, writable=True)


def _checked_length(path: Path, old: Header, dim: str, given: Mapping[str, Coordinate]) -> int:
    """Return the new number of points after checking that old coordinate values stay what they are."""
    needed = {name for name, c in old.coords.items() if dim in c["dims"]}
    if not needed:
        raise InputError(f"no coordinate lies along {dim!r}", where=str(path), expected="at least one, to grow by")
    if set(given) != needed:
        raise InputError(
            f"coordinates {', '.join(sorted(given)) or 'none'}",
            where=str(path),
            expected=f"all along {dim!r}: {', '.join(sorted(needed))}",
        )
    size, lengths = old.layout.sizes[0], set()
    for name, coordinate in given.items():
        where = f"{path}, coordinate {name!r}"
        if list(coordinate.dims) != old.coords[name]["dims"] or coordinate.dims[0] != dim:
            raise InputError(f"dimensions {coordinate.dims}", where=where, expected=f"{old.coords[name]['dims']}")
        if array_digest(coordinate.values[:size]) != old.coords[name]["sha256"]:
            raise InputError("the first values changed", where=where, expected=f"the {size} old values, then more")
        lengths.add(coordinate.values.shape[0])
    if len(lengths) != 1:
        raise InputError(f"lengths {sorted(lengths)}", where=str(path), expected="equal numbers of points")
    return lengths.pop()


def _grown_header(old: Header, dim: str, n: int, given: Mapping[str, Coordinate], job: Any) -> Header:
    layout = ChunkLayout((dim,), (n,), old.layout.lengths)
    coords = {**old.coords, **{name: coordinate_record(c) for name, c in given.items()}}
    return Header.describe(old.variables, coords, {**old.sizes, dim: n}, layout, job, old.provenance)


def _write(path: Path, old: Header, new: Header, given: Mapping[str, Coordinate]) -> None:
    """Resize everything; the root, which says how long the arrays are, comes last."""
    import zarr

    def array(name: str) -> Any:
        return zarr.open_array(str(path / name), mode="r+", zarr_format=3)

    size, length, n = old.layout.sizes[0], old.layout.lengths[0], new.layout.sizes[0]
    done = array(DONE)
    if n > size and size % length:
        done[size // length] = 0
    for name in new.variables:
        variable = array(name)
        variable.resize((n, *variable.shape[1:]))
    for name, coordinate in given.items():
        stored = array(name)
        stored.resize(coordinate.values.shape)
        stored[...] = storable(coordinate.values)
    done.resize((len(new.layout),))
    zarr.open_group(str(path), mode="r+", zarr_format=3).attrs[HEADER] = new.as_json()
    consolidate(path)
