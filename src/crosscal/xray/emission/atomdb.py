"""Read AtomDB emissivity files (``apec_v*_line.fits``, ``apec_v*_coco.fits``), gzipped or not."""

from __future__ import annotations

import gzip
import io
import os
import re
from pathlib import Path

import numpy as np
from astropy.io import fits

from crosscal.core.errors import DataFileError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing
from crosscal.xray.emission.elements import SYMBOLS
from crosscal.xray.emission.plasma import DetailedPlasma, NodeEmission
from crosscal.xray.instrument.ogip_table import BROKEN

# The value that XSPEC converts AtomDB's wavelengths with; a line near a bin edge needs the same one.
KEV_ANGSTROM = 12.39841974

GZIP_MAGIC = b"\x1f\x8b"

CITATION = (
    "AtomDB: Foster, Ji, Smith & Brickhouse 2012, ApJ 756, 128; APEC: Smith, Brickhouse, Liedahl & Raymond 2001, "
    "ApJ 556, L91"
)
LINE_COLUMNS = ("Lambda", "Epsilon", "Element", "Ion", "UpperLev", "LowerLev")
COCO_COLUMNS = ("Z", "N_Cont", "E_Cont", "Continuum", "N_Pseudo", "E_Pseudo", "Pseudo")


def find_atomdb(directory: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Find the newest pair of line and continuum files in a directory.

    Returns
    -------
    line, coco : Path

    Raises
    ------
    DataFileError
        If the directory holds no such pair.
    """
    folder = Path(directory)
    pairs = {}
    for line in sorted(folder.glob("apec_v*_line.fits*")):
        coco = line.with_name(line.name.replace("_line.fits", "_coco.fits"))
        for candidate in (coco, coco.with_suffix("") if coco.suffix == ".gz" else Path(f"{coco}.gz")):
            if candidate.exists():
                pairs[_version_key(line.name)] = (line, candidate)
                break
    if not pairs:
        raise DataFileError("no AtomDB files", where=str(folder), expected="apec_v*_line.fits and apec_v*_coco.fits")
    return pairs[max(pairs)]


def _version_key(name: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", name.split("_line")[0]))


def read_atomdb(
    line: str | os.PathLike[str],
    coco: str | os.PathLike[str] | None = None,
    *,
    kT_range: tuple[float, float] = (0.0, np.inf),
) -> DetailedPlasma:
    """Read an AtomDB release.

    Parameters
    ----------
    line, coco : path
        The line and the continuum file; or, with ``coco`` left out, ``line`` is a directory that holds both.
    kT_range : (float, float), keV
        Nodes outside are left out.

    Returns
    -------
    DetailedPlasma

    Raises
    ------
    DataFileError
        If a file is absent, not FITS, not AtomDB's, or the two do not belong together.
    """
    if coco is None:
        line, coco = find_atomdb(line)
    with _open(line, "LINE MODEL") as lines, _open(coco, "COMP CONT MODEL") as continua:
        kT = _temperatures(lines, line)
        other = _temperatures(continua, coco)
        if other.shape != kT.shape or not np.allclose(kT, other, rtol=1e-5):
            raise DataFileError(
                "its temperatures differ from those of the line file",
                where=f"{coco}[PARAMETERS]",
                expected=f"the continuum file that belongs to {Path(line).name}",
            )
        # XSPEC takes the temperatures of the continuum file; the line file's differ in the eighth digit.
        kT = _temperatures(continua, coco)
        chosen = np.flatnonzero((kT >= kT_range[0]) & (kT <= kT_range[1]))
        if chosen.size < 4:
            raise DataFileError(
                f"{chosen.size} temperatures between {kT_range[0]:g} and {kT_range[1]:g} keV",
                where=f"{line}[PARAMETERS]",
                expected="at least 4",
            )
        with parsing("the tables do not fit", where=f"{line} and {Path(coco).name}", expected="AtomDB's columns"):
            nodes = tuple(_node(lines, continua, int(k), line, coco) for k in chosen)
        version = str(lines[0].header.get("SFILEMAP", "")).rpartition("_v")[2] or "unknown"
    return DetailedPlasma(kT[chosen], nodes, version=f"AtomDB {version}", citation=CITATION)


def _open(path: str | os.PathLike[str], hduclas1: str) -> fits.HDUList:
    content = existing_file(path, what="AtomDB file").read_bytes()
    try:
        # Unpacked whole: seeking inside a compressed stream would unpack it again for every HDU.
        if content[:2] == GZIP_MAGIC:
            content = gzip.decompress(content)
        opened = fits.open(io.BytesIO(content), lazy_load_hdus=False)
        # Cards are parsed on first use: provoke that here.
        for hdu in opened:
            list(hdu.header.items())
    except BROKEN as error:
        raise DataFileError("not a readable FITS file", where=str(path), expected="an AtomDB file") from error
    kinds = [hdu.header.get("HDUCLAS1") for hdu in opened[1:]]
    if hduclas1 not in kinds:
        opened.close()
        raise DataFileError(f"HDUCLAS1 is {kinds[0] if kinds else None!r}", where=f"{path}[1]", expected=repr(hduclas1))
    return opened


def _table(opened: fits.HDUList, number: int, columns: tuple[str, ...], path) -> np.ndarray:
    where = f"{path}[{number}]"
    if number >= len(opened):
        raise DataFileError("the file ends early", where=where, expected="one HDU per temperature")
    hdu = opened[number]
    try:
        data = hdu.data
        present = hdu.columns.names if isinstance(hdu, fits.BinTableHDU) else ()
    except BROKEN as error:
        raise DataFileError("the table cannot be read", where=where, expected="a whole file") from error
    for column in columns:
        if column not in present:
            raise DataFileError(f"no column {column}", where=where, expected=", ".join(columns))
    return data


def _temperatures(opened: fits.HDUList, path) -> np.ndarray:
    with parsing("temperatures are not numbers", where=f"{path}[PARAMETERS], column kT", expected="numbers"):
        kT = np.asarray(_table(opened, 1, ("kT",), path)["kT"], dtype=float)
    if kT.ndim != 1 or kT.size < 2 or not np.all(np.isfinite(kT)) or np.any(np.diff(kT) <= 0) or kT[0] <= 0:
        raise DataFileError("temperatures are not positive and increasing", where=f"{path}[PARAMETERS], column kT")
    return kT


def _node(lines: fits.HDUList, continua: fits.HDUList, k: int, line_path, coco_path) -> NodeEmission:
    data = _table(lines, k + 2, LINE_COLUMNS, line_path)
    wavelength = np.asarray(data["Lambda"], dtype=float)
    emissivity = np.asarray(data["Epsilon"], dtype=float)
    element = np.asarray(data["Element"], dtype=np.int64)
    where = f"{line_path}[{k + 2}]"
    _check(np.all(wavelength > 0) & np.all(np.isfinite(wavelength)), "Lambda", "positive numbers", where)
    _check(np.all(emissivity >= 0) & np.all(np.isfinite(emissivity)), "Epsilon", "numbers >= 0", where)
    _check(np.all((element >= 1) & (element <= len(SYMBOLS))), "Element", "atomic numbers 1 to 30", where)
    identity = element
    for name in ("Ion", "UpperLev", "LowerLev"):
        identity = identity * 100000 + np.asarray(data[name], dtype=np.int64)
    energy = KEV_ANGSTROM / wavelength
    order = np.argsort(energy, kind="stable")
    return NodeEmission(
        line_energy=energy[order],
        line_emissivity=emissivity[order],
        line_element=element[order] - 1,
        line_id=identity[order],
        continua=_continua(_table(continua, k + 2, COCO_COLUMNS, coco_path), f"{coco_path}[{k + 2}]"),
    )


def _continua(data: np.ndarray, where: str) -> tuple[tuple[int, np.ndarray, np.ndarray], ...]:
    found = []
    for names in (("N_Cont", "E_Cont", "Continuum"), ("N_Pseudo", "E_Pseudo", "Pseudo")):
        count, energies, densities = (data[name] for name in names)
        for row, (z, n) in enumerate(zip(data["Z"], count, strict=True)):
            if n < 2:
                continue
            _check(1 <= z <= len(SYMBOLS), "Z", "atomic numbers 1 to 30", where)
            energy = np.asarray(energies[row][:n], dtype=float)
            density = np.asarray(densities[row][:n], dtype=float)
            _check(bool(np.all(np.diff(energy) >= 0)), names[1], "increasing energies", where)
            _check(bool(np.all(density >= 0)), names[2], "numbers >= 0", where)
            found.append((int(z) - 1, energy, density))
    return tuple(found)


def _check(good: bool | np.bool_, column: str, expected: str, where: str) -> None:
    if not good:
        raise DataFileError("values cannot be used", where=f"{where}, column {column}", expected=expected)
