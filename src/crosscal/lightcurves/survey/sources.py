"""Which sources a survey has, and where their light curves are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.lightcurves import reading
from crosscal.lightcurves.formats.columns import curves_of
from crosscal.lightcurves.formats.raw import RawTable, raw_table
from crosscal.lightcurves.formats.registry import layout_of
from crosscal.lightcurves.formats.selection import Selection
from crosscal.lightcurves.formats.words import key_of
from crosscal.lightcurves.types import LightCurves

#: Names of the columns of a table of sources.
SOURCE = ("source", "object", "name", "target", "id")
FILE = ("file", "path", "filename")
TELESCOPE = ("telescope", "instrument", "code")


@dataclass(frozen=True)
class Source:
    """One source: the files of its light curves, or the tables that hold its rows.

    Attributes
    ----------
    name : str
    files : tuple of (str, str)
        Path, and the telescope of a file that does not name it.
    column : str
        The column of the source's name in tables of many sources; empty where the files are its own.
    """

    name: str
    files: tuple[tuple[str, str], ...]
    column: str = ""

    def curves(self, selection: Selection, unit: str = "") -> LightCurves:
        """Read and merge the light curves.

        Raises
        ------
        DataFileError, InputError
            Naming the file.
        """
        if not self.column:
            named = [({telescope: path} if telescope else path) for path, telescope in self.files]
            return reading.read(*named, selection=selection, unit=unit)
        groups = []
        for path, _ in self.files:
            part = rows_by_source(path, self.column).get(self.name)
            if part is not None:
                layout = None if selection.columns else layout_of(part)
                groups.append(curves_of(part, layout, selection, label="telescope"))
        return reading.merge(*groups, unit=unit, position=selection.position)


def listed_sources(path: Path) -> tuple[Source, ...]:
    """Read a table with one row a file: its source, the file (relative to the table), and its telescope if wanted.

    Raises
    ------
    DataFileError
        If there is no column of sources or files, or a cell is empty.
    """
    table = raw_table(path)
    source, file = (_column(table, names, what) for names, what in ((SOURCE, "sources"), (FILE, "files")))
    telescope = table.first(TELESCOPE)
    names, files = table.words(source), table.words(file)
    telescopes = table.words(telescope) if telescope else np.full(len(names), "")
    found: dict[str, list[tuple[str, str]]] = {}
    for row, (name, text, own) in enumerate(zip(names, files, telescopes, strict=True)):
        if not name or not text:
            raise DataFileError(
                "a source without a name or file", where=f"{path}, row {table.first_row + row}",
                expected="a source and a file in every row",
            )  # fmt: skip
        place = Path(text).expanduser()
        found.setdefault(str(name), []).append((str(place if place.is_absolute() else path.parent / place), str(own)))
    return tuple(Source(name, tuple(own)) for name, own in found.items())


def _column(table: RawTable, names: tuple[str, ...], what: str) -> str:
    key = table.first(names)
    if key is None:
        raise DataFileError(f"no column of {what}", where=table.source, expected=f"a column named {' or '.join(names)}")
    return key


def joint_sources(path: Path, column: str) -> tuple[Source, ...]:
    """Find the sources of one table, or of a folder of Parquet files, in the order in which they appear.

    In a partitioned folder the source may be part of the path, ``source=NAME``.

    Raises
    ------
    DataFileError
        If there is no such column, or no table in the folder.
    """
    tables = table_files(path)
    if not tables:
        raise DataFileError("no Parquet file in the folder", where=str(path), expected="files named *.parquet")
    found: dict[str, list[tuple[str, str]]] = {}
    for file in tables:
        for name in rows_by_source(str(file), column):
            found.setdefault(name, []).append((str(file), ""))
    return tuple(Source(name, tuple(files), column) for name, files in found.items())


def table_files(path: Path) -> list[Path]:
    """Return the table, or the Parquet files of a folder, sorted."""
    return sorted(path.rglob("*.parquet")) if path.is_dir() else [path]


@lru_cache(maxsize=4)
def rows_by_source(path: str, column: str) -> Mapping[str, RawTable]:
    """Return the rows of each source of a table; kept, since all sources of a chunk use it."""
    table = raw_table(path)
    key = key_of(column)
    if key not in table:
        folder = next((part for part in Path(path).parts if part.startswith(f"{column}=")), None)
        if folder is None:
            raise DataFileError(f"no column {column!r}", where=path, expected="the name of the column of sources")
        return {folder.partition("=")[2]: table}
    names = table.words(key)
    rest = {k: v for k, v in table.columns.items() if k != key}
    order = np.argsort(names, kind="stable")
    _, first = np.unique(names[order], return_index=True)
    groups: list[NDArray[Any]] = np.split(order, first[1:])
    groups.sort(key=lambda rows: int(rows[0]))
    found = {}
    for rows in groups:
        name = str(names[rows[0]])
        found[name] = replace(table, columns={k: v[rows] for k, v in rest.items()}, source=f"{path}, {name}")
    return found
