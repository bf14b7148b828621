"""Tables in memory, whatever package they come from, as one astropy table.

pandas, polars, xarray and pyarrow are never imported here: what is given brings its own package along.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from crosscal.core.errors import DataFileError
from crosscal.core.reading import parsing

#: What `as_table` takes, for messages.
KINDS = "an astropy, pandas or polars table, an xarray Dataset, a structured array, or a mapping of columns"


def is_path(source: Any) -> bool:
    """Whether data are given by the name of a file."""
    return isinstance(source, str | os.PathLike)


def as_table(source: Any, *, where: str = "table in memory") -> Any:
    """Return a table in memory as an astropy Table.

    Parameters
    ----------
    source : table
        An astropy Table, QTable or TimeSeries (returned as it is), a pandas or polars DataFrame, an xarray Dataset or
        DataArray, a pyarrow Table, a structured array (`FITS_rec` too), or a mapping of column names to arrays,
        Quantities, Times or SkyCoords. Units in ``df.attrs["units"]`` (by column) and ``ds[name].attrs["units"]``
        become units of columns; a pandas index with a name, one of words (as "index") and the coordinates of a Dataset
        become columns, names of several levels are joined by "_"; missing
        values are masked or NaN.
    where : str
        For the message.

    Raises
    ------
    DataFileError
        If it is none of them, or its columns differ in length.
    """
    from astropy.table import Table

    if isinstance(source, Table) or hasattr(source, "colnames"):
        return source
    with parsing("not a table", where=where, expected="columns of equal length"):
        if hasattr(source, "to_dataframe") and hasattr(source, "dims"):
            return _of_xarray(source)
        if hasattr(source, "iloc") and hasattr(source, "columns"):
            return _of_pandas(source)
        if hasattr(source, "collect") and hasattr(source, "collect_schema"):
            source = source.collect()
        if hasattr(source, "get_columns") and hasattr(source, "schema"):
            return Table({str(series.name): _numpy(series) for series in source.get_columns()})
        if hasattr(source, "to_pydict") and hasattr(source, "column_names"):
            return Table({str(name): _of_list(values) for name, values in source.to_pydict().items()})
        if getattr(getattr(source, "dtype", None), "names", None):
            return Table(np.asarray(source))
        if isinstance(source, Mapping):
            return Table({str(name): _column(values) for name, values in source.items()})
    raise DataFileError(
        f"an object of type {type(source).__name__}", where=where, expected=f"the path of a file, {KINDS}"
    )


def _of_pandas(frame: Any) -> Any:
    from astropy.table import Table

    if frame.columns.nlevels > 1:
        frame = frame.set_axis(["_".join(str(part) for part in name if str(part)) for name in frame.columns], axis=1)
    if frame.index.nlevels == 1 and frame.index.name is None and "index" not in frame.columns:
        # Numbers count rows; words are names.
        words = len(frame) > 0 and all(isinstance(name, str) for name in frame.index)
        frame = frame.rename_axis("index") if words else frame
    named = [name for name in frame.index.names if name is not None and str(name) not in map(str, frame.columns)]
    table = Table.from_pandas(frame.reset_index()[[*named, *frame.columns]] if named else frame)
    return _with_units(table, dict(frame.attrs.get("units", {})))


def _of_xarray(data: Any) -> Any:
    data = data if hasattr(data, "data_vars") else data.to_dataset(name=data.name or "value")
    counted = [name for name in data.dims if name not in data.coords]
    frame = data.to_dataframe().reset_index().drop(columns=counted)
    return _with_units(_of_pandas(frame), {name: data[name].attrs.get("units") for name in data.variables})


def _with_units(table: Any, units: Mapping[Any, Any]) -> Any:
    for name, unit in units.items():
        if unit and str(name) in table.colnames and hasattr(table[str(name)], "unit"):
            table[str(name)].unit = str(unit)
    return table


def _numpy(series: Any) -> Any:
    """A polars column; nulls become NaN among numbers, masked cells among texts."""
    values = series.to_numpy()
    return _of_list(series.to_list()) if values.dtype.kind == "O" else values


def _of_list(values: list[Any]) -> Any:
    """Values of which some may be missing."""
    # NaN, which pandas has in place of a missing text, differs from itself.
    missing = np.array([value is None or value != value for value in values], dtype=bool)
    if not missing.any():
        return np.array(values)
    is_text = any(isinstance(value, str) for value in values)
    filled = [("" if is_text else np.nan) if gap else value for value, gap in zip(values, missing, strict=True)]
    return np.ma.array(filled, mask=missing)


def _column(values: Any) -> Any:
    """A column of a mapping: mixins of astropy as they are, a column of another package as an array."""
    if hasattr(values, "to_list") and hasattr(values, "to_numpy"):
        return _numpy(values)
    return values
