"""Photometric catalogues from CSV, ECSV, FITS and VOTable files, and from tables in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import ConfigError, DataFileError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.keywords import keywords
from crosscal.core.memory import as_table, is_path
from crosscal.core.reading import parsing
from crosscal.fluxcal.stars.photometry import vega_to_ab
from crosscal.fluxcal.stars.systems import SYSTEMS, identify, recognise
from crosscal.fluxcal.types import Catalogue

#: Readers by suffix; astropy recognises the others.
_FORMATS = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "txt": "ascii"}

#: Numbers that surveys write where there is no measurement; anything outside `POSSIBLE` is none either.
MISSING = (0.0, 99.0, 99.9, -99.0, -999.0)
#: Magnitudes that a star can have, and the least error that means "no measurement".
POSSIBLE, NO_MEASUREMENT = (-5.0, 40.0), 5.0
#: Error in magnitudes of a flux with signal-to-noise ratio 1: 2.5 / ln 10.
PER_SNR = 2.5 / np.log(10)

#: Column names that are found without being told, lower case, in order of preference.
_GUESSES: Mapping[str, tuple[str, ...]] = {
    "name": ("name", "id", "source_id", "objid", "star", "target_name", "candidate name"),
    "ra": ("ra", "raj2000", "ra_icrs", "target_ra"),
    "dec": ("dec", "dej2000", "de_icrs", "decl", "target_dec"),
    "pm_ra": ("pmra", "pm_ra"),
    "pm_dec": ("pmdec", "pmde", "pm_dec"),
    "ebv": ("ebv", "e(b-v)", "sfd_ebv"),
}

#: A file, or a table in memory.
Source = str | os.PathLike[str] | Any


@keywords
def read_catalogue(
    path: Source,
    *,
    bands: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    error: float = 0.02,
    columns: Mapping[str, str] | None = None,
    system: str | Mapping[str, str] | None = None,
    missing: tuple[float, ...] = MISSING,
    epoch: float | None = None,
    format: str | None = None,
) -> Catalogue:
    """Read standard-star photometry.

    Parameters
    ----------
    path : path or table
        Any file that astropy reads, or a table in memory (astropy, pandas, polars, xarray, a mapping of columns);
        positions in degrees, or one column of SkyCoord in a table in memory.
    bands : mapping of filter name to column name
    errors : mapping of filter name to column name, optional
        Gaia's ``..._flux_over_error`` are read as signal-to-noise ratios.
    error : float
        Magnitude error where there is no column, or its value is missing.
    columns : mapping, optional
        Column names of "name", "ra", "dec", "pm_ra", "pm_dec" (mas/yr), "ebv"; usual spellings, and those of known
        surveys, are found alone.
    system : "AB" or "Vega", or a mapping of filter name to one of them, optional
        By default that of the filter, known by its name (``stars/data/bands.toml``).
    missing : numbers that mean "no measurement", in addition to magnitudes outside -5 to 40 and errors of 5 or more
    epoch : float, Julian year of the positions
        By default that of the survey whose columns the table has, else 2000.
    format : str, optional
        As astropy's Table.read knows it; by default from the file name.

    Raises
    ------
    DataFileError
        If the file is not a table, or a position is not a number.
    UnknownNameError
        If a column does not exist.
    ConfigError
        If no band is named, or the magnitude system of a filter is neither known nor stated.

    Examples
    --------
    >>> bands = {"decam2014-g": "mag_g", "decam2014-r": "mag_r"}  # doctest: +SKIP
    >>> stars = fluxcal.read_catalogue("stars.csv", bands=bands)  # doctest: +SKIP
    """
    table, where = _load(path, format)
    if not bands:
        raise ConfigError("no bands", where=f"catalogue {where}", expected="bands = {filter = column, ...}")
    unknown = set(columns or {}) - set(_GUESSES)
    if unknown:
        raise UnknownNameError("catalogue column role", unknown.pop(), _GUESSES, where=where)
    survey = recognise(table.colnames)
    roles = {**(survey.columns if survey else {}), **(columns or {})}
    find = _Finder(table, roles, set(columns or {}), where)
    magnitude, sd, notes = _photometry(table, bands, errors or {}, error, system, missing, where)
    if survey is not None and epoch is None and survey.epoch is not None:
        epoch = survey.epoch
        notes.append(f"columns of {survey.title}: positions of epoch {epoch:g}")
    name_column = find("name", False)
    names = [str(v) for v in table[name_column]] if name_column else [f"row {i + 1}" for i in range(len(table))]
    ra, dec = _positions(table, find)
    return Catalogue(
        name=np.array(names, dtype=str),
        ra=ra,
        dec=dec,
        bands=tuple(bands),
        magnitude=magnitude,
        error=sd,
        pm_ra=np.nan_to_num(find.numbers("pm_ra")),
        pm_dec=np.nan_to_num(find.numbers("pm_dec")),
        ebv=find.numbers("ebv"),
        epoch=2000.0 if epoch is None else epoch,
        notes=tuple(notes),
    )


class _Finder:
    """Columns of a table by their role: stated ones, those of the survey, or usual spellings."""

    def __init__(self, table: Any, roles: Mapping[str, str], stated: set[str], where: str) -> None:
        self.table, self.roles, self.stated, self.where = table, roles, stated, where
        self.lowered = {c.lower(): c for c in table.colnames}

    def __call__(self, role: str, required: bool) -> str | None:
        if role in self.stated and self.roles[role] not in self.table.colnames:
            raise UnknownNameError("column", self.roles[role], self.table.colnames, where=self.where)
        if role in self.roles and self.roles[role] in self.table.colnames:
            return self.roles[role]
        name = next((self.lowered[g] for g in _GUESSES[role] if g in self.lowered), None)
        if name is None and required:
            raise DataFileError(f"no column for {role}", where=self.where, expected=f"columns.{role} = ...")
        return name

    def numbers(self, role: str, required: bool = False) -> NDArray[np.float64]:
        name = self(role, required)
        return np.full(len(self.table), np.nan) if name is None else _numbers(self.table, name, self.where)


def _positions(table: Any, find: _Finder) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RA and Dec in degrees, from two columns or one of SkyCoord."""
    if find("ra", False) is None and "ra" not in find.stated:
        sky = next((c for c in table.colnames if hasattr(table[c], "icrs")), None)
        if sky is not None:
            return np.array(table[sky].icrs.ra.deg, dtype=float), np.array(table[sky].icrs.dec.deg, dtype=float)
    return find.numbers("ra", True), find.numbers("dec", True)


def _numbers(table: Any, column: str, where: str) -> NDArray[np.float64]:
    if column not in table.colnames:
        raise UnknownNameError("column", column, table.colnames, where=where)
    given = table[column]
    given = given.value if hasattr(given, "to_value") else given
    values = np.ma.filled(np.ma.asarray(given), np.nan) if given.dtype.kind == "f" else given
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
    system: str | Mapping[str, str] | None,
    missing: tuple[float, ...],
    where: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Magnitudes (AB) and their errors, shape (n, n_b), NaN where missing; and what was assumed."""
    magnitude = np.empty((len(table), len(bands)))
    sd = np.full_like(magnitude, default)
    notes: list[str] = []
    for k, (band, column) in enumerate(bands.items()):
        values = _numbers(table, column, where)
        none = np.isin(values, missing) | (values < POSSIBLE[0]) | (values > POSSIBLE[1])
        if band in errors:
            quoted = _errors(table, errors[band], where)
            none |= quoted >= NO_MEASUREMENT
            sd[:, k] = np.where(np.isfinite(quoted) & (quoted > 0), quoted, default)
        if none.any():
            marks = ", ".join(f"{v:g}" for v in np.unique(values[none])[:3])
            notes.append(f"{none.sum()} of {len(values)} magnitudes in {band} are missing ({marks})")
        values[none] = np.nan
        kind = _system(band, system, where)
        magnitude[:, k] = vega_to_ab(values, band) if kind == "Vega" else values
        known = identify(band)
        if kind == "Vega" and known is not None:
            notes.append(f"{band}: Vega magnitudes, AB = Vega {known.offset:+.4g} ({known.source})")
    return magnitude, sd, notes


def _errors(table: Any, column: str, where: str) -> NDArray[np.float64]:
    """Errors in magnitudes; NaN where none is quoted."""
    values = _numbers(table, column, where)
    if "flux_over_error" in column.lower():
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, PER_SNR / values, np.nan)
    return values


def _system(band: str, stated: str | Mapping[str, str] | None, where: str) -> str:
    """The magnitude system of a band: as stated, else that of the filter.

    Raises
    ------
    UnknownNameError
        If another system is stated.
    ConfigError
        If none is stated and the filter is not known.
    """
    kind = stated if isinstance(stated, str) or stated is None else stated.get(band)
    if kind is None:
        known = identify(band)
        if known is None:
            raise ConfigError(
                f"the magnitude system of filter {band!r} is not known",
                where=f"catalogue {where}",
                expected='system = "AB" or "Vega" (CALIBFLUX_SYSTEM, --system)',
            )
        kind = known.system
    if kind not in SYSTEMS:
        raise UnknownNameError("magnitude system", kind, SYSTEMS, where=where)
    return kind


def _load(source: Source, format: str | None) -> tuple[Any, str]:
    """A table and where it comes from."""
    if not is_path(source):
        return as_table(source, where="the catalogue"), "table in memory"
    target = existing_file(source, what="catalogue")
    return _read(target, format), str(target)


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


def guess_bands(path: Source, filters: list[str], *, some: bool = False) -> dict[str, str]:
    """Find a column for each filter.

    The column of a published catalogue that is recognised by its columns (``stars/data/surveys.toml``); else the
    filter's own name, or, for filters in AB, its last part with usual decorations ("g", "mag_g", "gmag").

    Parameters
    ----------
    path : path or table
    filters : list of str
    some : bool
        Leave out filters without a column, if there is one with.

    Raises
    ------
    DataFileError
        If a filter has no such column.
    """
    table, where = _load(path, None)
    survey, lowered = recognise(table.colnames), {c.lower(): c for c in table.colnames}
    found = {}
    for name in filters:
        column = _column_of(name, survey, table.colnames, lowered)
        if column is None and some:
            continue
        if column is None:
            raise DataFileError(
                f"no column for filter {name!r}",
                where=where,
                expected=f"a column {name!r} or {_short(name)!r}, or its name in ``bands`` (--band {name}=COLUMN)",
            )
        found[name] = column
    if not found:
        raise DataFileError(
            "no column of magnitudes was recognised",
            where=where,
            expected=f"columns called like filters, for instance {', '.join(filters[:4])} (--band FILTER=COLUMN)",
        )
    return found


def _column_of(name: str, survey: Any, columns: list[str], lowered: Mapping[str, str]) -> str | None:
    """The column of a filter's magnitudes, or None."""
    band = identify(name)
    if name.lower() in lowered:
        return lowered[name.lower()]
    if survey is not None and band is not None and (pair := survey.bands.get((band.family, band.letter))):
        return pair[0] if pair[0] in columns else None
    # The bare letter of a Vega filter ("G" of Gaia) is often that of another survey's band.
    if survey is not None or (band is not None and band.system == "Vega"):
        return None if band is None or band.system == "Vega" else lowered.get(_short(name))
    short = _short(name)
    options = (short, f"mag_{short}", f"{short}_mag", f"{short}mag", f"psf_{short}", f"{short}psf")
    return next((lowered[o] for o in options if o in lowered), None)


def guess_errors(path: Source, bands: Mapping[str, str]) -> dict[str, str]:
    """Find columns of magnitude errors: those of a known survey, else by usual decorations of the filter or its
    column ("dg", "e_gmag", "err_g").
    """
    table, _ = _load(path, None)
    survey, lowered = recognise(table.colnames), {c.lower(): c for c in table.colnames}
    pairs = {pair[0]: pair[1] for pair in survey.bands.values()} if survey else {}
    found = {}
    for name, column in bands.items():
        short, own = _short(name), column.lower()
        options = (f"{own}_err", f"e_{own}", f"err_{own}", f"d{own}", f"{own}err")
        options += (f"d{short}", f"err_{short}", f"{short}_err", f"e_{short}", f"e_{short}mag", f"magerr_{short}")
        options += (f"sigma_{short}",)
        known = pairs.get(column)
        if known in table.colnames:
            found[name] = str(known)
        elif known is None and (error := next((lowered[o] for o in options if o in lowered), None)) is not None:
            found[name] = error
    return found
