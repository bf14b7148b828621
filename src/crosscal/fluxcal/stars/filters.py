"""Filter curves from files and from speclite."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from crosscal.core.errors import DataFileError, InputError, MissingDependencyError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing
from crosscal.fluxcal.stars.photometry import Filter
from crosscal.fluxcal.stars.systems import identify

#: Factor to Angstrom of the units a filter file may be in.
UNITS = {"angstrom": 1.0, "nm": 10.0, "um": 1e4}


def read_filter(path: str | os.PathLike[str], name: str | None = None, *, unit: str | None = None) -> Filter:
    """Read a two-column text file (wavelength, response).

    Parameters
    ----------
    path : path
    name : str, optional
        Default: the file name without its suffix.
    unit : "angstrom", "nm" or "um", optional
        Guessed from the range where not given: below 50 um, below 2500 nm, else Angstrom.

    Raises
    ------
    DataFileError
        If the file is absent or is not a table of two numeric columns.
    UnknownNameError
        If the unit is unknown.
    """
    target = existing_file(path, what="filter file")
    with parsing("not a filter curve", where=target, expected="two columns of numbers"):
        table = np.loadtxt(target, ndmin=2, usecols=(0, 1))
    if table.size == 0:
        raise DataFileError("no rows", where=str(target), expected="two columns of numbers")
    wavelength = table[:, 0]
    if unit is None:
        unit = "um" if wavelength.max() < 50 else "nm" if wavelength.max() < 2500 else "angstrom"
    if unit not in UNITS:
        raise UnknownNameError("wavelength unit", unit, UNITS, where=str(target))
    order = np.argsort(wavelength)
    return Filter(name or target.stem, wavelength[order] * UNITS[unit], table[order, 1])


def load_filter(name: str, *, directory: str | os.PathLike[str] | None = None) -> Filter:
    """Return the filter called ``name``.

    Looked up in this order: a path to a file; ``<directory>/<name>.dat`` (or .txt); speclite's curves ("decam2014-r",
    "sdss2010-g", ...), also under the names that SVO and KSPECDR give them ("GAIA/GAIA3.G", "ps1_g").

    Raises
    ------
    MissingDependencyError
        If the name may be one of speclite's, and speclite is not installed.
    UnknownNameError
        If the name is unknown.

    Examples
    --------
    >>> band = fluxcal.load_filter("decam2014-g")  # doctest: +SKIP
    """
    band = identify(name)
    if Path(name).suffix in {".dat", ".txt"} or (os.sep in name and band is None):
        return read_filter(name)
    if directory is not None:
        for suffix in (".dat", ".txt"):
            candidate = Path(directory) / f"{name}{suffix}"
            if candidate.is_file():
                return read_filter(candidate, name)
    try:
        from speclite import filters as speclite_filters
    except ImportError as error:
        raise MissingDependencyError("speclite", extra="optical", purpose=f"named filters ({name!r})") from error
    try:
        found = speclite_filters.load_filter(_in_speclite(name))
    except ValueError as error:
        groups, group = speclite_filters.filter_group_names, name.rpartition("-")[0]
        known = speclite_filters.load_filters(f"{group}-*").names if group in groups else [f"{g}-*" for g in groups]
        raise UnknownNameError("filter", name, [*known, *_local_names(directory)]) from error
    return Filter(name, np.asarray(found.wavelength, dtype=float), np.asarray(found.response, dtype=float))


def _in_speclite(name: str) -> str:
    """The name under which speclite has a filter: itself where its group is one of speclite's."""
    from speclite import filters as speclite_filters

    band = identify(name)
    return (
        band.speclite
        if band and band.speclite and name.rpartition("-")[0] not in speclite_filters.filter_group_names
        else name
    )


def _local_names(directory: str | os.PathLike[str] | None) -> list[str]:
    return sorted(p.stem for p in Path(directory).glob("*.dat")) if directory is not None else []


def load_filters(
    names: Iterable[str | Filter], *, directory: str | os.PathLike[str] | None = None
) -> tuple[Filter, ...]:
    """Return several filters; members that are filters already pass through.

    Raises
    ------
    InputError
        If a name repeats.
    """
    found = tuple(n if isinstance(n, Filter) else load_filter(n, directory=directory) for n in names)
    if len({f.name for f in found}) != len(found):
        raise InputError("a filter name repeats", where="filters", expected="each name once")
    return found
