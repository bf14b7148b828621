"""Building a `Comparison` from user's columns, with one clear sentence for each thing that can be wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.types import Comparison
from crosscal.core.errors import InputError
from crosscal.core.units import plain

Floats = NDArray[np.float64]


def _numbers(values: ArrayLike, name: str, n: int, where: str) -> Floats:
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"column {name!r} is not numeric", where=where, expected="numbers") from None
    if array.shape != (n,):
        raise InputError(f"{name} has shape {array.shape}", where=where, expected=f"({n},)")
    return array


def _refuse(bad: NDArray[np.bool_], values: Floats, name: str, expected: str, where: str) -> None:
    if np.any(bad):
        k = int(np.argmax(bad))
        raise InputError(f"{name} is {values[k]:g}", where=f"{where}, row {k + 1}, column {name!r}", expected=expected)


def _names(values: Sequence[Any] | NDArray, name: str, where: str) -> NDArray[np.str_]:
    array = np.asarray(values).astype(str)
    empty = np.char.strip(array) == ""
    if np.any(empty):
        raise InputError("an empty name", where=f"{where}, row {int(np.argmax(empty)) + 1}, column {name!r}")
    return array


def _log_rates(values: Mapping[str, Any], exposure: Floats | None, n: int, where: str) -> tuple[Floats, Floats | None]:
    given = [name for name, content in values.items() if content is not None]
    if len(given) != 1:
        raise InputError(
            f"{len(given)} of flux, counts and log_rate are given", where=where, expected="exactly one of them"
        )
    name = given[0]
    numbers = _numbers(values[name], name, n, where)
    _refuse(~np.isfinite(numbers), numbers, name, "a finite number", where)
    if name == "log_rate":
        return numbers - (0.0 if exposure is None else np.log(exposure)), None
    if name == "flux":
        _refuse(numbers <= 0, numbers, name, "a positive number (log models need it)", where)
        return np.log(numbers) - (0.0 if exposure is None else np.log(exposure)), None
    _refuse(numbers < 0, numbers, name, "counts >= 0", where)
    with np.errstate(divide="ignore"):
        return np.log(numbers) - (0.0 if exposure is None else np.log(exposure)), numbers


def _variances(errors: Mapping[str, Any], values: Mapping[str, Any], n: int, where: str) -> Floats | None:
    given = [name for name, content in errors.items() if content is not None]
    if not given:
        return None
    if len(given) > 1:
        raise InputError("error and log_error are both given", where=where, expected="one of them")
    name = given[0]
    numbers = _numbers(errors[name], name, n, where)
    _refuse(~(np.isfinite(numbers) & (numbers > 0)), numbers, name, "a positive number", where)
    if name == "log_error":
        return numbers**2
    if values["log_rate"] is not None:
        raise InputError("log_rate is given with error", where=where, expected="log_error")
    level = np.asarray(values["flux"] if values["flux"] is not None else values["counts"], dtype=float)
    _refuse(level <= 0, level, "flux or counts", "a positive number where an error is quoted", where)
    return np.log1p((numbers / level) ** 2)


def _without_units(
    values: Mapping[str, Any], errors: Mapping[str, Any], time: Any, facts: Mapping[str, str], where: str
) -> tuple[dict[str, Any], dict[str, Any], Any, dict[str, str]]:
    """Turn Quantities into plain numbers: fluxes and their errors in one unit, times in one unit."""
    flux_unit = facts.get("flux_unit") or _unit(values.get("flux"))
    time_unit = facts.get("time_unit") or _unit(time)
    units = {"flux": flux_unit, "error": flux_unit}
    values, errors = (
        {k: plain(v, units.get(k, ""), where=f"{where}, {k}") for k, v in given.items()} for given in (values, errors)
    )
    return (
        values,
        errors,
        plain(time, time_unit, where=where),
        {**facts, "flux_unit": flux_unit, "time_unit": time_unit},
    )


def _unit(value: Any) -> str:
    return str(value.unit) if hasattr(value, "to_value") else ""


def assemble(
    instrument: Sequence[str] | NDArray,
    source: Sequence[str] | NDArray,
    *,
    values: Mapping[str, Any],
    errors: Mapping[str, Any],
    exposure: ArrayLike | None,
    band: Sequence[str] | NDArray | None,
    time: ArrayLike | None,
    campaign: Sequence[str] | NDArray | None,
    where: str,
    facts: Mapping[str, str],
) -> Comparison:
    """See `Comparison.from_cells`."""
    values, errors, time, facts = _without_units(values, errors, time, facts, where)
    instruments, sources = _names(instrument, "instrument", where), _names(source, "source", where)
    n = len(instruments)
    if n == 0:
        raise InputError("no rows", where=where, expected="at least one measurement")
    if len(sources) != n:
        raise InputError(f"{len(sources)} sources for {n} rows", where=where, expected="equal lengths")
    bands = np.full(n, "") if band is None else _names(band, "band", where)
    factor = None if exposure is None else _numbers(exposure, "exposure", n, where)
    if factor is not None:
        _refuse(~(np.isfinite(factor) & (factor > 0)), factor, "exposure", "a positive number", where)
    log_rate, counts = _log_rates(values, factor, n, where)
    variance = _variances(errors, values, n, where)
    times = None if time is None else _numbers(time, "time", n, where)
    if times is not None:
        _refuse(~np.isfinite(times), times, "time", "a finite number", where)

    channel_keys, row = _unique_in_order(instruments, bands)
    column_keys, column = _unique_in_order(sources, bands)
    key = row.astype(np.int64) * len(column_keys) + column
    _refuse_twice(key, instruments, sources, bands if band is not None else None, where)
    groups = (
        None if campaign is None else _campaigns(_names(campaign, "campaign", where), column, len(column_keys), where)
    )
    order = np.lexsort((row, column))

    def ordered(array: Floats | None) -> Floats | None:
        return None if array is None else np.ascontiguousarray(array[order])

    log_rate_sorted = np.ascontiguousarray(log_rate[order])
    return Comparison(
        channel_keys,
        column_keys,
        row[order].astype(np.int32),
        column[order].astype(np.int32),
        log_rate_sorted,
        ordered(variance),
        ordered(counts),
        ordered(np.ones(n) if factor is None and counts is not None else factor),
        ordered(times),
        groups,
        label=where,
        **facts,
    )


def _refuse_twice(
    key: NDArray[np.int64], instruments: NDArray, sources: NDArray, bands: NDArray | None, where: str
) -> None:
    """Refuse two rows of one cell (instrument, source and band)."""
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(np.diff(key[order]) == 0)
    if len(same):
        first, second = sorted((int(order[same[0]]), int(order[same[0] + 1])))
        suffix = f" in band {str(bands[first])!r}" if bands is not None else ""
        raise InputError(
            f"rows {first + 1} and {second + 1} both give source {str(sources[first])!r} in instrument "
            f"{str(instruments[first])!r}{suffix}",
            where=where,
            expected="one measurement per cell",
        )


def _unique_in_order(first: NDArray, second: NDArray) -> tuple[tuple[tuple[str, str], ...], NDArray[np.int64]]:
    """Number pairs of names in the order in which they first appear."""
    joined = np.char.add(np.char.add(first, "\x1f"), second)
    _, start, inverse = np.unique(joined, return_index=True, return_inverse=True)
    rank = np.empty(len(start), dtype=np.int64)
    rank[np.argsort(start)] = np.arange(len(start))
    appearance = np.sort(start)
    return tuple((str(first[k]), str(second[k])) for k in appearance), rank[inverse.ravel()]


def _campaigns(names: NDArray, column: NDArray, n_columns: int, where: str) -> NDArray[np.str_]:
    groups = np.empty(n_columns, dtype=names.dtype)
    groups[column] = names
    clash = groups[column] != names
    if np.any(clash):
        k = int(np.argmax(clash))
        raise InputError(
            f"one source belongs to campaigns {str(groups[column][k])!r} and {str(names[k])!r}",
            where=f"{where}, row {k + 1}, column 'campaign'",
            expected="one campaign per source",
        )
    return groups


def from_matrix(
    log_rate: ArrayLike,
    instruments: Sequence[str] | None,
    sources: Sequence[str] | None,
    variance: ArrayLike | None,
    label: str,
) -> Comparison:
    """See `Comparison.from_matrix`."""
    y = np.asarray(log_rate, dtype=float)
    if y.ndim != 2 or 0 in y.shape:
        raise InputError(f"shape {y.shape}", where=label, expected="a matrix (sources, instruments)")
    m, n = y.shape
    names = tuple(instruments) if instruments is not None else tuple(f"instrument {i + 1}" for i in range(n))
    if len(names) != n or len(set(names)) != n:
        raise InputError(f"{len(set(names))} different instrument names for {n} columns", where=label)
    labels = tuple(sources) if sources is not None else tuple(f"source {j + 1}" for j in range(m))
    if len(labels) != m or len(set(labels)) != m:
        raise InputError(f"{len(set(labels))} different source names for {m} rows", where=label)
    if np.any(np.isinf(y)):
        j, i = np.argwhere(np.isinf(y))[0]
        raise InputError("an infinite value", where=f"{label}, row {j + 1}, column {names[i]!r}", expected="a number")
    present = ~np.isnan(y)
    if not present.any(axis=0).all():
        name = names[int(np.argmin(present.any(axis=0)))]
        raise InputError(f"instrument {name!r} has no data", where=label, expected="at least one source")
    if not present.any(axis=1).all():
        name = labels[int(np.argmin(present.any(axis=1)))]
        raise InputError(f"source {name!r} has no data", where=label, expected="at least one instrument")
    quoted = None
    if variance is not None:
        v = np.broadcast_to(np.asarray(variance, dtype=float), y.shape)
        if np.any(~(v[present] > 0)):
            raise InputError("a quoted variance is not positive", where=label, expected="variances > 0")
        quoted = np.ascontiguousarray(v[present])
    column, row = np.nonzero(present)
    return Comparison(
        tuple((str(name), "") for name in names),
        tuple((str(name), "") for name in labels),
        row.astype(np.int32),
        column.astype(np.int32),
        np.ascontiguousarray(y[present]),
        quoted,
        label=label,
    )
