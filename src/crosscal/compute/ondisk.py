"""The form of a store on disk: making a new one, and checking one that is there before anything is read from it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.compute.chunkfile import codecs
from crosscal.compute.layout import ChunkLayout
from crosscal.compute.schema import Coordinate, Variable, array_digest, fingerprint, jsonable
from crosscal.core.errors import InputError, StoreError
from crosscal.core.provenance import versions
from crosscal.core.reading import parsing

FORMAT = 1
HEADER = "crosscal_store"
DONE = "done"
CHUNK_DIM = "chunk"
# Everything else is refused before a byte is decoded: in particular codecs that unpickle.
CODECS = {"bytes", "transpose", "zstd", "blosc", "gzip", "crc32c", "vlen-utf8"}
# Coordinates are cut only where they are long; they are written once, by one process.
_COORDINATE_CHUNK = 1 << 20


@dataclass(frozen=True)
class Header:
    """What a store says about itself, in its root attributes."""

    layout: ChunkLayout
    variables: dict[str, Variable]
    coords: dict[str, dict[str, Any]]  # dims and sha256 of each
    sizes: dict[str, int]
    job: Any
    provenance: dict[str, Any]
    fingerprint: str

    @classmethod
    def describe(
        cls,
        variables: Mapping[str, Variable],
        coords: Mapping[str, dict[str, Any]],
        sizes: Mapping[str, int],
        layout: ChunkLayout,
        job: Any,
        provenance: Mapping[str, Any],
    ) -> Header:
        """Make the header of a new store; its fingerprint covers job, layout, variables and coordinates."""
        plain_job = jsonable(job)
        content = {
            "job": plain_job,
            "layout": jsonable(layout),
            "variables": {name: [list(v.dims), v.dtype] for name, v in variables.items()},
            "coords": dict(coords),
        }
        return cls(
            layout,
            dict(variables),
            dict(coords),
            dict(sizes),
            plain_job,
            {"versions": versions(), **jsonable(dict(provenance), "provenance")},
            fingerprint(content),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form that is stored."""
        return {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "layout": {k: list(getattr(self.layout, k)) for k in ("dims", "sizes", "lengths")},
            "variables": {n: jsonable(v, n) for n, v in self.variables.items()},
            "coords": self.coords,
            "sizes": self.sizes,
            "job": self.job,
            "provenance": self.provenance,
        }

    @classmethod
    def from_json(cls, text: Mapping[str, Any], where: str) -> Header:
        """Read the JSON form.

        Raises
        ------
        StoreError
            If it was written by a later format or has been altered.
        """
        if text.get("format") != FORMAT:
            raise StoreError(
                f"store format {text.get('format')!r}", where=where, expected=f"format {FORMAT} of this version"
            )
        try:
            layout = ChunkLayout(*(tuple(text["layout"][k]) for k in ("dims", "sizes", "lengths")))
            variables = {
                n: Variable(tuple(v["dims"]), v["dtype"], v["unit"], v["description"], _fill(v))
                for n, v in text["variables"].items()
            }
            return cls(
                layout,
                variables,
                dict(text["coords"]),
                dict(text["sizes"]),
                text["job"],
                dict(text["provenance"]),
                str(text["fingerprint"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise StoreError(
                f"its description is damaged ({error})", where=where, expected="a store as CrossCal writes it"
            ) from error


def coordinate_record(coordinate: Coordinate) -> dict[str, Any]:
    """Return what a header says of a coordinate."""
    return {"dims": list(coordinate.dims), "sha256": array_digest(coordinate.values)}


def _fill(stored: Mapping[str, Any]) -> Any:
    return float(stored["fill"]) if isinstance(stored["fill"], str) else stored["fill"]


def check_consistent(
    variables: Mapping[str, Variable], coords: Mapping[str, Coordinate], sizes: Mapping[str, int], chunk: Any
) -> tuple[dict[str, int], ChunkLayout]:
    """Check names, dimensions and sizes against each other; return all sizes and the layout."""
    if not variables:
        raise InputError("no variables", where="store", expected="at least one")
    known = {str(k): int(v) for k, v in sizes.items()}
    for name, coordinate in coords.items():
        for dim, size in zip(coordinate.dims, coordinate.values.shape, strict=True):
            if known.setdefault(dim, size) != size:
                raise InputError(f"{size} values along {dim!r}", where=f"coordinate {name!r}", expected=f"{known[dim]}")
    layout = ChunkLayout.of(known, chunk)
    for name, variable in variables.items():
        where = f"variable {name!r}"
        if variable.dims[: len(layout.dims)] != layout.dims:
            raise InputError(f"dimensions {variable.dims}", where=where, expected=f"the swept ones {layout.dims} first")
        for dim in variable.dims:
            if dim not in known:
                raise InputError(f"dimension {dim!r} has no size", where=where, expected="a coordinate or a size")
    if CHUNK_DIM in known:
        raise InputError(f"a dimension called {CHUNK_DIM!r}", where="store", expected="another name")
    for name in [*variables, *coords]:
        if name == DONE or not name.isidentifier() or (name in variables and name in coords):
            raise InputError(f"the name {name!r}", where="store", expected=f"a new identifier other than {DONE!r}")
    return known, layout


def make(path: Path, header: Header, coords: Mapping[str, Coordinate], attrs: Mapping[str, Any]) -> None:
    """Build an empty store under a temporary name and rename it: ``path`` is whole or absent.

    Raises
    ------
    StoreError
        If something is at ``path`` already or the place cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".partial-{path.name}-"))
        os.chmod(temporary, path.parent.stat().st_mode & 0o777)
        _fill_group(temporary, header, coords, attrs)
        if path.is_symlink() or path.is_file():
            raise FileExistsError(17, "File exists")
        os.rename(temporary, path)
    except OSError as error:
        if os.path.lexists(path):
            raise StoreError("a file of this name already exists", where=str(path), expected="a new name") from error
        raise StoreError(
            f"the store cannot be created ({error.strerror or error})",
            where=str(path),
            expected="a writable place",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _fill_group(root: Path, header: Header, coords: Mapping[str, Coordinate], attrs: Mapping[str, Any]) -> None:
    import zarr

    auxiliary = [n for n, c in coords.items() if c.dims != (n,)]
    attributes = {**jsonable(dict(attrs), "attrs"), HEADER: header.as_json()}
    if auxiliary:
        attributes["coordinates"] = " ".join(auxiliary)  # as xarray marks them (CF conventions 1.11, section 5)
    group = zarr.create_group(root, zarr_format=3, attributes=attributes, overwrite=True)
    layout = header.layout
    for name, variable in header.variables.items():
        rest = variable.dims[len(layout.dims) :]
        group.create_array(
            name,
            shape=layout.sizes + tuple(header.sizes[d] for d in rest),
            chunks=layout.lengths + tuple(max(header.sizes[d], 1) for d in rest),
            dtype=variable.dtype,
            fill_value=np.dtype(variable.dtype).type(variable.fill),
            compressors=codecs(),
            dimension_names=variable.dims,
            attributes=_described(variable),
        )
    for name, coordinate in coords.items():
        values = coordinate.values
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=tuple(max(min(n, _COORDINATE_CHUNK), 1) for n in values.shape),
            dtype=str if values.dtype.kind == "U" else values.dtype,
            compressors=codecs(),
            dimension_names=coordinate.dims,
            attributes=_described(coordinate),
        )
        array[...] = values.astype(object) if values.dtype.kind == "U" else values
    group.create_array(
        DONE,
        shape=(len(layout),),
        chunks=(1,),
        dtype="uint8",
        fill_value=0,
        compressors=None,
        dimension_names=(CHUNK_DIM,),
        attributes={"long_name": "1 where the chunk has been computed and written"},
    )
    consolidate(root)


def value_file(path: Path, header: Header, name: str, chunk: int) -> Path:
    """Return the file that holds a variable's values in a chunk (Zarr v3 default chunk keys)."""
    block = header.layout.block(chunk)
    rest = len(header.variables[name].dims) - len(block)
    return path.joinpath(name, "c", *map(str, block + (0,) * rest))


def flag_file(path: Path, chunk: int) -> Path:
    """Return the file that holds a chunk's ``done`` flag."""
    return path / DONE / "c" / str(chunk)


def consolidate(root: Path) -> None:
    """Copy the arrays' descriptions into the root, where xarray looks first."""
    import zarr

    with warnings.catch_warnings():
        # Readers that do not know this (optional) record ignore it.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(str(root), zarr_format=3)


def _described(item: Variable | Coordinate) -> dict[str, Any]:
    pairs = {"units": item.unit, "long_name": item.description}
    return {key: text for key, text in pairs.items() if text}


def read_header(path: Path) -> Header:
    """Read and check the description of the store at ``path``, and that of each of its arrays.

    Raises
    ------
    StoreError
        If nothing is there, it is not a CrossCal store, or it is damaged or half-created.
    """
    where = str(path)
    if not path.exists():
        raise StoreError("there is no store", where=where, expected="an existing store")
    if not path.is_dir():
        raise StoreError("this is a file", where=where, expected="the directory of a Zarr store")
    root = _read_json(path / "zarr.json", where)
    header = root.get("attributes", {}).get(HEADER) if root.get("node_type") == "group" else None
    if root.get("zarr_format") != 3 or not isinstance(header, dict):
        raise StoreError("this Zarr store was not written by CrossCal", where=where, expected="one that CrossCal wrote")
    result = Header.from_json(header, where)
    for name in [*result.variables, *result.coords, DONE]:
        with parsing("its description is damaged", where=path / name, error=StoreError):
            _check_array(path, name, result)
    return result


def _read_json(path: Path, where: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path.name} is missing", where=where, expected="a complete Zarr v3 store") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path.name} cannot be read ({error})", where=where, expected="JSON") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path.name} is not a mapping", where=where, expected="Zarr v3 metadata")
    return content


def _check_array(root: Path, name: str, header: Header) -> None:
    where = str(root / name)
    content = _read_json(root / name / "zarr.json", where)
    names = [c.get("name") for c in content.get("codecs", []) if isinstance(c, dict)]
    for codec in names:
        allowed = {"bytes"} if name == DONE else CODECS
        if codec not in allowed:
            raise StoreError(f"codec {codec!r}", where=where, expected="one of " + ", ".join(sorted(allowed)))
    shape = content.get("shape")
    if name == DONE:
        expected = [len(header.layout)]
    elif name in header.variables:
        dims = header.variables[name].dims
        lengths = dict(zip(header.layout.dims, header.layout.sizes, strict=True))
        expected = [lengths.get(d, header.sizes.get(d, -1)) for d in dims]
    else:
        expected = [header.sizes.get(d, -1) for d in header.coords[name]["dims"]]
    if shape != expected:
        raise StoreError(f"shape {shape}", where=where, expected=str(expected))
