"""BOSZ 2024 spectra (Meszaros et al. 2024, A&A 688, A197) in the layout of their publication at MAST.

``wavelength_grids/bosz2024_wave_r<R>.txt`` holds the vacuum wavelengths that all resampled spectra of a resolution
share; each spectrum
``r<R>/m<M>/bosz2024_<atmosphere>_t<T>_g<G>_m<M>_a<A>_c<C>_v<V>_r<R>_resam.txt.gz`` has two columns, flux and continuum.
"""

from __future__ import annotations

import itertools
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import ConfigError, DataFileError
from crosscal.core.files import atomic_path, existing_file
from crosscal.core.progress import SILENT, Progress
from crosscal.core.reading import parsing
from crosscal.datasets import cache_directory
from crosscal.fluxcal.stars.template_files import assemble
from crosscal.fluxcal.stars.templates import TemplateLibrary

BASE_URL = "https://archive.stsci.edu/hlsps/bosz/bosz2024"

#: Folder of the wavelength files.
WAVELENGTHS = "wavelength_grids"

_NAME = re.compile(
    r"bosz2024_(?P<atmosphere>[a-z]{2})_t(?P<teff>\d+)_g(?P<logg>[+-]\d+\.\d+)_m(?P<feh>[+-]\d+\.\d+)"
    r"_a(?P<alpha>[+-]\d+\.\d+)_c(?P<carbon>[+-]\d+\.\d+)_v(?P<vmic>\d+)_r(?P<resolution>\d+)_resam\.txt(\.gz)?$"
)


def spectrum_name(
    teff: float,
    logg: float,
    feh: float,
    *,
    alpha: float = 0.0,
    carbon: float = 0.0,
    vmic: int = 2,
    resolution: int = 5000,
) -> str:
    """Path of one spectrum below the base address.

    Plane-parallel MARCS atmospheres ("mp") up to 8000 K at log g > 3, spherical ones ("ms") below that gravity,
    ATLAS9 ("ap") above 8000 K.
    """
    atmosphere = "ap" if teff > 8000 else "mp" if logg > 3.0 else "ms"
    metal = f"m{feh:+.2f}"
    file = (
        f"bosz2024_{atmosphere}_t{teff:.0f}_g{logg:+.1f}_{metal}_a{alpha:+.2f}_c{carbon:+.2f}"
        f"_v{vmic}_r{resolution}_resam.txt.gz"
    )
    return f"r{resolution}/{metal}/{file}"


def fetch_bosz(
    *,
    teff: Sequence[float] = tuple(range(5500, 7751, 250)),
    logg: Sequence[float] = (3.5, 4.0, 4.5, 5.0),
    feh: Sequence[float] = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.25),
    alpha: float = 0.0,
    carbon: float = 0.0,
    vmic: int = 2,
    resolution: int = 5000,
    base_url: str = BASE_URL,
    directory: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Download a box of BOSZ spectra into the user's cache; files that are there are not fetched again.

    Each file is checked to be whole (as many rows as the wavelength file); the publisher gives no checksums. A
    combination that the publisher does not have (HTTP 404) is left out and reported.

    Parameters
    ----------
    teff, logg, feh : sequences of float
        The box: effective temperatures (K), log gravity, [M/H].
    alpha, carbon, vmic, resolution
        [alpha/M], [C/M], microturbulence (km/s) and resolving power, one of the published values each.
    base_url : str
    directory : path, optional
        Instead of the user's cache.

    Returns
    -------
    Path of the directory, to be used as ``load_templates("bosz")``.

    Raises
    ------
    ConfigError
        If a list is empty or the address is not http(s), ftp or file.
    DataFileError
        If a download fails for another reason, or nothing could be fetched.

    Examples
    --------
    >>> folder = fluxcal.fetch_bosz(teff=(5000, 8000), resolution=2000)  # doctest: +SKIP
    """
    for name, values in (("teff", teff), ("logg", logg), ("feh", feh)):
        if len(values) == 0:
            raise ConfigError(f"no {name}", where="fetch bosz", expected="at least one value")
    if not base_url.startswith(("https://", "http://", "ftp://", "file:")):
        raise ConfigError(f"address {base_url!r}", where="fetch bosz", expected="https, http, ftp or file")
    target = Path(directory) if directory is not None else cache_directory() / "data" / "fluxcal" / "bosz2024"
    wave_name = f"bosz2024_wave_r{resolution}.txt"
    # MAST keeps the wavelengths in a folder of their own; a mirror may have them at the top.
    wave = _get(f"{base_url}/{WAVELENGTHS}/{wave_name}", target / wave_name) or _get(
        f"{base_url}/{wave_name}", target / wave_name
    )
    if wave is None:
        raise DataFileError(
            "no wavelength file", where=f"{base_url}/{WAVELENGTHS}/{wave_name}", expected="a published resolution"
        )
    n_rows = _columns(wave, 1).shape[0]
    points = list(itertools.product(teff, logg, feh))
    found = 0
    with progress.stage("Fetching BOSZ spectra", total=len(points)) as advance:
        for t, g, m in points:
            name = spectrum_name(t, g, m, alpha=alpha, carbon=carbon, vmic=vmic, resolution=resolution)
            path = _get(f"{base_url}/{name}", target / name)
            if path is None:
                progress.message(f"not published: {name}")
            elif _columns(path, 1).shape[0] != n_rows:
                path.unlink()
                raise DataFileError("the spectrum is truncated", where=name, expected=f"{n_rows} rows; fetch again")
            else:
                found += 1
            advance(1)
    if not found:
        raise DataFileError("no spectrum was found", where=base_url, expected="BOSZ 2024's published layout")
    return target


def _get(url: str, path: Path) -> Path | None:
    """Download a file once; None where the server does not have it."""
    import shutil

    if path.is_file():
        return path
    try:
        with (
            urllib.request.urlopen(url, timeout=120) as source,
            atomic_path(path) as temporary,
            open(temporary, "wb") as sink,
        ):
            shutil.copyfileobj(source, sink)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise DataFileError(f"the download failed ({error})", where=url, expected="a reachable file") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, FileNotFoundError):
            return None
        raise DataFileError(f"the download failed ({error.reason})", where=url, expected="a reachable file") from error
    return path


def _columns(path: Path, n: int) -> NDArray[np.float64]:
    with parsing("not a BOSZ file", where=path, expected="columns of numbers"):
        return np.loadtxt(path, usecols=tuple(range(n)), ndmin=2)


def read_bosz(path: str | os.PathLike[str]) -> TemplateLibrary:
    """BOSZ 2024 spectra in their published layout.

    One resolution, all spectra below the directory; fluxes as published (an overall
    factor free).

    Raises
    ------
    DataFileError
        If there is no wavelength file, no spectrum, more than one resolution, or a length that differs.
    """
    directory = Path(path)
    files = sorted(p for p in directory.rglob("bosz2024_*_resam.txt*") if _NAME.match(p.name))
    if not files:
        raise DataFileError("no BOSZ spectra", where=str(directory), expected="files of `crosscal data fetch bosz`")
    facts = [m.groupdict() for p in files if (m := _NAME.match(p.name))]
    resolutions = {f["resolution"] for f in facts}
    if len(resolutions) > 1:
        raise DataFileError(
            f"spectra of resolutions {', '.join(sorted(resolutions))}", where=str(directory), expected="one resolution"
        )
    resolution = int(resolutions.pop())
    wave_name = f"bosz2024_wave_r{resolution}.txt"
    place = directory / WAVELENGTHS / wave_name
    wave = _columns(place if place.is_file() else existing_file(directory / wave_name, what="wavelength file"), 1)[:, 0]
    parameters = _parameters(facts, str(directory))
    library = assemble(
        "bosz",
        _spectra(files, wave),
        parameters,
        [p.name.removeprefix("bosz2024_").split("_resam")[0] for p in files],
        medium="vacuum",
        # Two samples per resolution element are published; finer steps than that hold nothing.
        step=0.5 / resolution if resolution <= 5000 else 1e-4,
        where=str(directory),
    )
    from dataclasses import replace

    return replace(library, fwhm=library.wavelength / resolution)


def _parameters(facts: Sequence[dict[str, Any]], where: str) -> NDArray[np.float64]:
    """Teff, log g, [M/H] of each spectrum, and [alpha/M] as a fourth column where more than one value is there.

    Raises
    ------
    DataFileError
        If two spectra have the same parameters: they differ in what is not among them.
    """
    rows = np.array([[float(f[key]) for key in ("teff", "logg", "feh", "alpha")] for f in facts])
    if np.unique(rows, axis=0).shape[0] < len(rows):
        differ = [
            name
            for name, key in (("[C/M]", "carbon"), ("microturbulence", "vmic"), ("atmosphere", "atmosphere"))
            if len({f[key] for f in facts}) > 1
        ]
        raise DataFileError(
            f"several spectra of the same Teff, log g, [M/H] and [alpha/M] that differ in {' and '.join(differ)}",
            where=where,
            expected="one of each",
        )
    return rows if np.unique(rows[:, 3]).size > 1 else rows[:, :3]


def _spectra(
    files: Iterable[Path], wave: NDArray[np.float64]
) -> Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    for file in files:
        flux = _columns(file, 2)[:, 0]
        if flux.size != wave.size:
            raise DataFileError(f"{flux.size} rows", where=str(file), expected=f"{wave.size}, as the wavelength file")
        yield wave, flux
