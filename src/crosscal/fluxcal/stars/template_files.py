"""Template libraries on disk: the grid format, converters, and the binary cache.

The grid format is a directory with ``grid.ecsv``: one row per template with the columns ``file`` (relative path of the
spectrum), ``teff`` [K], ``logg``, ``feh`` and optionally ``alpha`` ([alpha/M]) and ``label``; its meta data hold
``name``, ``medium`` ("air" or "vacuum") and ``fwhm`` (Angstrom, 0 if negligible). A spectrum is two columns of text
(wavelength in Angstrom, flux per Angstrom; gzip allowed) or the first two columns of the first table of a FITS file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import existing_file
from crosscal.core.keywords import keywords
from crosscal.core.provenance import fingerprint
from crosscal.core.reading import parsing
from crosscal.core.registry import Registry
from crosscal.datasets import cache_directory, search_path
from crosscal.fluxcal.stars.mismatch import known_mismatch
from crosscal.fluxcal.stars.resample import log_grid, resample
from crosscal.fluxcal.stars.templates import PARAMETERS, TemplateLibrary

_HERE = "crosscal.fluxcal"

#: Named libraries: functions (path, **options) -> TemplateLibrary that parse the published files.
LIBRARIES = Registry(
    "template library",
    {
        "kurucz-sdss": f"{_HERE}.stars.template_files:read_kurucz_sdss",
        "kurucz93": f"{_HERE}.stars.template_files:read_kurucz93",
        "bosz": f"{_HERE}.bosz:read_bosz",
        "grid": f"{_HERE}.stars.template_files:read_grid",
        "demo": f"{_HERE}.demo:demo_library",
    },
)

#: Where the published files are looked for (data names) if no path is given.
DEFAULT_PATHS = {
    "kurucz-sdss": "fluxcal/kurucz_sdss/kurucz_stds_v5.fit",
    "kurucz93": "fluxcal/kurucz93/kp00",
    "bosz": "fluxcal/bosz2024",
}

#: Version of the cache's layout; a change of a parser must raise it.
CACHE_VERSION = 4


@keywords
def load_templates(
    name: str | os.PathLike[str] = "kurucz-sdss",
    path: str | os.PathLike[str] | None = None,
    *,
    refine: bool = True,
    correct: bool = True,
    cache: str | os.PathLike[str] | bool = True,
) -> TemplateLibrary:
    """Return a template library, from the binary cache if it has been parsed before.

    Parameters
    ----------
    name : str
        A name of :data:`LIBRARIES`, or the path of a directory: a grid, or BOSZ 2024 as it is published.
    path : path, optional
        The published files; default: where the data search path finds them.
    refine : bool
        Fill the grid by interpolation (steps 50 K, 0.25, 0.125).
    correct : bool
        Correct templates for the mean difference from measured stars, where it is known (``stars/data/mismatch.toml``).
    cache : bool or path
        False parses anew and stores nothing; a path is the directory to use instead of the user's cache.

    Raises
    ------
    UnknownNameError
        If there is no such library.
    DataFileError
        If its files are absent or unreadable.

    Examples
    --------
    >>> library = fluxcal.load_templates("kurucz-sdss", "kurucz_stds.fit")  # doctest: +SKIP
    """
    if isinstance(name, os.PathLike) or os.sep in str(name) or (Path(str(name)) / "grid.ecsv").is_file():
        directory = Path(name)
        bosz = not (directory / "grid.ecsv").is_file() and any(directory.rglob("bosz2024_*_resam.txt*"))
        name, path = "bosz" if bosz else "grid", name
    reader = LIBRARIES.get(str(name))
    if str(name) == "demo":
        return reader()
    source = Path(path) if path is not None else _default(str(name))
    if cache is False:
        return _parsed(reader, source, refine, correct)
    directory = Path(cache) if not isinstance(cache, bool) else cache_directory() / "templates"
    key = fingerprint([CACHE_VERSION, str(name), refine, correct, _stamp(source)])[:24]
    slot = directory / f"{name}-{key}"
    if not (slot / "meta.json").is_file():
        write_cache(_parsed(reader, source, refine, correct), slot)
    return read_cache(slot)


def _parsed(reader: Callable[[Path], TemplateLibrary], source: Path, refine: bool, correct: bool) -> TemplateLibrary:
    """A library from its published files; the nodes are corrected before the grid is filled."""
    library = reader(source)
    library = library.corrected(known_mismatch(library.name)) if correct else library
    return library.refined() if refine else library


def _default(name: str) -> Path:
    """The published files of a library in the data search path: a file, or a directory."""
    if name not in DEFAULT_PATHS:
        raise DataFileError("no path", where=f"template library {name!r}", expected="the path of its files")
    found = _installed(name)
    if found is None:
        raise DataFileError(
            f"the template library {name!r} is not on this machine",
            where=f"data:{DEFAULT_PATHS[name]}",
            expected=_remedy(name),
        )
    return found


def _installed(name: str) -> Path | None:
    """Where the data search path has a library; None where it has not."""
    places = [directory / DEFAULT_PATHS[name] for directory in search_path().values()]
    return next((p for p in places if p.is_file() or p.is_dir()), None)


def _remedy(name: str) -> str:
    """What to do without a library's files: fetch them, name them, or take a library that is there."""
    fetch = "its files (`crosscal data fetch bosz` downloads them" if name == "bosz" else "its files (put them there"
    there = [repr(other) for other in DEFAULT_PATHS if other != name and _installed(other) is not None]
    instead = f", or a library that is there: {', '.join(there)}" if there else ", or a grid of your own"
    return f"{fetch}; a copy elsewhere is named by templates.file or CALIBFLUX_TEMPLATE_FILE){instead}"


def _stamp(source: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files: what makes a parsed copy stale."""
    files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [existing_file(source)]
    if not files:
        raise DataFileError("no files", where=str(source), expected="a template library")
    return [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files]


def write_cache(library: TemplateLibrary, slot: Path) -> None:
    """Write a library as flat binary files; the directory appears whole or not at all."""
    slot.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=slot.parent, prefix=".partial-"))
    try:
        np.save(temporary / "flux.npy", np.ascontiguousarray(library.flux, dtype=np.float32))
        np.save(temporary / "wavelength.npy", library.wavelength)
        np.save(temporary / "parameters.npy", library.parameters)
        np.save(temporary / "fwhm.npy", np.asarray(library.fwhm, dtype=float))
        meta = {"name": library.name, "medium": library.medium, "label": list(library.label)}
        (temporary / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        if not slot.exists():
            os.replace(temporary, slot)
    except OSError as error:
        # Another process may have published the same library first: then ours is not needed.
        if not (slot / "meta.json").is_file():
            raise DataFileError(f"cannot write the template cache ({error.strerror})", where=str(slot)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_cache(slot: Path) -> TemplateLibrary:
    """Read a library written by :func:`write_cache`; fluxes stay on disk until they are used.

    Raises
    ------
    DataFileError
        If the directory is not such a cache.
    """
    with parsing("not a template cache", where=slot, expected="remove it to parse anew"):
        meta = json.loads((slot / "meta.json").read_text(encoding="utf-8"))
        flux = np.load(slot / "flux.npy", mmap_mode="r", allow_pickle=False)
        wavelength, parameters, fwhm = (
            np.load(slot / f"{name}.npy", allow_pickle=False) for name in ("wavelength", "parameters", "fwhm")
        )
        return TemplateLibrary(
            meta["name"],
            wavelength,
            flux,
            parameters,
            tuple(meta["label"]),
            meta["medium"],
            fwhm if fwhm.ndim else float(fwhm),
            known_mismatch(meta["name"]),
        )


def assemble(
    name: str,
    spectra: Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]],
    parameters: NDArray[np.float64],
    labels: Iterable[str],
    *,
    medium: str,
    fwhm: float | NDArray[np.float64] = 0.0,
    limits: tuple[float, float] = (2900.0, 11500.0),
    step: float | None = None,
    where: str = "",
) -> TemplateLibrary:
    """Bring spectra (wavelength, flux) of any grids to one logarithmic grid, normalised to mean 1.

    The step is that of the first spectrum at its middle where not given.
    """
    rows: list[NDArray[np.float32]] = []
    grid: NDArray[np.float64] | None = None
    for wavelength, flux in spectra:
        keep = np.isfinite(flux) & np.isfinite(wavelength) & (wavelength > limits[0] * 0.98)
        keep &= wavelength < limits[1] * 1.02
        wavelength, flux = wavelength[keep], flux[keep]
        if wavelength.size < 10:
            raise DataFileError("no spectrum in the range", where=where, expected=f"{limits[0]:g}-{limits[1]:g} A")
        if np.any(np.diff(wavelength) <= 0):
            raise DataFileError(
                f"the wavelengths of template {len(rows) + 1} do not increase",
                where=where,
                expected="increasing Angstrom",
            )
        if grid is None:
            step = step or float(np.median(np.diff(np.log(wavelength))))
            low, high = max(limits[0], wavelength[1]), min(limits[1], wavelength[-2])
            grid = log_grid(low, high, step)
        row = resample(wavelength, flux, grid)
        if not np.all(row > 0):
            raise DataFileError(
                f"template {len(rows) + 1} has fluxes that are not positive, or a shorter range",
                where=where,
                expected="positive fluxes on one range",
            )
        rows.append((row / row.mean()).astype(np.float32))
    if grid is None:
        raise DataFileError("no templates", where=where, expected="at least one")
    return TemplateLibrary(name, grid, np.stack(rows), parameters, tuple(labels), medium, fwhm)


def read_kurucz_sdss(path: str | os.PathLike[str]) -> TemplateLibrary:
    """Kurucz F and G models of SDSS's spectrophotometric calibration (vacuum, 3000-11000 A, R about 2000).

    PRIMARY (89, 5650) with CRVAL1, CD1_1 in log10 lambda, then a table MODEL, FEH, TEFF, G. Its column MAG is ignored.
    """
    from astropy.io import fits

    source = existing_file(path, what="template library")
    with (
        parsing("not a Kurucz standard file", where=source, expected="kurucz_stds_v5.fit"),
        fits.open(source, memmap=False) as hdus,
    ):
        header, data, table = hdus[0].header, np.array(hdus[0].data, dtype=float), hdus[1].data
        parameters = np.stack([table["TEFF"], table["G"], table["FEH"]], axis=1).astype(float)
        labels = [str(m).strip() for m in table["MODEL"]]
        start, step = float(header["CRVAL1"]), float(header["CD1_1"])
        if data.ndim != 2 or data.size == 0:
            raise ValueError(f"an image of shape {data.shape}")
    good = np.all(data > 0, axis=0)
    inside = slice(int(np.argmax(good)), good.size - int(np.argmax(good[::-1])))
    wavelength = np.asarray(10 ** (start + step * np.arange(data.shape[1]))[inside], dtype=float)
    flux = data[:, inside]
    # One row can differ from its grid value by rounding (-0.0): the axes are rounded to 0.01.
    parameters = np.round(parameters, 2) + 0.0
    flux = (flux / flux.mean(axis=1, keepdims=True)).astype(np.float32)
    return TemplateLibrary("kurucz-sdss", wavelength, flux, parameters, tuple(labels), "vacuum", 0.0)


def read_kurucz93(path: str | os.PathLike[str]) -> TemplateLibrary:
    """Kurucz 1993 atlas as distributed by STScI.

    One file per Teff and metallicity,
    columns g00 ... g50 (20 A steps).
    """
    from astropy.io import fits

    source = Path(path)
    files = sorted(source.rglob("k[mp][0-9][0-9]_*.fits*"))
    if not files:
        raise DataFileError("no Kurucz files", where=str(source), expected="kp00_6000.fits and so on")
    spectra, parameters, labels = [], [], []
    for file in files:
        stem = file.name.split(".")[0]
        feh = float(stem[2:4]) / 10 * (1 if stem[1] == "p" else -1)
        with (
            parsing("not a Kurucz file", where=file, expected="columns WAVELENGTH, g00, ..."),
            fits.open(file, memmap=False) as hdus,
        ):
            table = hdus[1].data
            wavelength = np.array(table["WAVELENGTH"], dtype=float)
            for column in [c for c in table.columns.names if re.fullmatch(r"g\d\d", c.lower())]:
                flux = np.array(table[column], dtype=float)
                inside = (wavelength > 2800) & (wavelength < 12000)
                if np.all(flux[inside] > 0):
                    spectra.append((wavelength, flux))
                    parameters.append((float(stem[5:]), float(column[1:]) / 10, feh + 0.0))
                    labels.append(f"{stem}_{column}")
    return assemble("kurucz93", spectra, np.array(parameters), labels, medium="vacuum", fwhm=20.0, where=str(source))


def read_grid(path: str | os.PathLike[str]) -> TemplateLibrary:
    """Read a directory in the grid format of this module.

    Raises
    ------
    DataFileError
        If the table or one of its spectra is absent or unreadable.
    """
    from astropy.table import Table

    directory = Path(path)
    index = existing_file(directory / "grid.ecsv", what="grid table")
    with parsing("not an ECSV table", where=index, expected="columns file, teff, ..."):
        table = Table.read(index, format="ascii.ecsv")
    missing = {"file", "teff", "logg", "feh"} - set(table.colnames)
    if missing:
        raise DataFileError(f"no column {min(missing)}", where=str(index), expected="file, teff, logg, feh")
    if len(table) == 0:
        raise DataFileError("no rows", where=str(index), expected="at least one template")
    alpha = ("alpha",) if "alpha" in table.colnames else ()
    labels = table["label"] if "label" in table.colnames else [Path(str(f)).stem for f in table["file"]]
    return assemble(
        str(table.meta.get("name", directory.name)),
        (read_spectrum(directory / str(f)) for f in table["file"]),
        np.stack([np.asarray(table[c], dtype=float) for c in (*PARAMETERS[:3], *alpha)], axis=1),
        [str(v) for v in labels],
        medium=str(table.meta.get("medium", "vacuum")),
        fwhm=float(table.meta.get("fwhm", 0.0)),
        where=str(index),
    )


def read_spectrum(path: str | os.PathLike[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read (wavelength, flux) from two columns of text or the first FITS table (WAVELENGTH, FLUX, or columns 1 and 2).

    CALSPEC files are of the second kind.
    """
    source = existing_file(path, what="spectrum")
    with parsing("not a spectrum", where=source, expected="columns of wavelength and flux"):
        if ".fit" in source.name.lower():
            from astropy.io import fits

            with fits.open(source, memmap=False) as hdus:
                table = next(h for h in hdus if isinstance(h, fits.BinTableHDU)).data
                names = [str(n).upper() for n in table.columns.names]
                first = names.index("WAVELENGTH") if "WAVELENGTH" in names else 0
                second = names.index("FLUX") if "FLUX" in names else 1
                wavelength, flux = (np.array(table.field(k), dtype=float) for k in (first, second))
        else:
            wavelength, flux = np.loadtxt(source, usecols=(0, 1), unpack=True, ndmin=2)
    if wavelength.ndim != 1 or wavelength.shape != flux.shape:
        raise DataFileError(f"columns of shape {flux.shape}", where=str(source), expected="one number a row")
    if wavelength.size < 2 or np.any(np.diff(wavelength) <= 0):
        raise InputError("wavelengths do not increase", where=str(source), expected="increasing Angstrom")
    return wavelength, flux
