"""Tables as files hold them: columns of text or numbers by name, whatever the container.

Text with any delimiter, IPAC, CDS, ECSV, RDB, VOTable, FITS and Parquet end up in one `RawTable`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing
from crosscal.lightcurves.formats.vocabulary import role_of
from crosscal.lightcurves.formats.words import (
    MARKS,
    UNIT,
    cells_of,
    commented_header,
    delimiter_of,
    distinct,
    is_number,
    is_ruler,
    key_of,
    keywords_of,
    number,
    refuse_blocks,
    table_lines,
    units_below,
    with_points,
)
from crosscal.lightcurves.timesystem import SCALES, TimeSystem

#: Encodings tried, in this order; the last takes any bytes.
_ENCODINGS = ("utf-8-sig", "gb18030", "latin-1")


@dataclass(frozen=True, eq=False)
class RawTable:
    """Columns by key.

    Attributes
    ----------
    columns : mapping of str to array
        Text or numbers, all of one length.
    names : mapping of str to str
        The names as the file spells them, by key.
    units : mapping of str to str
    meta : mapping of str to object
        Header keywords, lower case.
    source : str
        File name, for messages.
    first_row : int
        Number of the first row in the file, for messages.
    headed : bool
        Whether the file names its columns.
    systems : mapping of str to TimeSystem
        What time columns count that were astropy Times.
    notes : tuple of str
        What was assumed when the file was read.
    """

    columns: Mapping[str, NDArray[Any]]
    names: Mapping[str, str]
    units: Mapping[str, str]
    source: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    first_row: int = 1
    headed: bool = True
    systems: Mapping[str, TimeSystem] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __contains__(self, key: str) -> bool:
        return key in self.columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def first(self, keys: tuple[str, ...]) -> str | None:
        """Return the first of some keys that is a column."""
        return next((key for key in keys if key in self.columns), None)

    def numbers(self, key: str) -> NDArray[np.float64]:
        """Return a column as numbers; NaN where a value is missing or a limit ('<17.2', '>15.3').

        Raises
        ------
        UnknownNameError, DataFileError
            Where there is no such column, or a cell is not a number.
        """
        column = self._column(key)
        if column.dtype.kind in "fiub":
            return np.asarray(column, dtype=float)
        values = np.empty(len(column))
        for k, word in enumerate(column):
            try:
                values[k] = np.nan if str(word).lstrip().startswith((">", "<")) else number(word)
            except (ValueError, TypeError):
                raise DataFileError(
                    f"{str(word)[:40]!r} is not a number",
                    where=f"{self.source}, column {self.names[key]!r}, row {self.first_row + k}",
                    expected="a number",
                ) from None
        return values

    def words(self, key: str) -> NDArray[np.str_]:
        """Return a column as stripped text; whole numbers without a decimal point."""
        column = self._column(key)
        if column.dtype.kind == "f":
            return np.array([str(int(v)) if float(v).is_integer() else f"{v:g}" for v in column], dtype=str)
        if column.dtype.kind == "S":
            return np.char.strip(np.char.decode(column, "latin-1"))
        return np.array([str(v).strip() for v in column], dtype=str)

    def is_limit(self, key: str) -> NDArray[np.bool_]:
        """Whether the cells of a column are limits."""
        column = self._column(key)
        if column.dtype.kind in "fiub":
            return np.zeros(len(column), dtype=bool)
        return np.array([str(word).lstrip().startswith((">", "<")) for word in column], dtype=bool)

    def with_columns(self, **columns: NDArray[Any]) -> RawTable:
        """Return the table with further columns."""
        return replace(self, columns={**self.columns, **columns}, names={**self.names, **{k: k for k in columns}})

    def _column(self, key: str) -> NDArray[Any]:
        if key not in self.columns:
            raise UnknownNameError("column", key, self.names.values(), where=self.source)
        return self.columns[key]


def of_columns(
    columns: Mapping[str, Any] | list[tuple[str, Any]], source: str, units: Mapping[str, str] | None = None, **more: Any
) -> RawTable:
    """Make a raw table of named columns; units in brackets after a name are taken off.

    Raises
    ------
    DataFileError
        If the name of a column of times, fluxes or errors repeats.
    """
    content: dict[str, NDArray[Any]] = {}
    names: dict[str, str] = {}
    systems: dict[str, TimeSystem] = {}
    found = {key_of(name): unit for name, unit in (units or {}).items() if unit}
    for name, values in columns.items() if isinstance(columns, Mapping) else columns:
        spelled = str(name)
        split = UNIT.match(spelled)
        key = key_of(spelled)
        if split and split["name"] and _is_unit(split["unit"]):
            key = key_of(split["name"])
            found.setdefault(key, split["unit"].strip())
        if key in content and role_of(key) is None:
            key += f"_{len(content)}"
        if key in content:
            raise DataFileError(f"the column {spelled!r} repeats", where=source, expected="each name once")
        if hasattr(values, "jd1"):
            content[key], systems[key] = _dates(values)
        else:
            content[key] = np.asarray(values)
        names[key] = spelled
    return RawTable(content, names, found, source, systems=systems, **more)


def _dates(times: Any) -> tuple[NDArray[np.float64], TimeSystem]:
    """Times as MJD of their own scale; those of TESS and Kepler are barycentric."""
    frame = "barycentric" if times.format in ("btjd", "bkjd") else ""
    days = np.asarray(np.ma.filled(np.ma.asarray(times.mjd, dtype=float), np.nan), dtype=float)
    return days, TimeSystem("mjd", scale=times.scale if times.scale in SCALES else "", frame=frame)


def _is_unit(text: str) -> bool:
    words = text.strip().lower()
    return words not in ("tcb", "tdb", "utc", "tai", "tt") and not re.fullmatch(r"[-+]?\s*[\d.]*\s*\+?", words)


def raw_table(path: str | os.PathLike[str]) -> RawTable:
    """Read a file into columns, whatever its container.

    Raises
    ------
    DataFileError
        If it is absent or holds no table.
    """
    source = existing_file(path, what="light-curve table")
    with open(source, "rb") as stream:
        head = stream.read(2880)
    if head.startswith(b"SIMPLE  ="):
        return _fits(source)
    if head.startswith(b"PAR1"):
        return _parquet(source)
    text = decoded(source)
    start = text.lstrip()[:2000]
    if start.startswith(("<?xml", "<VOTABLE")):
        return _astropy(source, "votable", source)
    if start.startswith("# %ECSV"):
        return _astropy(source, "ascii.ecsv", text)
    if start.startswith(("\\", "|")) and not re.match(r"\|[^\n]*\n\s*\|[|:\-\s]+\n", start):
        return _astropy(source, "ascii.ipac", text)
    if "Byte-by-byte Description" in start or "Byte-by-byte Description" in text[:20000]:
        return _astropy(source, "ascii.mrt" if "Title:" in start else "ascii.cds", text)
    return _text(text, str(path))


def decoded(source: Path) -> str:
    """Return the text of a file: UTF-8 (with or without byte-order mark), UTF-16, else GB 18030, else Latin-1.

    Raises
    ------
    DataFileError
        If it is binary.
    """
    with parsing("the light-curve table cannot be read", where=source):
        content = source.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        with parsing("the light-curve table is not text", where=source, expected="text", told=False):
            return content.decode("utf-16")
    if content.startswith(b"\x1f\x8b"):
        raise DataFileError("the table is compressed", where=str(source), expected="the file after gunzip")
    if b"\x00" in content:
        raise DataFileError("the light-curve table is not text", where=str(source), expected="text, FITS or Parquet")
    for encoding in _ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError("Latin-1 decodes any bytes")


def _astropy(source: Path, kind: str, content: Any) -> RawTable:
    import warnings

    from astropy.table import Table

    expected = f"a table in the form {kind}"
    with parsing("the table cannot be read", where=source, expected=expected), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = Table.read(content, format=kind)
    return of_table(table, str(source))


def of_table(table: Any, source: str) -> RawTable:
    """Make a raw table of an astropy table; masked numbers become NaN, masked words empty."""
    columns: dict[str, Any] = {}
    units: dict[str, str] = {}
    for name in table.colnames:
        column = table[name]
        if getattr(column, "ndim", 1) != 1:
            continue
        unit = getattr(column, "unit", None)
        if unit is not None:
            units[name] = str(unit)
        columns[name] = plain_column(column)
    meta = {str(k).lower(): v for k, v in table.meta.items() if isinstance(v, str | int | float | bool)}
    return of_columns(columns, source, units, meta=meta)


def plain_column(column: Any) -> NDArray[Any]:
    """Return a column as an array; astropy Times stay as they are, masked values become NaN or empty."""
    if hasattr(column, "jd1"):
        return column
    mask = np.asarray(getattr(column, "mask", False))
    values = getattr(column, "value", column)
    values = np.asarray(np.ma.getdata(getattr(values, "unmasked", values)))
    if values.dtype.kind == "S":
        values = np.char.decode(values, "latin-1")
    if not np.any(mask):
        return values
    if values.dtype.kind in "fiub":
        return np.where(mask, np.nan, values.astype(float))
    return np.where(mask, "", values.astype(str))


def _fits(source: Path) -> RawTable:
    """The first table of a FITS file that names a time column (or the only table), with the keywords of both HDUs."""
    from astropy.io import fits
    from astropy.table import Table

    expected = "a FITS file with a table of times"
    with (
        parsing("the FITS file cannot be read", where=source, expected=expected),
        fits.open(source, memmap=False) as hdus,
    ):
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        timed = [h for h in tables if {n.lower() for n in h.columns.names or ()} & {"time", "met", "mjd", "jd"}]
        if not (timed or tables):
            raise ValueError("no table")
        chosen = (timed or tables)[0]
        table = Table(chosen.data)
        units = {n: str(u) for n, u in zip(chosen.columns.names, chosen.columns.units, strict=True) if u}
        headers = {**dict(hdus[0].header), **dict(chosen.header)}
    found = of_table(table, str(source))
    meta = {str(k).lower(): v for k, v in headers.items() if isinstance(v, str | int | float | bool)}
    return replace(found, units={**found.units, **{key_of(n): u for n, u in units.items()}}, meta=meta)


def _parquet(source: Path) -> RawTable:
    from crosscal.core.errors import MissingDependencyError

    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingDependencyError("pyarrow", extra="parquet", purpose="Parquet files") from None
    with parsing("the Parquet file cannot be read", where=source, expected="a Parquet table"):
        table = parquet.read_table(source)
        columns = {name: table[name].to_numpy() for name in table.column_names}
    return of_columns(columns, str(source))


def _text(text: str, source: str) -> RawTable:
    """A table of text: one header row at most (it may be a comment), any delimiter, comments with #."""
    lines = table_lines(text)
    comments = [line for _, line in lines if line.lstrip().startswith(MARKS)]
    rows = [(k, line) for k, line in lines if not line.lstrip().startswith(MARKS)]
    if not rows:
        raise DataFileError("the table is empty", where=source, expected="a header and rows")
    delimiter = delimiter_of([line for _, line in rows[:50]])
    notes: tuple[str, ...] = ()
    if delimiter in (";", " ", "\t"):
        pointed, notes = with_points([line for _, line in rows], source)
        rows = [(k, line) for (k, _), line in zip(rows, pointed, strict=True)]
    cells = [(k, cells_of(line, delimiter)) for k, line in rows]
    # A title above the header, as in alerts: fewer cells than all that follows.
    while len(cells) > 2 and len(cells[0][1]) == 1 < len(cells[1][1]):
        cells.pop(0)
    header = None if any(is_number(word) for word in cells[0][1]) else cells.pop(0)[1]
    if header is not None and cells and is_ruler(cells[0][1]):
        cells.pop(0)
    if header is not None and cells and (with_units := units_below(header, cells[0][1])) is not None:
        header, notes = with_units, (*notes, "the row below the header is read as units")
        cells.pop(0)
    if header is None:
        refuse_blocks(lines, source)
    if not cells:
        raise DataFileError("no rows", where=source, expected="rows of numbers below the header")
    width = len(cells[0][1])
    if header is not None and len(header) == 1 != width:
        header = cells_of(rows[0][1], "," if "," in rows[0][1] else None)
    header = header or commented_header(comments, width)
    names = header or ["time", "flux", "error", *(f"column{k}" for k in range(4, width + 1))][:width]
    if len(names) == width - 1 and all(not row[-1] for _, row in cells):
        names = [*names, "column"]
    least = min(len(row) for _, row in cells)
    if header is None and least >= 3:  # words after the numbers, in some rows
        names, cells = names[:least], [(k, row[:least]) for k, row in cells]
    if header is None and width == 1 and max(len(row) for _, row in cells) > 2:
        raise DataFileError(
            f"the row {cells[0][1][0]!r} holds one number and others hold more", where=f"{source}, row {cells[0][0]}",
            expected="rows of time, flux and error alone, or PyCALI's blocks '# CODE N'",
        )  # fmt: skip
    for k, row in cells:
        if len(row) != len(names):
            raise DataFileError(f"{len(row)} columns", where=f"{source}, row {k}", expected=f"{len(names)}")
    columns = [(name, np.array([row[c] for _, row in cells], dtype=object)) for c, name in enumerate(distinct(names))]
    found = of_columns(columns, source, first_row=cells[0][0], headed=header is not None, meta=keywords_of(comments))
    return replace(found, notes=notes)


def override(table: RawTable, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return keys of the columns that a user names for roles.

    Raises
    ------
    InputError, UnknownNameError
        For a role or a column that is not there.
    """
    roles = ("time", "flux", "error", "magnitude", "telescope", "filter")
    chosen = {}
    for role, name in wanted.items():
        if role not in roles:
            raise UnknownNameError("role of a column", role, roles, where="columns")
        key = key_of(name)
        if key not in table:
            raise UnknownNameError("column", name, table.names.values(), where=table.source)
        chosen[role] = key
    if "flux" in chosen and "magnitude" in chosen:
        raise InputError("flux and magnitude", where="columns", expected="one of them")
    return chosen
