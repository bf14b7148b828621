"""Tables as people publish them (ECSV, CSV, TSV, VizieR, VOTable, FITS), as columns of numbers with gaps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.core.memory import as_table, is_path
from crosscal.core.reading import parsing, read_text

Floats = NDArray[np.float64]

FORMATS = {
    ".ecsv": "ascii.ecsv", ".csv": "text", ".tsv": "text", ".txt": "text", ".dat": "text", ".fits": "fits",
    ".fit": "fits", ".xml": "votable", ".vot": "votable", ".votable": "votable",
}  # fmt: skip
# A unit at the end of a name: kT_pn (keV), kT_pn [K].
_UNIT = re.compile(r"(.+?)\s*[\[(](keV|eV|K|MK)[\])]")
_EMPTY = ("", "-", "--", "---", "...", "nan", "null", "none", "n/a", "na", "indef", "~")


@dataclass
class Sheet:
    """A table with texts or numbers in columns.

    Attributes
    ----------
    table : astropy Table
    where : str
    comments : list of str
        What stands beside the columns: comments, descriptions.
    notes : list of str
    """

    table: Any
    where: str
    comments: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def numbers(self, name: str, unit: str = "") -> tuple[Floats, NDArray[np.bool_]]:
        """Return a column in ``unit`` and which cells are limits; empty cells and limits are NaN.

        Raises
        ------
        DataFileError
            Naming the row that is no number, or a unit that does not convert.
        """
        from astropy import units

        column = self.table[name]
        where = f"{self.where}, column {name}"
        if column.ndim != 1:
            raise DataFileError("an array in each row", where=where, expected="one number a row")
        values, limits = np.full(len(column), np.nan), np.zeros(len(column), dtype=bool)
        mask = np.ma.getmaskarray(np.ma.asarray(column))
        for row, cell in enumerate(column):
            text = "" if mask[row] else str(getattr(cell, "value", cell)).strip()
            if text.lower() in _EMPTY:
                continue
            if text[0] in "<>":
                limits[row] = True
                continue
            try:
                values[row] = float(text)
            except ValueError:
                place = f"{where}, row {row + 1}"
                raise DataFileError(f"{text!r} is not a number", where=place, expected="a number") from None
        given = getattr(column, "unit", None)
        if given is None or not unit:
            return values, limits
        try:
            # Temperatures may be in kelvin.
            return np.asarray(units.Quantity(values, given).to_value(unit, units.temperature_energy())), limits
        except (units.UnitConversionError, units.UnitTypeError, TypeError) as error:
            raise DataFileError(f"unit {given}", where=where, expected=unit) from error


def read_sheet(source: Any) -> Sheet:
    """Read a table by its suffix, or take one in memory.

    Raises
    ------
    DataFileError
        If it has another suffix, or cannot be read.
    """
    from astropy.table import Table

    if not is_path(source):
        return _sheet(as_table(source, where="the table of pairs"), "table in memory")
    where = str(source)
    suffix = Path(source.name.removesuffix(".gz")).suffix.lower()
    if suffix not in FORMATS:
        raise DataFileError(f"a table with suffix {suffix!r}", where=where, expected=" or ".join(FORMATS))
    with parsing("cannot be read as a table", where=where, expected=suffix[1:]):
        if FORMATS[suffix] == "text":
            return _text_sheet(read_text(source), where, suffix)
        table = Table.read(source, format=FORMATS[suffix])
    return _sheet(table, where)


def _sheet(table: Any, where: str) -> Sheet:
    """A table with what its metadata and its descriptions of columns say."""
    comments = [str(c) for c in table.meta.get("comments", ())]
    comments += [f"{n}: {table[n].description}" for n in table.colnames if getattr(table[n], "description", None)]
    return Sheet(table, where, comments)


def _text_sheet(text: str, where: str, suffix: str) -> Sheet:
    """Read delimited text: comments by #, a line of names, VizieR's lines of units and dashes."""
    from astropy.table import Column, Table

    lines = [line.rstrip("\r\n") for line in text.lstrip("\ufeff").splitlines()]
    comments = [line.lstrip("# ") for line in lines if line.startswith("#")]
    body = [line for line in lines if line.strip() and not line.startswith("#")]
    if not body:
        raise DataFileError("the table has no rows", where=where, expected="a line of names and one row a source")
    delimiter = _delimiter(body[0], suffix)
    rows = [_cells(line, delimiter) for line in body]
    units = [""] * len(rows[0])
    for at in (1, 2):
        if len(rows) > at and all(re.fullmatch(r"-+", cell) or not cell for cell in rows[at]) and any(rows[at]):
            units = rows[1] if at == 2 else units
            rows = [rows[0], *rows[at + 1 :]]
            break
    names, cells = list(rows[0]), rows[1:]
    for k, name in enumerate(names):
        if (found := _UNIT.fullmatch(name)) and not (units[k].strip("-") if k < len(units) else ""):
            names[k], units[k] = found.group(1), found.group(2)
    if len(set(names)) != len(names) or not all(names):
        twice = next((n for n in names if names.count(n) > 1), "")
        raise DataFileError(f"the column name {twice!r} occurs twice or is empty", where=where, expected="names once")
    for k, row in enumerate(cells, start=1):
        if len(row) != len(names):
            raise DataFileError(f"{len(row)} cells", where=f"{where}, row {k}", expected=f"{len(names)}, as names")
    table = Table([Column([row[j] for row in cells], name=name, dtype=str) for j, name in enumerate(names)])
    for name, unit in zip(names, units, strict=False):
        if unit and unit not in ("-", "---"):
            table[name].unit = unit
    return Sheet(table, where, comments)


def _delimiter(header: str, suffix: str) -> str | None:
    found = [d for d in ("\t", ";", "|", ",") if d in header]
    return found[0] if found else ("," if suffix == ".csv" else None)


def _cells(line: str, delimiter: str | None) -> list[str]:
    import csv

    if delimiter is None:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
