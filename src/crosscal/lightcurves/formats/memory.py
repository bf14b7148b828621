"""Tables in memory: astropy tables and time series, lightkurve, pandas, polars, xarray, mappings of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crosscal.core.memory import as_table
from crosscal.lightcurves.formats.raw import RawTable, of_columns, of_table


def raw_of_memory(table: Any, label: str) -> RawTable:
    """Make a raw table of a table in memory.

    Raises
    ------
    DataFileError
        If it is none.
    """
    if hasattr(table, "colnames"):
        return of_table(table, label)
    if isinstance(table, Mapping):
        columns, units = {}, {}
        for name, values in table.items():
            if getattr(values, "unit", None) is not None:
                units[str(name)] = str(values.unit)
            columns[str(name)] = values if hasattr(values, "jd1") else np.asarray(getattr(values, "value", values))
        return of_columns(columns, label, units)
    if hasattr(table, "iloc") and hasattr(table, "columns"):
        columns = {str(name): table[name].to_numpy() for name in table.columns}
        units = {str(k): str(v) for k, v in dict(getattr(table, "attrs", {}).get("units", {})).items()}
        index = getattr(table.index, "name", None)
        if index and str(index) not in columns:
            columns = {str(index): table.index.to_numpy(), **columns}
        return of_columns(columns, label, units)
    return of_table(as_table(table, where="read"), label)
