"""Reading matrices and wide tables: a row per source or instrument, columns of values, errors and limits."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.assembly import LOG_SCALES
from crosscal.concordance.coding import refuse_look_alikes
from crosscal.concordance.error_columns import errors_from, limits_from, logs_per, require_columns
from crosscal.concordance.reading_cells import Missing
from crosscal.concordance.statements import refuse_averages, refuse_logarithms, refuse_stated_levels, scale_of
from crosscal.concordance.table_columns import (
    Measured,
    conversion,
    load_columns,
    measured,
    refuse_high_markers,
    texts,
)
from crosscal.concordance.types import Comparison
from crosscal.concordance.wide_columns import IDENTIFIER, Place, place_columns
from crosscal.core.cells import read_cell
from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.core.keywords import keywords

Floats = NDArray[np.float64]
#: Logarithms below this are those of fluxes in cgs units, natural or decimal ones.
_FAINTEST = -7.0
#: Names of instruments, by which tables are recognised whose rows and columns are exchanged.
_KNOWN = re.compile(
    r"(?i)\b(xmm|epic|(e?pic)?[- ]?pn|mos[12]?|m[12]|rgs[12]?|chandra|acis|hrc|heg|meg|letg|hetg|nustar|fpm[ab]|swift|"
    r"xrt|uvot|bat|suzaku|xis[0-3]?|nicer|rosat|pspc[bc]?|erosita|tm[1-7]|asca|[gs]is[01]?|rxte|pca|integral|ibis|isgri|spi|jem-?x|"
    r"hitomi|xrism|resolve|xtend|astrosat|maxi|fermi|lat|gbm|hst|wfc3|acs|jwst|galex|spitzer|wise|ps1|sdss|2mass|gaia)"
)
_INSTRUMENT = re.compile(r"(?i)(instr?|instruments?|telescopes?|detectors?|satellites?|missions?)")


@keywords
def read_matrix(
    path: str | os.PathLike[str] | Any,
    *,
    orientation: str = "sources",
    names: str | None = None,
    instruments: Sequence[str] | None = None,
    value: str | Mapping[str, str] | None = None,
    error: float | str | Mapping[str, str] | Sequence[str | Mapping[str, str]] | None = None,
    limit: str | Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    scale: str | None = None,
    logarithmic: bool | None = None,
    confidence: float | None = None,
    limit_confidence: float | None = None,
    missing: Missing | None = None,
    flux_unit: str = "",
    bounds: bool | None = None,
) -> Comparison:
    """Read a matrix or wide table: a row per source (or instrument), columns of values and perhaps of errors and
    limits.

    Parameters
    ----------
    orientation : "sources" or "instruments"
        What the rows are. The header names the columns.
    names : str, optional
        Column that names the rows; by default the first that holds words, or one called ``id``, ``source`` or alike.
    instruments : sequence of str, optional
        Names of the instruments, where the file does not hold them (rows are instruments and have no names).
    value, error, limit : str or mapping, optional
        Patterns of column names such as "{inst}_FLUX", "{inst}_FLUX_ERR", or instrument to column. Without them,
        columns that go in pairs of a value and its error are recognised and told. ``error`` may be two of them, for
        errors below and above, or one fraction for all cells.
    ignore : sequence of str
        Columns that are not measurements. Other columns that do not fit the patterns are refused.
    scale : "linear", "ln", "log10", "magnitude" or "additive", optional
        What the values are.
    logarithmic : bool, optional
        The same as scale "ln" or "linear". One of both must be given, unless values with errors or limits are fluxes or
        negative values can only be logarithms.
    confidence, limit_confidence, missing, flux_unit, bounds
        As in `read_table`.

    Raises
    ------
    InputError
        Naming file, row and column of what is wrong.

    Examples
    --------
    >>> data = concordance.read_matrix("log_fluxes.csv", names="source", logarithmic=True)  # doctest: +SKIP
    >>> data = concordance.read_matrix("catalogue.csv", value="{inst}_FLUX", error="{inst}_FLUX_ERR")  # doctest: +SKIP
    """
    if orientation not in ("sources", "instruments"):
        raise UnknownNameError("orientation", orientation, ("sources", "instruments"), where="read_matrix")
    fraction = _fraction(error)
    table, where, told = load_columns(_unstacked(path, orientation))
    if len(table) == 0:
        raise DataFileError("the table has no rows", where=where, expected="a row per source or instrument")
    require_columns(table.colnames, [*ignore, *([names] if names else [])], where)
    names, names_told = _naming_column(table, names)
    if names is not None and orientation == "sources" and _INSTRUMENT.fullmatch(names):
        raise DataFileError(
            f"rows are named by column {names!r}, as instruments", where=where,
            expected='orientation = "instruments" (in job files rows = "instruments"), or another name of the column',
        )  # fmt: skip
    rows = np.arange(1, len(table) + 1)
    labels = [f"row {k}" for k in rows] if names is None else [str(v) for v in texts(table, names, where)]
    others = [c for c in table.colnames if c != names and c not in ignore]
    if orientation == "sources" and names is not None:
        _refuse_turned(labels, others, where)
    placed, pairs_told = place_columns(others, value, _rules(error), limit, where)
    if not placed:
        raise DataFileError("no column of numbers", where=where, expected="one column for each name in the header")
    if logarithmic is not None and scale is None:
        scale = "ln" if logarithmic else "linear"
    if scale is None:
        _refuse_named_scales(table, placed, where)
    blocks, unit, units_told = _blocks(table, placed, where, rows, missing, bounds, scale, flux_unit, confidence)
    y = np.stack([b.value for b in blocks], axis=1)
    low, high, flags = (np.stack([getattr(b, k) for b in blocks], axis=1) for k in ("low", "high", "limit"))
    quoted = fraction is not None or bool(np.any(np.isfinite(low)))
    scale, more = _matrix_scale(y, scale, quoted or bool(np.any(flags != 0)), where)
    if fraction is not None:
        size = np.abs(y) if scale in ("linear", "additive") else 1.0
        sigma = fraction if scale in ("linear", "additive") else float(np.sqrt(np.log1p(fraction**2)))
        low = high = np.broadcast_to(size * sigma / abs(LOG_SCALES.get(scale, 1.0)), y.shape)
    down, across = _names_of(list(placed), labels, instruments, orientation == "sources", where)
    refuse_averages((*down, *across), "row or column", where)
    by_source = orientation == "sources"
    refuse_look_alikes(np.array(across if by_source else down), where, "columns" if by_source else "rows")
    return _comparison(
        _Grid(y, low if quoted else None, high, flags, list(placed.values()), where), down, across,
        orientation == "sources", confidence=confidence, limit_confidence=limit_confidence, flux_unit=unit,
        scale=scale, assumed=(*told, *names_told, *pairs_told, *units_told, *more),
    )  # fmt: skip


def _unstacked(source: Any, orientation: str) -> Any:
    """A DataArray of two dimensions as a table of this orientation, by the names of its dimensions; others as they
    are."""
    if hasattr(source, "dims") and not hasattr(source, "data_vars") and getattr(source, "ndim", 0) == 2:
        instruments = [bool(_INSTRUMENT.fullmatch(str(name))) for name in source.dims]
        turned = instruments == ([True, False] if orientation == "sources" else [False, True])
        frame = source.to_pandas().T if turned else source.to_pandas()
        unit = source.attrs.get("units")
        frame.attrs["units"] = dict.fromkeys(frame.columns, unit) if unit else {}
        frame.columns.name = None
        return frame
    return source


def _refuse_turned(labels: list[str], columns: list[str], where: str) -> None:
    """Refuse rows that are named as instruments, where none of the columns is."""
    if len(labels) < 2 or not all(map(_KNOWN.search, labels)) or any(map(_KNOWN.search, columns)):
        return
    raise DataFileError(
        f"the rows are named as instruments ({', '.join(labels[:3])})", where=where,
        expected='orientation = "instruments" (in job files rows = "instruments")',
    )  # fmt: skip


def _rules(error: Any) -> list[str | Mapping[str, str]]:
    """The patterns or mappings of the columns of errors."""
    if error is None or isinstance(error, float | int):
        return []
    return [error] if isinstance(error, str | Mapping) else list(error)


def _fraction(error: Any) -> float | None:
    """The one relative error of all cells, if ``error`` is one."""
    if not isinstance(error, float | int):
        return None
    if not 0 < error < 1:
        raise InputError(f"error = {error:g}", where="read_matrix", expected="a fraction such as 0.05")
    return float(error)


def _refuse_named_scales(table: Any, placed: Mapping[str, Place], where: str) -> None:
    """Refuse value columns whose names or units tell of a scale that is not given."""
    for place in placed.values():
        scale_of(place.value, str(getattr(table[place.value], "unit", None) or ""), None, False, where)


def _blocks(
    table: Any, placed: Mapping[str, Place], where: str, rows: NDArray[np.int64], missing: Missing | None,
    bounds: bool | None, scale: str | None, flux_unit: str, confidence: float | None,
) -> tuple[list[Measured], str, tuple[str, ...]]:  # fmt: skip
    """Values, errors and limits of each instrument in one unit, the unit, and what was taken for granted."""
    linear = scale in (None, "linear", "additive")
    blocks, without, told = [], [], list[str]()
    unit = flux_unit
    for place in placed.values():
        found = measured(table, place.value, where, rows, missing)
        if confidence is None:
            refuse_stated_levels(table, place.value, place.errors, where, found.has_errors)
        low, high, flags = found.low, found.high, found.limit.astype(float)
        if place.errors:
            errors, more = errors_from(table, place.errors, found, where, rows, missing, bounds, scale or "linear")
            low, high = np.atleast_2d(errors)[0], np.atleast_2d(errors)[-1]
            told += more
        if place.limit is not None:
            flags = np.where(flags != 0, flags, limits_from(table, place.limit, where, rows, missing))
        if scale is None:
            refuse_logarithms(table, place.value, found.value, low if place.errors else None, where)
        if missing is None:
            error = low if np.any(np.isfinite(low)) else None
            refuse_high_markers(found, error, scale == "magnitude", f"{where}, column {place.value!r}", rows)
        value, factor = found.value * logs_per(found.unit, scale or "linear"), 1.0
        if linear:
            unit = unit or found.unit
            factor = conversion(found.unit, unit, f"{where}, column {place.value!r}")[0]
            without += [place.value] * (not found.unit)
        blocks.append(Measured(value * factor, low * factor, high * factor, flags, unit))  # type: ignore[arg-type]
    if unit and not flux_unit and without:
        told.append(f"Columns without a unit are assumed to be in {unit}: {', '.join(without[:4])}.")
    return blocks, unit, tuple(told)


def _names_of(
    columns: list[str], labels: list[str], instruments: Sequence[str] | None, by_source: bool, where: str
) -> tuple[list[str], list[str]]:
    """Names of the rows and of the columns."""
    across = list(instruments) if instruments is not None and by_source else columns
    down = list(instruments) if instruments is not None and not by_source else labels
    if len(across) != len(columns) or len(down) != len(labels) or len(set(down)) != len(down):
        raise DataFileError(
            f"{len(set(down))} different names for {len(labels)} rows", where=where, expected="one each"
        )
    return down, across


class _Grid(NamedTuple):
    """Values, errors and limits by row and column of a wide table, and where they stand."""

    value: Floats
    low: Floats | None
    high: Floats
    limit: Floats
    places: list[Place]
    where: str


def _comparison(grid: _Grid, down: list[str], across: list[str], by_source: bool, **facts: Any) -> Comparison:
    """The comparison of the cells that hold a measurement; ``facts`` are those of `Comparison.from_cells`."""
    present = np.isfinite(grid.value)
    if not np.all(present):
        facts["assumed"] = (*facts["assumed"], f"{np.sum(~present)} of {present.size} cells are empty.")
    row_of, column_of = np.nonzero(present)
    first, second = np.array(down)[row_of], np.array(across)[column_of]
    if grid.low is not None:
        facts["error"] = np.stack([grid.low[present], grid.high[present]])
    if np.any(grid.limit[present] != 0):
        facts["limit"] = grid.limit[present]
    try:
        return Comparison.from_cells(
            second if by_source else first, first if by_source else second, flux=grid.value[present],
            where=grid.where, **facts,
        )  # fmt: skip
    except InputError as problem:
        found = re.search(r", row (\d+), column '(\w+)'$", problem.where or "")
        if found is None:
            raise
        k = int(found[1]) - 1
        place = grid.places[column_of[k]]
        column = place.errors[0] if found[2] == "error" and place.errors else place.value
        raise InputError(
            problem.what, where=f"{grid.where}, row {row_of[k] + 1}, column {column!r}", expected=problem.expected
        ) from None


def _naming_column(table: Any, given: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The column that names the rows: the given one, the first of words, or else one that is called so."""
    words = given or next((c for c in table.colnames if _is_words(table, c)), None)
    if words is not None:
        return words, ()
    called = next((c for c in table.colnames if IDENTIFIER.match(c.strip(" .:"))), None)
    return called, () if called is None else (f"Column {called!r} names the rows.",)


def _is_words(table: Any, name: str) -> bool:
    """Whether a column holds words that are not measurements."""
    column = table[name]
    if column.dtype.kind not in "USO" or column.ndim != 1:
        return False
    return any(read_cell(word) is None for word in texts(table, name, "the table"))


def _matrix_scale(y: Floats, scale: str | None, fluxes: bool, where: str) -> tuple[str, tuple[str, ...]]:
    """Return the scale of a matrix and what was taken for granted."""
    if scale is not None:
        return scale, ()
    if fluxes:
        return "linear", ()
    if np.all(y[np.isfinite(y)] < _FAINTEST):
        raise DataFileError(
            "the values may be natural or decimal logarithms", where=where, expected='scale = "ln" or "log10"'
        )
    if np.any(y < 0):
        return "ln", ("The values are read as natural logarithms, because some are negative.",)
    raise DataFileError(
        "the values may be fluxes or their natural logarithms",
        where=where,
        expected="logarithmic = false (fluxes) or true, or a scale",
    )
