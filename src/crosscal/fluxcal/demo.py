"""A built-in simulated frame: templates, filters, throughput and noise are made here, so that it works offline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.files import write_ecsv
from crosscal.core.random import generator
from crosscal.fluxcal.flux_units import FLUX_SCALE
from crosscal.fluxcal.stars.extinction import redden
from crosscal.fluxcal.stars.lsf import convolve_lsf
from crosscal.fluxcal.stars.mismatch import exact
from crosscal.fluxcal.stars.photometry import C_KMS, Filter, ab_magnitude
from crosscal.fluxcal.stars.resample import log_grid, resample
from crosscal.fluxcal.stars.templates import TemplateLibrary
from crosscal.fluxcal.types import Catalogue, Fibres, Frame

#: Hydrogen lines (vacuum, Angstrom) with relative strengths, and metal lines.
_BALMER = ((6564.6, 1.0), (4862.7, 1.1), (4341.7, 1.1), (4102.9, 1.1), (3971.2, 1.0), (3890.2, 0.9), (3836.5, 0.8))
_PASCHEN = ((8752.9, 0.3), (8865.2, 0.35), (9017.4, 0.4), (8600.8, 0.25))
_METALS = (
    (3934.8, 1.6), (3969.6, 1.3), (4227.9, 0.5), (4305.0, 0.9), (4384.8, 0.5), (4405.9, 0.3), (4668.0, 0.2),
    (5168.8, 0.5), (5174.1, 0.6), (5185.0, 0.7), (5270.9, 0.5), (5329.5, 0.35), (5891.6, 0.6), (5897.6, 0.5),
    (6497.0, 0.3), (8500.4, 0.6), (8544.4, 0.9), (8664.5, 0.8),
)  # fmt: skip


def _planck(wavelength: NDArray[np.float64], teff: float) -> NDArray[np.float64]:
    return wavelength**-5.0 / np.expm1(1.438777e8 / (wavelength * teff))


def demo_spectrum(wavelength: NDArray[np.float64], teff: float, logg: float, feh: float) -> NDArray[np.float64]:
    """An invented F star: a black body with hydrogen lines (stronger when hot), metal lines and line blanketing.

    It serves demonstrations and tests; it is not a model atmosphere.
    """
    flux = _planck(wavelength, teff)
    strength = np.clip((teff - 4500.0) / 2500.0, 0.1, 1.4)
    width = 9.0 + 4.0 * (logg - 4.0) + 4.0 * strength
    depth = np.zeros_like(wavelength)
    for centre, share in _BALMER + _PASCHEN:
        depth += 0.75 * strength * share / (1 + ((wavelength - centre) / width) ** 2)
    metals = 10 ** (0.5 * feh) * np.clip((8000.0 - teff) / 2000.0, 0.1, 1.5)
    for centre, share in _METALS:
        depth += 0.9 * metals * share * np.exp(-0.5 * ((wavelength - centre) / 2.5) ** 2)
    blanket = 0.25 * metals / (1 + np.exp((wavelength - 4300.0) / 250.0))
    return flux * np.exp(-depth - blanket)


@lru_cache(maxsize=1)
def demo_library() -> TemplateLibrary:
    """Invented templates on a grid of 6 x 2 x 4 nodes, filled to steps of 50 K, 0.25 and 0.125."""
    wavelength = log_grid(3300.0, 9800.0, 1.5e-4)
    nodes = [(t, g, m) for t in np.arange(5500.0, 7001.0, 300.0) for g in (4.0, 4.5) for m in (-2.0, -1.5, -1.0, -0.5)]
    flux = np.stack([demo_spectrum(wavelength, *node) for node in nodes])
    flux = (flux / flux.mean(axis=1, keepdims=True)).astype(np.float32)
    library = TemplateLibrary(
        "demo", wavelength, flux, np.array(nodes), tuple(f"demo{k}" for k in range(len(nodes))), mismatch=exact()
    )
    return library.refined()


def demo_filters() -> tuple[Filter, ...]:
    """Three invented bands with sloping edges, inside the demo frame."""

    def band(name: str, low: float, high: float) -> Filter:
        w = np.arange(low - 150.0, high + 150.1, 10.0)
        edge = 1 / (1 + np.exp(-(w - low) / 25.0)) / (1 + np.exp((w - high) / 25.0))
        return Filter(name, w, np.where(edge > 1e-3, edge, 0.0))

    return band("demo-g", 4200.0, 5300.0), band("demo-r", 5600.0, 6900.0), band("demo-i", 7000.0, 8300.0)


def demo_throughput(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts/s per 1e-17 erg/s/cm2/A of the invented instrument, with a telluric A band."""
    x = (wavelength - 6200.0) / 2600.0
    smooth = 0.02 * np.exp(-0.9 * x**2 + 0.25 * x) * (1 + 0.05 * np.sin(wavelength / 260.0))
    absorption = 0.6 * np.exp(-0.5 * ((wavelength - 7630.0) / 22.0) ** 2)
    return smooth * (1 - absorption)


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated frame and what is true in it.

    ``curve`` (n_pix,) is the true C at the mean fibre throughput; ``flux`` (n_fib, n_pix) the true fluxes in
    1e-17 erg/s/cm2/A; ``grey``, ``slope`` (n_fib,) the fibres' losses in mag and mag per 1000 A; ``rv`` in km/s.
    """

    frame: Frame
    catalogue: Catalogue
    curve: NDArray[np.float64]
    flux: NDArray[np.float64]
    grey: NDArray[np.float64]
    slope: NDArray[np.float64]
    rv: NDArray[np.float64]
    parameters: NDArray[np.float64]


def simulate(
    *,
    n_stars: int = 12,
    n_targets: int = 8,
    snr: float = 25.0,
    seed: int = 1,
    grey_sd: float = 0.15,
    slope_sd: float = 0.03,
    common_grey: float = 0.0,
    common_slope: float = 0.0,
    mag_error: float = 0.015,
    ebv: float = 0.02,
    fwhm: float = 5.0,
    n_pixels: int = 1600,
    rv_sd: float = 120.0,
) -> Simulation:
    """Simulate a frame with ``n_stars`` standards (type C), ``n_targets`` program fibres and two sky fibres.

    ``snr`` is the median signal-to-noise ratio per pixel of a star of magnitude 18; ``common_grey`` (mag) and
    ``common_slope`` (mag per 1000 A) are errors of the catalogue that all stars share.
    """
    rng = generator(seed, "fluxcal-demo")
    wave = np.linspace(3900.0, 8700.0, n_pixels)
    n = n_stars + n_targets + 2
    parameters = np.column_stack([rng.uniform(5900, 6700, n), rng.uniform(4.0, 4.5, n), rng.uniform(-1.9, -0.6, n)])
    rv = rng.normal(0.0, rv_sd, n)
    magnitude = rng.uniform(17.3, 18.5, n)
    flux = np.array([_star(wave, p, v, m, ebv, fwhm) for p, v, m in zip(parameters, rv, magnitude, strict=True)])
    flux[-2:] = 0.0
    grey, slope = rng.normal(0, grey_sd, n), rng.normal(0, slope_sd, n)
    # The gauge of the truth: losses relative to the mean over fibres in general are zero in expectation.
    x = (wave - 0.5 * (wave[0] + wave[-1])) / 1000.0
    loss = 10 ** (-0.4 * (grey[:, None] + slope[:, None] * x))
    exposure = 1800.0
    counts = flux / FLUX_SCALE * demo_throughput(wave) * exposure * loss
    reference = _star(wave, np.array([6300.0, 4.25, -1.2]), 0.0, 18.0, ebv, fwhm) / FLUX_SCALE
    level = np.median(reference * demo_throughput(wave)) * exposure
    # noise^2 = a (counts + sky), with half of the variance at the reference level from the sky
    unit = level / snr**2 / 2
    sky = level * (1 + 0.5 * np.exp(-0.5 * ((wave - 5577.0) / 3.0) ** 2))
    variance = unit * (np.clip(counts, 0, None) + sky)
    noisy = counts + rng.normal(size=counts.shape) * np.sqrt(variance)
    variance = np.where(rng.random(counts.shape) < 0.01, np.nan, variance)
    ra = 150.0 + rng.uniform(-1, 1, n)
    dec = -30.0 + rng.uniform(-1, 1, n)
    types = np.array(["C"] * n_stars + ["P"] * n_targets + ["S", "S"])
    names = np.array([f"star{k + 1:02d}" for k in range(n_stars + n_targets)] + ["sky1", "sky2"])
    fibres = Fibres(names, ra, dec, (ra - 150) * 2e5 * np.cos(np.deg2rad(30)), (dec + 30) * 2e5, types)
    frame = Frame(
        noisy, variance, np.broadcast_to(wave, noisy.shape).copy(), fibres, exposure, 1.2, 60000.0, "air", "demo.fits"
    )
    catalogue = _catalogue(rng, fibres, parameters, magnitude, ebv, mag_error, common_grey, common_slope)
    return Simulation(frame, catalogue, 1 / demo_throughput(wave), flux / FLUX_SCALE, grey, slope, rv, parameters)


_FINE = log_grid(3350.0, 9750.0, 1.0e-4)


def _star(
    wave: NDArray[np.float64], parameters: NDArray[np.float64], rv: float, magnitude: float, ebv: float, fwhm: float
) -> NDArray[np.float64]:
    """Flux in erg/s/cm2/A (air wavelengths) of a star with a magnitude in demo-r."""
    from crosscal.fluxcal.stars.resample import vacuum_to_air

    intrinsic = demo_spectrum(_FINE, *parameters)
    scale = 10 ** (0.4 * (float(ab_magnitude(demo_filters()[1], _FINE, intrinsic * redden(_FINE, ebv))) - magnitude))
    moved = vacuum_to_air(_FINE) * (1 + rv / C_KMS)
    smooth = convolve_lsf(_FINE, intrinsic, fwhm)
    return scale * resample(moved, smooth, wave) * redden(wave, ebv)


def _catalogue(
    rng: np.random.Generator,
    fibres: Fibres,
    parameters: NDArray[np.float64],
    magnitude: NDArray[np.float64],
    ebv: float,
    error: float,
    common_grey: float,
    common_slope: float,
) -> Catalogue:
    filters = demo_filters()
    n = len(fibres) - 2
    spectra = np.array([demo_spectrum(_FINE, *p) for p in parameters[:n]]) * redden(_FINE, ebv)
    true = np.stack([ab_magnitude(f, _FINE, spectra) for f in filters], axis=1)
    true += (magnitude[:n] - true[:, 1])[:, None]
    pivot = np.array([f.pivot for f in filters])
    shared = common_grey + common_slope * (pivot - 6300.0) / 1000.0
    measured = true + shared + rng.normal(0, error, true.shape)
    order = rng.permutation(n)
    # The catalogue is in another order than the fibres, with 0.1 arcsec errors, and holds other stars too.
    jitter = rng.normal(0, 0.1 / 3600, (n, 2))
    nan = np.full(n, np.nan)
    return Catalogue(
        fibres.name[order],
        fibres.ra[order] + jitter[:, 0] / np.cos(np.deg2rad(30)),
        fibres.dec[order] + jitter[:, 1],
        tuple(f.name for f in filters),
        measured[order],
        np.full(true.shape, error),
        np.zeros(n),
        np.zeros(n),
        np.where(np.isnan(nan), ebv, ebv),
    )


def write_demo(directory: Path) -> Mapping[str, Any]:
    """Write a simulated frame, its catalogue and filters, and the true curve; return the content of a job for them."""
    from astropy.table import Table

    from crosscal.fluxcal.frames.reading import write_frame

    truth = simulate(seed=3)
    directory.mkdir(parents=True, exist_ok=True)
    write_frame(directory / "demo.fits", truth.frame)
    stars = Table({"name": truth.catalogue.name, "ra": truth.catalogue.ra, "dec": truth.catalogue.dec})
    for k, band in enumerate(truth.catalogue.bands):
        stars[band], stars[f"{band}_err"] = truth.catalogue.magnitude[:, k], truth.catalogue.error[:, k]
    write_ecsv(directory / "stars.ecsv", stars)
    for band in demo_filters():
        np.savetxt(directory / f"{band.name}.dat", np.column_stack([band.wavelength, band.response]))
    np.savetxt(directory / "truth.txt", np.column_stack([truth.frame.grid, truth.curve]), header="wavelength factor")
    bands = {f.name: f.name for f in demo_filters()}
    return {
        "data": {"frames": [str(directory / "demo.fits")]},
        "catalogue": {
            "path": str(directory / "stars.ecsv"), "bands": bands, "errors": {b: f"{b}_err" for b in bands},
        },
        "filters": {"files": [str(directory / f"{b}.dat") for b in bands]},
        "templates": {"library": "demo"},
        "method": {"fwhm": 5.0, "ebv": 0.02, "mag_floor": 0.01},
    }  # fmt: skip


def demo_truth(directory: Path) -> NDArray[np.float64]:
    """The true curve (n_pix,) of the demonstration's frame."""
    return np.loadtxt(directory / "truth.txt")[:, 1]
