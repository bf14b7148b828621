"""Read and write plasma table files (``.npz`` without pickle), and find the table that a user asked for."""

from __future__ import annotations

import json
import os
import zipfile
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.core.files import atomic_path, existing_file
from crosscal.xray.emission import elements
from crosscal.xray.emission.npz import read_arrays
from crosscal.xray.emission.plasma import CompactPlasma, PlasmaTable

FORMAT = "crosscal plasma table"
FORMAT_VERSION = 1
BUILT_IN = "data/plasma.npz"
PRECISIONS = {"half": np.float16, "single": np.float32}
_TOP = 6.0e4  # just below the largest half-precision number


def _boltzmann(energy: NDArray, kT: NDArray) -> NDArray:
    """The steep part of thermal emission, divided out so that few digits suffice; shape (n_T, n)."""
    return np.exp(-np.minimum(energy[None, :] / kT[:, None], 600.0))


def _pack(values: NDArray, kind: type) -> tuple[NDArray, NDArray]:
    """Scale the last axis to the number type's range; return numbers and scales."""
    scale = values.max(axis=-1, keepdims=True) / _TOP
    scale[scale == 0] = 1.0
    return (values / scale).astype(kind), scale[..., 0]


def _planes(numbers: NDArray) -> NDArray[np.uint8]:
    """Reorder bytes by significance: high bytes repeat and so compress far better."""
    raw = np.ascontiguousarray(numbers.astype(numbers.dtype.newbyteorder(">")))
    return np.moveaxis(raw.view(np.uint8).reshape(*numbers.shape, numbers.itemsize), -1, 0).copy()


def _from_planes(planes: NDArray[np.uint8]) -> NDArray[np.float64]:
    raw = np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    return raw.view(f">f{planes.shape[0]}")[..., 0].astype(np.float64)


def write_table(
    path: str | os.PathLike[str], table: CompactPlasma, *, precision: str = "half", overwrite: bool = True
) -> Path:
    """Write a plasma table.

    Parameters
    ----------
    path : path
        The name must end in ``.npz``.
    table : CompactPlasma
    precision : "half" or "single"
    overwrite : bool

    Raises
    ------
    InputError, DataFileError
        For a wrong name, precision, or an unwritable place.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS, where="plasma table")
    if Path(path).suffix != ".npz":
        raise InputError("the name has another suffix", where=str(path), expected="a name ending in .npz")
    kind = PRECISIONS[precision]
    width = np.diff(table.edges)
    centre = np.sqrt(table.edges[1:] * table.edges[:-1])
    smooth = table.content / (_boltzmann(centre, table.kT)[:, None, :] * width / centre)
    content, content_scale = _pack(smooth, kind)
    # Lines are scaled per line, over temperature.
    smooth_lines = table.line_emissivity / _boltzmann(table.line_energy, table.kT)
    lines, line_scale = _pack(smooth_lines.T, kind)
    about = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "source": table.version,
        "citation": table.citation,
        "groups": [list(group) for group in elements.GROUPS],
        "trace_elements": list(elements.TRACE),
        "velocity_km_s": table.velocity,
        "thermal": table.thermal,
        "units": "photon cm3 / s; keV; abundances of Anders & Grevesse (1989)",
    }
    arrays: dict[str, NDArray] = {
        "about": np.array(json.dumps(about, indent=1)),
        "kT": table.kT,
        "edges": table.edges,
        "content": _planes(content),
        "content_scale": content_scale,
        "line_energy": table.line_energy,
        "line_element": table.line_element.astype(np.uint8),
        "lines": _planes(lines),
        "line_scale": line_scale,
        "trace_share": table.trace_share,
    }
    with atomic_path(path, overwrite=overwrite) as temporary:
        _write_npz(temporary, arrays)
    return Path(path)


def _write_npz(path: Path, arrays: dict[str, NDArray]) -> None:
    """Like numpy.savez_compressed, at the best compression and with fixed dates: same table, same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=False) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def read_table(path: str | os.PathLike[str]) -> CompactPlasma:
    """Read a plasma table that ``build_plasma`` wrote.

    Raises
    ------
    DataFileError
        If the file is absent, corrupted, or something else.
    """
    source = existing_file(path, what="plasma table")
    where, expected = str(source), "a file written by 'crosscal data build-plasma'"
    arrays = read_arrays(source, "plasma table", expected=expected)
    try:
        about = json.loads(str(arrays.pop("about")))
    except (KeyError, ValueError, RecursionError) as error:
        raise DataFileError("not a plasma table", where=where, expected=expected) from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise DataFileError("not a plasma table", where=where, expected=expected)
    if about.get("format_version") != FORMAT_VERSION:
        raise DataFileError(
            f"plasma table of format version {about.get('format_version')}",
            where=where,
            expected=f"version {FORMAT_VERSION}: build the table again",
        )
    try:
        return _assemble(about, arrays)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DataFileError("the arrays do not fit together", where=where, expected=expected) from error


def _assemble(about: dict, arrays: dict[str, NDArray]) -> CompactPlasma:
    kT, edges = arrays["kT"].astype(float), arrays["edges"].astype(float)
    if any(array.dtype.kind not in "fiu" for array in arrays.values()) or arrays["line_element"].dtype.kind != "u":
        raise ValueError("an array does not hold numbers")
    if [tuple(g) for g in about["groups"]] != list(elements.GROUPS):
        raise ValueError("groups")
    centre = np.sqrt(edges[1:] * edges[:-1])
    content = _from_planes(arrays["content"]) * arrays["content_scale"][..., None]
    content *= (_boltzmann(centre, kT) * np.diff(edges) / centre)[:, None, :]
    lines = (_from_planes(arrays["lines"]) * arrays["line_scale"][:, None]).T
    lines = lines * _boltzmann(arrays["line_energy"], kT)
    n_lines = arrays["line_energy"].size
    shapes_fit = (
        content.shape == (kT.size, len(elements.GROUPS), edges.size - 1)
        and lines.shape == (kT.size, n_lines)
        and arrays["line_element"].shape == (n_lines,)
        and arrays["trace_share"].shape == (len(elements.TRACE),)
    )
    finite = all(np.all(np.isfinite(a)) for a in (kT, edges, content, lines, arrays["trace_share"]))
    positive = all(a.size and a.min() > 0 for a in (kT, edges, np.append(arrays["line_energy"], 1.0)))
    sane = positive and np.all(np.diff(kT) > 0) and np.all(np.diff(edges) > 0) and content.min() >= 0
    if not (shapes_fit and finite and sane and arrays["line_element"].max(initial=0) < len(elements.SYMBOLS)):
        raise ValueError("arrays")
    return CompactPlasma(
        kT=kT,
        edges=edges,
        content=content,
        line_energy=arrays["line_energy"].astype(float),
        line_element=arrays["line_element"].astype(np.int64),
        line_emissivity=np.ascontiguousarray(lines),
        trace_share=arrays["trace_share"].astype(float),
        version=str(about["source"]),
        citation=str(about["citation"]),
        velocity=float(about["velocity_km_s"]),
        thermal=bool(about["thermal"]),
    )


@lru_cache(maxsize=1)
def built_in_table() -> CompactPlasma:
    """Return the compact table that ships with the package (see its ``version`` and ``citation``)."""
    with as_file(files("crosscal.xray.emission").joinpath(BUILT_IN)) as path:
        return read_table(path)


@lru_cache(maxsize=4)
def _cached(path: str, stamp: tuple[int, int]) -> PlasmaTable:
    if Path(path).is_dir():
        from crosscal.xray.emission.atomdb import read_atomdb

        return read_atomdb(path)
    return read_table(path)


def plasma_table(table: PlasmaTable | str | os.PathLike[str] | None = None) -> PlasmaTable:
    """Return a plasma table: the built-in one (None), a ``.npz`` file, or a directory of AtomDB files.

    Raises
    ------
    DataFileError
        If there is no such file or directory, or it cannot be read.

    Examples
    --------
    >>> table = xray.plasma_table()  # doctest: +SKIP
    """
    if table is None:
        return built_in_table()
    if isinstance(table, PlasmaTable):
        return table
    path = Path(table)
    if not path.exists():
        raise DataFileError(
            "no such plasma table", where=str(path), expected="a .npz file or a directory with AtomDB files"
        )
    stat = path.stat()
    return _cached(str(path.resolve()), (stat.st_mtime_ns, stat.st_size))


class TableLoader:
    """Loads the plasma table when a component first asks for it."""

    def __init__(self, table: PlasmaTable | str | os.PathLike[str] | None) -> None:
        self._source = table
        self._loaded: PlasmaTable | None = None

    def __call__(self) -> PlasmaTable:
        if self._loaded is None:
            self._loaded = plasma_table(self._source)
        return self._loaded
