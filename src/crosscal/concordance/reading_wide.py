"""Reading matrices and wide tables: a row per source or instrument, columns of values, errors and limits."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.cells import read_cell
from crosscal.concordance.table_columns import ERROR_NAME, load_columns, measured, numeric, texts
from crosscal.concordance.types import Comparison
from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.core.keywords import keywords

Floats = NDArray[np.float64]
Missing = Sequence[float | str]
#: Names of columns that are no measurements, in wide tables of catalogues.
_METADATA = re.compile(
    r"(?i)^(ra|dec|raj?2000|dej?2000|_?ra_?deg|_?de_?deg|dec_?deg|glon|glat|l|b|z|redshift|nh|n_h|mjd|jd|date|time|"
    r"exp(osure)?|ontime|obs_?id|dist(ance)?|sep|offset|flag|quality|notes?|ref)$"
)


@keywords
def read_matrix(
    path: str | os.PathLike[str] | Any,
    *,
    orientation: str = "sources",
    names: str | None = None,
    instruments: Sequence[str] | None = None,
    value: str | Mapping[str, str] | None = None,
    error: float | str | Mapping[str, str] | None = None,
    limit: str | Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    scale: str | None = None,
    logarithmic: bool | None = None,
    confidence: float | None = None,
    limit_confidence: float | None = None,
    missing: Missing | None = None,
    flux_unit: str = "",
) -> Comparison:
    """Read a matrix or wide table: a row per source (or instrument), columns of values and perhaps of errors and
    limits.

    Parameters
    ----------
    orientation : "sources" or "instruments"
        What the rows are. The header names the columns.
    names : str, optional
        Column that names the rows; by default the first that holds words.
    instruments : sequence of str, optional
        Names of the instruments, where the file does not hold them (rows are instruments and have no names).
    value, error, limit : str or mapping, optional
        Patterns of column names such as "{inst}_FLUX", "{inst}_FLUX_ERR", or instrument to column. Without them,
        columns that go in pairs of a value and its error are recognised and told. ``error`` may be one fraction for all
        cells.
    ignore : sequence of str
        Columns that are no measurements. Others that cannot be placed are refused.
    scale : "linear", "ln", "log10", "magnitude" or "additive", optional
        What the values are.
    logarithmic : bool, optional
        The same as scale "ln" or "linear". One of both must be given, unless values with errors or limits are fluxes or
        negative values can only be logarithms.
    confidence, limit_confidence, missing, flux_unit
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
    table, where, told = load_columns(path)
    if len(table) == 0:
        raise DataFileError("the table has no rows", where=where, expected="a row per source or instrument")
    names = names or next((c for c in table.colnames if _is_words(table, c)), None)
    rows = np.arange(1, len(table) + 1)
    labels = [f"row {k}" for k in rows] if names is None else [str(v) for v in texts(table, names, where)]
    others = [c for c in table.colnames if c != names and c not in ignore]
    placed, pairs_told = _place(others, value, error, limit, where)
    if not placed:
        raise DataFileError("no column of numbers", where=where, expected="one column for each name in the header")
    told = (*told, *pairs_told)
    blocks = {inst: measured(table, columns[0], where, rows, missing) for inst, columns in placed.items()}
    y = np.stack([b.value for b in blocks.values()], axis=1)
    low, high, flags = (np.stack([getattr(b, k) for b in blocks.values()], axis=1) for k in ("low", "high", "limit"))
    flags = flags.astype(float)
    for k, columns in enumerate(placed.values()):
        if columns[1] is not None:
            low[:, k] = high[:, k] = measured(
                table, columns[1], where, rows, missing if missing is not None else ()
            ).value
        if columns[2] is not None:
            flags[:, k] = np.nan_to_num(numeric(table, columns[2], where, rows, missing)[0])
    if isinstance(error, float | int):
        low = high = np.abs(y) * error
    quoted = bool(np.any(np.isfinite(low)))
    scale, more = _matrix_scale(y, scale, logarithmic, quoted or bool(np.any(flags != 0)), where)
    if isinstance(error, float | int) and scale not in ("linear", "additive"):
        low = high = np.full(y.shape, float(np.sqrt(np.log1p(error**2))))
    present = np.isfinite(y)
    if not np.all(present):
        told = (*told, f"{np.sum(~present)} of {present.size} cells are empty.")
    columns_of = list(placed)
    row_of, column_of = np.nonzero(present)
    by_source = orientation == "sources"
    across = list(instruments) if instruments is not None and by_source else columns_of
    down = list(instruments) if instruments is not None and not by_source else labels
    if len(across) != len(columns_of) or len(down) != len(labels) or len(set(down)) != len(down):
        raise DataFileError(
            f"{len(set(down))} different names for {len(labels)} rows", where=where, expected="one each"
        )
    first, second = np.array(down)[row_of], np.array(across)[column_of]
    cells = {"flux": y[present], "scale": scale}
    if quoted:
        cells["error"] = np.stack([low[present], high[present]])
    if np.any(flags[present] != 0):
        cells["limit"] = flags[present]
    try:
        return Comparison.from_cells(
            second if by_source else first, first if by_source else second, confidence=confidence,
            limit_confidence=limit_confidence, where=where, flux_unit=flux_unit, assumed=(*told, *more),
            **cells,  # type: ignore[arg-type]
        )  # fmt: skip
    except InputError as problem:
        found = re.search(r", row (\d+), column '(\w+)'$", problem.where or "")
        if found is None:
            raise
        k = int(found[1]) - 1
        place = f"{where}, row {row_of[k] + 1}, column {placed[columns_of[column_of[k]]][found[2] == 'error']!r}"
        raise InputError(problem.what, where=place, expected=problem.expected) from None


def _is_words(table: Any, name: str) -> bool:
    """Whether a column holds words that are no measurements."""
    column = table[name]
    if column.dtype.kind not in "USO" or column.ndim != 1:
        return False
    return any(read_cell(word) is None for word in texts(table, name, "the table"))


def _place(
    columns: list[str], value: Any, error: Any, limit: Any, where: str
) -> tuple[dict[str, tuple[str, str | None, str | None]], tuple[str, ...]]:
    """Return the value, error and limit column of each instrument, and what was recognised.

    Raises
    ------
    DataFileError
        Naming columns that have no place.
    """
    placed: dict[str, tuple[str, str | None, str | None]] = {}
    if value is not None:
        by_role = [_matching(columns, rule) for rule in (error if not isinstance(error, float | int) else None, limit)]
        special = {c for found in by_role for c in found.values()}
        values = {k: c for k, c in _matching(columns, value).items() if c not in special}
        placed = {inst: (c, by_role[0].get(inst), by_role[1].get(inst)) for inst, c in values.items()}
        told: tuple[str, ...] = ()
    else:
        pairs = _pairs(columns)
        lone = [c for c in columns if c not in pairs and c not in pairs.values()]
        if not pairs:
            doubtful = [c for c in lone if _METADATA.match(c) or ERROR_NAME.search(c)]
            if doubtful:
                raise _unplaced(doubtful, where)
            return {c: (c, None, None) for c in lone}, ()
        for c, e in pairs.items():
            placed[_instrument_of(c, list(pairs))] = (c, e, None)
        shown = ", ".join(f"{c} with {e}" for c, e in list(pairs.items())[:3])
        told = (f"Columns are read as values with errors: {shown}{', ...' if len(pairs) > 3 else ''}.",)
    used = {c for triple in placed.values() for c in triple if c is not None}
    if left := [c for c in columns if c not in used]:
        raise _unplaced(left, where)
    return placed, told


def _unplaced(columns: list[str], where: str) -> DataFileError:
    shown = ", ".join(repr(c) for c in columns[:5]) + (", ..." if len(columns) > 5 else "")
    listed = ", ".join(f'"{c}"' for c in columns[:5])
    return DataFileError(
        f"columns {shown} may be no measurements",
        where=where,
        expected=f"ignore = [{listed}], or patterns such as value = '{{inst}}_FLUX' and error = '{{inst}}_FLUX_ERR'",
    )


def _matching(columns: list[str], rule: str | Mapping[str, str] | None) -> dict[str, str]:
    """Columns by instrument that a pattern with {inst}, or a mapping, names."""
    if rule is None:
        return {}
    if isinstance(rule, Mapping):
        return {inst: c for inst, c in rule.items() if c in columns}
    before, brace, after = rule.partition("{inst}")
    if not brace:
        raise DataFileError(f"pattern {rule!r}", where="columns of a wide table", expected="{inst} in its place")
    form = re.compile(re.escape(before) + "(.+)" + re.escape(after))
    return {found[1]: c for c in columns if (found := form.fullmatch(c))}


def _pairs(columns: list[str]) -> dict[str, str]:
    """Value columns with their error columns, recognised by names such as X and X_ERR, or X and e_X."""
    found = {}
    for name in columns:
        token = ERROR_NAME.search(name)
        if token is None:
            continue
        rest = name[: token.start()] + name[token.end() :]
        partners = [c for c in columns if c != name and c.casefold() == rest.casefold()]
        if len(partners) == 1:
            found[partners[0]] = name
    return found


def _instrument_of(column: str, columns: list[str]) -> str:
    """The part of a column's name that is not common to all value columns."""
    if len(columns) < 2:
        return column
    start, end = _shared(columns), _shared([c[::-1] for c in columns])
    short = column[len(start) : len(column) - len(end)] if len(start) + len(end) < len(column) else column
    return short.strip("_ ") or column


def _shared(names: list[str]) -> str:
    """Letters with which all names begin."""
    shortest = min(names, key=len)
    same = (len({name[k] for name in names}) == 1 for k in range(len(shortest)))
    return shortest[: next((k for k, one in enumerate(same) if not one), len(shortest))]


def _matrix_scale(
    y: Floats, scale: str | None, logarithmic: bool | None, fluxes: bool, where: str
) -> tuple[str, tuple[str, ...]]:
    """Return the scale of a matrix and what was taken for granted."""
    if scale is not None:
        return scale, ()
    if logarithmic is not None:
        return ("ln" if logarithmic else "linear"), ()
    if fluxes:
        return "linear", ()
    if np.any(y < 0):
        return "ln", ("The values are taken as natural logarithms, since some are negative.",)
    raise DataFileError(
        "the values may be fluxes or their natural logarithms",
        where=where,
        expected="logarithmic = false (fluxes) or true, or a scale",
    )
