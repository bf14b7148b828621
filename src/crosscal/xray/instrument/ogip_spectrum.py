"""Reading OGIP spectra (PHA types I and II) and what their headers link to.

References
----------
Arnaud, George & Tennant 2009, OGIP/92-007 and its addendum 92-007a.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crosscal.core.errors import DataFileError
from crosscal.core.keywords import keywords
from crosscal.xray.instrument.links import linked, unlinked
from crosscal.xray.instrument.ogip import read_response
from crosscal.xray.instrument.ogip_arf import MATRIX_NAMES, PathLike
from crosscal.xray.instrument.ogip_pha import OWN_BACKGROUND, SpectrumTable
from crosscal.xray.instrument.ogip_rmf import read_rmf
from crosscal.xray.instrument.ogip_table import find_table, opened
from crosscal.xray.instrument.response import Response
from crosscal.xray.instrument.spectrum import Spectrum


def read_spectra(
    path: PathLike, background: PathLike | None = "auto", *, exposure: float | None = None
) -> tuple[Spectrum, ...]:
    """Read all spectra of a PHA file: one of type I, several of type II.

    Parameters
    ----------
    path : path
    background : "auto", "none", None or path
        "auto" takes the file that BACKFILE names, relative to ``path``, or the background in the columns
        BACKGROUND_UP and BACKGROUND_DOWN of Chandra's gratings; "none" or None takes none; a path takes that file.
    exposure : float, s, optional
        Replaces EXPOSURE, or stands for one that the file does not have.

    Raises
    ------
    DataFileError
        Naming file, HDU, column and row of whatever is wrong; also if BACKFILE names a file that is not there.

    Examples
    --------
    >>> rows = xray.read_spectra("orders.pha2")  # doctest: +SKIP
    """
    found = _read(path, None, exposure)
    return tuple(_with_background(spectrum, background, k, scaled) for k, (spectrum, scaled) in enumerate(found))


@keywords
def read_spectrum(
    path: PathLike,
    background: PathLike | None = "auto",
    *,
    row: int | None = None,
    exposure: float | None = None,
    name: str | None = None,
) -> Spectrum:
    """Read one spectrum; ``row`` (from 1) chooses among those of a type II file.

    See :func:`read_spectra` for ``background``, ``exposure`` and further errors; ``name`` replaces the file's name.

    Raises
    ------
    DataFileError
        If the file is not a spectrum, or is of type II and no row is named.

    Examples
    --------
    >>> spectrum = xray.read_spectrum("cluster.pha", background="background.pha")  # doctest: +SKIP
    """
    ((spectrum, scaled),) = _read(path, 0 if row is None else row, exposure)
    spectrum = _with_background(spectrum, background, 0 if row is None else row - 1, scaled)
    return replace(spectrum, name=name) if name else spectrum


def _read(
    path: PathLike, row: int | None, exposure: float | None, what: str = "spectrum"
) -> list[tuple[Spectrum, bool]]:
    """Return all spectra (row None), the only one (0) or one by number, and whether each has a BACKSCAL.

    The only background of a file belongs to every spectrum of a type II file.
    """
    with opened(path, what) as hdus:
        table = find_table(hdus, str(path), names=("SPECTRUM",), hduclas1="SPECTRUM", hduclas2=())
        source = SpectrumTable(table, hdus, exposure)
        n = 1 if source.is_single else table.rows
        if n == 1 and (row == 0 or what == "background"):
            row = 1
        if row is not None and not 1 <= row <= n:
            asked = "none is chosen" if row == 0 else f"row {row} is asked for"
            spectra = "spectra" if what == "spectrum" else "backgrounds"
            raise DataFileError(
                f"the file holds {n} {spectra} and {asked}", where=str(path), expected=f"row = 1 to {n}"
            )
        rows: list[int | None] = [None] if source.is_single else list(range(n) if row is None else [row - 1])
        return [source.spectrum(k) for k in rows]


def _with_background(spectrum: Spectrum, choice: PathLike | None, row: int, scaled: bool) -> Spectrum:
    """Return the spectrum with its background; ``row`` from 0 is the one taken from a file of several."""
    pha, link, own_row = spectrum.files["pha"], spectrum.links.get("background"), row
    if choice is None or str(choice).strip().lower() == "none":
        if spectrum.background is not None:
            note = f"{pha}: the background in its columns {' and '.join(OWN_BACKGROUND)} is not used, as requested"
            return replace(spectrum, background=None, notes=(*spectrum.notes, note))
        if link is None:
            return spectrum
        note = f"{pha}: the background {link} that BACKFILE names is not used, as requested"
        return replace(spectrum, notes=(*spectrum.notes, note))
    note = None
    if choice == "auto":
        if link is None and spectrum.background is not None:
            note = f"{pha}: the background is the sum of its columns {' and '.join(OWN_BACKGROUND)}"
            return replace(spectrum, notes=(*spectrum.notes, note))
        if link is None:
            return spectrum
        found = linked(spectrum, "background")
        if found is None:
            raise unlinked(spectrum, "background")
        choice, note = found.source, found.note
        if _is_itself(pha, choice) and found.row is None:
            choice = f"{choice}[BACK]"
            note = note.replace(str(found.path), choice)
        row = row if found.row is None else found.row - 1
    if _is_itself(pha, choice) and row == own_row:
        raise DataFileError(
            "the background is the spectrum itself", where=str(choice),
            expected='another file, extension or row, or background = "none"',
        )  # fmt: skip
    ((background, background_scaled),) = _read(choice, row + 1, None, what="background")
    for path, good in ((pha, scaled), (choice, background_scaled)):
        if not good:
            raise DataFileError("BACKSCAL is 0 and a background is used", where=str(path), expected="a positive number")
    ours, theirs = (spectrum.n_channel, spectrum.first_channel), (background.n_channel, background.first_channel)
    if ours != theirs:
        raise DataFileError(
            f"the background has {theirs[0]} channels from {theirs[1]}",
            where=str(choice),
            expected=f"{ours[0]} from {ours[1]}, as {pha}",
        )
    notes = [*spectrum.notes, *([note] if note else []), *background.notes, *_own_response(spectrum, background)]
    files = {**spectrum.files, "background": str(choice)}
    return replace(spectrum, background=background, files=files, notes=tuple(notes))


def _is_itself(pha: PathLike, choice: PathLike) -> bool:
    """Whether a background is the spectrum's own file; with an extension it is another table."""
    return Path(choice).is_file() and Path(pha).is_file() and Path(choice).samefile(pha)


def _own_response(spectrum: Spectrum, background: Spectrum) -> list[str]:
    """Say so if the background has a response of its own, which a scaled or profiled background does not need."""
    ours, theirs = (s.links.get("rmf", "") for s in (spectrum, background))
    if not theirs or ours == theirs:
        return []
    path = background.files["pha"]
    return [f"{path}: its own response {theirs} is not used; its counts are scaled to the source's channels"]


def holds_matrix(path: PathLike) -> bool:
    """Whether a file given as ARF holds a matrix: an RSP, which needs no RMF."""
    with opened(path, "ARF") as hdus:
        classes = [str(hdu.header.get("HDUCLAS2") or "").strip().upper() for hdu in hdus]
        return "RSP_MATRIX" in classes or any(hdu.name.upper() in MATRIX_NAMES for hdu in hdus)


def header_files(
    pha: PathLike, roles: Sequence[str], *, row: int | None = None, exposure: float | None = None
) -> dict[str, Path]:
    """Return the files that the header of a spectrum links to as "arf", "rmf" or "background" and that are there.

    Raises
    ------
    DataFileError
        If the spectrum cannot be read.
    """
    spectrum = read_spectrum(pha, "none", row=row, exposure=exposure)
    found = {role: linked(spectrum, role) for role in roles}
    return {role: link.path for role, link in found.items() if link is not None}


@keywords
def read_observation(
    pha: PathLike,
    arf: PathLike | None = None,
    rmf: PathLike | None = None,
    background: PathLike | None = "auto",
    *,
    row: int | None = None,
    exposure: float | None = None,
    block: int | None = None,
    name: str | None = None,
) -> tuple[Spectrum, Response]:
    """Read a spectrum with its response; files that are not given are taken from the header links.

    Parameters
    ----------
    pha : path
    arf, rmf : path, optional
        By default the files that ANCRFILE and RESPFILE name, relative to ``pha``; "none" is respected. An ``arf``
        alone that is a whole response (an RSP) needs no ``rmf``.
    background : path, "auto", "none" or None
        "auto" follows the header; "none" or None leaves the background out.
    row : int, optional
        Of a type II file, from 1.
    exposure : float, s, optional
        Replaces EXPOSURE, or stands for one that the file does not have.
    block : int, optional
        Chooses a matrix of a file with several times, from 1; by default the spectrum's time does.
    name : str, optional
        Of the response.

    Returns
    -------
    Spectrum, Response

    Raises
    ------
    DataFileError
        If a response is neither given nor found, or does not have the channels of the spectrum.

    Examples
    --------
    >>> spectrum, telescope = xray.read_observation("cluster.pha")  # doctest: +SKIP
    """
    spectrum, files = read_linked(pha, arf, rmf, background, row=row, exposure=exposure, block=block)
    response = files.response(name)
    spectrum.check_response(response)
    return spectrum, response


@dataclass(frozen=True)
class ResponseFiles:
    """The files of a response, and which matrix of a file with several; spectra that share them share a response."""

    arf: str
    rmf: str | None
    time: float | None
    block: int | None

    def response(self, name: str | None = None, other: Response | None = None) -> Response:
        """Read the response.

        Parameters
        ----------
        name : str, optional
        other : Response, optional
            The RMF of its files completes an ARF that is alone, its ARF a matrix without effective area; in ``notes``.
        """
        first, second, rest = self.arf, self.rmf, {} if other is None else other.files
        note: tuple[str, ...] = ()
        if second is None and "rmf" in rest:
            if not holds_matrix(first):
                second, note = rest["rmf"], (f"{first} has no RMF beside it: that of {_named(other)} is used",)
            elif not read_rmf(first, time=self.time, block=self.block).has_area:
                first, second = rest["arf"], first
                note = (f"{second} has no ARF beside it: that of {_named(other)} is used",)
        found = read_response(first, second, name=name, time=self.time, block=self.block)
        return replace(found, notes=(*note, *found.notes))


def _named(other: Response | None) -> str:
    """Return the name of a telescope whose files complete those of a spectrum."""
    return "the telescope" if other is None or not other.name else other.name


def read_linked(
    pha: PathLike,
    arf: PathLike | None = None,
    rmf: PathLike | None = None,
    background: PathLike | None = "auto",
    *,
    row: int | None = None,
    exposure: float | None = None,
    block: int | None = None,
    other: Response | None = None,
) -> tuple[Spectrum, ResponseFiles]:
    """Read a spectrum and find its response; see :func:`read_observation`.

    The files of ``other`` stand for a response that is neither given nor named; see also `ResponseFiles.response`.
    """
    spectrum = read_spectrum(pha, background, row=row, exposure=exposure)
    chosen: dict[str, PathLike | None] = {"arf": arf, "rmf": rmf}
    notes = []
    for role in ("rmf", "arf"):
        if chosen[role] is not None or (role == "rmf" and arf is not None and holds_matrix(arf)):
            continue
        found = linked(spectrum, role)
        if found is not None:
            chosen[role] = found.source
            notes.append(found.note)
            block = found.row if role == "rmf" and block is None else block
        elif role in spectrum.links:
            raise unlinked(spectrum, role)
    if chosen["rmf"] is None and chosen["arf"] is None:
        if other is None or not other.files:
            raise unlinked(spectrum, "rmf")
        chosen = {"arf": other.files.get("arf", other.files.get("rsp")), "rmf": other.files.get("rmf")}
        notes.append(f"{spectrum.files['pha']} names no response: that of {_named(other)} is used")
    first, second = (chosen["arf"], chosen["rmf"]) if chosen["arf"] is not None else (chosen["rmf"], None)
    # The spectrum's time matters only where a file holds matrices of several times.
    several = block is None and spectrum.time is not None and _blocks(second or first) > 1
    time = 0.5 * sum(spectrum.time) if several and spectrum.time is not None else None
    files = ResponseFiles(str(first), None if second is None else str(second), time, block)
    return replace(spectrum, notes=(*spectrum.notes, *notes)), files


def _blocks(path: PathLike | None) -> int:
    """Number of matrices in a file."""
    if path is None:
        return 0
    with opened(path, "RMF") as hdus:
        return sum(hdu.name.upper() in MATRIX_NAMES for hdu in hdus)
