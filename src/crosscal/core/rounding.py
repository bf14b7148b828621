"""Numbers as text, rounded to two digits of their errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Ends of the names of columns that hold the standard errors of the column named before them.
ERROR_ENDS = ("_sd", "_err", "_error")
#: Ends of an interval of 68 % about the median.
INTERVAL = ("q16", "q84")
#: Columns that go with such an interval.
MOMENTS = ("mean", "median", "sd")
#: Columns whose errors differ by more than this factor are not rounded to one number of decimals.
ALIKE = 100.0
#: Errors outside this range are shown with powers of ten.
FIXED = (1e-5, 1e5)
#: Numbers of more decimals are shown by their significant digits.
MOST_DECIMALS = 9


def decimals(error: float) -> int | None:
    """Return how many decimals show two digits of an error; None if it is not a positive number or is tiny."""
    if not (math.isfinite(error) and error > 0):
        return None
    # 0.0996 is shown as 0.10: rounding may add a digit before the point.
    exponent = math.floor(math.log10(float(f"{error:.1e}")))
    return max(1 - exponent, 0) if exponent > -MOST_DECIMALS else None


def with_error(value: float, error: float, *, sign: bool = False) -> str:
    """Return ``value +/- error`` with two digits of the error, and the sign of a positive value if ``sign``.

    Examples
    --------
    >>> with_error(1.22, 0.0163), with_error(3.96, 0.19, sign=True), with_error(-0.0001, 2.9, sign=True)
    ('1.220 +/- 0.016', '+3.96 +/- 0.19', '0.0 +/- 2.9')
    >>> with_error(1.2213e-9, 1.3e-10), with_error(991827695.0, 180150427.0, sign=True)
    ('1.22e-09 +/- 1.3e-10', '+9.9e+08 +/- 1.8e+08')
    """
    digits = decimals(error)
    if digits is None or not FIXED[0] <= error < FIXED[1]:
        # As many digits as end where the second one of the error stands.
        known = value != 0 and math.isfinite(value) and math.isfinite(error) and error > 0
        shown = math.floor(math.log10(abs(value))) - math.floor(math.log10(error)) + 2 if known else 4
        shown = max(shown, 1)
        return f"{value:{'+' if sign else ''}.{shown}g} +/- {error:.2g}"
    # No zero has a sign.
    rounded = round(float(value), digits) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''}.{digits}f} +/- {error:.{digits}f}"


def with_sides(value: float, below: float, above: float) -> str:
    """Return ``value (-below +above)`` with two digits of the smaller error, and as many decimals everywhere.

    Examples
    --------
    >>> with_sides(5.99, 0.1, 0.112), with_sides(4.865e-10, 7.5e-12, 8.2e-12)
    ('5.99 (-0.10 +0.11)', '4.865e-10 (-7.5e-12 +8.2e-12)')
    """
    least = min((e for e in (below, above) if math.isfinite(e) and e > 0), default=0.0)
    digits = decimals(least)
    if digits is None or abs(value) >= FIXED[1] or least < FIXED[0]:
        return f"{value:.4g} (-{below:.2g} +{above:.2g})"
    return f"{value:.{digits}f} (-{below:.{digits}f} +{above:.{digits}f})"


def error_formats(columns: Mapping[str, Any]) -> dict[str, str]:
    """Return a format for each column (n,) of numbers whose standard errors are in another, and for these errors.

    Columns that hold something else than numbers (names, Times, arrays) have none.
    A column X belongs to X_sd, X_err or X_error; quantiles q16, q84, ... belong to mean,
    median and sd, or else to the column before the first of them.
    All numbers of a column have the decimals that show two digits of its smallest error.
    """
    found: dict[str, str] = {}
    columns = {name: column for name, column in columns.items() if _holds_numbers(column)}
    for name in columns:
        partner = next((name + end for end in ERROR_ENDS if name + end in columns), None)
        # A relative error of a small number is not in its unit: rounded to it, nothing would be left.
        if partner is not None and (form := _format(columns[partner])) and _shows(columns[name], form):
            found |= {name: form, partner: form}
    names = list(columns)
    if all(name in columns for name in INTERVAL):
        low, high = (np.asarray(getattr(columns[name], "value", columns[name]), dtype=float) for name in INTERVAL)
        quantiles = [name for name in names if name.startswith("q") and _is_number(name[1:])]
        first = names.index(quantiles[0])
        middle = [name for name in MOMENTS if name in columns] or names[max(first - 1, 0) : first]
        if form := _format(0.5 * (high - low)):
            found |= dict.fromkeys([*middle, *quantiles], form)
    return found


def _holds_numbers(column: Any) -> bool:
    # A Time has no type of its numbers.
    kind = getattr(getattr(column, "dtype", None), "kind", "f" if isinstance(column, list) else "")
    return kind == "f" and np.ndim(column) == 1


def _shows(values: Any, form: str) -> bool:
    """Whether a format shows any of the numbers as another one than zero, or all are zero."""
    numbers: NDArray[np.float64] = np.ma.filled(np.ma.asarray(getattr(values, "value", values), dtype=float), np.nan)
    largest = float(np.max(np.abs(numbers), where=np.isfinite(numbers), initial=0.0))
    return largest == 0 or float(f"{largest:{form}}") != 0


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _format(errors: Any) -> str | None:
    """The format of a column with these errors; None if they differ by much, or there is none."""
    numbers: NDArray[np.float64] = np.ma.filled(np.ma.asarray(getattr(errors, "value", errors), dtype=float), np.nan)
    known = numbers[np.isfinite(numbers) & (numbers > 0)]
    if not known.size or known.max() > ALIKE * known.min():
        return None
    digits = decimals(float(known.min()))
    return None if digits is None else f".{digits}f"
