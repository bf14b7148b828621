"""The fields of a `Comparison` from user's columns, with one clear sentence for each thing that can be wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from crosscal.concordance.coding import Coded, coded, look_alikes, refuse_look_alikes
from crosscal.concordance.sizes import size_doubts
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.units import plain

Floats = NDArray[np.float64]
#: Natural logarithm of flux per unit of each logarithmic scale.
LOG_SCALES = {"ln": 1.0, "log10": float(np.log(10.0)), "magnitude": -0.4 * float(np.log(10.0))}
SCALES = ("linear", *LOG_SCALES, "additive")
#: Level of a limit of three standard errors, one-sided.
THREE_SIGMA = 0.99865


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


def _errors(error: Any, n: int, where: str) -> tuple[Floats, Floats]:
    """Errors below and above, (n,) each."""
    try:
        array = np.asarray(error, dtype=float)
    except (TypeError, ValueError):
        raise InputError("column 'error' is not numeric", where=where, expected="numbers") from None
    if array.shape == (n,):
        return array, array
    if array.shape == (2, n):
        return np.abs(array[0]), array[1]
    raise InputError(f"error has shape {array.shape}", where=where, expected=f"({n},) or (2, {n})")


def standard_errors(confidence: float | None, where: str) -> float:
    """Return how many standard errors the two-sided interval of this level holds on each side."""
    if confidence is None:
        return 1.0
    if not 0 < confidence < 1:
        raise InputError(f"confidence = {confidence:g}", where=where, expected="a fraction such as 0.9")
    return float(norm.isf(0.5 * (1 - confidence)))


def _limits(
    limits: tuple[Any, float | None], values: Floats, low: Floats, high: Floats, where: str
) -> tuple[NDArray[np.int8] | None, Floats, Floats, tuple[str, ...]]:
    """Check limits, and give those without an error the one that their confidence level means."""
    flags, level = limits
    if flags is None:
        return None, low, high, ()
    limit = _numbers(flags, "limit", len(values), where)
    _refuse(~np.isin(limit, (-1, 0, 1)), limit, "limit", "1 (upper limit), -1 (lower limit) or 0", where)
    if level is not None and not 0.5 < level < 1:
        raise InputError(f"limit_confidence = {level:g}", where=where, expected="a fraction above 0.5, such as 0.95")
    bare = (limit != 0) & ~(np.isfinite(low) & (low > 0))
    _refuse(bare & ~(values > 0), values, "flux", "a positive limit, or a limit with an error", where)
    sd = values / norm.ppf(THREE_SIGMA if level is None else level)
    told = ()
    if np.any(bare):
        what = "three standard errors (confidence 0.99865)" if level is None else f"limits of confidence {level:g}"
        told = (f"Limits without errors ({np.sum(bare)}) are treated as {what}.",)
    return limit.astype(np.int8), np.where(bare, sd, low), np.where(bare, sd, high), told


def _given(values: Mapping[str, Any], scale: str, where: str) -> tuple[str, str]:
    """Return which value is given and on which scale it is."""
    given = [name for name, content in values.items() if content is not None]
    if len(given) != 1:
        raise InputError(
            f"{len(given)} of flux, counts and log_rate are given", where=where, expected="exactly one of them"
        )
    if scale not in SCALES:
        raise UnknownNameError("scale", scale, SCALES, where=where)
    if given[0] != "flux" and scale != "linear":
        raise InputError(f"{given[0]} with scale = {scale!r}", where=where, expected="flux = the values on that scale")
    return given[0], "ln" if given[0] == "log_rate" else scale


def _linear(
    name: str, numbers: Floats, error: Any, confidence: float | None, limits: Any, where: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fields of fluxes or counts, with or without errors."""
    n = len(numbers)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(numbers > 0, np.log(np.where(numbers > 0, numbers, 1.0)), -np.inf)
    if error is None:
        if limits[0] is not None and np.any(_numbers(limits[0], "limit", n, where) != 0):
            raise InputError("limits without an error column", where=where, expected="errors of the other fluxes")
        if name == "flux":
            _refuse(numbers <= 0, numbers, name, "a positive number (without errors, log models are used)", where)
        return {"log_rate": logs}, ()
    low, high = _errors(error, n, where)
    size = standard_errors(confidence, where)
    if size != 1.0:
        low, high = low / size, high / size
    limit, low, high, told = _limits(limits, numbers, low, high, where)
    if np.any(lacking := ~np.isfinite(low) | ~np.isfinite(high)) and not np.all(lacking):
        k = int(np.argmax(lacking))
        raise InputError(
            "a value without an error", where=f"{where}, row {k + 1}, column 'error'",
            expected="positive errors of all values, or of none",
        )  # fmt: skip
    for side in (low, high):
        _refuse(~(np.isfinite(side) & (side > 0)), side * size, "error", "a positive number", where)
    fields: dict[str, Any] = {"flux": numbers, "flux_low": low, "flux_high": high}
    measured = numbers > 0
    if limit is not None and np.any(limit != 0):
        fields["limit"] = limit
        measured &= limit == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.sqrt(0.5 * (low**2 + high**2)) / numbers
        fields["variance"] = np.where(measured, np.log1p(relative**2), np.nan)
    fields["log_rate"] = np.where(measured, logs, -np.inf)
    return fields, told


def _values(
    values: Mapping[str, Any],
    scale: str,
    errors: Mapping[str, Any],
    confidence: float | None,
    limits: tuple[Any, float | None],
    exposure: Floats | None,
    where: str,
    n: int,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fields of the measured values and their errors, and what was assumed."""
    name, scale = _given(values, scale, where)
    numbers = _numbers(values[name], name, n, where)
    _refuse(~np.isfinite(numbers), numbers, name, "a finite number", where)
    if errors["error"] is not None and errors["log_error"] is not None:
        raise InputError("error and log_error are both given", where=where, expected="one of them")
    if name == "counts":
        _refuse(numbers < 0, numbers, name, "counts >= 0", where)
    error, log_error = errors["error"], errors["log_error"]
    if scale == "linear" and log_error is None:
        fields, told = _linear(name, numbers, error, confidence, limits, where)
        if exposure is not None:
            fields["log_rate"] = fields["log_rate"] - np.log(exposure)
            for key in ("flux", "flux_low", "flux_high"):
                if key in fields:
                    fields[key] = fields[key] / exposure
        if name == "counts":
            fields |= {"counts": numbers, "exposure": np.ones(n) if exposure is None else exposure}
        return fields, told
    if limits[0] is not None and np.any(_numbers(limits[0], "limit", n, where) != 0):
        raise InputError("limits on a logarithmic or additive scale", where=where, expected="limits of fluxes")
    if scale == "ln" and error is not None and name == "log_rate":
        raise InputError("log_rate is given with error", where=where, expected="log_error")
    unit = LOG_SCALES.get(scale, 1.0)
    if scale == "linear":
        _refuse(numbers <= 0, numbers, name, "a positive number where log_error is given", where)
        numbers = np.log(numbers)
    fields = {"log_rate": unit * numbers, "additive": scale == "additive"}
    if scale == "additive" and exposure is not None:
        raise InputError("additive values with an exposure", where=where, expected="values without exposure")
    if exposure is not None:
        fields["log_rate"] = fields["log_rate"] - np.log(exposure)
    quoted = log_error if log_error is not None else error
    if quoted is not None:
        low, high = _errors(quoted, n, where)
        key = "log_error" if log_error is not None else "error"
        for side in (low, high):
            _refuse(~(np.isfinite(side) & (side > 0)), side, key, "a positive number", where)
        size = 1.0 if log_error is not None else abs(unit)
        fields["variance"] = 0.5 * (low**2 + high**2) * (size / standard_errors(confidence, where)) ** 2
        if np.any(np.abs(low - high) > 0.1 * (low + high)):
            return fields, ("Errors below and above differ; their root mean square is used.",)
    return fields, ()


def _refuse_mixed_days(time: Floats, where: str) -> None:
    """Refuse Julian dates or years beside modified Julian dates."""
    for kind, low, high in (("Julian dates", 2.4e6, 2.5e6), ("years", 1900.0, 2100.0)):
        odd = (time > low) & (time < high)
        if np.any(odd) and not np.all(odd) and np.all(odd | ((time > 3e4) & (time < 1e5))):
            k = int(np.argmax(odd))
            raise InputError(
                f"times such as {time[k]:.8g} may be {kind}, while others are modified Julian dates",
                where=f"{where}, row {k + 1}", expected="times of one kind",
            )  # fmt: skip


def _without_units(
    values: Mapping[str, Any], errors: Mapping[str, Any], time: Any, units: Mapping[str, str], where: str
) -> tuple[dict[str, Any], dict[str, Any], Any, dict[str, str]]:
    """Turn Quantities into plain numbers: fluxes and their errors in one unit, times in one unit."""
    flux_unit = units.get("flux_unit") or _unit(values.get("flux"))
    time_unit = units.get("time_unit") or _unit(time)
    known = {"flux": flux_unit, "error": flux_unit}
    values, errors = (
        {k: plain(v, known.get(k, ""), where=f"{where}, {k}") for k, v in given.items()} for given in (values, errors)
    )
    return values, errors, plain(time, time_unit, where=where), {"flux_unit": flux_unit, "time_unit": time_unit}


def _unit(value: Any) -> str:
    return str(value.unit) if hasattr(value, "to_value") else ""


def assemble(
    instrument: Sequence[str] | NDArray,
    source: Sequence[str] | NDArray,
    *,
    values: Mapping[str, Any],
    scale: str,
    errors: Mapping[str, Any],
    confidence: float | None,
    limits: tuple[Any, float | None],
    exposure: ArrayLike | None,
    band: Sequence[str] | NDArray | None,
    time: ArrayLike | None,
    campaign: Sequence[str] | NDArray | None,
    repeats: bool,
    where: str,
    units: Mapping[str, str],
    assumed: tuple[str, ...],
) -> dict[str, Any]:
    """Fields of a `Comparison`; see `Comparison.from_cells`."""
    values, errors, time, known_units = _without_units(values, errors, time, units, where)
    instruments, sources = coded(instrument, "instrument", where), coded(source, "source", where)
    n = len(instruments.code)
    if n == 0:
        raise InputError("no measurement", where=where, expected="at least one")
    if len(sources.code) != n:
        raise InputError(f"{len(sources.code)} sources for {n} rows", where=where, expected="equal lengths")
    refuse_look_alikes(instruments.names, where)
    bands = Coded(np.array([""]), np.zeros(n, np.int32)) if band is None else coded(band, "band", where)
    refuse_look_alikes(bands.names, where, "bands")
    factor = None if exposure is None else _numbers(exposure, "exposure", n, where)
    if factor is not None:
        _refuse(~(np.isfinite(factor) & (factor > 0)), factor, "exposure", "a positive number", where)
    fields, told = _values(values, scale, errors, confidence, limits, factor, where, n)
    if time is not None:
        fields["time"] = _numbers(time, "time", n, where)
        _refuse(~np.isfinite(fields["time"]), fields["time"], "time", "a finite number", where)
        _refuse_mixed_days(fields["time"], where)
    channel_keys, row = _unique_in_order(instruments, bands)
    column_keys, column = _unique_in_order(sources, bands)
    order = np.lexsort((row, column))
    if repeats:
        told = (*told, *_copies(fields, row, column))
    else:
        _refuse_twice(order, row, column, instruments, sources, bands if band is not None else None, where)
    few = len(column_keys) <= 10_000
    alike = look_alikes(list(dict.fromkeys(name for name, _ in column_keys))) if few else []
    if alike:
        told = (*told, f"Sources {' and '.join(repr(x) for x in alike[0])} are treated as different sources.")
    told = (*told, *size_doubts(fields, channel_keys, row, column))
    groups = (
        None if campaign is None else _campaigns(coded(campaign, "campaign", where), column, len(column_keys), where)
    )
    flags = {"additive": fields.pop("additive", False)}
    return {
        "channels": channel_keys,
        "columns": column_keys,
        "row": row[order].astype(np.int32),
        "column": column[order].astype(np.int32),
        **{name: np.ascontiguousarray(content[order]) for name, content in fields.items()},
        **flags,
        "campaign": groups,
        "label": where,
        "assumed": (*assumed, *told),
        **known_units,
    }


def _copies(fields: Mapping[str, Any], row: NDArray, column: NDArray) -> tuple[str, ...]:
    """What is said of measurements that are given twice with the same numbers."""
    keys = [fields[name] for name in ("log_rate", "flux", "flux_low", "time") if fields.get(name) is not None]
    order = np.lexsort((*keys, row, column))
    same = np.ones(len(order) - 1, bool)
    for values in (row, column, *keys):
        same &= values[order][1:] == values[order][:-1]
    if not np.any(same):
        return ()
    number = int(np.sum(same))
    return (f"Measurements that repeat another exactly ({number}) are treated as independent: remove any copies.",)


def _refuse_twice(
    order: NDArray[np.int64], row: NDArray, column: NDArray, instruments: Coded, sources: Coded, bands: Coded | None,
    where: str,
) -> None:  # fmt: skip
    """Refuse two rows of one cell (instrument, source and band); ``order`` sorts by column and row."""
    same = np.flatnonzero((np.diff(row[order]) == 0) & (np.diff(column[order]) == 0))
    if len(same):
        first, second = sorted((int(order[same[0]]), int(order[same[0] + 1])))
        suffix = f" in band {bands.at(first)!r}" if bands is not None else ""
        raise InputError(
            f"rows {first + 1} and {second + 1} both give source {sources.at(first)!r} in instrument "
            f"{instruments.at(first)!r}{suffix}",
            where=where,
            expected="one measurement a cell, or repeats = true for independent measurements of a constant source",
        )


def _unique_in_order(first: Coded, second: Coded) -> tuple[tuple[tuple[str, str], ...], NDArray[Any]]:
    """Number pairs of names in the order in which they first appear."""
    if len(second.names) == 1:
        # Numbers of names are in this order already, but for names that no row has.
        own = np.unique(first.code)
        if len(own) == len(first.names):
            return tuple((str(name), str(second.names[0])) for name in first.names), first.code
    joined = first.code.astype(np.int64) * len(second.names) + second.code
    pairs, start, inverse = np.unique(joined, return_index=True, return_inverse=True)
    order = np.argsort(start)
    rank = np.empty(len(start), dtype=np.int64)
    rank[order] = np.arange(len(start))
    keys = tuple(
        (str(first.names[p // len(second.names)]), str(second.names[p % len(second.names)])) for p in pairs[order]
    )
    return keys, rank[inverse.ravel()]


def _campaigns(names: Coded, column: NDArray, n_columns: int, where: str) -> NDArray[np.str_]:
    groups = np.empty(n_columns, dtype=np.int32)
    groups[column] = names.code
    clash = groups[column] != names.code
    if np.any(clash):
        k = int(np.argmax(clash))
        raise InputError(
            f"one source belongs to campaigns {str(names.names[groups[column][k]])!r} and {names.at(k)!r}",
            where=f"{where}, row {k + 1}, column 'campaign'",
            expected="one campaign per source",
        )
    return names.names[groups]


def matrix_fields(
    log_rate: ArrayLike,
    instruments: Sequence[str] | None,
    sources: Sequence[str] | None,
    variance: ArrayLike | None,
    label: str,
) -> dict[str, Any]:
    """Fields of a `Comparison`; see `Comparison.from_matrix`."""
    y = np.asarray(log_rate, dtype=float)
    if y.ndim != 2 or 0 in y.shape:
        raise InputError(f"shape {y.shape}", where=label, expected="a matrix (sources, instruments)")
    m, n = y.shape
    names = tuple(instruments) if instruments is not None else tuple(f"instrument {i + 1}" for i in range(n))
    if len(names) != n or len(set(names)) != n:
        raise InputError(f"{len(set(names))} different instrument names for {n} columns", where=label)
    refuse_look_alikes(np.array([str(name) for name in names]), label)
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
    return {
        "channels": tuple((str(name), "") for name in names),
        "columns": tuple((str(name), "") for name in labels),
        "row": row.astype(np.int32),
        "column": column.astype(np.int32),
        "log_rate": np.ascontiguousarray(y[present]),
        "variance": quoted,
        "label": label,
    }
