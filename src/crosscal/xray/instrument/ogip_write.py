"""Writing OGIP files: ARF, RMF, PHA type I. A file is whole or absent, and no input is overwritten.

References
----------
George et al. 1992, CAL/GEN/92-002a (ARF 1.1.0, RMF 1.3.0); Arnaud & George 1994, OGIP/92-007a (PHA 1.2.1).
"""

from __future__ import annotations

import gzip
import io
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Column
from numpy.typing import NDArray
from scipy.sparse import csc_array

from crosscal.core.correction import Correction
from crosscal.core.errors import InputError
from crosscal.core.files import atomic_path, refuse_overwriting
from crosscal.xray.instrument.response import Response
from crosscal.xray.instrument.spectrum import Spectrum

PathLike = str | os.PathLike[str]

# Header cards hold 72 characters of HISTORY.
_HISTORY_WIDTH = 72


def history_lines(history: Any) -> list[str]:
    """Turn what describes a file's origin into HISTORY lines.

    Parameters
    ----------
    history : None, str, sequence of str, Correction, or a result with ``history()`` or ``correction``

    Raises
    ------
    InputError
        If it is none of these.
    """
    if history is None:
        return []
    if isinstance(history, str):
        return history.splitlines() or [""]
    if isinstance(history, Correction):
        return _describe(history)
    if callable(getattr(history, "history", None)):
        return history_lines(history.history())
    if isinstance(getattr(history, "correction", None), Correction):
        return _describe(history.correction)
    if isinstance(history, Sequence) and all(isinstance(line, str) for line in history):
        return list(history)
    raise InputError(
        f"a history of type {type(history).__name__}",
        expected="text, lines of text, a Correction or a result that has one",
    )


def _describe(correction: Correction) -> list[str]:
    low, high = correction.interval(0.68)
    n = correction.factor.size
    lines = [
        f"Correction of {correction.target or 'the effective area'} against {correction.axis} [{correction.unit}]",
        "  posterior mean of the factor and its 68 % interval:",
    ]
    for k in np.unique(np.linspace(0, n - 1, min(n, 12)).astype(int)):
        at = correction.coordinate[k]
        label = f"{at:.4g}" if correction.numeric else str(at)
        lines.append(f"  {label}: {correction.factor[k]:.5f} ({low[k]:.5f} to {high[k]:.5f})")
    for key, value in correction.provenance.items():
        if isinstance(value, str | int | float):
            lines.append(f"  {key}: {value}")
    return lines


def _add_history(header: fits.Header, history: Any) -> None:
    for line in [f"Written by crosscal {version('crosscal')}", *history_lines(history)]:
        plain = line.encode("ascii", "replace").decode()
        for piece in textwrap.wrap(plain, _HISTORY_WIDTH, drop_whitespace=False) or [""]:
            header.add_history("".join(c if c.isprintable() else " " for c in piece))


def save(
    path: PathLike,
    tables: Sequence[fits.BinTableHDU],
    *,
    primary: fits.PrimaryHDU | None = None,
    inputs: Iterable[str] = (),
    overwrite: bool = True,
) -> Path:
    """Write tables to a FITS file (compressed if its name ends in .gz) with checksums, whole or not at all."""
    refuse_overwriting([path], inputs)
    plain = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU() if primary is None else primary, *tables]).writeto(plain)
    # Checksums of variable-length columns are right only once the heap is laid out, as in this copy. A fixed
    # comment takes the place of the date: the same content gives the same bytes.
    final = io.BytesIO()
    with fits.open(io.BytesIO(plain.getvalue())) as hdus:
        for hdu in hdus:
            hdu.add_checksum(when="of this HDU")
        hdus.writeto(final)
    content = final.getvalue()
    if str(path).endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def make_table(name: str, columns: Sequence[Column], cards: Mapping[str, Any], history: Any = None) -> fits.BinTableHDU:
    """Make a binary table with header cards and HISTORY."""
    table = fits.BinTableHDU.from_columns(columns, name=name)
    _add_cards(table.header, cards)
    _add_history(table.header, history)
    return table


def _mission_cards(mission: Mapping[str, str]) -> dict[str, str]:
    required = dict.fromkeys(("TELESCOP", "INSTRUME", "FILTER"), "none")
    return {**required, **mission}


def _base_name(files: Mapping[str, str], role: str) -> str:
    return os.path.basename(files[role]) if role in files else "none"


def _energy_columns(response: Response, kind: str) -> list[Column]:
    return [
        Column("ENERG_LO", kind, unit="keV", array=response.energy_lo),
        Column("ENERG_HI", kind, unit="keV", array=response.energy_hi),
    ]


def arf_table(
    response: Response,
    history: Any = None,
    *,
    single: bool = False,
    extra: Sequence[Column] = (),
    cards: Mapping[str, Any] | None = None,
) -> fits.BinTableHDU:
    """Make the SPECRESP table of a response, with ``extra`` columns and ``cards``."""
    kind = "E" if single else "D"
    columns = [*_energy_columns(response, kind), Column("SPECRESP", kind, unit="cm2", array=response.area)]
    own = {
        **_mission_cards(response.mission), "HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE", "HDUCLAS2": "SPECRESP",
        "HDUVERS": "1.1.0", "ARFVERSN": "1992a", "RESPFILE": _base_name(response.files, "rmf"),
    }  # fmt: skip
    table = fits.BinTableHDU.from_columns([*columns, *extra], name="SPECRESP")
    _add_cards(table.header, own)
    _keep(table.header, response, "SPECRESP")
    _add_cards(table.header, cards or {})
    _add_history(table.header, history)
    return table


def arf_primary(response: Response) -> fits.PrimaryHDU:
    """Make the first HDU of an ARF with the cards of the file that the response was read from."""
    primary = fits.PrimaryHDU()
    _keep(primary.header, response, "PRIMARY")
    return primary


def _keep(header: fits.Header, response: Response, name: str) -> None:
    """Add the cards of the original file, HISTORY and COMMENT in their order."""
    for key, value, comment in response.headers.get(name, ()):
        if key == "HISTORY":
            header.add_history(value)
        elif key == "COMMENT":
            header.add_comment(value)
        else:
            header[f"HIERARCH {key}" if len(key) > 8 else key] = (value, comment)


def _add_cards(header: fits.Header, cards: Mapping[str, Any]) -> None:
    for key, value in cards.items():
        header[key] = value


def write_arf(
    path: PathLike, response: Response, *, history: Any = None, single: bool = False, overwrite: bool = True
) -> Path:
    """Write the effective area of ``response`` as an OGIP ARF.

    Parameters
    ----------
    path : path
        Compressed if it ends in ``.gz``.
    history : None, str, sequence of str, Correction, or result
        Becomes HISTORY; of a Correction (or a result that has one) the factor with its interval is told.
    single : bool
        Store float32 as most missions do, instead of float64, which reads back exactly.
    overwrite : bool
        Replace an existing file; otherwise that is an error.

    Raises
    ------
    InputError
        If ``path`` is a file the response was read from; DataFileError if it cannot be written.

    Examples
    --------
    >>> xray.write_arf("corrected.arf", telescope.corrected(result.correction), history=result)  # doctest: +SKIP
    """
    table = arf_table(response, history, single=single)
    primary = arf_primary(response)
    return save(path, [table], primary=primary, inputs=response.files.values(), overwrite=overwrite)


def write_rmf(
    path: PathLike,
    response: Response,
    *,
    with_area: bool = False,
    history: Any = None,
    single: bool = False,
    overwrite: bool = True,
) -> Path:
    """Write the redistribution of ``response`` as an OGIP RMF, or with the area in it (an RSP).

    Runs of zeros are left out (variable-length groups). ``with_area`` multiplies the matrix by the area. Of a response
    that was read from an RSP, header cards and HISTORY are kept. ``history``, ``single``, ``overwrite`` and errors are
    as in :func:`write_arf`.

    Examples
    --------
    >>> xray.write_rmf("corrected.rmf", telescope)  # doctest: +SKIP
    """
    kind = "E" if single else "D"
    matrix = csc_array(response.redistribution)
    if with_area:
        matrix = csc_array(matrix.multiply(response.area[None, :]))
    groups = [_groups(matrix, j, response.first_channel) for j in range(response.n_energy)]
    n_groups = np.array([len(first) for first, _, _ in groups])
    elements = np.array([values.size for _, _, values in groups])
    columns = [
        *_energy_columns(response, kind),
        Column("N_GRP", "J", array=n_groups),
        Column("F_CHAN", "PJ()", array=_ragged([first for first, _, _ in groups])),
        Column("N_CHAN", "PJ()", array=_ragged([count for _, count, _ in groups])),
        Column("MATRIX", f"P{kind}()", array=_ragged([values for _, _, values in groups])),
    ]
    common = {
        **_mission_cards(response.mission), "HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE",
        "CHANTYPE": "PI", "DETCHANS": response.n_channel, "RMFVERSN": "1992a",
    }  # fmt: skip
    last = response.first_channel + response.n_channel - 1
    cards = common | {
        "HDUCLAS2": "RSP_MATRIX", "HDUCLAS3": "FULL" if with_area else "REDIST", "HDUVERS": "1.3.0",
        "TLMIN4": response.first_channel, "TLMAX4": last, "LO_THRES": 0.0,
        "NUMGRP": int(n_groups.sum()), "NUMELT": int(elements.sum()),
    }  # fmt: skip
    bounds = [
        Column("CHANNEL", "J", array=response.channels),
        Column("E_MIN", kind, unit="keV", array=response.channel_lo),
        Column("E_MAX", kind, unit="keV", array=response.channel_hi),
    ]
    bound_cards = common | {
        "HDUCLAS2": "EBOUNDS", "HDUVERS": "1.2.0", "TLMIN1": response.first_channel, "TLMAX1": last,
    }  # fmt: skip
    matrix_table = fits.BinTableHDU.from_columns(columns, name="SPECRESP MATRIX" if with_area else "MATRIX")
    _keep(matrix_table.header, response, "MATRIX")
    # What describes the matrix as it is written replaces what the original said.
    _add_cards(matrix_table.header, cards)
    _add_history(matrix_table.header, history)
    tables = [matrix_table, make_table("EBOUNDS", bounds, bound_cards, None)]
    primary = arf_primary(response) if "MATRIX" in response.headers else None
    return save(path, tables, primary=primary, inputs=response.files.values(), overwrite=overwrite)


def _groups(
    matrix: csc_array, column: int, first_channel: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return first channel and length of each run of non-zero elements of a column, and the elements."""
    part = slice(matrix.indptr[column], matrix.indptr[column + 1])
    index, values = matrix.indices[part], matrix.data[part]
    order = np.argsort(index)
    index, values = index[order][values[order] > 0], values[order][values[order] > 0]
    starts = np.flatnonzero(np.diff(index, prepend=-2) != 1)
    counts = np.diff(np.append(starts, index.size))
    return (index[starts] + first_channel).astype(np.int32), counts.astype(np.int32), values


def _ragged(rows: Sequence[NDArray[Any]]) -> NDArray[np.object_]:
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


def write_spectrum(path: PathLike, spectrum: Spectrum, *, history: Any = None, overwrite: bool = True) -> Path:
    """Write a spectrum as an OGIP PHA file of type I.

    The background is a spectrum of its own: write it to another file and name that in ``links``.
    ``history``, ``overwrite`` and errors are as in :func:`write_arf`.

    Examples
    --------
    >>> xray.write_spectrum("simulated.pha", spectrum)  # doctest: +SKIP
    """
    whole = bool(np.all(spectrum.counts == np.rint(spectrum.counts)))
    small = whole and spectrum.counts.max() < 2**31
    columns = [
        Column("CHANNEL", "J", array=spectrum.channels),
        Column("COUNTS", "J" if small else "D", unit="count", array=spectrum.counts),
    ]
    cards: dict[str, Any] = {
        **_mission_cards(spectrum.mission), "HDUCLASS": "OGIP", "HDUCLAS1": "SPECTRUM", "HDUCLAS2": "TOTAL",
        "HDUCLAS3": "COUNT", "HDUCLAS4": "TYPE:I", "HDUVERS": "1.2.1", "PHAVERSN": "1992a",
        "CHANTYPE": "PI", "DETCHANS": spectrum.n_channel, "EXPOSURE": spectrum.exposure, "CORRSCAL": 1.0,
        "CORRFILE": "none", "POISSERR": spectrum.stat_error is None,
        "TLMIN1": spectrum.first_channel, "TLMAX1": spectrum.first_channel + spectrum.n_channel - 1,
    }  # fmt: skip
    links = spectrum.links
    cards |= {
        "RESPFILE": links.get("rmf", "none"), "ANCRFILE": links.get("arf", "none"),
        "BACKFILE": links.get("background", "none"),
    }  # fmt: skip
    if spectrum.stat_error is not None:
        columns.append(Column("STAT_ERR", "D", unit="count", array=spectrum.stat_error))
    if spectrum.sys_error is not None:
        columns.append(Column("SYS_ERR", "D", array=spectrum.sys_error))
    else:
        cards["SYS_ERR"] = 0
    for key, flags in (("QUALITY", spectrum.quality), ("GROUPING", spectrum.grouping)):
        if flags.any():
            columns.append(Column(key, "I", array=flags))
        else:
            cards[key] = 0
    for key, scale in (("BACKSCAL", spectrum.backscale), ("AREASCAL", spectrum.areascale)):
        if np.ndim(scale):
            columns.append(Column(key, "D", array=scale))
        else:
            cards[key] = scale
    return save(
        path, [make_table("SPECTRUM", columns, cards, history)], inputs=spectrum.files.values(), overwrite=overwrite
    )
