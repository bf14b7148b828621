"""The table that lists the spectra of a full-likelihood inference."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing
from crosscal.xray.correction.observations import Observation
from crosscal.xray.correction.pairs_columns import CONSTANTS
from crosscal.xray.correction.pairs_table import read_sheet
from crosscal.xray.correction.sherpa_save import read_sherpa
from crosscal.xray.correction.xcm import Xcm, read_xcm
from crosscal.xray.instrument.ogip_spectrum import ResponseFiles, header_files, read_linked

if TYPE_CHECKING:
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.response import Response

BAND = ("band_low", "band_high")
REQUIRED = ("source", "telescope", "pha")
FILES = ("pha", "arf", "rmf", "background")
OPTIONAL = ("arf", "rmf", "background", "row", "exposure", "band_low", "band_high")


def read_observations(
    path: str | os.PathLike[str],
    model: Model,
    *,
    band: tuple[float, float] = (0.7, 7.0),
    bands: Mapping[str, tuple[float, float]] | None = None,
    responses: Mapping[str, Response] | None = None,
) -> list[Observation]:
    """Read a table of spectra (ECSV, CSV, TSV, VOTable or FITS), one row a spectrum.

    Columns ``source``, ``telescope``, ``pha``; optionally ``arf``, ``rmf``, ``background`` (by default the files that
    ANCRFILE, RESPFILE and BACKFILE name; "none" leaves the background out), ``row`` (of a type II file), ``exposure``
    (s), ``band_low`` and ``band_high`` (keV), and any parameter of the model (nH, Redshift) with the source's own
    value; columns z and nh are these, and a column ``region`` is not used (told).
    Paths are relative to the table. Spectra of different telescopes, and of one telescope, may have different
    responses. A ``pha`` that is a save file of XSPEC (.xcm) or a script of Sherpa's ``save_all`` (.py) stands for the
    files in it and for the values that its model holds fixed (nH, Redshift).

    Parameters
    ----------
    band : (low, high), keV
        Of telescopes that ``bands`` does not name; a row's own band comes first.
    bands : mapping of telescope to (low, high), keV
    responses : mapping of telescope to Response, optional
        Where neither a row nor a header names an ARF, an RMF or both, those of the telescope's response are used; in
        the notes of the spectrum or response.

    Raises
    ------
    DataFileError
        If the table cannot be read, lacks a column, or is empty.
    InputError
        Naming the row whose files or values cannot be used.

    Examples
    --------
    >>> observations = xray.read_observations("observations.csv", model, band=(0.7, 7.0))  # doctest: +SKIP
    """
    source = existing_file(path, what="table of observations")
    table = read_sheet(source).table
    missing = [name for name in REQUIRED if name not in table.colnames]
    if missing:
        raise DataFileError(f"no column {missing[0]!r}", where=str(path), expected=f"columns {', '.join(REQUIRED)}")
    if len(table) == 0:
        raise DataFileError("the table has no rows", where=str(path), expected="one row a spectrum")
    for name in table.colnames:
        # As tables of clusters call them; the region is the user's own note.
        own = next((n for n, names in CONSTANTS.items() if name.lower() in names), name)
        if own != name and own not in table.colnames:
            table.rename_column(name, own)
    extra = [name for name in table.colnames if name not in (*REQUIRED, *OPTIONAL, "region")]
    for name in extra:
        model.parameter(name)
    known: dict[tuple[ResponseFiles, int | None], Response] = {}
    ranges = {name: tuple(ends) for name, ends in (bands or {}).items()}
    models: dict[tuple[tuple[str, float], ...], Model] = {}
    found = [
        _row(row, k, source, model, extra, ranges.get(name, band), (responses or {}).get(name), known, models)
        for k, row in enumerate(table, start=1)
        for name in [str(row["telescope"]).strip()]
    ]
    if "region" in table.colnames:
        spectrum = found[0].spectrum
        told = f"{path}: column 'region' is not used"
        found[0] = replace(found[0], spectrum=replace(spectrum, notes=(*spectrum.notes, told)))
    return found


def listed_files(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the files that a table of spectra names: "row 3, pha" to path.

    Raises
    ------
    DataFileError
        If the table cannot be read.
    """
    source = existing_file(path, what="table of observations")
    table = read_sheet(source).table
    names = [name for name in FILES if name in table.colnames]
    found = {f"row {k}, {name}": _file(row, name, source) for k, row in enumerate(table, start=1) for name in names}
    # Files that the table does not name are those that the spectrum's header names.
    for k, row in enumerate(table, start=1):
        pha = found.get(f"row {k}, pha")
        roles = [name for name in FILES[1:] if not _given(row, name)]
        # An ARF alone may be a whole response.
        roles = [name for name in roles if name != "rmf" or "arf" in roles]
        if pha is not None and (read := _session(pha)) is not None:
            found.update({f"row {k}, {role} of {pha.name}": file for role, file in read(pha).files.items()})
        elif pha is not None and pha.is_file() and roles:
            number, exposure = _row_and_exposure(row, f"{path}, row {k}")
            linked = header_files(pha, roles, row=number, exposure=exposure)
            found.update({f"row {k}, {role}": file for role, file in linked.items()})
    return {role: file for role, file in found.items() if file is not None}


def _session(pha: Path) -> Callable[[Path], Xcm] | None:
    """Return the reader of a save file that stands for a spectrum, by its suffix."""
    return {".xcm": read_xcm, ".py": read_sherpa, ".save": read_sherpa}.get(pha.suffix.lower())


def _row_and_exposure(row: Any, where: str) -> tuple[int | None, float | None]:
    """Return what a row of the table says of a spectrum's number in its file and of its exposure."""
    with parsing("a row or exposure is not a number", where=where, expected="numbers in row and exposure, or neither"):
        number = int(row["row"]) if _given(row, "row") else None
        return number, float(row["exposure"]) if _given(row, "exposure") else None


def _file(row: Any, name: str, table: Path) -> Path | None:
    text = str(row[name]).strip() if name in row.colnames else ""
    return table.parent / text if text and text.lower() not in ("--", "none") else None


def _row(
    row: Any,
    k: int,
    table: Path,
    model: Model,
    extra: list[str],
    band: Any,
    other: Response | None,
    known: dict,
    models: dict,
) -> Observation:
    where = f"{table}, row {k}"
    pha, arf, rmf = (_file(row, name, table) for name in ("pha", "arf", "rmf"))
    if pha is None:
        raise InputError("no pha is named", where=where, expected="a file name")
    try:
        read = _session(pha)
        session = None if read is None else read(pha)
        if session is not None:
            pha, arf, rmf = session.spectrum, arf or session.files.get("arf"), rmf or session.files.get("rmf")
        none = _given(row, "background") and str(row["background"]).strip().lower() == "none"
        saved = None if session is None else session.files.get("background")
        background = "none" if none else _file(row, "background", table) or saved or "auto"
        number, exposure = _row_and_exposure(row, where)
        spectrum, files = read_linked(pha, arf, rmf, background, row=number, exposure=exposure, other=other)
        spectrum = replace(spectrum, name=str(row["source"]).strip())
        # Another telescope may complete the same file with other ones.
        key = (files, None if other is None else id(other))
        if key not in known:
            known[key] = files.response(other=other)
        spectrum.check_response(known[key])
        with parsing(
            "a parameter is not a number", where=where, expected=f"numbers in {', '.join(extra) or 'no column'}"
        ):
            values = {name: float(row[name]) for name in extra}
        if session is not None:
            values = {**session.held(model), **values}
            spectrum = replace(spectrum, notes=(*spectrum.notes, *session.notes))
        with parsing("a band is not a number", where=where, expected="numbers in band_low and band_high, or neither"):
            low, high = (float(str(row[n])) if _given(row, n) else e for n, e in zip(BAND, band, strict=True))
        if not 0 <= low < high:
            raise InputError(f"a band of {low:g} to {high:g} keV", where="band", expected="0 <= low < high")
        # Sources of the same values share one model, and so their tables.
        own = models.setdefault(tuple(sorted(values.items())), model.replace(free=None, **values) if values else model)
    except InputError as error:
        place = where if error.where == where else f"{where}: {error.where}"
        raise type(error)(error.what, where=place, expected=error.expected) from error
    source, telescope = (str(row[n]).strip() for n in ("source", "telescope"))
    return Observation(source, telescope, spectrum, known[key], own, (low, high))


def _given(row: Any, name: str) -> bool:
    """Whether a row of a table holds something in the column ``name``."""
    return name in row.colnames and str(row[name]).strip() not in ("", "--", "nan", "None")
