"""Columns of tables: reading a file or an object in memory, names, numbers with units, selection of rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.cells import MARKERS, read_cell
from crosscal.core.errors import ConfigError, DataFileError, MissingDependencyError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.memory import as_table, is_path
from crosscal.core.reading import parsing

Column = str | Sequence[str]
Floats = NDArray[np.float64]
TEXT = (".csv", ".tsv", ".txt", ".dat", ".tab", ".mrt", ".cds", ".tex")
SUFFIXES = (*TEXT, ".ecsv", ".fits", ".fit", ".fits.gz", ".parquet")
#: Names of columns of errors: what is left of the name is that of the values.
ERROR_NAME = re.compile(r"(?i)^(e_|err_|sigma_|d)(?=\w)|[_ ]?(err(or)?|unc(ertainty)?|sigma|sd|rms|std)s?$")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


class Loaded(NamedTuple):
    """A table, what it is called in messages, and which conventions were found in it."""

    table: Any
    where: str
    told: tuple[str, ...] = ()


def load_columns(source: Any) -> Loaded:
    """Read a table: a file, or any table in memory (see `as_table`).

    Text files may have separators ``,``, ``;``, tabs, bars or blanks, decimal commas, ``#`` comments, a byte-order
    mark, UTF-8 or UTF-16; LaTeX and the machine-readable tables of CDS and AAS are recognised.

    Raises
    ------
    DataFileError
        If the file is absent, of another kind, or not readable as what it claims.
    MissingDependencyError
        If a Parquet file needs pyarrow.
    """
    if not is_path(source):
        return Loaded(as_table(source, where="the table"), "the table")
    from astropy.table import Table

    path = existing_file(source, what="table")
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataFileError("unknown kind of table", where=str(source), expected=", ".join(SUFFIXES))
    with parsing("the table cannot be read", where=source, expected="a table"):
        if name.endswith((".fits", ".fit", ".fits.gz")):
            return Loaded(Table.read(path, format="fits"), str(source))
        if name.endswith(".parquet"):
            try:
                import pyarrow.parquet as parquet
            except ImportError:
                raise MissingDependencyError("pyarrow", extra="test", purpose="Parquet tables") from None
            content = parquet.read_table(path)
            columns = {c: content[c].to_numpy(zero_copy_only=False) for c in content.column_names}
            return Loaded(Table(columns), str(source))
        if name.endswith(".ecsv"):
            return Loaded(Table.read(path, format="ascii.ecsv"), str(source))
        return _from_text(_decoded(path.read_bytes(), str(source)), str(source))


def _decoded(content: bytes, where: str) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise DataFileError("the table is not text", where=where, expected="text in UTF-8 or UTF-16") from None


def _from_text(text: str, where: str) -> Loaded:
    """Read a table in text of any of the usual layouts; all columns stay text."""
    from astropy.table import Table

    if "\nByte-by-byte Description" in text[:20_000]:
        kind = "ascii.mrt" if text.lstrip().startswith("Title:") else "ascii.cds"
        return Loaded(Table.read(text, format=kind), where, ("The table is read as a machine-readable table.",))
    if re.search(r"\\begin\{(?:tabular|deluxetable|table|startdata)", text) or "\\startdata" in text:
        kind = "ascii.aastex" if "deluxetable" in text or "\\startdata" in text else "ascii.latex"
        table = Table.read(text, format=kind, converters={"*": [str]})
        return Loaded(table, where, ("The table is read as LaTeX.",))
    lines = [line for line in text.splitlines() if line.strip()]
    comments = [line.lstrip()[1:].strip() for line in lines if line.lstrip().startswith("#")]
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    if not lines:
        raise DataFileError("the table is empty", where=where, expected="a header and rows")
    separator = max(";\t,|", key=lambda c: (lines[0].count(c), c == ","))
    separator = separator if separator in lines[0] else " "
    rows = _split(lines, separator)
    header = rows[0]
    if comments and any(_is_number(cell) for cell in header):
        above = _split(comments[-1:], separator)[0]
        if len(above) == len(header):
            header, rows = above, [above, *rows]
    return _table(header, rows[1:], separator, where)


def _split(lines: list[str], separator: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator, skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in reader if row]


def _table(header: list[str], rows: list[list[str]], separator: str, where: str) -> Loaded:
    from astropy.table import Table

    width = len(header)
    for number, row in enumerate(rows, start=1):
        # Blanks at the end of a line make one more, empty cell.
        if len(row) > width and not any(row[width:]):
            del row[width:]
        if len(row) != width:
            raise DataFileError(
                f"{len(row)} fields in row {number}", where=where, expected=f"{width}, as the header {header} has"
            )
    if len(set(header)) != width or "" in header:
        twice = next((name for name in header if header.count(name) > 1 or not name), "")
        raise DataFileError(f"the header names column {twice!r} twice", where=where, expected="a name for each column")
    names = {" ": "blanks", "\t": "tabs"}
    told = () if separator == "," else (f"Columns are separated by {names.get(separator, repr(separator))}.",)
    commas = [cell for row in rows for cell in row if _DECIMAL_COMMA.fullmatch(cell)] if separator != "," else []
    if commas:
        if all(re.fullmatch(r"[+-]?\d{1,3},\d{3}", cell) for cell in commas):
            raise DataFileError(
                f"{commas[0]!r} may be {commas[0].replace(',', '.')} or {commas[0].replace(',', '')}",
                where=where,
                expected="decimal points, and no commas between thousands",
            )
        rows = [[cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell for cell in row] for row in rows]
        told = (*told, f"Decimal commas are read as points ({commas[0]}).")
    columns = list(zip(*rows, strict=True)) or [()] * width
    return Loaded(Table({n: np.array(c, dtype=str) for n, c in zip(header, columns, strict=True)}), where, told)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def named(table: Any, name: str, where: str) -> Any:
    """The column of this name; letters may be large or small where only one column fits."""
    if name in table.colnames:
        return table[name]
    alike = [c for c in table.colnames if c.strip().casefold() == name.strip().casefold()]
    if len(alike) == 1:
        return table[alike[0]]
    raise UnknownNameError("column", name, table.colnames, where=where)


def joined(table: Any, columns: Column, where: str) -> NDArray[np.str_]:
    """Columns as one text a row, joined by spaces."""
    names = [columns] if isinstance(columns, str) else list(columns)
    if not names:
        raise ConfigError("no column is named", where=where, expected="at least one column")
    parts = [texts(table, n, where) for n in names]
    together = parts[0]
    for part in parts[1:]:
        together = np.char.add(np.char.add(together, " "), part)
    return together


def texts(table: Any, name: str, where: str) -> NDArray[np.str_]:
    """A column as text, one word a row."""
    column = named(table, name, where)
    with parsing("names that are no text", where=f"{where}, column {name!r}", expected="one name a row"):
        content = np.asarray(column.filled("") if getattr(column, "dtype", None) is not None
                             and hasattr(column, "filled") and column.dtype.kind in "US" else column)  # fmt: skip
        # Byte strings of FITS tables are text.
        words = np.char.decode(content, "utf-8") if content.dtype.kind == "S" else content.astype(str)
    if words.ndim != 1:
        raise DataFileError("not one name a row", where=f"{where}, column {name!r}", expected="one name a row")
    return np.char.strip(words)


class Measured(NamedTuple):
    """A column of measurements, (n,) each: values, the errors below and above and limits of its cells, and its unit."""

    value: Floats
    low: Floats
    high: Floats
    limit: NDArray[np.int8]
    unit: str

    @property
    def has_errors(self) -> bool:
        """Whether cells hold errors."""
        return bool(np.any(np.isfinite(self.low)))


def measured(
    table: Any, name: str, where: str, rows: NDArray, missing: Sequence[float | str] | None = None
) -> Measured:
    """Read a column of numbers, empty cells as NaN; ``rows`` are the numbers that a complaint names.

    Raises
    ------
    DataFileError
        If a cell is neither a measurement nor empty, or may mark a missing value and ``missing`` does not say so.
    """
    column = named(table, name, where)
    if column.ndim != 1:
        raise DataFileError("not one number a row", where=f"{where}, column {name!r}", expected="one number a row")
    unit = str(getattr(column, "unit", None) or "")
    n = len(column)
    low, high, limit = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, np.int8)
    if column.dtype.kind in "biuf":
        content = column.filled(np.nan) if hasattr(column, "filled") and column.dtype.kind == "f" else column
        value = np.array(content, dtype=float)
        if hasattr(column, "mask"):
            value[np.broadcast_to(np.asarray(column.mask), value.shape)] = np.nan
    else:
        value = _from_words(_words(column), missing, low, high, limit, f"{where}, column {name!r}", rows)
    return Measured(_without_markers(value, missing, f"{where}, column {name!r}", rows), low, high, limit, unit)


def _words(column: Any) -> list[str]:
    """Each cell as text; what is masked or None is empty."""
    mask = np.broadcast_to(np.asarray(getattr(column, "mask", False)), (len(column),))
    return ["" if hidden or v is None else (v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v)).strip()
            for v, hidden in zip(column.tolist(), mask, strict=True)]  # fmt: skip


def _from_words(words: list[str], missing, low: Floats, high: Floats, limit: NDArray, where: str, rows) -> Floats:
    named_missing = {str(m).strip().casefold() for m in missing or () if isinstance(m, str)}
    value = np.full(len(words), np.nan)
    for k, word in enumerate(words):
        if word.casefold() in named_missing:
            continue
        cell = read_cell(word)
        if cell is None:
            raise DataFileError(
                f"{word[:60]!r} is not a number", where=where.replace(", column", f", row {rows[k]}, column"),
                expected="a number, a number with error such as 1.05 +/- 0.02, a limit such as <0.3, or nothing",
            )  # fmt: skip
        value[k], low[k], high[k], limit[k] = cell
    return value


def _without_markers(value: Floats, missing, where: str, rows: NDArray) -> Floats:
    if missing is not None:
        numbers = [float(m) for m in missing if not isinstance(m, str)]
        return np.where(np.isin(value, numbers), np.nan, value)
    doubtful = np.isin(value, list(MARKERS))
    if np.any(doubtful):
        k = int(np.argmax(doubtful))
        raise DataFileError(
            f"{value[k]:g} may be a measurement or mark a missing value",
            where=where.replace(", column", f", row {rows[k]}, column"),
            expected=f"missing = [{value[k]:g}] if it marks one, missing = [] if it is one",
        )
    return value


def numeric(
    table: Any, name: str, where: str, rows: NDArray, missing: Sequence[float | str] | None = ()
) -> tuple[Floats, str]:
    """A column as plain numbers, empty cells as NaN, and its unit.

    Raises
    ------
    DataFileError
        If a cell is no plain number.
    """
    found = measured(table, name, where, rows, missing)
    odd = np.isfinite(found.low) | (found.limit != 0)
    if np.any(odd):
        k = int(np.argmax(odd))
        raise DataFileError(
            "a limit or a number with an error", where=f"{where}, row {rows[k]}, column {name!r}", expected="a number"
        )
    return found.value, found.unit


def conversion(found: str, wanted: str, where: str) -> tuple[float, str]:
    """The factor from one unit to another, where both are known, and the unit that results."""
    if not wanted or not found or found == wanted:
        return 1.0, wanted or found
    from astropy import units

    try:
        return float(units.Unit(found).to(units.Unit(wanted))), wanted
    except (ValueError, TypeError, units.UnitConversionError):
        raise DataFileError(f"flux unit {found!r}", where=where, expected=f"a unit convertible to {wanted!r}") from None


def _spellings(value: Any) -> Iterator[str]:
    """Yield how a table may spell a value: a whole number with and without its decimal point."""
    yield str(value)
    if isinstance(value, int | float | np.number) and not isinstance(value, bool) and float(value).is_integer():
        yield from (str(int(value)), str(float(value)))


def selected(table: Any, select: Mapping[str, Any], where: str) -> NDArray[np.bool_]:
    """Rows whose columns have one of the given values, or lie between ``min`` and ``max``."""
    keep = np.ones(len(table), bool)
    for name, rule in select.items():
        if isinstance(rule, Mapping):
            unknown = set(rule) - {"min", "max"}
            if unknown:
                raise UnknownNameError("selection key", sorted(unknown)[0], ("min", "max"), where=f"select.{name}")
            values, _ = numeric(table, name, where, np.arange(1, len(table) + 1))
            keep &= (values >= rule.get("min", -np.inf)) & (values <= rule.get("max", np.inf))
        else:
            wanted = {s for v in (rule if isinstance(rule, list | tuple) else [rule]) for s in _spellings(v)}
            keep &= np.isin(texts(table, name, where), sorted(wanted))
    return keep
