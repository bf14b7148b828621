"""Simulated frames of real stars for the checks of the flux calibration, written with numpy only.

The stars are spectrophotometric standards (CALSPEC: measured, not models), so templates do not fit them exactly, as
with any real star. Nothing here uses the calibrator's own code: synthetic photometry, resolution and noise are stated
anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: F and G stars of CALSPEC.
STARS = (
    "18sco_stis_005", "bd26d2606_stis_006", "bd_17d4708_stisnic_007", "bd02d3375_stis_006", "hd031128_stis_006",
    "hd074000_stis_006", "hd111980_stis_006", "hd160617_stis_005", "hd205905_stis_009",
)  # fmt: skip
BANDS = ("DES_g", "DES_r", "DES_i")


@dataclass(frozen=True)
class Sky:
    """What nature has: wavelengths (vacuum, A), spectra (n, m) in erg/s/cm2/A, filters as (wavelength, response)."""

    wavelength: np.ndarray
    flux: np.ndarray
    filters: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def read(cls, data: Path, names: Sequence[str] = STARS) -> Sky:
        """Read stars and filters of a data directory."""
        from astropy.io import fits

        wave = np.arange(3300.0, 10200.0, 0.7)
        rows = []
        for name in names:
            table = fits.getdata(data / "fluxcal" / "calspec" / f"{name}.fits.gz", 1)
            rows.append(np.interp(wave, table["WAVELENGTH"].astype(float), table["FLUX"].astype(float)))
        filters = {}
        for band in BANDS:
            w, r = np.loadtxt(data / "fluxcal" / "filters" / f"{band}.dat", usecols=(0, 1), unpack=True)
            filters[band] = (w * (10.0 if w.max() < 2500 else 1.0), r)
        return cls(wave, np.array(rows), filters)

    def magnitude(self, flux: np.ndarray, band: str) -> float:
        """AB magnitude: ratio of photon rates of the star and of 3631 Jy."""
        w, r = self.filters[band]
        response = np.interp(self.wavelength, w, r, left=0.0, right=0.0)
        flat = 3.631e-20 * 2.99792458e18 / self.wavelength**2
        rate, zero = (np.trapezoid(f * response * self.wavelength, self.wavelength) for f in (flux, flat))
        return float(-2.5 * np.log10(rate / zero))


@dataclass(frozen=True)
class Night:
    """One simulated frame: counts, variances (n, n_pix), grid, catalogue magnitudes (n, n_b), true C (n_pix,).

    ``slope`` (n,) is the chromatic loss of each fibre, mag per 1000 A about 6300 A.
    """

    counts: np.ndarray
    variance: np.ndarray
    grid: np.ndarray
    magnitude: np.ndarray
    curve: np.ndarray
    exposure: float
    slope: np.ndarray | None = None


def smooth(wave: np.ndarray, flux: np.ndarray, fwhm: float) -> np.ndarray:
    """Gaussian resolution by direct summation."""
    step = wave[1] - wave[0]
    x = np.arange(-int(4 * fwhm / step), int(4 * fwhm / step) + 1) * step
    kernel = np.exp(-4 * np.log(2) * (x / fwhm) ** 2)
    return np.convolve(flux, kernel / kernel.sum(), mode="same")


def spectrograph() -> tuple[np.ndarray, np.ndarray, float]:
    """Wavelengths (n_pix,), true throughput (n_pix,) and exposure in s."""
    grid = np.arange(3750.0, 9000.0, 3.0)
    shape = np.exp(-0.5 * ((grid - 6400.0) / 1700.0) ** 2) * (1 + 0.06 * np.sin(grid / 190.0))
    return grid, 0.03 * shape, 1500.0


def noiseless(sky: Sky, *, fwhm: float = 9.0, snr: float = 200.0) -> Night:
    """Every star once, of magnitude 17, without noise, losses and errors of its magnitudes."""
    grid, throughput, exposure = spectrograph()
    counts, magnitudes = [], []
    for spectrum in sky.flux:
        flux = spectrum * 10 ** (-0.4 * (17.0 - sky.magnitude(spectrum, "DES_r")))
        magnitudes.append([sky.magnitude(flux, band) for band in BANDS])
        seen = np.interp(grid, sky.wavelength, smooth(sky.wavelength, flux, fwhm)) / 1e-17
        counts.append(seen * throughput * exposure)
    made = np.array(counts)
    return Night(made, (made / snr) ** 2, grid, np.array(magnitudes), 1 / throughput, exposure)


def simulate(
    sky: Sky, n: int, snr: float, seed: int, *, grey: float = 0.1, slope: float = 0.02, fwhm: float = 9.0,
    mag_error: float = 0.01,
) -> Night:  # fmt: skip
    """``n`` standards of about magnitude 17 with Gaussian fibre losses (mag; mag per 1000 A about 6300 A)."""
    rng = np.random.default_rng(seed)
    grid, throughput, exposure = spectrograph()
    x = (grid - 6300.0) / 1000.0
    counts, magnitudes, slopes = np.empty((n, grid.size)), np.empty((n, len(BANDS))), np.empty(n)
    for k in range(n):
        flux = sky.flux[rng.integers(len(sky.flux))].copy()
        flux *= 10 ** (-0.4 * (rng.uniform(16.5, 17.5) - sky.magnitude(flux, "DES_r")))
        magnitudes[k] = [sky.magnitude(flux, band) + rng.normal(0, mag_error) for band in BANDS]
        seen = np.interp(grid, sky.wavelength, smooth(sky.wavelength, flux, fwhm)) / 1e-17
        level, slopes[k] = rng.normal(0, grey), rng.normal(0, slope)
        loss = 10 ** (-0.4 * (level + slopes[k] * x))
        counts[k] = seen * throughput * exposure * loss
    noise = np.clip(counts, 0, None) + 0.3 * np.median(counts, axis=1, keepdims=True)
    variance = noise * np.median(counts, axis=1, keepdims=True) / snr**2 / 1.3
    return Night(counts + rng.normal(size=counts.shape) * np.sqrt(variance), variance, grid, magnitudes,
                 1 / throughput, exposure, slopes)  # fmt: skip


def frame_of(night: Night, number: int = 0) -> tuple[Any, Any]:
    """The frame and the catalogue of a simulated night, as the calibrator takes them; each number is another field."""
    from crosscal import fluxcal

    n = len(night.counts)
    names = np.array([f"s{number}-{k}" for k in range(n)])
    ra, dec = 10.0 + 0.1 * np.arange(n), np.full(n, 0.1 * number)
    nan = np.full(n, np.nan)
    fibres = fluxcal.Fibres(names, ra, dec, nan, nan, np.full(n, "C"))
    frame = fluxcal.Frame(night.counts, night.variance, night.grid, fibres, night.exposure, medium="vacuum")
    zero = np.zeros(n)
    error = np.full(night.magnitude.shape, 0.01)
    return frame, fluxcal.Catalogue(names, ra, dec, BANDS, night.magnitude, error, zero, zero, zero)


def joined(catalogues: Sequence[Any]) -> Any:
    """One catalogue of several fields."""
    from dataclasses import replace

    keys = ("name", "ra", "dec", "magnitude", "error", "pm_ra", "pm_dec", "ebv")
    return replace(catalogues[0], **{k: np.concatenate([getattr(c, k) for c in catalogues]) for k in keys})
