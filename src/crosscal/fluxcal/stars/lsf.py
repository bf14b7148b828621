"""Convolution with a Gaussian line-spread function, constant or changing along the spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FWHM_TO_SIGMA = 1.0 / np.sqrt(8.0 * np.log(2.0))

#: A full width at half maximum: one number, or (wavelength, FWHM) pairs with increasing wavelengths, in Angstrom.
Resolution = float | tuple[tuple[float, float], ...]


def widths(fwhm: Resolution, wavelength: ArrayLike) -> NDArray[np.float64]:
    """FWHM at each wavelength: the number, or the pairs interpolated linearly and constant beyond their ends."""
    grid = np.asarray(wavelength, dtype=float)
    if isinstance(fwhm, tuple):
        x, y = np.array(fwhm, dtype=float).T
        return np.interp(grid, x, y)
    return np.full(grid.shape, float(fwhm))


def _pad(n: int, width: int) -> tuple[int, int]:
    from scipy.fft import next_fast_len

    size = next_fast_len(n + 2 * width, real=True)
    return size, width


def gaussian_smooth(flux: ArrayLike, sigma: float, *, workers: int = 1) -> NDArray:
    """Convolve spectra (..., n) on an even grid with a Gaussian of ``sigma`` pixels, by FFT with mirrored ends.

    The transfer function is exp(-(k sigma)^2 / 2), so kernels narrower than a pixel are exact too. The result keeps the
    precision (float32 or float64) of the input.
    """
    from scipy.fft import irfft, rfft

    values = np.asarray(flux)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(float)
    if sigma <= 0:
        return values.copy()
    n = values.shape[-1]
    width = min(int(np.ceil(5 * sigma)) + 1, n - 1)
    size, width = _pad(n, width)
    padded = np.zeros((*values.shape[:-1], size), dtype=values.dtype)
    padded[..., width : width + n] = values
    padded[..., :width] = values[..., width:0:-1]
    padded[..., width + n : 2 * width + n] = values[..., -2 : -width - 2 : -1]
    frequency = 2 * np.pi * np.fft.rfftfreq(size)
    transfer = np.exp(-0.5 * (frequency * sigma) ** 2).astype(values.dtype)
    smooth = irfft(rfft(padded, axis=-1, workers=workers) * transfer, n=size, axis=-1, workers=workers)
    return smooth[..., width : width + n]


def convolve_lsf(
    wavelength: ArrayLike, flux: ArrayLike, fwhm: ArrayLike, *, native_fwhm: ArrayLike = 0.0, workers: int = 1
) -> NDArray:
    """Bring spectra on a logarithmic grid to the instrument's resolution.

    sigma^2 = (fwhm^2 - native_fwhm^2) / (8 ln 2); where the template is already coarser nothing is done.

    Parameters
    ----------
    wavelength : array (n,), evenly spaced in ln lambda
    flux : array (..., n)
    fwhm, native_fwhm : float or array (n,), Angstrom
        Full width at half maximum of the instrument and of the template.

    Notes
    -----
    A width that changes (a constant FWHM in Angstrom does, on a logarithmic grid) is treated by mixing convolutions
    with the few widths of a geometric ladder, linearly in sigma^2: the second moment is exact at each pixel, and
    the ladder's ratio of 1.15 keeps the fourth moment within 1.5 per cent.
    """
    w = np.asarray(wavelength, dtype=float)
    step = np.log(w[-1] / w[0]) / (w.size - 1)
    square = np.asarray(fwhm, dtype=float) ** 2 - np.asarray(native_fwhm, dtype=float) ** 2
    sigma = np.sqrt(np.clip(square, 0.0, None)) * FWHM_TO_SIGMA / (w * step)
    low, high = float(sigma.min()), float(sigma.max())
    if high == 0:
        return np.array(flux, copy=True)
    low = max(low, 0.3) if high > 0.3 else high
    n = max(int(np.ceil(np.log(high / low) / np.log(1.15))), 0) + 1
    ladder = np.geomspace(low, high, n) if n > 1 else np.array([high])
    if sigma.min() < ladder[0]:
        ladder = np.concatenate([[0.0], ladder])
    position = np.interp(sigma**2, ladder**2, np.arange(ladder.size))
    result: Any = None
    for k, width in enumerate(ladder):
        share = np.clip(1 - np.abs(position - k), 0, None)
        if not share.any():
            continue
        # Only the stretch where this width has a share is convolved, with a margin for the kernel.
        used = np.flatnonzero(share)
        margin = int(np.ceil(6 * width)) + 2
        a, b = max(used[0] - margin, 0), min(used[-1] + margin + 1, w.size)
        part = gaussian_smooth(np.asarray(flux)[..., a:b], float(width), workers=workers)
        if result is None:
            result = np.zeros(np.shape(flux), dtype=part.dtype)
        result[..., a:b] += part * share[a:b].astype(part.dtype)
    return result
