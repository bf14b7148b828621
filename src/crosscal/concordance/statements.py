"""What a table says beside its numbers: levels of errors, logarithms, averages, and columns that change a meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.table_columns import texts
from crosscal.core.errors import DataFileError
from crosscal.core.levels import level_in_comments, level_in_name, level_in_text

_LOGARITHM = re.compile(r"(?i)\blog(arithm)?(10|s|\(|_|\b)|\bdex\b")
_AVERAGE = re.compile(
    r"(?i)<?(weighted|straight|arithmetic|grand|overall|unweighted)?[ _]?(means?|averages?|avg|medians?|totals?|sums?|"
    r"all(?=>)|std\.?[ _]?(dev(iation)?|err(or)?)?|stddev|standard (deviation|error)|rms|scatter|(?-i:N)|errors?|"
    r"uncertaint(y|ies))"
    r"\.?>?\s*([(\[].*)?"
)
_BAND = re.compile(
    r"(?i)(energy[ _]?)?(band|range)s?$|energy[ _]?bins?$|energy$|e_?(range|band)$|filter$|"
    r"(e|en|energy)_?(min|max|lo|hi|low|high)$|wave(length)?$|lambda$"
)
_FACTOR = re.compile(
    r"(?i)(scale|scaling|multiplier|exponent|power|power_of_(10|ten)|log_?scale|flux_scale|norm_?factor)$"
)
_EXPOSURE = re.compile(r"(?i)(exposure|exp|(exp|live|on|integration)_?time|t_?exp)s?\s*([\[(].*)?$")
_LIMIT = re.compile(r"(?i)(is_?|flag_?)?(ul|u_?lim|up_?lim|upper_?limit|upper|lower_?limit|limit|lim)s?(_?flag)?$")
_BACKGROUND = re.compile(r"(?i)(background|bkg|bgd?|back)(_?(counts|cts|rate))?s?$")
_ZERO_POINT = re.compile(r"(?i)(zp|zero_?points?|mag_?zero)$")
_FLAGS = {"1": True, "true": True, "t": True, "y": True, "yes": True, "<": True, ">": True, "ul": True}
#: Names of columns that hold magnitudes or decimal logarithms, which must be said.
_MAGNITUDE = re.compile(r"(?i)mag(nitude)?s?($|[_ \d(\[])|^m_?(ab|vega)$")
_DECIMAL = re.compile(r"(?i)^lg|log10|^logf|dex")
_LOGARITHM_NAME = re.compile(r"(?i)^(log|ln|lg)([_(\[fns]|$)|log10|_log$|dex")


def refuse_stated_levels(table: Any, value: str, errors: Sequence[str], where: str, in_cells: bool = False) -> None:
    """Refuse errors that their name, their description or a comment calls other than standard errors.

    ``in_cells`` says that the values' own cells hold errors.

    Raises
    ------
    DataFileError
        Naming what is said and the confidence that it means.
    """
    for name in errors:
        if name not in table.colnames:
            continue
        described = level_in_name(name, value) or level_in_text(str(getattr(table[name], "description", None) or ""))
        if described is not None:
            raise _level_refused(*described, f"{where}, column {name!r}", "the column's name or description")
    if (errors or in_cells) and (stated := level_in_comments(_comments(table))) is not None:
        words, level, line = stated
        raise _level_refused(words, level, where, f"a comment of the table ({line[:80]})")


def _level_refused(words: str, level: float, where: str, who: str) -> DataFileError:
    return DataFileError(
        f"{who} calls the errors {words!r}", where=where,
        expected=f"confidence = {level:.4g}, or confidence = 0.6827 if they are standard errors",
    )  # fmt: skip


def _comments(table: Any) -> list[str]:
    """Comments of a file, as astropy keeps them."""
    held = table.meta.get("comments", []) if hasattr(table, "meta") else []
    return [str(line) for line in ([held] if isinstance(held, str) else held)]


def refuse_logarithms(
    table: Any, name: str, value: NDArray[np.float64], errors: NDArray[np.float64] | None, where: str
) -> None:
    """Refuse fluxes that a description calls logarithms, and those that are all far below zero; no scale was given.

    Raises
    ------
    DataFileError
        Naming the column.
    """
    described = str(getattr(table[name], "description", None) or "") if name in table.colnames else ""
    reason = f" (its description: {described[:60]})" if _LOGARITHM.search(described) else ""
    if not reason and (errors is None or not np.all(value < -3 * np.atleast_2d(errors)[-1])):
        return
    raise DataFileError(
        f"the values may be logarithms or magnitudes{reason or ', since all are far below zero'}",
        where=f"{where}, column {name!r}",
        expected="scale = 'log10', 'ln' or 'magnitude', or 'linear' if they are fluxes",
    )


def refuse_averages(names: Iterable[str], what: str, where: str) -> None:
    """Refuse sources or instruments that are averages or sums of the others, by their name.

    Raises
    ------
    DataFileError
        Naming the first.
    """
    for name in names:
        if _AVERAGE.fullmatch(str(name).strip()):
            raise DataFileError(
                f"{what} {str(name)!r} may be an average of the others", where=where,
                expected="measurements only: leave it out, or give it another name",
            )  # fmt: skip


def refuse_unused(
    table: Any, used: Sequence[str], where: str, *, counts: bool, band: bool, exposure: bool, limit: bool
) -> None:
    """Refuse columns that change what the measured one means and are not used, where their rows differ.

    Parameters
    ----------
    used : sequence of str
        Columns that are read.
    counts : bool
        Counts are measured.
    band, exposure, limit : bool
        Whether a column of each is asked for.

    Raises
    ------
    DataFileError
        Naming the column, and how it is used.
    """
    known = {name.casefold().strip() for name in used}
    for name in table.colnames:
        if name.casefold().strip() in known or getattr(table[name], "ndim", 1) != 1 or not len(table):
            continue
        if not band and _BAND.match(name) and len(different := _different(table, name, where)) > 1:
            shown = ", ".join(different[:3]) + (", ..." if len(different) > 3 else "")
            raise DataFileError(
                f"column {name!r} holds several bands ({shown}) and is not used", where=where,
                expected=f'band = "{name}", or select = {{"{name}" = "{different[0]}"}}',
            )  # fmt: skip
        if _FACTOR.match(name) and len(different := _different(table, name, where)) > 1:
            raise DataFileError(
                f"column {name!r} ({', '.join(different[:3])}) differs from row to row and is not used", where=where,
                expected="fluxes in one unit, or a column of units with unit = COLUMN",
            )  # fmt: skip
        if counts and not exposure and _EXPOSURE.match(name) and len(_different(table, name, where)) > 1:
            raise DataFileError(
                f"exposures differ (column {name!r}) and are not used", where=where, expected=f'exposure = "{name}"'
            )
        if not limit and _LIMIT.match(name) and any(_FLAGS.get(word) for word in _flags(table, name, where)):
            raise DataFileError(
                f"column {name!r} flags limits and is not used", where=where,
                expected=f'limit = "{name}", or select = {{"{name}" = VALUE}} with that of measurements',
            )  # fmt: skip


def _different(table: Any, name: str, where: str) -> list[str]:
    if not hasattr(table[name], "dtype"):
        return []
    return [word for word in dict.fromkeys(texts(table, name, where).tolist()) if word]


def _flags(table: Any, name: str, where: str) -> list[str]:
    """Words of a column of flags, nothing if it holds something else, such as the limits themselves."""
    words = [word.casefold().removesuffix(".0") for word in _different(table, name, where)]
    plain = {*_FLAGS, "0", "-1", "false", "f", "n", "no", "=", "nan", "none", "--", "-"}
    return words if set(words) <= plain else []


def left_aside(names: Sequence[str], used: Sequence[str], counts: bool, scale: str) -> tuple[str, ...]:
    """What is said of columns of backgrounds and zero points, which are not used."""
    known = {name.casefold().strip() for name in used}
    told = []
    for name in names:
        if name.casefold().strip() in known:
            continue
        if counts and _BACKGROUND.match(name):
            told.append(
                f"The background in column {name!r} is not subtracted; where it matters, give net rates with their "
                "errors (flux, error) instead of counts."
            )
        if scale == "magnitude" and _ZERO_POINT.match(name):
            told.append(f"The zero points in column {name!r} are not added to the magnitudes.")
    return tuple(told)


def scale_of(name: str, unit: str, scale: str | None, logarithm: bool, where: str) -> str:
    """Return the scale of the measured column; what its name or unit says must not be contradicted silently."""
    place = f"{where}, column {name!r}"
    if scale is not None:
        return scale
    if _MAGNITUDE.search(name) or unit.lower().startswith("mag"):
        raise DataFileError(
            "the values may be magnitudes", where=place, expected="scale = 'magnitude', or 'linear' if not"
        )
    if not logarithm and _LOGARITHM_NAME.search(name) and not unit.lower().startswith("dex"):
        raise DataFileError(
            "the values may be logarithms", where=place, expected="scale = 'log10' or 'ln', or 'linear' if not"
        )
    if (logarithm and _DECIMAL.search(name)) or unit.lower().startswith("dex"):
        raise DataFileError(
            "the values may be decimal logarithms", where=place,
            expected="flux = this column with scale = 'log10', or 'ln' for natural logarithms",
        )  # fmt: skip
    return "linear"
