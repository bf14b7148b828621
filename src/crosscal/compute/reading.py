"""Reading the values of a store: what is damaged or missing is an error that names it, never a wrong number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosscal.compute.ondisk import Header, value_file
from crosscal.core.broken import is_broken_content
from crosscal.core.errors import StoreError
from crosscal.core.reading import parsing

if TYPE_CHECKING:
    import xarray

_INTACT = "an intact file; Store.verify(repair=True) marks such chunks to be computed again"


class Values:
    """The values of the store at ``path``. Which chunks are done is the caller's knowledge.

    Parameters
    ----------
    path : Path
    header : Header
    """

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self._header = header
        self._arrays: dict[str, Any] = {}

    def coordinate(self, name: str) -> NDArray[Any]:
        """Return a coordinate; StoreError if it is damaged."""
        values = self._get(name, ..., f"coordinate {name!r}")
        return np.array(values.tolist(), dtype=str) if values.dtype.kind in "OT" else values

    def variable(self, name: str, done: NDArray[np.bool_]) -> NDArray[Any]:
        """Return a whole variable, with its fill value where chunks are not ``done`` (n_chunks,).

        Raises
        ------
        StoreError
            If a chunk is damaged or its file is missing.
        """
        for chunk in np.flatnonzero(done):
            self._require_file(name, int(chunk))
        array = self._array(name)
        if done.all():
            try:
                return np.asarray(array[...])
            except Exception as error:  # which chunk it is, is found and named below
                if not is_broken_content(error):
                    raise
        # Chunk by chunk: files of chunks that are not done may be remainders of a killed write, not data.
        values = np.full(array.shape, self._header.variables[name].fill, dtype=array.dtype)
        for chunk in np.flatnonzero(done):
            values[self._header.layout.slices(int(chunk))] = self.chunk(name, int(chunk))
        return values

    def chunk(self, name: str, chunk: int) -> NDArray[Any]:
        """Return a variable's values in one done chunk; StoreError if it is damaged or its file is missing."""
        self._require_file(name, chunk)
        return self._get(name, self._header.layout.slices(chunk), _called(name, chunk))

    def dataset(self) -> xarray.Dataset:
        """Return the store as a lazy xarray data set with its coordinates loaded; StoreError if one is damaged."""
        import xarray

        with parsing("the store cannot be opened", where=self._path, expected=_INTACT, error=StoreError):
            dataset = xarray.open_zarr(str(self._path), consolidated=False, chunks=None)
            for name in self._header.coords:
                dataset[name].load()
        return dataset

    def _array(self, name: str) -> Any:
        if name not in self._arrays:
            import zarr

            with parsing(f"the description of {name!r} is damaged", where=self._path, error=StoreError):
                self._arrays[name] = zarr.open_array(str(self._path / name), mode="r", zarr_format=3)
        return self._arrays[name]

    def _require_file(self, name: str, chunk: int) -> None:
        # Zarr would show an absent file as fill values; every chunk is written, so here it means a loss.
        if not value_file(self._path, self._header, name, chunk).is_file():
            raise StoreError(f"the file of {_called(name, chunk)} is missing", where=str(self._path), expected=_INTACT)

    def _get(self, name: str, region: Any, what: str) -> NDArray[Any]:
        with parsing(f"{what} is damaged", where=self._path, expected=_INTACT, error=StoreError):
            return np.asarray(self._array(name)[region])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_arrays": {}}


def _called(name: str, chunk: int) -> str:
    return f"chunk {chunk} of {name!r}"
