"""A resumable store of gridded results: Zarr v3 on disk, readable with xarray, one chunk a unit of work.

A chunk's arrays are written first and its ``done`` flag last, so a process that is killed at any moment leaves
chunks that are either done and whole, or not done. Chunks never share a file: any number of processes write
different chunks at once. Each file carries a CRC-32C, so damage is an error and never a wrong number.
"""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.compute.layout import ChunkLayout
from crosscal.compute.ondisk import Header, check_consistent, coordinate_record, flag_file, make, read_header
from crosscal.compute.reading import Values
from crosscal.compute.schema import Coordinate, Variable, as_coordinate, first_difference
from crosscal.compute.writing import checked_values, unmark, write_values
from crosscal.core.errors import StoreError, UnknownNameError
from crosscal.core.provenance import versions

if TYPE_CHECKING:
    import xarray


class Description(TypedDict, total=False):
    """What a new store may be told of itself; see :meth:`Store.create`."""

    sizes: Mapping[str, int] | None
    job: Any
    provenance: Mapping[str, Any] | None
    attrs: Mapping[str, Any] | None


class Store:
    """An open store. Make one with :meth:`create`, :meth:`open` or :meth:`open_or_create`.

    Attributes
    ----------
    path : Path
    header : Header
        Layout, variables, job, provenance, fingerprint.
    writable : bool
    """

    def __init__(self, path: str | os.PathLike[str], *, writable: bool = False) -> None:
        self.path = Path(path)
        self.writable = writable
        self.header: Header = read_header(self.path)
        self._values = Values(self.path, self.header)

    # ---- opening ------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        variables: Mapping[str, Variable],
        coords: Mapping[str, Coordinate | ArrayLike | tuple[Any, ...]],
        chunk: Mapping[str, int] | int,
        **description: Unpack[Description],
    ) -> Store:
        """Create an empty store and open it for writing.

        Parameters
        ----------
        path : path
            A new directory, by habit ``*.zarr``.
        variables : mapping of name to :class:`Variable`
            The result arrays; the swept dimensions come first in each.
        coords : mapping of name to :class:`Coordinate`, array, or ``(dims, values[, unit])``
            Written at once. A bare array lies along the dimension of its own name.
        chunk : mapping of dimension to length, or int
            The swept dimensions and how many points of each make a unit of work. A bare number cuts the first
            dimension.
        sizes : mapping, optional
            Sizes of dimensions that have no coordinate.
        job : mapping, dataclass, ... optional
            What is computed: everything the results depend on. It is stored as JSON and enters the fingerprint.
        provenance : mapping, optional
            Stored beside it, outside the fingerprint (versions are added): checksums of inputs, seed, date.
        attrs : mapping, optional
            Attributes of the data set as xarray shows them (``title``, ``history``).

        Raises
        ------
        StoreError
            If something is at ``path`` or it cannot be written.
        InputError
            If names, dimensions and sizes do not fit together.
        """
        target = Path(path)
        header, *content = _described(variables, coords, chunk, **description)
        make(target, header, *content)
        return cls(target, writable=True)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, writable: bool = False) -> Store:
        """Open an existing store; nothing of what made it need be installed.

        Raises
        ------
        StoreError
            If nothing is there, or it is foreign, damaged or half-created.
        """
        return cls(path, writable=writable)

    @classmethod
    def open_or_create(
        cls,
        path: str | os.PathLike[str],
        variables: Mapping[str, Variable],
        coords: Mapping[str, Coordinate | ArrayLike | tuple[Any, ...]],
        chunk: Mapping[str, int] | int,
        **description: Unpack[Description],
    ) -> Store:
        """Resume the store at ``path`` if it belongs to the same job, create it if nothing is there.

        Arguments are those of :meth:`create`. Safe to call from several processes at once (job arrays).

        Raises
        ------
        StoreError
            If the store there belongs to another job (the message names the first difference), is foreign or
            damaged.
        """
        target = Path(path)
        header, *content = _described(variables, coords, chunk, **description)
        if not target.exists():
            try:
                make(target, header, *content)
            except StoreError:
                if not target.is_dir():
                    raise
                # Another process of the same array was first: its store is checked below like any other.
        store = cls(target, writable=True)
        store._require_same(header)
        return store

    def _require_same(self, header: Header) -> None:
        if self.header.fingerprint != header.fingerprint:
            new, old = header.as_json(), self.header.as_json()
            found = first_difference(old["job"], new["job"])
            for part in ("layout", "variables", "coords"):
                found = found or first_difference(old[part], new[part], part)
            raise StoreError(
                f"the store belongs to another job ({found or 'its fingerprint differs'})",
                where=str(self.path),
                expected="the same job, or a new path",
            )
        before, now = self.header.provenance.get("versions", {}), versions()
        changed = [f"{n} {before.get(n, '?')} -> {now[n]}" for n in now if before.get(n) != now[n]]
        if changed and not self.complete:
            warnings.warn(
                f"{self.path}: resumed with other versions ({', '.join(changed)}); bits may differ", stacklevel=3
            )

    # ---- what is there ------------------------------------------------------------------------

    @property
    def layout(self) -> ChunkLayout:
        """How the points are cut into chunks."""
        return self.header.layout

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the job, layout, variables and coordinates."""
        return self.header.fingerprint

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables."""
        return tuple(self.header.variables)

    def done(self) -> NDArray[np.bool_]:
        """Return which chunks are done, shape (n_chunks,), read afresh from disk."""
        return np.fromiter((self.is_done(k) for k in range(len(self.layout))), bool, len(self.layout))

    def is_done(self, chunk: int) -> bool:
        """Return whether a chunk is done; a flag that a crash cut short counts as not done."""
        # Read directly (the array's only codec is "bytes"): a thousand flags through zarr take 150 ms.
        try:
            return flag_file(self.path, chunk).read_bytes() == b"\x01"
        except OSError:  # absent, or no file
            return False

    def pending(self) -> NDArray[np.int64]:
        """Return the numbers of the chunks that are not done."""
        return np.flatnonzero(~self.done())

    @property
    def complete(self) -> bool:
        """Whether every chunk is done."""
        return bool(self.done().all())

    # ---- writing ------------------------------------------------------------------------------

    def write_chunk(self, chunk: int, values: Mapping[str, ArrayLike]) -> None:
        """Write all variables of a chunk, then its ``done`` flag.

        Parameters
        ----------
        chunk : int
        values : mapping of name to array
            Every variable of the store, of shape ``layout.shape(chunk)`` + the sizes of its other dimensions.

        Raises
        ------
        StoreError
            If names, shapes or types are not the store's, or the disk is full (the store stays resumable).
        """
        self._require_writable()
        checked = checked_values(self.header, chunk, values, where=f"{self.path}, chunk {chunk}")
        write_values(self.path, self.header, chunk, checked)

    def forget(self, chunks: Sequence[int]) -> None:
        """Mark chunks as not done, so that the next sweep computes them again."""
        self._require_writable()
        for chunk in chunks:
            unmark(self.path, int(chunk))

    # ---- reading ------------------------------------------------------------------------------

    def read(self, name: str, *, partial: bool = False) -> NDArray[Any]:
        """Return a whole variable or coordinate.

        Parameters
        ----------
        name : str
        partial : bool
            Accept a store that is not complete; missing points show the variable's fill value.

        Raises
        ------
        StoreError
            If chunks are missing, or one is damaged (the message names it).
        """
        if name in self.header.coords:
            return self._values.coordinate(name)
        self._require_variable(name)
        done = self.done()
        if not partial and not done.all():
            raise StoreError(
                f"{np.count_nonzero(~done)} of {done.size} chunks are not computed",
                where=str(self.path),
                expected="a finished run (run the same job again to resume)",
            )
        return self._values.variable(name, done)

    def read_chunk(self, chunk: int, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Return variables of one done chunk, shape ``layout.shape(chunk) + ...`` each.

        Raises
        ------
        StoreError
            If the chunk is not done, or damaged.
        """
        if not self.is_done(chunk):
            raise StoreError(f"chunk {chunk} is not computed", where=str(self.path), expected="a done chunk")
        result = {}
        for name in names if names is not None else self.names:
            self._require_variable(name)
            result[name] = self._values.chunk(name, chunk)
        return result

    def chunks(self, names: Sequence[str] | None = None) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
        """Iterate over the done chunks in order, one in memory at a time: ``(chunk, {name: values})``."""
        for chunk in np.flatnonzero(self.done()):
            yield int(chunk), self.read_chunk(int(chunk), names)

    def dataset(self) -> xarray.Dataset:
        """Return the whole store as a lazy xarray data set: xarray reads values when they are used.

        Raises
        ------
        StoreError
            If its description or a coordinate is damaged; `verify` finds damage of other values.
        """
        return self._values.dataset()

    def verify(self, *, repair: bool = False) -> list[tuple[int, str]]:
        """Read every done chunk against its checksum; return the damaged ones as ``(chunk, message)``.

        With ``repair`` they are marked as not done, and the next sweep computes them again.
        """
        bad = []
        for chunk in np.flatnonzero(self.done()):
            try:
                self.read_chunk(int(chunk))
            except StoreError as error:
                bad.append((int(chunk), str(error)))
        if repair and bad:
            self.forget([chunk for chunk, _ in bad])
        return bad

    def tidy(self, *, age: float = 60.0) -> int:
        """Remove the temporary files that killed writers left, if older than ``age`` seconds; return how many.

        Nothing reads them; a writer at work has younger ones. :func:`~crosscal.compute.sweep` calls this on completion.
        """
        old = time.time() - age
        removed = 0
        for place, pattern in ((self.path, "**/*.partial"), (self.path.parent, f".partial-{self.path.name}-*")):
            for remain in place.glob(pattern):
                with suppress(FileNotFoundError):
                    if remain.stat().st_mtime < old:
                        shutil.rmtree(remain) if remain.is_dir() else remain.unlink()
                        removed += 1
        return removed

    def _require_variable(self, name: str) -> None:
        if name not in self.header.variables:
            raise UnknownNameError(
                "variable", name, [*self.header.variables, *self.header.coords], where=str(self.path)
            )

    def _require_writable(self) -> None:
        if not self.writable:
            raise StoreError("the store is open for reading", where=str(self.path), expected="writable=True")

    def __repr__(self) -> str:
        done = self.done()
        return f"<Store {self.path}: {np.count_nonzero(done)} of {done.size} chunks complete>"


def _described(
    variables: Mapping[str, Variable],
    coords: Mapping[str, Coordinate | ArrayLike | tuple[Any, ...]],
    chunk: Mapping[str, int] | int,
    *,
    sizes: Mapping[str, int] | None = None,
    job: Any = None,
    provenance: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> tuple[Header, dict[str, Coordinate], Mapping[str, Any]]:
    """Return what a new store is made of: header, coordinates, attributes."""
    coordinates = {name: as_coordinate(name, c) for name, c in coords.items()}
    known, layout = check_consistent(variables, coordinates, sizes or {}, chunk)
    records = {name: coordinate_record(c) for name, c in coordinates.items()}
    return Header.describe(variables, records, known, layout, job, provenance or {}), coordinates, attrs or {}
