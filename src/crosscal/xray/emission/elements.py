"""Elements of plasma tables, their masses, and solar abundance tables relative to Anders & Grevesse (1989)."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, UnknownNameError

SYMBOLS = (  # atomic numbers 1 to 30, the range of AtomDB and of XSPEC's abundance tables
    *("H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar"),
    *("K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"),
)
Z = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)}

# Standard atomic weights (IUPAC 2021, conventional values), in unified atomic mass units.
MASSES = np.array(
    [1.008, 4.002602, 6.94, 9.0121831, 10.81, 12.011, 14.007, 15.999, 18.998403, 20.1797]
    + [22.98976928, 24.305, 26.9815384, 28.085, 30.973762, 32.06, 35.45, 39.95, 39.0983, 40.078]
    + [44.955907, 47.867, 50.9415, 51.9961, 54.938043, 55.845, 58.933194, 58.6934, 63.546, 65.38]
)

# The elements that XSPEC's apec calls metals; all others but H and He are held at their solar value.
METALS = ("C", "N", "O", "Ne", "Mg", "Al", "Si", "S", "Ar", "Ca", "Fe", "Ni")
TRACE = tuple(s for s in SYMBOLS if s not in METALS and s not in ("H", "He"))

# One group per element that vapec varies, and one for the trace elements.
GROUPS: tuple[tuple[str, ...], ...] = (("H",), ("He",), *((m,) for m in METALS), TRACE)


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict]:
    return read_abundances(files("crosscal.xray.emission").joinpath("data/abundances.json"))


def read_abundances(path) -> dict[str, dict]:
    """Read abundance tables: name -> {"reference": str, "values": 30 number densities relative to H}.

    Raises
    ------
    DataFileError
        If the file is not such a table.
    """
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
        for table in tables.values():
            values = np.asarray(table["values"], dtype=float)
            if values.shape != (len(SYMBOLS),) or not np.all(values >= 0):
                raise ValueError("values")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataFileError(
            "not an abundance table", where=str(path), expected=f"{len(SYMBOLS)} numbers a table"
        ) from error
    return tables


def abundances(table: str) -> NDArray[np.float64]:
    """Return number densities relative to hydrogen, shape (30,), by XSPEC's name of the table.

    Raises
    ------
    UnknownNameError
        If there is no such table.
    """
    tables = _tables()
    if table not in tables:
        raise UnknownNameError("abundance table", table, tables)
    return np.asarray(tables[table]["values"], dtype=float)


def abundance_ratio(table: str) -> NDArray[np.float64]:
    """Return abundances relative to Anders & Grevesse (1989), in which AtomDB is computed; shape (30,)."""
    return abundances(table) / abundances("angr")
