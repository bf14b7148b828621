"""Comparisons that are not tables of fluxes: published ratios of pairs, and sources whose flux is known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.coding import Coded
from crosscal.core.errors import DataFileError, InputError, UnknownNameError

if TYPE_CHECKING:
    from crosscal.concordance.types import Comparison

Floats = NDArray[np.float64]
#: What the known fluxes are called among the instruments.
KNOWN = "known flux"


def ratio_cells(
    first: Sequence[str] | NDArray, second: Sequence[str] | NDArray, log_ratio: Floats, variance: Floats | None
) -> dict[str, Any]:
    """Cells of ratios: each is one source that two instruments measure, whose difference has the ratio's variance.

    With the flux integrated out, y and 0 of variance v / 2 each say B_i - B_k = y with variance v.
    """
    n = len(log_ratio)
    cells: dict[str, Any] = {
        "instrument": np.concatenate([np.asarray(first).astype(str), np.asarray(second).astype(str)]),
        "source": np.tile([f"ratio {k + 1}" for k in range(n)], 2),
        "log_rate": np.concatenate([log_ratio, np.zeros(n)]),
    }
    if variance is not None:
        cells["log_error"] = np.tile(np.sqrt(0.5 * variance), 2)
    return cells


def checked_ratios(
    first: Sequence[str] | NDArray, second: Sequence[str] | NDArray, ratio: ArrayLike, error: ArrayLike | None,
    log_error: ArrayLike | None, size: float, where: str,
) -> tuple[Floats, Floats | None]:  # fmt: skip
    """Return ln ratios and their variances; errors are ``size`` standard errors.

    Raises
    ------
    InputError
        If a ratio or error is not positive, or both instruments of a ratio are one.
    """
    value = np.asarray(ratio, dtype=float)
    quoted = None if error is None and log_error is None else np.asarray(log_error if error is None else error, float)
    for name, numbers in (("ratio", value), ("error", quoted)):
        if numbers is not None and np.any(~(np.isfinite(numbers) & (numbers > 0))):
            k = int(np.argmax(~(np.isfinite(numbers) & (numbers > 0))))
            raise InputError(
                f"{name} is {numbers[k]:g}",
                where=f"{where}, row {k + 1}, column {name!r}",
                expected="a positive number",
            )
    same = np.asarray(first).astype(str) == np.asarray(second).astype(str)
    if np.any(same):
        k = int(np.argmax(same))
        raise InputError(
            f"a ratio of {str(np.asarray(first)[k])!r} to itself", where=f"{where}, row {k + 1}",
            expected="two instruments",
        )  # fmt: skip
    if quoted is None:
        return np.log(value), None
    quoted = quoted / size
    return np.log(value), np.log1p((quoted / value) ** 2) if error is not None else quoted**2


def ratio_of_column(name: str, unit: str, where: str) -> tuple[float, tuple[str, ...]]:
    """What one of a column's numbers is as a ratio, by its name and unit, and what is said of it.

    Raises
    ------
    DataFileError
        If the name tells of differences.
    """
    if re.search(r"(?i)(^|_)(diff(erence)?|offset|deviation|delta)s?(_|$)", name):
        raise DataFileError(
            "the values may be differences", where=f"{where}, column {name!r}", expected="ratios: 1 + the difference"
        )
    if unit.strip() in ("%", "percent", "pct") or re.search(r"(?i)(percent|pct|perc)$|[(\[]?%[)\]]?$", name):
        return 0.01, (f"Column {name!r} is read as ratios in percent.",)
    return 1.0, ()


def reciprocals(first: Coded, second: Coded, log_ratio: Floats) -> tuple[str, ...]:
    """What is said of ratios A/B and B/A that are one number."""
    seen: dict[tuple[str, str], list[float]] = {}
    twice = 0
    for a, b, value in zip(first.names[first.code], second.names[second.code], log_ratio.tolist(), strict=True):
        # Published ratios have two to four digits.
        twice += any(abs(value + other) < 1e-3 for other in seen.get((b, a), ()))
        seen.setdefault((a, b), []).append(value)
    if not twice:
        return ()
    return (f"Ratios A/B and B/A of the same value ({twice}) are treated as independent measurements.",)


def known_cells(data: Comparison, known: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Fields of a comparison to which known fluxes are added as an instrument of exact area.

    Raises
    ------
    InputError
        If the measurements have no errors, or bands, a known flux or its error is not a positive number.
    UnknownNameError
        If a source was not measured.
    """
    if data.variance is None or data.counts is not None:
        raise InputError(
            "known fluxes together with counts or data without errors", where=data.label, expected="quoted errors"
        )
    if len(data.bands) > 1:
        raise InputError("known fluxes of several bands", where=data.label, expected="a comparison for each band")
    place = {name: j for j, (name, _) in enumerate(data.columns)}
    column, flux, error = [], [], []
    for name, pair in known.items():
        if name not in place:
            raise UnknownNameError("source", name, place, where="known fluxes")
        if len(pair) != 2 or not np.all(np.isfinite(pair)) or pair[1] <= 0 or (pair[0] <= 0 and not data.additive):
            raise InputError(
                f"{list(pair)} for {name!r}", where="known fluxes", expected="[flux, error], positive numbers"
            )
        column.append(place[name])
        flux.append(float(pair[0]))
        error.append(float(pair[1]))
    value, sd, j = np.array(flux), np.array(error), np.array(column)
    added = {
        "log_rate": value if data.additive else np.log(value),
        "variance": sd**2 if data.additive else np.log1p((sd / value) ** 2),
        "flux": value, "flux_low": sd, "flux_high": sd, "limit": np.zeros(len(j), np.int8),
        "exposure": np.ones(len(j)),
    }  # fmt: skip
    if data.time is not None:
        level = np.bincount(data.column, data.time, data.n_columns) / np.diff(data.indptr)
        added["time"] = level[j]
    row = np.concatenate([data.row, np.full(len(j), data.n_channels)]).astype(np.int32)
    full_column = np.concatenate([data.column, j]).astype(np.int32)
    order = np.lexsort((row, full_column))
    fields: dict[str, Any] = {"row": row[order], "column": full_column[order]}
    for name, content in added.items():
        own = getattr(data, name)
        if own is not None:
            fields[name] = np.concatenate([own, content])[order]
    listed = ", ".join(list(known)[:4]) + (", ..." if len(known) > 4 else "")
    told = f"The flux of {listed} is treated as known: it enters as an instrument {KNOWN!r} of exact area."
    return {
        **fields, "channels": (*data.channels, (KNOWN, data.bands[0])), "references": (*data.references, KNOWN),
        "assumed": (*data.assumed, told),
    }  # fmt: skip
