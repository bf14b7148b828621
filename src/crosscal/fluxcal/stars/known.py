"""Standard stars whose spectra are known absolutely (CALSPEC): no template is fitted to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.stars.lsf import Resolution, convolve_lsf, widths
from crosscal.fluxcal.stars.resample import convert_medium, log_grid, resample
from crosscal.fluxcal.stars.xp import XpSpectrum, source_id
from crosscal.fluxcal.types import Catalogue, Frame, StarFit


def known_star(
    frame: Frame, star: StarFit, wavelength: NDArray[np.float64], flux: NDArray[np.float64], fwhm: Resolution
) -> StarFit:
    """A star whose spectrum is known absolutely:
    its model is that spectrum at the frame's resolution (vacuum input).
    """
    margin = 10 * float(np.max(widths(fwhm, frame.grid)))

    wave = convert_medium(wavelength, "vacuum", frame.medium)
    low, high = float(frame.wavelength.min()) - margin, float(frame.wavelength.max()) + margin
    if wave[0] > low or wave[-1] < high:
        raise InputError(
            f"the known spectrum covers {wave[0]:.0f}-{wave[-1]:.0f} A",
            where=f"star {star.name}",
            expected=f"{low:.0f}-{high:.0f} A",
        )
    grid = log_grid(low, high, 0.2 * float(np.median(np.diff(frame.grid))) / high)
    fine = (
        resample(wave, flux, grid)
        if np.median(np.diff(wave)) < np.median(np.diff(grid))
        else np.interp(grid, wave, flux)
    )
    model = resample(grid, convolve_lsf(grid, fine, widths(fwhm, grid)), frame.wavelength[star.fibre])
    modes = np.zeros((3, model.size))
    modes[0] = 0.01  # CALSPEC's systematic uncertainty of 1 per cent
    return replace(
        star,
        template="known spectrum",
        rv=0.0,
        scale=1.0,
        scale_error=0.01,
        colour_residual=0.0,
        model=model,
        model_variance=np.zeros_like(model),
        model_modes=modes,
    )


def assumptions(catalogue: Catalogue, options: Options, xp: Mapping[str, XpSpectrum]) -> tuple[str, ...]:
    """What was assumed about a catalogue, and how many of its stars have XP spectra."""
    notes = list(catalogue.notes)
    known = np.isfinite(catalogue.ebv)
    if not known.all() and options.ebv == 0:
        n = f"{(~known).sum()} of {known.size} stars have" if known.any() else "the catalogue has"
        what = "0 is assumed" if known.any() or options.reddening == "map" else "it is fitted to the stars alone"
        notes.append(f"{n} no E(B-V): {what} (set ebv, or give a dust map)")
    if n_xp := sum(source_id(name) in xp for name in catalogue.name):
        notes.append(f"Gaia XP spectra set the broad shape of {n_xp} of {known.size} stars of the catalogue")
    return tuple(notes)
