"""Columns of a wide table: which hold the values, errors and limits of each instrument, and which have no place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from crosscal.concordance.error_names import ERROR_NAME, SIGNS, looks_like_errors, side_of
from crosscal.concordance.table_columns import without_unit
from crosscal.core.errors import DataFileError, UnknownNameError

Rule = str | Mapping[str, str]
#: Names of columns that are no measurements, in wide tables of catalogues.
_METADATA = re.compile(
    r"(?i)^(ra|dec|raj?2000|dej?2000|_?ra_?deg|_?de_?deg|dec_?deg|glon|glat|(?-i:l|b|z)|redshift|nh|n_h|mjd|jd|date|time|"
    r"exp(osure)?|ontime|obs_?id|dist(ance)?|sep|offset|flag|quality|notes?|ref|(flux_?)?units?|"
    r"chi2?|chisq|dof|s/?n|snr|kt|class|type|theta|n_?obs|mean|average|avg|median|total|sum|combined|weighted(_mean)?|"
    r"gamma|(photon[ _]?)?index|epoch|year|l_?x|lum(inosity)?|[rm]_?(200|500|2500)c?|mass|radius|std(dev|ev)?|rms|"
    r"scatter|(?-i:N)|counts|texp|t?start|t?stop|t?end|duration|phase|airmass|seeing|roll|off_?axis(_angle)?|mode|filter|"
    r"p-?value|prob(ability)?|ok|good|use|bad|rev(olution)?|orbit|ref(erence)?s?|model|band|e_?min|e_?max|energy|wavelength)$"
)
#: Names of columns that name rows.
IDENTIFIER = re.compile(
    r"(?i)^(id|.*_id|(src|source|obj|object|star|target|det|obs)(_?(id|no|num|name))?|name|no|num|number|idx|index|recno|#)$"
)


#: Words in names of columns for what is no flux, or for a band; an instrument has one column of fluxes.
_WORDS = re.compile(
    r"(?i)^(exp(osure)?|exptime|ontime|livetime|mjd|jd|date|time|bkg|bg|background|zp|chi2?|dof|snr|kt|nh|obs_?id|flag|"
    r"quality|offset|theta|area|ra|dec)$"
)
_BANDS = re.compile(r"(?i)^(soft|medium|hard|broad|full|total|sb|mb|hb|[\d.]+-[\d.]+ ?(kev|ev|mev|um|nm)?)$")


class Place(NamedTuple):
    """Columns of one instrument; ``errors`` holds none, one, or those below and above."""

    value: str
    errors: tuple[str, ...] = ()
    limit: str | None = None


def place_columns(
    columns: list[str], value: Rule | None, errors: Sequence[Rule], limit: Rule | None, where: str
) -> tuple[dict[str, Place], tuple[str, ...]]:
    """Return the columns of each instrument, and what was recognised.

    Parameters
    ----------
    value, limit : pattern or mapping of instrument to column, optional
    errors : sequence of patterns or mappings
        None, one, or those of errors below and above.

    Raises
    ------
    DataFileError
        Naming columns that have no place, or an instrument that lacks one.
    UnknownNameError
        If a mapping names a column or an instrument that there is not.
    """
    told: tuple[str, ...] = ()
    if value is not None:
        placed = _by_rules(columns, value, errors, limit, where)
    elif errors or limit is not None:
        raise DataFileError(
            "patterns of errors or limits without one of values", where=where, expected="value = '{inst}_FLUX'"
        )
    else:
        pairs = _pairs(columns)
        if not pairs:
            forms = (_METADATA, IDENTIFIER)
            bare = {c: without_unit(c).strip(" .:") for c in columns}
            doubtful = [
                c for c in columns
                if any(looks_like_errors(x) or any(form.search(x) for form in forms) for x in (c, bare[c]))
            ]  # fmt: skip
            doubtful += [c for c in columns if c not in doubtful and _is_ratio_of(bare[c], list(bare.values()))]
            if doubtful := doubtful or _quantities(columns):
                raise _unplaced(doubtful, where)
            _refuse_bands(columns, where)
            ratios = [c for c in columns if "/" in bare[c]]
            told = (f"Columns such as {ratios[0]!r} are treated as instruments, not as ratios.",) if ratios else ()
            return {name: Place(c) for c, name in _short_names(columns).items()}, told
        _refuse_bands(list(pairs), where)
        short = _short_names(list(pairs))
        values = list(short.values())
        placed = {_instrument_of(short[c], values): Place(c, e) for c, e in pairs.items()}
        shown = ", ".join(f"{c} with {' and '.join(e)}" for c, e in list(pairs.items())[:3])
        told = (f"Columns are read as values with errors: {shown}{', ...' if len(pairs) > 3 else ''}.",)
    placed = {inst: _with_flags(place, columns) for inst, place in placed.items()}
    used = {c for place in placed.values() for c in (place.value, *place.errors, place.limit) if c is not None}
    if left := [c for c in columns if c not in used]:
        raise _unplaced(left, where)
    return placed, told


def _with_flags(place: Place, columns: Sequence[str]) -> Place:
    """Add the column l_X of limits that CDS writes beside a column X."""
    flags = f"l_{place.value}"
    return place._replace(limit=flags) if place.limit is None and flags in columns else place


def _by_rules(
    columns: list[str], value: Rule, errors: Sequence[Rule], limit: Rule | None, where: str
) -> dict[str, Place]:
    """The columns that patterns or mappings name."""
    sides = [_matching(columns, rule, where) for rule in errors]
    flags = {} if limit is None else _matching(columns, limit, where)
    special = {c for found in (*sides, flags) for c in found.values()}
    values = {inst: c for inst, c in _matching(columns, value, where).items() if c not in special}
    for found, rule in (*zip(sides, errors, strict=True), (flags, limit)):
        # Patterns of errors may fit columns of other quantities; those are left over, and refused.
        if isinstance(rule, Mapping) and (odd := [inst for inst in found if inst not in values]):
            raise UnknownNameError("instrument", odd[0], values, where=where)
    for found, rule in zip(sides, errors, strict=True):
        if lacking := [inst for inst in values if inst not in found]:
            raise DataFileError(
                f"instrument {lacking[0]!r} has no error column that fits {rule!r}", where=where,
                expected="errors of all instruments, or of none",
            )  # fmt: skip
    if limit is not None and not flags:
        raise DataFileError(f"no column fits {limit!r}", where=where, expected=f"one of {', '.join(columns[:8])}")
    return {inst: Place(c, tuple(side[inst] for side in sides), flags.get(inst)) for inst, c in values.items()}


def _short_names(columns: list[str]) -> dict[str, str]:
    """Names of columns without their units, where they differ without them too."""
    short = {c: without_unit(c) for c in columns}
    return short if len(set(short.values())) == len(columns) else {c: c for c in columns}


def _is_ratio_of(name: str, others: Sequence[str]) -> bool:
    """Whether a name such as "MOS1/pn" is that of the ratio of two other columns."""
    first, slash, second = (part.strip() for part in name.partition("/"))
    return bool(slash) and first in others and second in others


def _parts(column: str) -> list[str]:
    return [part for part in re.split(r"[_\s:()\[\]]+", column) if part]


def _quantities(columns: list[str]) -> list[str]:
    """Columns whose names tell of other quantities than those of the others, as PN_EXP beside PN_CTS."""
    parts = {c: _parts(c) for c in columns}
    odd = [c for c, p in parts.items() if len(p) > 1 and (_WORDS.match(p[0]) or _WORDS.match(p[-1]))]
    return odd if len(odd) < len(columns) else []


def _refuse_bands(columns: list[str], where: str) -> None:
    """Refuse columns of several bands: each band has fluxes of its own."""
    bands = {c: band for c in columns for band in _parts(c) if _BANDS.match(band)}
    if len(different := list(dict.fromkeys(bands.values()))) > 1:
        raise DataFileError(
            f"columns {', '.join(repr(c) for c in list(bands)[:4])} hold several bands", where=where,
            expected=f"one band at a time, as value = '{{inst}}_{different[0]}' with the other columns in ignore",
        )  # fmt: skip


def _unplaced(columns: list[str], where: str) -> DataFileError:
    shown = ", ".join(repr(c) for c in columns[:5]) + (", ..." if len(columns) > 5 else "")
    listed = ", ".join(f'"{c}"' for c in columns[:5])
    return DataFileError(
        f"columns {shown} may not be measurements",
        where=where,
        expected=f"ignore = [{listed}], or patterns such as value = '{{inst}}_FLUX' and error = '{{inst}}_FLUX_ERR'",
    )


def _matching(columns: list[str], rule: Rule, where: str) -> dict[str, str]:
    """Columns by instrument that a pattern with {inst}, or a mapping, names."""
    if isinstance(rule, Mapping):
        for c in rule.values():
            if c not in columns:
                raise UnknownNameError("column", c, columns, where=where)
        return dict(rule)
    before, brace, after = rule.partition("{inst}")
    if not brace:
        raise DataFileError(f"pattern {rule!r}", where="columns of a wide table", expected="{inst} in its place")
    form = re.compile(re.escape(before) + "(.+)" + re.escape(after))
    return {found[1]: c for c in columns if (found := form.fullmatch(c))}


def _pairs(columns: list[str]) -> dict[str, tuple[str, ...]]:
    """Value columns with their error columns, recognised by names such as X and X_ERR, X and e_X, or both sides."""
    found: dict[str, dict[str, str]] = {}
    for name in columns:
        if (sided := side_of(name)) is not None:
            rest, kind = sided
        elif (sign := SIGNS.match(name)) is not None:
            rest, kind = sign["before"] or sign["after"], "both"
        elif (token := ERROR_NAME.search(name)) is not None:
            rest, kind = name[: token.start()] + name[token.end() :], "both"
            # CDS writes E_X above and e_X below where both are given.
            if name[:2] in ("e_", "E_") and {f"e_{rest}", f"E_{rest}"} <= set(columns):
                kind = "low" if name[0] == "e" else "high"
        else:
            continue
        partners = [c for c in columns if c != name and c.casefold() == rest.casefold()]
        if len(partners) == 1:
            found.setdefault(partners[0], {})[kind] = name
    return {c: (e["both"],) if "both" in e else (e["low"], e["high"]) for c, e in found.items() if len(e) != 1 or
            "both" in e}  # fmt: skip


def _instrument_of(column: str, columns: list[str]) -> str:
    """The part of a column's name that is not common to all value columns."""
    if len(columns) < 2 or any("/" in c for c in columns):
        return column
    start, end = _shared(columns), _shared([c[::-1] for c in columns])
    short = column[len(start) : len(column) - len(end)] if len(start) + len(end) < len(column) else column
    return short.strip("_ ") or column


def _shared(names: list[str]) -> str:
    """Letters with which all names begin."""
    shortest = min(names, key=len)
    same = (len({name[k] for name in names}) == 1 for k in range(len(shortest)))
    return shortest[: next((k for k, one in enumerate(same) if not one), len(shortest))]
