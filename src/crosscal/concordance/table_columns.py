"""Columns of tables: reading a file, names, numbers with units, selection of rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import ConfigError, DataFileError, MissingDependencyError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing

Column = str | Sequence[str]
SUFFIXES = (".csv", ".ecsv", ".txt", ".dat", ".fits", ".fit", ".fits.gz", ".parquet")


def load_columns(path: str | os.PathLike[str]) -> Any:
    """Read a CSV, ECSV, FITS or Parquet table as an astropy Table.

    Raises
    ------
    DataFileError
        If the file is absent, of another kind, or not readable as what it claims.
    MissingDependencyError
        If a Parquet file needs pyarrow.
    """
    from astropy.table import Table

    source = existing_file(path, what="table")
    name = source.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataFileError("unknown kind of table", where=str(path), expected=", ".join(SUFFIXES))
    with parsing("the table cannot be read", where=path, expected="a table"):
        if name.endswith((".fits", ".fit", ".fits.gz")):
            return Table.read(source, format="fits")
        if name.endswith(".parquet"):
            try:
                import pyarrow.parquet as parquet
            except ImportError:
                raise MissingDependencyError("pyarrow", extra="parquet", purpose="Parquet tables") from None
            content = parquet.read_table(source)
            return Table({c: content[c].to_numpy(zero_copy_only=False) for c in content.column_names})
        if name.endswith(".ecsv"):
            return Table.read(source, format="ascii.ecsv")
        kind = "ascii.csv" if name.endswith(".csv") else "ascii"
        # Names such as "007" or "-1" must stay names, so numbers are only made of columns used as numbers.
        return Table.read(source, format=kind, converters={"*": [str]})


def named(table: Any, name: str, where: str) -> Any:
    """The column of this name."""
    if name not in table.colnames:
        raise UnknownNameError("column", name, table.colnames, where=where)
    return table[name]


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
        words = np.asarray(column).astype(str)
    if words.ndim != 1:
        raise DataFileError("not one name a row", where=f"{where}, column {name!r}", expected="one name a row")
    return np.char.strip(words)


def numeric(table: Any, name: str, where: str, rows: NDArray) -> tuple[NDArray[np.float64], str]:
    """A column as numbers, empty fields as NaN, and its unit; ``rows`` are the numbers that a complaint names."""
    column = named(table, name, where)
    if column.ndim != 1:
        raise DataFileError("not one number a row", where=f"{where}, column {name!r}", expected="one number a row")
    unit = str(getattr(column, "unit", None) or "")
    # Empty fields are missing numbers; text columns come from CSV, where nothing is converted on reading.
    filled = np.asarray(
        column.filled("" if column.dtype.kind in "US" else np.nan) if hasattr(column, "filled") else column
    )
    if filled.dtype.kind in "US":
        text = np.char.strip(filled.astype(str)).astype(object)
        filled = np.where(text == "", "nan", text)
    try:
        return np.asarray(filled, dtype=float), unit
    except (TypeError, ValueError):
        for value, row in zip(filled, rows, strict=True):
            try:
                float(value)
            except (TypeError, ValueError):
                raise DataFileError(
                    f"{str(value)!r} is not a number", where=f"{where}, row {row}, column {name!r}", expected="a number"
                ) from None
        raise DataFileError("not numbers", where=f"{where}, column {name!r}", expected="numbers") from None


def conversion(found: str, wanted: str, where: str) -> tuple[float, str]:
    """The factor from one unit to another, where both are known, and the unit that results."""
    if not wanted or not found or found == wanted:
        return 1.0, wanted or found
    from astropy import units

    try:
        return float(units.Unit(found).to(units.Unit(wanted))), wanted
    except (ValueError, units.UnitConversionError):
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
