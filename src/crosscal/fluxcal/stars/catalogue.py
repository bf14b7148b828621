"""Photometric catalogues from CSV, ECSV, FITS and VOTable files, and from tables in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.cells import HIGH_MARKERS, MARKERS
from crosscal.core.errors import ConfigError, DataFileError, UnknownNameError
from crosscal.core.files import existing_file
from crosscal.core.keywords import keywords
from crosscal.core.memory import as_table, is_path
from crosscal.fluxcal.stars.columns import (
    angle,
    leave_out_marks,
    numbers,
    photometry,
    rate,
    refuse_other_quantities,
    table_in_file,
)
from crosscal.fluxcal.stars.photometry import vega_to_ab
from crosscal.fluxcal.stars.systems import SYSTEMS, identify, recognise
from crosscal.fluxcal.types import Catalogue

#: Numbers that surveys write where there is no measurement; anything outside `POSSIBLE` is none either.
MISSING = (0.0, 99.0, 99.9, -99.0, -999.0)
#: Magnitudes that a star can have, and the least error that means "no measurement".
POSSIBLE, NO_MEASUREMENT = (-5.0, 40.0), 5.0
#: E(B-V) that a star can have, and the largest proper motion, mas/yr.
_REDDENING, _MOTION = (-0.1, 20.0), 11_000.0
_DEREDDENED = re.compile(r"(?i)dered|ext_?corr|extinction_?corr|(^|_)corr(ected)?(_|$)|mag_?0$")

#: Column names that are found without being told, lower case, in order of preference.
_GUESSES: Mapping[str, tuple[str, ...]] = {
    "name": ("name", "id", "source_id", "objid", "star", "target_name", "candidate name"),
    "ra": ("ra", "raj2000", "ra_icrs", "target_ra"),
    "dec": ("dec", "dej2000", "de_icrs", "decl", "target_dec"),
    "pm_ra": ("pmra", "pm_ra"),
    "pm_dec": ("pmdec", "pmde", "pm_dec"),
    "ebv": ("ebv", "e(b-v)", "sfd_ebv", "ebmv_sfd"),
    "epoch": ("ref_epoch", "refepoch", "epoch"),
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
    find.notes = notes
    epoch = find.epoch() if epoch is None else epoch
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
        pm_ra=find.motion("pm_ra"),
        pm_dec=find.motion("pm_dec"),
        ebv=find.reddening(),
        epoch=2000.0 if epoch is None else epoch,
        notes=tuple(notes),
    )


class _Finder:
    """Columns of a table by their role: stated ones, those of the survey, or usual spellings."""

    def __init__(self, table: Any, roles: Mapping[str, str], stated: set[str], where: str) -> None:
        self.table, self.roles, self.stated, self.where = table, roles, stated, where
        self.lowered = {c.lower(): c for c in table.colnames}
        self.notes: list[str] = []

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
        return np.full(len(self.table), np.nan) if name is None else numbers(self.table, name, self.where)

    def angle(self, role: str) -> NDArray[np.float64]:
        name = self(role, True)
        assert name is not None
        return angle(self.table, name, self.where, role == "ra", self.notes)

    def motion(self, role: str) -> NDArray[np.float64]:
        """Proper motions in mas/yr, 0 where there is none."""
        name = self(role, False)
        if name is None:
            return np.zeros(len(self.table))
        values = rate(self.table, name, self.where)
        marks = np.isin(values, (*MARKERS, *HIGH_MARKERS)) | (np.abs(values) > _MOTION)
        if marks.any():
            shown = ", ".join(f"{v:g}" for v in np.unique(values[marks])[:3])
            self.notes.append(f"{marks.sum()} of {len(values)} proper motions in {name} are missing ({shown})")
        return np.nan_to_num(np.where(marks, 0.0, values))

    def reddening(self) -> NDArray[np.float64]:
        """E(B-V), NaN where there is none."""
        values = self.numbers("ebv")
        marks = (values < _REDDENING[0]) | (values > _REDDENING[1])
        if marks.any():
            shown = ", ".join(f"{v:g}" for v in np.unique(values[marks])[:3])
            self.notes.append(f"{marks.sum()} of {len(values)} E(B-V) are missing ({shown})")
        return np.where(marks, np.nan, values)

    def epoch(self) -> float | None:
        """The epoch of the positions, if a column gives one for all of them.

        Raises
        ------
        DataFileError
            If stars that move have several epochs.
        """
        name = self("epoch", False)
        if name is None:
            return None
        years = np.unique(numbers(self.table, name, self.where))
        years = years[(years > 1900) & (years < 2100)]
        if len(years) > 1 and np.any(self.motion("pm_ra")):
            raise DataFileError(
                f"epochs of positions from {years[0]:g} to {years[-1]:g}", where=f"{self.where}, column {name}",
                expected="positions of one epoch",
            )  # fmt: skip
        if len(years) != 1:
            return None
        self.notes.append(f"positions of epoch {years[0]:g}, by column {name}")
        if years[0] == 2015.5 and "phot_g_mean_mag" in self.table.colnames:
            self.notes.append("positions of epoch 2015.5 are those of Gaia DR2, whose filters are gaiadr2-G, -BP, -RP")
        return float(years[0])


def _positions(table: Any, find: _Finder) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RA and Dec in degrees, from two columns or one of SkyCoord."""
    if find("ra", False) is None and "ra" not in find.stated:
        sky = next((c for c in table.colnames if hasattr(table[c], "icrs")), None)
        if sky is not None:
            return np.array(table[sky].icrs.ra.deg, dtype=float), np.array(table[sky].icrs.dec.deg, dtype=float)
    return find.angle("ra"), find.angle("dec")


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
        values, quoted, fluxes = photometry(table, column, errors.get(band), where, notes)
        none = np.isin(values, missing) | (values < POSSIBLE[0]) | (values > POSSIBLE[1])
        if quoted is not None:
            none |= quoted >= NO_MEASUREMENT
            good = np.isfinite(quoted) & (quoted > 0)
            sd[:, k] = np.where(good, quoted, default)
            if lacking := int(np.sum(~good & ~none & np.isfinite(values))):
                notes.append(f"{lacking} of {len(values)} errors in {band} are missing: {default:g} mag is used")
        if none.any():
            marks = ", ".join(f"{v:g}" for v in np.unique(values[none])[:3])
            notes.append(f"{none.sum()} of {len(values)} magnitudes in {band} are missing ({marks})")
        values[none] = np.nan
        if _DEREDDENED.search(column):
            notes.append(f"{column}: magnitudes corrected for extinction? Then E(B-V) must be 0 (option ebv)")
        kind = "AB" if fluxes else _system(band, system, where)
        magnitude[:, k] = vega_to_ab(values, band) if kind == "Vega" else values
        known = identify(band)
        if kind == "Vega" and known is not None:
            notes.append(f"{band}: Vega magnitudes, AB = Vega {known.offset:+.4g} ({known.source})")
    refuse_other_quantities(magnitude, bands, where)
    leave_out_marks(magnitude, notes)
    return magnitude, sd, notes


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
    return table_in_file(target, format), str(target)


def _short(name: str) -> str:
    """The letter or last part of a filter's name: "g" of "decam2014-g" and of "DES_g"."""
    return name.replace("_", "-").rsplit("-", 1)[-1].lower()


def _lowered(columns: list[str]) -> dict[str, str]:
    """Columns by their names in lower case; one that is spelt so goes before others.

    A single capital letter, alone or before "mag", is a band of Gaia or Johnson (G, R, I), unless all columns are in
    capitals and none is B or V.
    """
    johnson = any(re.fullmatch(r"[BV](_?(mag|MAG))?", c) for c in columns)
    capitals = all(c == c.upper() for c in columns) and not johnson
    usable = [c for c in columns if capitals or not re.fullmatch(r"[A-Z](_?(mag|MAG))?|(mag|MAG)_?[A-Z]", c)
              or (not johnson and re.fullmatch(r"MAG_?[A-Z]", c))]  # fmt: skip
    found = {c.lower(): c for c in usable}
    return found | {c: c for c in columns if c == c.lower()}


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
    survey, lowered = recognise(table.colnames), _lowered(table.colnames)
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
        same = (f"e_{column}", f"{column}_err", f"err_{column}", f"{column}err", f"{column}Err", f"d{column}")
        if known is None:  # the case tells Gaia's Gmag from g magnitudes
            known = next((o for o in same if o in table.colnames), None)
        if known in table.colnames:
            found[name] = str(known)
        elif known is None and (error := next((lowered[o] for o in options if o in lowered), None)) is not None:
            found[name] = error
    return found
