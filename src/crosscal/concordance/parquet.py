"""Long Parquet tables: batches of rows, so that memory holds one of them beside what was made of the others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from crosscal.concordance.error_columns import refuse_unused_units, unit_columns
from crosscal.core.errors import MissingDependencyError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing

#: Tables of more rows are read in batches of so many.
BATCH = 262_144
#: Columns that are read although no argument names them: the usual names of the measured one.
USUAL = ("flux", "counts", "log_flux")


def open_parquet(path: str | os.PathLike[str]) -> Any:
    """Return a Parquet file, open for reading.

    Raises
    ------
    DataFileError
        If it is absent or damaged.
    MissingDependencyError
        If pyarrow is not installed.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingDependencyError("pyarrow", extra="parquet", purpose="Parquet tables") from None
    file = existing_file(path, what="table")
    with parsing("the table cannot be read", where=str(file), expected="a Parquet table"):
        return parquet.ParquetFile(file)


def long_parquet(path: Any) -> bool:
    """Whether this is a Parquet file of more than one batch."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path).lower().endswith(".parquet"):
        return False
    return bool(open_parquet(path).metadata.num_rows > BATCH)


def column_names(file: Any, wanted: Sequence[str], where: str, usual: bool = True) -> list[str]:
    """The file's names of the wanted columns (letters may be large or small), and of the usual ones.

    Raises
    ------
    UnknownNameError
        If there is no such column.
    """
    known = list(file.schema_arrow.names)
    chosen = [name for name in USUAL if usual and name in known]
    for name in wanted:
        alike = [c for c in known if c == name] or [c for c in known if c.casefold() == name.casefold()]
        if len(alike) != 1:
            raise UnknownNameError("column", name, known, where=where)
        chosen.append(alike[0])
    # CDS writes flags of limits on X into l_X.
    chosen += [f"l_{name}" for name in chosen if f"l_{name}" in known and usual]
    return list(dict.fromkeys(chosen))


def columns_of_long(path: str | os.PathLike[str], used: Sequence[str], unit: str | None) -> list[str]:
    """Return the names of all columns of a file.

    Raises
    ------
    DataFileError
        If a column of several units is not used.
    """
    from astropy.table import vstack

    names = list(open_parquet(path).schema_arrow.names)
    if unit is None and (held := unit_columns(names, used)):
        refuse_unused_units(vstack(list(distinct_rows(path, held))), used, str(path))
    return names


def parquet_batches(
    path: str | os.PathLike[str], wanted: Sequence[str], groups: Sequence[int] | None = None
) -> Iterator[Any]:
    """Yield astropy Tables of the wanted columns, batch by batch, of all row groups or of some.

    Raises
    ------
    DataFileError
        If the file is damaged.
    UnknownNameError
        If it lacks a column.
    """
    from astropy.table import MaskedColumn, Table

    file = open_parquet(path)
    names = column_names(file, wanted, str(path))
    masks = [mask for name in names if (mask := f"{name}.mask") in file.schema_arrow.names]
    units = _units(file)
    batches = file.iter_batches(batch_size=BATCH, columns=[*names, *masks], row_groups=groups)
    while True:
        with parsing("the table cannot be read", where=str(path), expected="a Parquet table"):
            batch = next(batches, None)
        if batch is None:
            return
        table = Table({name: _plain(batch.column(name)) for name in names})
        for mask in masks:
            name = mask.removesuffix(".mask")
            table[name] = MaskedColumn(table[name], mask=_plain(batch.column(mask)))
        for name in units.keys() & set(names):
            table[name].unit = units[name]
        yield table


def _units(file: Any) -> dict[str, str]:
    """Units of columns of a table that astropy wrote."""
    from astropy.table.meta import get_header_from_yaml

    header = (file.schema_arrow.metadata or {}).get(b"table_meta_yaml")
    if header is None:
        return {}
    with parsing("the description of the columns cannot be read", where="a Parquet table", expected="that of astropy"):
        columns = get_header_from_yaml(header.decode().splitlines())["datatype"]
        return {str(c["name"]): str(c["unit"]) for c in columns if c.get("unit")}


def distinct_rows(path: str | os.PathLike[str], wanted: Sequence[str]) -> Iterator[Any]:
    """Yield astropy Tables of the different rows of some columns, batch by batch, in the order in which they appear.

    Raises
    ------
    DataFileError
        If the file is damaged.
    UnknownNameError
        If it lacks a column.
    """
    import pyarrow
    from astropy.table import Table

    file = open_parquet(path)
    names = column_names(file, wanted, str(path), usual=False)
    batches = file.iter_batches(batch_size=BATCH, columns=names)
    while True:
        with parsing("the table cannot be read", where=str(path), expected="a Parquet table"):
            batch = next(batches, None)
            if batch is None:
                return
            rows = pyarrow.Table.from_batches([batch]).group_by(names, use_threads=False).aggregate([])
        yield Table({name: _plain(rows.column(name)) for name in names})


def _plain(column: Any) -> Any:
    """A column as a NumPy array; text as fixed-width words, which take less memory than objects."""
    import pyarrow

    if pyarrow.types.is_string(column.type) and column.null_count == 0 and len(column):
        words = column.dictionary_encode()
        words = words.combine_chunks() if isinstance(words, pyarrow.ChunkedArray) else words
        if len(words.dictionary) < len(column) // 4:
            return np.array(words.dictionary.to_pylist(), dtype=str)[words.indices.to_numpy(zero_copy_only=False)]
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype != object or any(not isinstance(v, str) for v in values):
        return values
    return values.astype(str)
