"""Inverse variances in place of errors, and fluxes in maggies, as SDSS and the Legacy Surveys give them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from crosscal.core.errors import DataFileError
from crosscal.lightcurves.formats.raw import RawTable

_INVERSE = re.compile(r"_?(ivar|invvar|inv_var|inverse_?variances?)(?=_|$)")
_MAGGIES = re.compile(r"^(n|nano)?_?(mgy|magg(?:y|ies|ie))$", re.IGNORECASE)
#: A nanomaggy, the flux of magnitude 22.5 in the AB system, in uJy.
NANOMAGGY = 3.631


def with_errors(table: RawTable) -> tuple[RawTable, dict[str, str]]:
    """Return a table with errors in place of inverse variances, and the new keys of these columns.

    Raises
    ------
    DataFileError
        If the unit of an inverse variance cannot be read.
    """
    columns, names, units = dict(table.columns), dict(table.names), {k: _plain(u) for k, u in table.units.items()}
    notes, renamed = list(table.notes), {}
    for key in table.columns:
        if not _INVERSE.search(key):
            continue
        values = table.numbers(key)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.where(values > 0, values**-0.5, np.nan)
        plain = _INVERSE.sub("_err", key).strip("_")
        del columns[key]
        unit = units.pop(key, "")
        if plain in columns:
            notes.append(f"column {table.names[key]!r} is not used: {table.names[plain]!r} gives the errors")
            continue
        renamed[key], columns[plain], names[plain] = plain, error, table.names[key]
        if unit:
            units[plain] = _root(unit, f"{table.source}, column {table.names[key]!r}")
        notes.append(f"{table.names[key]} holds inverse variances v: errors are v^(-1/2)")
    return replace(table, columns=columns, names=names, units=units, notes=tuple(notes)), renamed


def maggies(unit: str) -> float | None:
    """Return the size of a unit in uJy where it is a maggy or nanomaggy."""
    found = _MAGGIES.match(unit)
    if found is None:
        return None
    return NANOMAGGY if found[1] else NANOMAGGY * 1e9


def _plain(unit: str) -> str:
    """A spelling of (nano)maggies that is not taken for magnitudes; other units as they are."""
    found = _MAGGIES.match(unit.strip())
    return unit if found is None else "nmgy" if found[1] else "mgy"


def _root(unit: str, where: str) -> str:
    """The unit of errors of inverse variances in ``unit``."""
    from astropy import units

    if re.search(r"(n|nano)_?m(gy|agg)", unit, re.IGNORECASE):
        return "nmgy"
    try:
        return str((units.Unit(unit) ** -0.5).to_string())
    except (ValueError, TypeError):
        raise DataFileError(
            f"inverse variances in {unit!r}", where=where, expected="a unit such as 'mJy-2', or a column of errors"
        ) from None
