"""Photometric catalogues from CSV, ECSV, FITS and VOTable files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import ConfigError, DataFileError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing
from crosscal.fluxcal.stars.photometry import vega_to_ab
from crosscal.fluxcal.types import Catalogue

SYSTEMS = ("AB", "Vega")

#: Readers by suffix; astropy recognises the others.
_FORMATS = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "txt": "ascii"}

#: Column names that are found without being told, lower case, in order of preference.
_GUESSES: Mapping[str, tuple[str, ...]] = {
    "name": ("name", "id", "source_id", "objid", "star", "target_name", "candidate name"),
    "ra": ("ra", "raj2000", "ra_icrs", "target_ra"),
    "dec": ("dec", "dej2000", "de_icrs", "decl", "target_dec"),
    "pm_ra": ("pmra", "pm_ra"),
    "pm_dec": ("pmdec", "pmde", "pm_dec"),
    "ebv": ("ebv", "e(b-v)", "sfd_ebv"),
}


def read_catalogue(
    path: str | os.PathLike[str],
    *,
    bands: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    error: float = 0.02,
    columns: Mapping[str, str] | None = None,
    system: str | Mapping[str, str] = "AB",
    missing: tuple[float, ...] = (0.0, 99.0, -99.0, -999.0),
    epoch: float = 2000.0,
    format: str | None = None,
) -> Catalogue:
    """Read standard-star photometry.

    Parameters
    ----------
    path : path
        Any table that astropy reads; positions in degrees.
    bands : mapping of filter name to column name
    errors : mapping of filter name to column name, optional
    error : float
        Magnitude error where there is no column, or its value is missing.
    columns : mapping, optional
        Column names of "name", "ra", "dec", "pm_ra", "pm_dec" (mas/yr), "ebv"; usual spellings are found alone.
    system : "AB" or "Vega", or a mapping of filter name to one of them
    missing : numbers that mean "no measurement"
    epoch : float, Julian year of the positions
    format : str, optional
        As astropy's Table.read knows it; by default from the file name.

    Raises
    ------
    DataFileError
        If the file is not a table, or a position is not a number.
    UnknownNameError
        If a column does not exist.
    ConfigError
        If no band is named.
    """
    target = existing_file(path, what="catalogue")
    if not bands:
        raise ConfigError("no bands", where=f"catalogue {target}", expected="bands = {filter = column, ...}")
    table = _read(target, format)
    columns = dict(columns or {})
    unknown = set(columns) - set(_GUESSES)
    if unknown:
        raise UnknownNameError("catalogue column role", unknown.pop(), _GUESSES, where=str(target))
    lowered = {c.lower(): c for c in table.colnames}

    def find(role: str, required: bool) -> str | None:
        if role in columns:
            if columns[role] not in table.colnames:
                raise UnknownNameError("column", columns[role], table.colnames, where=str(target))
            return columns[role]
        name = next((lowered[g] for g in _GUESSES[role] if g in lowered), None)
        if name is None and required:
            raise DataFileError(f"no column for {role}", where=str(target), expected=f"columns.{role} = ...")
        return name

    def numbers(column: str | None, default: float = np.nan) -> NDArray[np.float64]:
        return np.full(len(table), default) if column is None else _numbers(table, column, str(target))

    magnitude, sd = _photometry(table, bands, errors or {}, error, system, missing, str(target))
    name_column = find("name", False)
    names = [str(v) for v in table[name_column]] if name_column else [f"row {i + 1}" for i in range(len(table))]
    return Catalogue(
        name=np.array(names, dtype=str),
        ra=numbers(find("ra", True)),
        dec=numbers(find("dec", True)),
        bands=tuple(bands),
        magnitude=magnitude,
        error=sd,
        pm_ra=np.nan_to_num(numbers(find("pm_ra", False))),
        pm_dec=np.nan_to_num(numbers(find("pm_dec", False))),
        ebv=numbers(find("ebv", False)),
        epoch=epoch,
    )


def _numbers(table: Any, column: str, where: str) -> NDArray[np.float64]:
    if column not in table.colnames:
        raise UnknownNameError("column", column, table.colnames, where=where)
    values = np.ma.filled(np.ma.asarray(table[column]), np.nan) if table[column].dtype.kind == "f" else table[column]
    with parsing("a value is not a number", where=f"{where}, column {column}", expected="numbers"):
        numbers = np.ma.filled(np.ma.asarray(values).astype(float), np.nan)
    if numbers.ndim != 1:
        raise DataFileError("an array in each row", where=f"{where}, column {column}", expected="one number a row")
    return numbers


def _photometry(
    table: Any,
    bands: Mapping[str, str],
    errors: Mapping[str, str],
    default: float,
    system: str | Mapping[str, str],
    missing: tuple[float, ...],
    where: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Magnitudes (AB) and their errors, shape (n, n_b); NaN where missing."""
    magnitude = np.empty((len(table), len(bands)))
    sd = np.full_like(magnitude, default)
    for k, (band, column) in enumerate(bands.items()):
        values = _numbers(table, column, where)
        values[np.isin(values, missing)] = np.nan
        kind = system if isinstance(system, str) else system.get(band, "AB")
        if kind not in SYSTEMS:
            raise UnknownNameError("magnitude system", kind, SYSTEMS, where=where)
        magnitude[:, k] = vega_to_ab(values, band) if kind == "Vega" else values
        if band in errors:
            quoted = _numbers(table, errors[band], where)
            sd[:, k] = np.where(np.isfinite(quoted) & (quoted > 0), quoted, default)
    return magnitude, sd


def _columns_of(path: str | os.PathLike[str]) -> dict[str, str]:
    """Column names of a table, by their lower-case spelling."""
    return {c.lower(): c for c in _read(existing_file(path, what="catalogue"), None).colnames}


def _read(target: Path, format: str | None) -> Any:
    """The table in a file, by its suffix where no format is named."""
    from astropy.table import Table

    suffix = target.name.removesuffix(".gz").rsplit(".", 1)[-1].lower()
    format = format or _FORMATS.get(suffix)
    with parsing("not a readable table", where=target, expected="CSV, ECSV, FITS or VOTable"):
        return Table.read(target, format=format) if format else Table.read(target)


def _short(name: str) -> str:
    """The letter or last part of a filter's name: "g" of "decam2014-g" and of "DES_g"."""
    return name.replace("_", "-").rsplit("-", 1)[-1].lower()


def guess_bands(path: str | os.PathLike[str], filters: list[str]) -> dict[str, str]:
    """Find a column for each filter: its own name, or its last part with usual decorations ("g", "mag_g", "gmag").

    Raises
    ------
    DataFileError
        If a filter has no such column.
    """
    lowered = _columns_of(path)
    found = {}
    for name in filters:
        short = _short(name)
        options = (name.lower(), short, f"mag_{short}", f"{short}_mag", f"{short}mag", f"psf_{short}", f"{short}psf")
        column = next((lowered[o] for o in options if o in lowered), None)
        if column is None:
            raise DataFileError(
                f"no column for filter {name!r}",
                where=str(path),
                expected=f"a column {name!r} or {short!r}, or its name in ``bands`` (option --band {name}=COLUMN)",
            )
        found[name] = column
    return found


def guess_errors(path: str | os.PathLike[str], bands: Mapping[str, str]) -> dict[str, str]:
    """Find columns of magnitude errors by usual decorations of the filter or its column ("dg", "e_gmag", "err_g")."""
    lowered = _columns_of(path)
    found = {}
    for name, column in bands.items():
        short, own = _short(name), column.lower()
        options = (f"{own}_err", f"e_{own}", f"err_{own}", f"d{own}", f"{own}err", f"d{short}", f"err_{short}")
        options += (f"{short}_err", f"e_{short}", f"e_{short}mag", f"magerr_{short}", f"sigma_{short}")
        if (error := next((lowered[o] for o in options if o in lowered), None)) is not None:
            found[name] = error
    return found
