"""Tables as people publish them (ECSV, CSV, TSV, VizieR, VOTable, FITS), as columns of numbers with gaps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crosscal.core.cells import read_cell
from crosscal.core.errors import DataFileError
from crosscal.core.memory import as_table, is_path
from crosscal.core.reading import parsing, read_text
from crosscal.core.text_tables import from_text, is_marked_up, with_points

Floats = NDArray[np.float64]

FORMATS = {
    ".ecsv": "ascii.ecsv", ".csv": "text", ".tsv": "text", ".txt": "text", ".dat": "text", ".fits": "fits",
    ".fit": "fits", ".xml": "votable", ".vot": "votable", ".votable": "votable", ".tex": "text", ".mrt": "text",
    ".cds": "text", ".tab": "text",
}  # fmt: skip
# A unit at the end of a name: kT_pn (keV), kT_pn [K].
_UNIT = re.compile(r"(.+?)\s*[\[(]\s*(keV|eV|K|MK)\s*[\])]")
#: nH (1e20 cm-2), nH [10^22 cm^-2].
_COLUMN_UNIT = re.compile(
    r"(.+?)\s*[\[(]\s*(?:1e|10\s*\^?\s*\{?)\s*(\d\d)\}?\s*(?:/\s*cm\s*(?:\^|\*\*)?\s*2|cm\s*(?:\^|\*\*)?\s*\{?-2\}?)\s*[\])]"
)
# What LaTeX says of the look of a name.
_LOOK = re.compile(r"\\(?:rm|mathrm|it|bf|text|textrm|textit|textbf|mathit|colhead|sc|tt|em)(?![a-zA-Z])|\\[ ,;]")


class Numbers(NamedTuple):
    """A column (n,): values and the errors below and above in its cells, NaN where there is none; which are limits."""

    value: Floats
    below: Floats
    above: Floats
    limit: NDArray[np.bool_]


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

    def numbers(self, name: str, unit: str = "", like: str = "") -> tuple[Floats, NDArray[np.bool_]]:
        """Return a column in ``unit`` and which cells are limits; empty cells and limits are NaN.

        A column without a unit has that of the column ``like``, if one is named; in ``notes``.

        Raises
        ------
        DataFileError
            Naming the row that is not a plain number, or a unit that does not convert.
        """
        found = self.cells(name, unit, like)
        if np.isfinite(found.below).any():
            row = int(np.argmax(np.isfinite(found.below)))
            place = f"{self.where}, column {name}, row {row + 1}"
            raise DataFileError(f"{self.table[name][row]!s} has an error", where=place, expected="a number")
        return found.value, found.limit

    def cells(self, name: str, unit: str = "", like: str = "") -> Numbers:
        """Return a column in ``unit``, with the errors and limits that its cells hold, such as ``5.1 +/- 0.1``.

        Raises
        ------
        DataFileError
            Naming the row that is neither a number, a limit nor empty, or a unit that does not convert.
        """
        from astropy import units

        column = self.table[name]
        where = f"{self.where}, column {name}"
        if column.ndim != 1:
            raise DataFileError("an array in each row", where=where, expected="one number a row")
        values = np.full((3, len(column)), np.nan)
        limits = np.zeros(len(column), dtype=bool)
        mask = np.ma.getmaskarray(np.ma.asarray(column))
        for row, content in enumerate(column):
            text = "" if mask[row] else str(getattr(content, "value", content)).strip()
            cell = read_cell(text)
            if cell is None:
                place = f"{where}, row {row + 1}"
                expected = "a number, one with its error such as 5.1 +/- 0.1, a limit such as <5, or an empty cell"
                raise DataFileError(f"{text!r} is not a number", where=place, expected=expected)
            limits[row] = cell.limit != 0
            if not cell.limit:
                values[:, row] = cell[:3]
        given = getattr(column, "unit", None)
        if given is None and like and unit and (given := getattr(self.table[like], "unit", None)) is not None:
            told = f"column {name} has no unit: that of {like}, {given}, is taken"
            self.notes += [told] * (str(given) != unit and told not in self.notes)
        if given is not None and unit:
            try:
                # Temperatures may be in kelvin.
                values = np.asarray(units.Quantity(values, given).to_value(unit, units.temperature_energy()))
            except (units.UnitConversionError, units.UnitTypeError, TypeError, ValueError) as error:
                raise DataFileError(f"unit {given}", where=where, expected=unit) from error
        value, below, above = values
        return Numbers(value, below, above, limits)


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

    if is_marked_up(text):
        return _marked_up(text, where)
    lines = [line.rstrip("\r\n") for line in text.lstrip("\ufeff").splitlines()]
    comments = [line.lstrip("# ") for line in lines if line.startswith("#")]
    body = [line for line in lines if line.strip() and not line.startswith("#")]
    if not body:
        raise DataFileError("the table has no rows", where=where, expected="a line of names and one row a source")
    if all(line.strip().startswith("|") and line.strip().endswith("|") for line in body):
        body = [line.strip()[1:-1] for line in body]
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
        elif found := _COLUMN_UNIT.fullmatch(name):
            names[k], units[k] = found.group(1), f"1e{found.group(2)} / cm2"
    if len(set(names)) != len(names) or not all(names):
        twice = next((n for n in names if names.count(n) > 1), "")
        raise DataFileError(f"the column name {twice!r} occurs twice or is empty", where=where, expected="names once")
    for k, row in enumerate(cells, start=1):
        if len(row) != len(names):
            raise DataFileError(f"{len(row)} cells", where=f"{where}, row {k}", expected=f"{len(names)}, as names")
    cells, told = with_points(cells, where)
    table = Table([Column([row[j] for row in cells], name=name, dtype=str) for j, name in enumerate(names)])
    for name, unit in zip(names, units, strict=False):
        if unit and unit not in ("-", "---"):
            table[name].unit = unit
    return Sheet(table, where, comments, [note.rstrip(".") for note in told])


def _marked_up(text: str, where: str) -> Sheet:
    """Read LaTeX and the machine-readable tables of CDS and AAS; what stands around the rows are comments."""
    table, told = from_text(text, where)
    for name in list(table.colnames):
        plain = re.sub(r"_ ", "_", " ".join(re.sub(r"[{}$\\]", "", _LOOK.sub("", name)).split()))
        if plain != name:
            table.rename_column(name, plain)
    first = [str(cell).strip() for cell in table[0]] if len(table) else []
    while first and all(re.fullmatch(r"\(\d+\)|[\[(][^\d)][^)]*[\])]|", cell) for cell in first) and any(first):
        # Rows of units, (keV), and of the numbers of columns, (1).
        for name, cell in zip(table.colnames, first, strict=True):
            if re.fullmatch(r"[\[(](keV|eV|K|MK)[\])]", cell.replace("$", "")):
                table[name].unit = cell.replace("$", "")[1:-1]
        table = table[1:]
        first = [str(cell).strip() for cell in table[0]] if len(table) else []
    for name in list(table.colnames):
        if found := _UNIT.fullmatch(name):
            table[name].unit = found.group(2)
            table.rename_column(name, found.group(1))
    around = [" ".join(line.strip() for line in text.splitlines() if "&" not in line)]
    sheet = _sheet(table, where)
    return Sheet(table, where, [*sheet.comments, *around], [note.rstrip(".") for note in told])


def _delimiter(header: str, suffix: str) -> str | None:
    found = [d for d in ("\t", ";", "|", ",") if d in header]
    return found[0] if found else ("," if suffix == ".csv" else None)


def _cells(line: str, delimiter: str | None) -> list[str]:
    import csv

    if delimiter is None:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
