"""Reading OGIP spectra (PHA types I and II) and what their headers link to.

References
----------
Arnaud, George & Tennant 2009, OGIP/92-007 and its addendum 92-007a.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.xray.instrument.ogip import PathLike, mission_of, read_response
from crosscal.xray.instrument.ogip_table import Table, find_table, opened
from crosscal.xray.instrument.response import Response
from crosscal.xray.instrument.spectrum import Spectrum

# Role of a linked file and the keyword that names it.
LINKS = {"rmf": "RESPFILE", "arf": "ANCRFILE", "background": "BACKFILE"}


def read_spectra(path: PathLike, background: PathLike | None = "auto") -> tuple[Spectrum, ...]:
    """Read all spectra of a PHA file: one of type I, several of type II.

    Parameters
    ----------
    path : path
    background : "auto", "header", None or path
        "auto" takes the file that BACKFILE names if it lies beside ``path`` (else none, with a note);
        "header" requires it; None takes none; a path takes that file.

    Raises
    ------
    DataFileError
        Naming file, HDU, column and row of whatever is wrong.
    """
    with opened(path, "spectrum") as hdus:
        table = find_table(hdus, str(path), names=("SPECTRUM",), hduclas1="SPECTRUM", hduclas2=())
        source = _Source(table, hdus[0].header)
        rows = [None] if source.is_single else list(range(table.rows))
        spectra = [source.spectrum(row) for row in rows]
    return tuple(_with_background(spectrum, background, k) for k, spectrum in enumerate(spectra))


def read_spectrum(
    path: PathLike,
    background: PathLike | None = "auto",
    *,
    row: int | None = None,
    name: str | None = None,
) -> Spectrum:
    """Read one spectrum; ``row`` (from 1) chooses among those of a type II file.

    See :func:`read_spectra` for ``background``, ``name`` and further errors.

    Raises
    ------
    DataFileError
        If the file is no spectrum, or is of type II and no row is named.
    """
    spectra = read_spectra(path, background)
    if row is None and len(spectra) == 1:
        row = 1
    if row is None or not 1 <= row <= len(spectra):
        asked = "none is chosen" if row is None else f"row {row} is asked for"
        raise DataFileError(
            f"the file holds {len(spectra)} spectra and {asked}",
            where=str(path),
            expected=f"row = 1 to {len(spectra)}",
        )
    spectrum = spectra[row - 1]
    return replace(spectrum, name=name) if name else spectrum


class _Source:
    """The SPECTRUM table of a file."""

    def __init__(self, table: Table, primary: Mapping[str, Any]) -> None:
        self.table, self.primary = table, primary
        present = [column for column in ("COUNTS", "RATE") if table.has(column)]
        if not present:
            raise table.error("there is no column COUNTS", expected="COUNTS or RATE")
        self.column = present[0]
        self.is_single = np.ndim(table.raw(self.column)) == 1

    def spectrum(self, row: int | None) -> Spectrum:
        """Build the spectrum of one row of type II (None: the whole table of type I)."""
        table = self.table
        exposure = self._positive("EXPOSURE", row)
        unit = exposure if self.column == "RATE" else 1.0
        counts = self._vector(self.column, row) * unit
        if np.any(counts < 0):
            channel = int(np.argmin(counts))
            raise table.error(
                f"the value is {counts[channel] / unit:g}",
                column=self.column,
                row=channel if row is None else row,
                expected="at least 0",
            )
        errors = None
        if table.has("STAT_ERR") and not self._is_poisson():
            errors = self._vector("STAT_ERR", row) * unit
        systematic = self._vector("SYS_ERR", row) if table.has("SYS_ERR") else None
        path = table.path
        tag = "" if row is None else f"#{row + 1}"
        return Spectrum(
            counts,
            exposure,
            backscale=self._scale("BACKSCAL", row, counts.size),
            areascale=self._scale("AREASCAL", row, counts.size),
            quality=self._flags("QUALITY", row, counts.size, low=-1, high=32767),
            grouping=self._flags("GROUPING", row, counts.size, low=-1, high=1),
            first_channel=self._first_channel(row, counts.size),
            stat_error=errors,
            sys_error=systematic,
            name=Path(path).name.split(".")[0] + tag,
            files={"pha": path},
            links=self._links(row),
            notes=tuple(table.notes),
            mission=mission_of(table.header, self.primary),
        )

    def _vector(self, column: str, row: int | None) -> NDArray[np.float64]:
        if row is None:
            return self.table.values(column)
        values = self.table.values(column, ndim=2)
        n = np.shape(self.table.raw(self.column))[1]
        if values.shape[1] != n:
            raise self.table.error(
                f"a row holds {values.shape[1]} values", column=column, expected=f"{n}, as {self.column}"
            )
        return values[row]

    def _keyword(self, key: str, row: int | None) -> Any:
        """Return a value per spectrum: a column of type II, or the table's or the first HDU's keyword."""
        if row is not None and self.table.has(key):
            return np.asarray(self.table.raw(key)[row])
        return self.table.header.get(key, self.primary.get(key))

    def _positive(self, key: str, row: int | None) -> float:
        value = self._keyword(key, row)
        if value is None:
            raise self.table.error(f"there is no keyword {key}", expected="a positive number")
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not (np.isfinite(number) and number > 0):
            raise self.table.error(f"{key} is {value}", expected="a positive number")
        return number

    def _scale(self, key: str, row: int | None, n: int) -> float | NDArray[np.float64]:
        if row is None and self.table.has(key):
            values = self.table.values(key)
        elif row is not None and self.table.has(key) and np.ndim(self.table.raw(key)) == 2:
            values = self._vector(key, row)
        elif self._keyword(key, row) is None:
            self.table.note(f"there is no {key}; 1 is assumed")
            return 1.0
        else:
            return self._positive(key, row)
        if np.any(values <= 0):
            k = int(np.argmin(values))
            raise self.table.error(
                f"the value is {values[k]:g}",
                column=key,
                row=k if row is None else row,
                expected="a positive number",
            )
        return values

    def _flags(self, key: str, row: int | None, n: int, *, low: int, high: int) -> NDArray[np.int16]:
        if self.table.has(key):
            flags = self._vector(key, row)
        else:
            flags = np.full(n, float(self.table.header.get(key) or 0))
        bad = (flags < low) | (flags > high) | (flags != np.rint(flags))
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            raise self.table.error(
                f"the flag is {flags[k]:g}",
                column=key,
                row=k if row is None else row,
                expected=f"a whole number from {low} to {high}",
            )
        return flags.astype(np.int16)

    def _first_channel(self, row: int | None, n: int) -> int:
        table = self.table
        table.check_channels(n, "channels")
        if not table.has("CHANNEL"):
            if row is None:
                raise table.error("there is no column CHANNEL", expected="channel numbers")
            table.note("there is no column CHANNEL; channels are counted from 1")
            return 1
        channels = self._vector("CHANNEL", row)
        wrong = np.flatnonzero(np.diff(channels) != 1)
        if wrong.size:
            k = int(wrong[0]) + 1
            raise table.error(
                f"channel {channels[k]:g} follows {channels[k - 1]:g}",
                column="CHANNEL",
                row=k if row is None else row,
                expected="consecutive channels",
            )
        return int(channels[0])

    def _is_poisson(self) -> bool:
        return bool(self.table.header.get("POISSERR", False))

    def _links(self, row: int | None) -> dict[str, str]:
        links = {}
        for role, key in LINKS.items():
            value = str(self._keyword(key, row) or "").strip()
            if value.lower() not in ("", "none"):
                links[role] = value
        return links


def _with_background(spectrum: Spectrum, choice: PathLike | None, row: int) -> Spectrum:
    if choice is None:
        return spectrum
    if choice in ("auto", "header"):
        linked = linked_file(spectrum, "background")
        if linked is None and choice == "header":
            raise _unlinked(spectrum, "background")
        if linked is None:
            if "background" not in spectrum.links:
                return spectrum
            note = f"{spectrum.files['pha']}: the background {spectrum.links['background']} is not beside it"
            return replace(spectrum, notes=(*spectrum.notes, note))
        choice = linked
    backgrounds = read_spectra(choice, None)
    background = backgrounds[row if len(backgrounds) > 1 and row < len(backgrounds) else 0]
    ours, theirs = (spectrum.n_channel, spectrum.first_channel), (background.n_channel, background.first_channel)
    if ours != theirs:
        raise DataFileError(
            f"the background has {theirs[0]} channels from {theirs[1]}",
            where=str(choice),
            expected=f"{ours[0]} from {ours[1]}, as {spectrum.files['pha']}",
        )
    files = {**spectrum.files, "background": str(choice)}
    return replace(spectrum, background=background, files=files)


def linked_file(spectrum: Spectrum, role: str) -> Path | None:
    """Return the file that a header links to as ``role`` ("arf", "rmf", "background"), if it is there.

    Only the directory of the spectrum is searched, for the name itself or the name with ``.gz``.
    """
    link = spectrum.links.get(role)
    if link is None or "pha" not in spectrum.files:
        return None
    here = Path(spectrum.files["pha"]).parent
    name = os.path.basename(link.split("[")[0].strip())
    for candidate in (here / name, here / (name + ".gz")):
        if name and candidate.is_file():
            return candidate
    return None


def _unlinked(spectrum: Spectrum, role: str) -> DataFileError:
    link, key = spectrum.links.get(role), LINKS[role]
    what = f"{key} names no file" if link is None else f"{key} names {link!r}, which is not beside it"
    return DataFileError(what, where=spectrum.files.get("pha", spectrum.name), expected=f"the {role} given explicitly")


def read_observation(
    pha: PathLike,
    arf: PathLike | None = None,
    rmf: PathLike | None = None,
    background: PathLike | None = "auto",
    *,
    row: int | None = None,
) -> tuple[Spectrum, Response]:
    """Read a spectrum with its response; files that are not given are taken from the header links.

    Parameters
    ----------
    pha : path
    arf, rmf : path, optional
    background : path, "auto" or None
        "auto" follows the header; None leaves the background out.
    row : int, optional
        Of a type II file, from 1.

    Returns
    -------
    Spectrum, Response

    Raises
    ------
    DataFileError
        If a response is neither given nor found beside the spectrum, or does not have its channels.
    """
    spectrum = read_spectrum(pha, background, row=row)
    chosen: dict[str, PathLike | None] = {"arf": arf, "rmf": rmf}
    for role, given in chosen.items():
        chosen[role] = given if given is not None else linked_file(spectrum, role)
    if chosen["rmf"] is None:
        raise _unlinked(spectrum, "rmf")
    if chosen["arf"] is None:
        if "arf" in spectrum.links:
            raise _unlinked(spectrum, "arf")
        response = read_response(chosen["rmf"])
    else:
        response = read_response(chosen["arf"], chosen["rmf"])
    spectrum.check_response(response)
    return spectrum, response
