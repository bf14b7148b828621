"""Gaia's externally calibrated BP/RP (XP) spectra as calibrators: they set the broad shape of a star's template.

Files: the archive's XP_SAMPLED (xp_sampled_mean_spectrum of the DR3 data model, section 20.12.4: flux and flux_error in
W m-2 nm-1 at 343 wavelengths from 336 to 1020 nm) with a row for each wavelength or for each source, and the output of
GaiaXPy's ``calibrate``. One W m-2 nm-1 is 100 erg/s/cm2/A.

XP spectra have a resolution of 30 to 100 and show no lines. With the model m of the best template, q is m / XP averaged
over XP's line-spread function, and the model is divided by the smooth part of q: a Gaussian process in ln q
(:data:`PRIOR`) whose noise is the covariance of the XP spectrum. Where XP is noisy the template stays.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.core.files import existing_file
from crosscal.core.reading import parsing
from crosscal.fluxcal.stars.resample import convert_medium
from crosscal.fluxcal.types import Frame, StarFit

#: W m-2 nm-1 in erg/s/cm2/A.
UNIT = 100.0
#: Wavelengths of the archive's spectra, nm.
SAMPLING = np.arange(336.0, 1020.1, 2.0)
#: Resolving power of BP and RP at wavelengths in Angstrom (Carrasco et al. 2021, A&A 652, A86), joined at 6400 A.
RESOLVING = ((3300.0, 6400.0, 6400.1, 10500.0), (100.0, 32.0, 100.0, 70.0))
#: Prior of ln(template / XP): of a level, of the shape, and the length of the shape in Angstrom.
PRIOR = (0.3, 0.1, 400.0)
#: Systematic error of XP spectra that all stars share, below and above 4000 A (a bound; Montegriffo et al. 2023, A&A
#: 674, A3, compare with spectrophotometric standards), and the least signal-to-noise ratio of a sample.
COMMON, LEAST_SNR = (0.03, 0.01), 3.0


@dataclass(frozen=True, eq=False)
class XpSpectrum:
    """Wavelength (n,) in Angstrom (vacuum), flux (n,) in erg/s/cm2/A and its covariance (n, n)."""

    wavelength: NDArray[np.float64]
    flux: NDArray[np.float64]
    covariance: NDArray[np.float64]


def resolution(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """FWHM of XP's line-spread function, Angstrom."""
    return wavelength / np.interp(wavelength, *RESOLVING)


def read_xp(path: str | os.PathLike[str]) -> dict[str, XpSpectrum]:
    """Read externally calibrated XP spectra, by source_id.

    Parameters
    ----------
    path : path
        CSV, ECSV, FITS or VOTable with columns source_id, flux and flux_error, and wavelength (nm) with a row for each
        sample. With a row for each source the wavelengths are a column, GaiaXPy's ``sampling`` (a keyword, or a file
        NAME_sampling.csv beside it), or the archive's 343. A column ``covariance`` (n x n, in squared units of flux)
        takes precedence over flux_error, whose samples are assumed to be correlated over the resolution.

    Raises
    ------
    DataFileError
        If a column is missing or in another unit, or values are not numbers of the shapes above.
    """
    from astropy.table import Table

    source = existing_file(path, what="XP spectra")
    kind = source.name.removesuffix(".gz").rsplit(".", 1)[-1].lower()
    formats = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "xml": "votable", "vot": "votable"}
    with parsing("not a table", where=source, expected="CSV, ECSV, FITS or VOTable"):
        table = Table.read(source, format=formats.get(kind))
    names = {c.lower(): c for c in table.colnames}
    for key in ("flux", "flux_error"):
        if key not in names:
            raise DataFileError(f"no column {key}", where=str(source), expected="XP_SAMPLED, or GaiaXPy's calibrate")
    for key, unit in (("wavelength", "nm"), ("flux", "W m-2 nm-1"), ("flux_error", "W m-2 nm-1")):
        if key in names:
            _require_unit(table[names[key]], unit, f"{source}, column {names[key]!r}")
    with parsing("a spectrum cannot be used", where=source, expected="numbers, as many errors as fluxes"):
        rows = _by_source(table, names, source)
        found = {name: _spectrum(*row) for name, row in rows.items()}
    if not found:
        raise DataFileError("no spectrum", where=str(source), expected="at least one row")
    return found


def _require_unit(column: Any, unit: str, where: str) -> None:
    """Refuse a column whose stated unit is not the archive's; none stated is the archive's."""
    from astropy import units as u

    stated = getattr(column, "unit", None)
    if stated is None:
        return
    try:
        factor = u.Unit(stated).to(u.Unit(unit))
    except (u.UnitConversionError, ValueError, TypeError):
        factor = 0.0
    if abs(factor - 1) > 1e-9:
        raise DataFileError(f"the unit is {stated}", where=where, expected=f"{unit}, in which the archive gives them")


def _by_source(table: Any, names: Mapping[str, str], source: Path) -> dict[str, tuple[Any, ...]]:
    """Wavelengths in nm, fluxes, errors and covariance (or None) of each source."""
    first = table[names["flux"]]
    wide = first.ndim > 1 or first.dtype.kind in "OUS"
    if not wide:
        ids = _ids(table, names, source)
        columns = [np.array(table[names[k]], dtype=float) for k in ("wavelength", "flux", "flux_error")]
        return {name: (*(c[ids == name] for c in columns), None) for name in np.unique(ids)}
    if "source_id" not in names:
        raise ValueError("no source_id")
    shared = _sampling(table, source)
    found = {}
    for row in table:
        flux = _numbers(row[names["flux"]])
        grid = _numbers(row[names["wavelength"]]) if "wavelength" in names else shared
        if grid is None:
            grid = SAMPLING
        own = _numbers(row[names["covariance"]]) if "covariance" in names else None
        found[str(row[names["source_id"]])] = (grid, flux, _numbers(row[names["flux_error"]]), own)
    return found


def _ids(table: Any, names: Mapping[str, str], source: Path) -> NDArray[np.str_]:
    """source_id of each row: a column, a keyword, or the digits in the name of the file."""
    if "source_id" in names:
        return np.asarray(table[names["source_id"]]).astype(str)
    stated = {str(k).lower(): v for k, v in table.meta.items()}.get("source_id")
    number = re.search(r"\d{6,}", source.name)
    if stated is None and number is None:
        raise ValueError("no source_id")
    return np.full(len(table), str(stated if stated is not None else number[0] if number else ""))


def _sampling(table: Any, source: Path) -> NDArray[np.float64] | None:
    """GaiaXPy's wavelengths in nm: a keyword of the table, or the file beside it."""
    stated = {str(k).lower(): v for k, v in table.meta.items()}.get("sampling")
    if stated is not None:
        return _numbers(stated)
    for suffix in (".csv", ".ecsv"):
        beside = source.with_name(f"{source.name.split('.')[0]}_sampling{suffix}")
        if beside.is_file():
            return _numbers(beside.read_text(encoding="utf-8").split("pos", 1)[-1])
    return None


def _numbers(value: Any) -> NDArray[np.float64]:
    """An array, or its text in round or square brackets."""
    if isinstance(value, str | bytes):
        text = value.decode() if isinstance(value, bytes) else value
        return np.array(re.sub(r"[\[\]()\"',;\s]+", " ", text).split(), dtype=float)
    return np.ma.filled(np.ma.asarray(getattr(value, "value", value)).astype(float), np.nan).ravel()


def _spectrum(nm: Any, flux: Any, error: Any, covariance: Any) -> XpSpectrum:
    wavelength, n = 10.0 * np.asarray(nm), np.size(flux)
    if n < 5 or wavelength.shape != (n,) or np.shape(error) != (n,) or np.any(~(np.diff(wavelength) > 0)):
        raise ValueError(f"{wavelength.size} wavelengths, {n} fluxes, {np.size(error)} errors")
    if not (wavelength[0] > 2500 and wavelength[-1] < 12000):
        raise ValueError(f"wavelengths {nm[0]:g} to {nm[-1]:g} nm")
    if covariance is None:
        if np.any(error < 0):
            raise ValueError("a negative error")
        length = np.sqrt(2) * resolution(wavelength) / 2.3548
        apart = (wavelength[:, None] - wavelength) / np.sqrt(0.5 * (length[:, None] ** 2 + length**2))
        covariance = np.outer(error, error) * np.exp(-0.5 * apart**2)
    covariance = np.reshape(covariance, (n, n))
    return XpSpectrum(wavelength, UNIT * np.asarray(flux), UNIT**2 * covariance)


def source_id(name: str) -> str:
    """The digits of a star's name ("Gaia DR3 4472832130942575872")."""
    return name.split()[-1] if name.split() else ""


def anchored(frame: Frame, star: StarFit, xp: XpSpectrum) -> StarFit:
    """A fitted star whose model has the broad shape and level of its XP spectrum; as it is if XP does not tell."""
    assert star.model is not None
    wave = convert_medium(frame.wavelength[star.fibre], frame.medium, "vacuum")
    sd = np.sqrt(np.clip(np.diag(xp.covariance), 0, None))
    good = np.isfinite(xp.flux) & np.isfinite(sd) & (sd > 0) & (xp.flux > LEAST_SNR * sd)
    good &= (xp.wavelength >= wave[0]) & (xp.wavelength <= wave[-1])
    seen = np.isfinite(star.model) & (star.model > 0)
    if good.sum() < 5 or seen.sum() < 20:
        return star
    at, flux = xp.wavelength[good], xp.flux[good]
    flat = star.model[seen] / np.interp(wave[seen], at, flux)
    kernel = np.exp(-4 * np.log(2) * ((wave[seen] - at[:, None]) / resolution(at)[:, None]) ** 2)
    kernel *= np.gradient(wave[seen])
    log = np.log(kernel @ flat / kernel.sum(axis=1))
    noise = xp.covariance[np.ix_(good, good)] / np.outer(flux, flux)

    def prior(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        level, shape, length = PRIOR
        return np.asarray(level**2 + shape**2 * np.exp(-0.5 * ((a[:, None] - b) / length) ** 2))

    # Nodes every 50 A, between which the process is linear.
    nodes = np.append(np.arange(wave[0], wave[-1], 50.0), wave[-1])
    total = prior(at, at) + noise + 1e-6 * np.eye(at.size)
    gain = np.linalg.solve(total, prior(at, nodes)).T
    values, vectors = np.linalg.eigh(prior(nodes, nodes) - gain @ prior(at, nodes))
    rows = np.stack([np.interp(wave, nodes, row) for row in (np.sqrt(np.clip(values, 0, None)) * vectors).T])
    rest = np.sqrt(np.sum(rows[:-2] ** 2, axis=0))
    common = np.where(wave < 4000.0, *COMMON)
    return replace(
        star,
        template=f"{star.template} on Gaia XP",
        scale_error=float(np.sqrt(np.mean(np.sum(rows**2, axis=0)))),
        model=star.model * np.exp(-np.interp(wave, nodes, gain @ log)),
        model_modes=np.stack([np.zeros(wave.size), rows[-1], rows[-2]]),
        mismatch=np.stack([common, rest]),
        dust=np.zeros(wave.size),
    )
