"""Columns of tables: reading a file or an object in memory, names, numbers with units, selection of rows."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crosscal.core.cells import HIGH_MARKERS, MARKERS, RAISED, read_cell
from crosscal.core.errors import ConfigError, DataFileError, MissingDependencyError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.memory import as_table, is_path
from crosscal.core.reading import parsing
from crosscal.core.text_tables import decoded, from_text

Column = str | Sequence[str]
_NO_NAME = ("nan", "NaN", "None", "N/A", "n/a", "null", "NULL", "<NA>", "--", "...")
Floats = NDArray[np.float64]
TEXT = (".csv", ".tsv", ".txt", ".dat", ".tab", ".mrt", ".cds", ".tex")
SUFFIXES = (*TEXT, ".ecsv", ".fits", ".fit", ".fits.gz", ".parquet")


_IN_BRACKETS = re.compile(r"[\[(]([^\[\]()]+(?:\([^()]*\))?[^\[\]()]*)[\])]\s*$")
#: Powers of ten in names: "1e-12", "10^-12", "$10^{-12}$", a raised exponent.
_POWER = re.compile(
    r"(?<=[\s(\[$×x*])(?:[×x*]|\\times)?\s*\$?(?:1[eE]([+\-\u2212]?\d{1,2})|10\s*\^\s*\{?([+\-\u2212]?\d{1,2})\}?|"
    r"10([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+))\$?"
)
#: A range of energies or wavelengths, which astropy would read as a power of ten.
_RANGE = re.compile(
    r"(?i)\s*\d[\d.]*\s*[-\u2013]\s*\d[\d.]*\s*(kev|ev|mev|gev|tev|a|aa|angstrom|nm|um|mm|cm|hz|[mg]hz)\s*"
)


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
            return _from_fits(path, str(source))
        if name.endswith(".parquet"):
            try:
                import pyarrow.parquet as parquet
            except ImportError:
                raise MissingDependencyError("pyarrow", extra="test", purpose="Parquet tables") from None
            content = parquet.read_table(path)
            if b"table_meta_yaml" in (content.schema.metadata or {}):
                # Written by astropy, with units and masks.
                return Loaded(Table.read(path, format="parquet"), str(source))
            columns = {c: content[c].to_numpy(zero_copy_only=False) for c in content.column_names}
            return Loaded(Table(columns), str(source))
        if name.endswith(".ecsv"):
            return Loaded(Table.read(path, format="ascii.ecsv"), str(source))
        table, told = from_text(decoded(path.read_bytes(), str(source)), str(source))
        return Loaded(table, str(source), told)


def _from_fits(path: Any, where: str) -> Loaded:
    """The first table of a FITS file; others are told."""
    from astropy.io import fits
    from astropy.table import Table

    with fits.open(path) as hdus:
        tables = [k for k, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        if not tables:
            raise DataFileError("no table", where=where, expected="a FITS file with a table")
        names = [str(hdus[k].name or k) for k in tables]
        table = Table.read(hdus[tables[0]])
    if len(tables) == 1:
        return Loaded(table, where)
    others = ", ".join(names[1:4]) + (", ..." if len(names) > 4 else "")
    told = f"The file holds several tables: {names[0]} is used, not {others} (to use another, read it with astropy)."
    return Loaded(table, where, (told,))


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
    # Nothing, as tables in memory and on paper write it, is no name.
    return np.where(np.isin(together, _NO_NAME), "", together)


def texts(table: Any, name: str, where: str) -> NDArray[np.str_]:
    """A column as text, one word a row."""
    column = named(table, name, where)
    with parsing("names that are not text", where=f"{where}, column {name!r}", expected="one name a row"):
        content = np.asarray(column.filled("") if getattr(column, "dtype", None) is not None
                             and hasattr(column, "filled") and column.dtype.kind in "US" else column)  # fmt: skip
        # Byte strings of FITS tables are text.
        words = np.char.decode(content, "utf-8") if content.dtype.kind == "S" else content.astype(str)
    if hasattr(column, "mask") and words.ndim == 1:
        words = np.where(np.broadcast_to(np.asarray(column.mask), words.shape), "", words)
    if words.ndim != 1:
        raise DataFileError("not one name a row", where=f"{where}, column {name!r}", expected="one name a row")
    return np.char.strip(words)


class Measured(NamedTuple):
    """A column of measurements, (n,) each: values, the errors below and above and limits of its cells; its unit and
    the type in which the table holds it."""

    value: Floats
    low: Floats
    high: Floats
    limit: NDArray[np.int8]
    unit: str
    dtype: Any = None

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
    if not hasattr(column, "dtype"):
        raise DataFileError(
            f"objects of type {type(column).__name__}", where=f"{where}, column {name!r}", expected="numbers"
        )
    if column.ndim != 1:
        raise DataFileError("not one number a row", where=f"{where}, column {name!r}", expected="one number a row")
    unit = str(getattr(column, "unit", None) or "") or unit_in_name(name)
    n = len(column)
    low, high, limit = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, np.int8)
    if column.dtype.kind in "biuf":
        content = column.filled(np.nan) if hasattr(column, "filled") and column.dtype.kind == "f" else column
        value = np.array(content, dtype=float)
        if hasattr(column, "mask"):
            value[np.broadcast_to(np.asarray(column.mask), value.shape)] = np.nan
    else:
        value = _from_words(_words(column), missing, low, high, limit, f"{where}, column {name!r}", rows)
    place = f"{where}, column {name!r}"
    if missing is not None:
        marked = _are(value, [float(m) for m in missing if not isinstance(m, str)], column.dtype)
        value = np.where(marked, np.nan, value)
    else:
        refuse_markers(value, _are(value, MARKERS, column.dtype), place, rows)
    return Measured(value, low, high, limit, unit, column.dtype)


def unit_in_name(name: str) -> str:
    """The unit that a column's name holds, as in "flux [mJy]", "flux_mJy" or "pn 1e-12"; empty if there is none.

    Of a unit that is not known, as in "(10^-12 cgs)", the power of ten is returned.
    """
    from astropy import units

    if jansky := re.search(r"_((?:n|u|m|)Jy)$", name):
        return jansky[1]
    found = _IN_BRACKETS.search(name)
    if found is None:
        power = _POWER.search(name)
        return power_of_ten(power) if power is not None and power.end() == len(name.rstrip()) else ""
    if _RANGE.fullmatch(found[1]):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", units.UnitsWarning)
            units.Unit(found[1])
    except (ValueError, TypeError):
        power = _POWER.search(" " + found[1])
        return power_of_ten(power) if power is not None else ""
    return found[1].strip()


def power_of_ten(found: re.Match[str]) -> str:
    """A power of ten as astropy spells it."""
    exponent = next(part for part in found.groups() if part).replace("\u2212", "-").translate(RAISED)
    return f"1e{int(exponent)}"


def without_unit(name: str) -> str:
    """A column's name without its unit, and without the range of energies in brackets."""
    found = _IN_BRACKETS.search(name) if unit_in_name(name) else None
    if found is not None:
        return name[: found.start()].strip("_ ") or name
    power = _POWER.search(name) if unit_in_name(name) else None
    return name[: power.start()].strip("_ ") or name if power is not None else name


def _are(value: Floats, markers: Sequence[float], dtype: Any) -> NDArray[np.bool_]:
    """Whether values are one of some numbers, as a column of this type holds them."""
    short = dtype.kind == "f" and dtype.itemsize < 8
    with np.errstate(over="ignore"):
        held = np.asarray(markers, dtype=dtype if short else float)
    return np.isin(value, held.astype(float))


def refuse_markers(value: Floats, doubtful: NDArray[np.bool_], where: str, rows: NDArray) -> None:
    """Refuse numbers that may mark missing values.

    Raises
    ------
    DataFileError
        Naming the first.
    """
    if np.any(doubtful):
        k = int(np.argmax(doubtful))
        raise DataFileError(
            f"{value[k]:.7g} may be a measurement or a marker of a missing value",
            where=where.replace(", column", f", row {rows[k]}, column"),
            expected=f"missing = [{value[k]:.7g}] if it is a marker, missing = [] if it is a measurement",
        )


def refuse_high_markers(found: Measured, error: Floats | None, magnitudes: bool, where: str, rows: NDArray) -> None:
    """Refuse magnitudes such as 99.99, and values such as 999 whose error is the same number."""
    doubtful = _are(found.value, HIGH_MARKERS, found.dtype)
    if not magnitudes:
        doubtful &= False if error is None else np.atleast_2d(error)[0] == found.value
    refuse_markers(found.value, doubtful, where, rows)


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


def numeric(
    table: Any, name: str, where: str, rows: NDArray, missing: Sequence[float | str] | None = ()
) -> tuple[Floats, str]:
    """A column as plain numbers, empty cells as NaN, and its unit.

    Raises
    ------
    DataFileError
        If a cell is not a plain number.
    """
    found = measured(table, name, where, rows, missing)
    odd = np.isfinite(found.low) | (found.limit != 0)
    if np.any(odd):
        k = int(np.argmax(odd))
        raise DataFileError(
            "a limit or a number with an error", where=f"{where}, row {rows[k]}, column {name!r}", expected="a number"
        )
    return found.value, found.unit


def conversion(found: str, wanted: str, where: str, what: str = "flux") -> tuple[float, str]:
    """The factor from one unit to another, where both are known, and the unit that results."""
    if not wanted or not found or found == wanted:
        return 1.0, wanted or found
    from astropy import units

    try:
        with warnings.catch_warnings():
            # "erg/s/cm2" is read as everybody means it.
            warnings.simplefilter("ignore", units.UnitsWarning)
            return float(units.Unit(found).to(units.Unit(wanted))), wanted
    except (ValueError, TypeError, units.UnitConversionError):
        raise DataFileError(
            f"{what} unit {found!r}", where=where, expected=f"a unit convertible to {wanted!r}"
        ) from None


def _spellings(value: Any) -> Iterator[str]:
    """Yield how a table may spell a value: a whole number with and without its decimal point."""
    yield str(value)
    if isinstance(value, bool):
        yield from (("TRUE", "true", "T") if value else ("FALSE", "false", "F"))
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
