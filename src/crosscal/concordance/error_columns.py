"""Columns of errors and of limits: which belong to a column of values, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.assembly import LOG_SCALES
from crosscal.concordance.error_names import ERROR_WORDS, side_of
from crosscal.concordance.table_columns import Measured, conversion, measured, numeric, texts
from crosscal.core.errors import DataFileError, UnknownNameError

Floats = NDArray[np.float64]
#: Names of columns that hold something else than errors, and how errors come from it and the value.
_KINDS: tuple[tuple[re.Pattern[str], str, Callable[[Floats, Floats], Floats]], ...] = (
    (
        re.compile(r"(?i)(?<!\d)(?<!\d_)(percent|pct|perc)$|[(\[]?%[)\]]?$"),
        "percent",
        lambda x, value: 0.01 * x * np.abs(value),
    ),
    (re.compile(r"(?i)(^|_)(rel|frac)(ative|tional)?(_|$)"), "fractions", lambda x, value: x * np.abs(value)),
    (re.compile(r"(?i)(^|_)(ivar|invvar|inverse_variance|weights?)$"), "inverse variances", lambda x, _: x**-0.5),
    (re.compile(r"(?i)(^|_)var(iance)?$"), "variances", lambda x, _: x**0.5),
    (re.compile(r"(?i)(^|_)snr$|^s_?n$|s/n$"), "signal-to-noise ratios", lambda x, value: np.abs(value) / x),
)
_UNIT_NAME = re.compile(rf"(?i)(flux|f|e_flux|(flux[_ ])?({ERROR_WORDS}))?[_ ]?units?")
_UPPER, _LOWER = ("<", "u", "ul", "upper", "true", "t", "y", "yes"), (">", "lower")
_PERCENT = ("%", "percent", "pct")


def errors_from(
    table: Any, names: Sequence[str], value: Measured, where: str, rows: NDArray, missing: Any, bounds: bool | None,
    scale: str = "linear",
) -> tuple[Floats, tuple[str, ...]]:  # fmt: skip
    """Errors of values from one column, (n,), or from two, below and above, (2, n), and what was recognised.

    Parameters
    ----------
    bounds : bool, optional
        Whether two columns hold the ends of the interval instead; where they may, it must be stated.
    scale : str
        That of the values. Errors in another unit than the values, or in percent of fluxes, are converted.

    Raises
    ------
    DataFileError
        If units do not fit, columns seem to be exchanged, or may be errors or ends.
    """
    if len(names) not in (1, 2):
        raise DataFileError(f"{len(names)} error columns", where=where, expected="one, or two: below and above")
    # A limit needs no error, so that markers there mean nothing.
    sides = [measured(table, name, where, rows, missing if missing is not None else ()) for name in names]
    parts = [side.value for side in sides]
    told: tuple[str, ...] = ()
    for k, (name, side) in enumerate(zip(names, sides, strict=True)):
        place = f"{where}, column {name!r}"
        if scale in LOG_SCALES:
            parts[k], more = _errors_of_logs(name, side, value.unit, abs(LOG_SCALES[scale]), place)
        else:
            parts[k], more = _plain_errors(name, side, value, place)
        told = tuple(dict.fromkeys((*told, *more)))
    if len(parts) == 1:
        if bounds:
            raise DataFileError("one column of bounds", where=where, expected="two: the lower and the upper end")
        return parts[0], told
    kinds = [(side_of(name) or ("", ""))[1] for name in names]
    if kinds == ["high", "low"] or (names[0].startswith("E_") and names[1] == f"e_{names[0][2:]}"):
        raise DataFileError(
            f"the errors above ({names[0]!r}) are named before the errors below ({names[1]!r})", where=where,
            expected=f"error = [{names[1]!r}, {names[0]!r}]",
        )  # fmt: skip
    there = np.isfinite(value.value) & np.isfinite(parts[0]) & np.isfinite(parts[1])
    if bounds is None:
        inside = (parts[0] < value.value) & (value.value < parts[1]) & (parts[0] > 0)
        if np.any(there) and np.all(inside[there]):
            raise DataFileError(
                f"columns {names[0]!r} and {names[1]!r} may hold errors, or the ends of the interval about the value",
                where=where, expected="bounds = false (errors) or true (ends)",
            )  # fmt: skip
    if bounds:
        parts = [value.value - parts[0], parts[1] - value.value]
    return np.stack(parts), told


def _plain_errors(name: str, side: Measured, value: Measured, where: str) -> tuple[Floats, tuple[str, ...]]:
    """Errors in the unit of the values, where a name or a unit says that a column holds something else."""
    if side.unit.strip() in _PERCENT and value.unit.strip() not in _PERCENT:
        return side.value * 0.01 * np.abs(value.value), ()
    for pattern, what, errors in _KINDS:
        if pattern.search(name):
            with np.errstate(divide="ignore", invalid="ignore"):
                return errors(side.value, value.value), (f"Column {name!r} is read as {what}.",)
    if value.unit:
        return side.value * conversion(side.unit, value.unit, where, "error")[0], ()
    if side.unit:
        raise DataFileError(
            f"errors in {side.unit} of values without a unit", where=where, expected="units of both, or of none"
        )
    return side.value, ()


def _errors_of_logs(
    name: str, side: Measured, unit: str, size: float, where: str
) -> tuple[Floats, tuple[str, ...]]:  # fmt: skip
    """Errors of logarithms or magnitudes in ``unit``, of which one is ``size`` in the natural logarithm."""
    own = _log_size(side.unit or (unit if unit.strip().lower().startswith("mmag") else ""))
    if own is not None:
        return side.value * (own / size), ()
    if side.unit.strip() not in ("", unit.strip()):
        raise DataFileError(
            f"errors in {side.unit} of logarithms or magnitudes", where=where, expected="mag, mmag, dex, % or no unit"
        )
    for pattern, what, errors in _KINDS:
        if pattern.search(name):
            with np.errstate(divide="ignore", invalid="ignore"):
                found = errors(side.value, np.ones_like(side.value))
            # Variances are those of the values, the others are of fluxes.
            return found if "variances" in what else found / size, (f"Column {name!r} is read as {what}.",)
    return side.value, ()


def _log_size(unit: str) -> float | None:
    """A unit of logarithms or of relative errors in the natural logarithm; None for others."""
    plain = unit.strip().lower()
    for word, size in (
        *((percent, 0.01) for percent in _PERCENT), ("mmag", 1e-3 * abs(LOG_SCALES["magnitude"])),
        ("mag", abs(LOG_SCALES["magnitude"])), ("dex", LOG_SCALES["log10"]),
    ):  # fmt: skip
        if plain.startswith(word):
            return size
    return None


def logs_per(unit: str, scale: str) -> float:
    """How many units of the scale one of a column's numbers is: 0.001 of mmag, 1 where nothing else is said."""
    return 1e-3 if scale == "magnitude" and unit.strip().lower().startswith("mmag") else 1.0


def log_errors_from(table: Any, name: str, where: str, rows: NDArray, missing: Any) -> Floats:
    """Errors of natural logarithms from their column, (n,); percent, dex and magnitudes are converted."""
    values, unit = numeric(table, name, where, rows, missing)
    return values * (1.0 if (size := _log_size(unit)) is None else size)


def limits_from(table: Any, name: str, where: str, rows: NDArray, missing: Any) -> Floats:
    """Flags of limits from their column, (n,): 1 upper, -1 lower, 0 none.

    Numbers are returned as they are; words may be "<", "UL", "true", ..., and empty cells are none.

    Raises
    ------
    DataFileError
        If a word is not a flag.
    """
    column = table[name] if name in table.colnames else None
    if column is not None and column.dtype.kind == "b":
        return np.asarray(column).astype(float)
    words = texts(table, name, where) if column is None or column.dtype.kind in "USO" else None
    known = (*_UPPER, *_LOWER)
    if words is None or not any(word.casefold() in known for word in words):
        return np.nan_to_num(numeric(table, name, where, rows, missing)[0])
    flags = np.zeros(len(words))
    for k, word in enumerate(words):
        plain = word.casefold()
        if plain in _UPPER or plain == "1":
            flags[k] = 1
        elif plain in _LOWER or plain == "-1":
            flags[k] = -1
        elif plain not in ("", "0", "=", "f", "n", "no", "false", "nan", "none", "--", "-", "\u2013"):
            raise DataFileError(
                f"{word[:60]!r} is not a limit flag", where=f"{where}, row {rows[k]}, column {name!r}",
                expected="'<', '>', 1, -1, 0 or nothing",
            )  # fmt: skip
    return flags


def limit_column(table: Any, value: str) -> str | None:
    """The column l_X of flags beside a column X, as CDS writes it, where it flags anything."""
    name = f"l_{value}"
    if name not in table.colnames or table[name].dtype.kind not in "USO":
        return None
    return name if any(word in ("<", ">") for word in texts(table, name, "the table")) else None


def unit_columns(names: Sequence[str], used: Sequence[str]) -> list[str]:
    """Columns that are called units and not used."""
    return [n for n in names if n not in used and _UNIT_NAME.fullmatch(n)]


def refuse_unused_units(table: Any, used: Sequence[str], where: str) -> None:
    """Refuse a column of several units that is not used, and two columns of units that differ.

    Raises
    ------
    DataFileError
        Naming it.
    """
    held = [n for n in table.colnames if _UNIT_NAME.fullmatch(n) and table[n].dtype.kind in "USO"]
    for name in held[1:]:
        if np.any(texts(table, name, where) != texts(table, held[0], where)):
            raise DataFileError(
                f"columns {held[0]!r} and {name!r} differ", where=where, expected="fluxes and errors in one unit"
            )
    for name in unit_columns(table.colnames, used):
        units = sorted(set(texts(table, name, where))) if table[name].dtype.kind in "USO" else []
        if len(units) > 1:
            raise DataFileError(
                f"column {name!r} holds several units ({', '.join(units[:3])})", where=where,
                expected=f"unit = {name!r}",
            )  # fmt: skip


def require_columns(columns: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Check that columns exist.

    Raises
    ------
    UnknownNameError
        Naming the first that does not.
    """
    for name in wanted:
        if name not in columns:
            raise UnknownNameError("column", name, columns, where=where)
