"""The width of the line-spread function from the stars themselves, where neither frame nor user states it.

The templates that a star's colours allow are convolved with Gaussians of a ladder of widths. With a free continuum the
sum over templates of exp(-chi^2 / 2) is maximised over a width that is the same for all stars: a template of strong
lines must not stand for narrow ones. A width that is linear in wavelength is used if it fits better by LINEAR. Models
are averaged over pixels when they are made: the width of a pixel is subtracted in quadrature.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crosscal.core.random import generator
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.stars.arm import Arm, prepare
from crosscal.fluxcal.stars.colours import star_photometry
from crosscal.fluxcal.stars.lsf import Resolution
from crosscal.fluxcal.stars.photometry import C_KMS, Filter
from crosscal.fluxcal.stars.score import fit_continuum, unit_interval
from crosscal.fluxcal.stars.templates import TemplateLibrary
from crosscal.fluxcal.types import Catalogue, Frame, StarFit, StarStatus

#: Widths that are tried, in pixels, and the most stars that are used.
LADDER = np.geomspace(0.8, 15.0, 16)
#: Square of the FWHM that a pixel has, in pixels: 8 ln 2 times its variance.
PIXEL = 8 * np.log(2) / 12
MOST_STARS = 8
#: A width that changes along the spectrum must improve chi-square by this.
LINEAR = 12.0
#: Largest relative error of a width that is used.
LARGEST = 0.25
#: Templates of a star that are tried, and the largest change of the width to either end, as a fraction.
MOST_TEMPLATES, STEEPEST = 40, 0.6


def fit_width(
    frame: Frame,
    stars: Sequence[StarFit],
    library: TemplateLibrary,
    catalogue: Catalogue,
    filters: Sequence[Filter],
    options: Options,
) -> tuple[Resolution, float, int] | None:
    """FWHM in Angstrom, its error in the middle and the number of stars; None if the stars do not tell.

    Parameters
    ----------
    frame : Frame
    stars : StarFits with velocities and E(B-V), from a fit with another width
    library : TemplateLibrary
    catalogue : Catalogue
    filters : of the catalogue's bands, in the same order
    options : Options
    """
    best = [s for s in stars if s.status == StarStatus.USED and np.isfinite(s.rv_error)]
    best = sorted(best, key=lambda s: -s.snr)[:MOST_STARS]
    pixel = float(np.median(np.diff(frame.grid)))
    ladder = LADDER * pixel
    ladder = ladder[ladder > float(np.median(library.fwhm))]
    if not best or ladder.size < 3:
        return None
    rows, rv = np.array([s.fibre for s in best]), np.array([s.rv for s in best])
    colour = [star_photometry(s, catalogue, filters, library, options, s.ebv).offsets()[2] for s in best]
    some = np.unique(np.concatenate([_plausible(c) for c in colour]))
    prior = np.stack([c[some] for c in colour])
    own, wave = library.take(some), frame.wavelength[rows]
    scores, prepared = [], []
    for width in ladder:
        prepared.append(prepare(own, frame, float(width)))
        arm = Arm.of(frame, rows, prepared[-1], None, options)
        scores.append(arm.scores(arm.positions(rv), np.arange(some.size)))
    dof = np.clip(np.sum(arm.weight > 0, axis=1), 1, None)
    reduced = np.clip(np.nanmin(scores, axis=(0, 2)) / dof, 1.0, None)
    total = np.array(scores) / reduced[:, None] + prior
    # The sum over a star's templates, and over stars.
    lowest = np.nanmin(total, axis=(0, 2))[:, None]
    values = np.sum(-2 * np.log(np.nansum(np.exp(-0.5 * (total - lowest)), axis=2) + 1e-300), axis=1)
    found = _constant(values, ladder)
    if found is None:
        return None
    width, error = found
    step = int(np.argmin(values))
    chosen = np.nanargmin(total[step], axis=1)
    models = np.empty((ladder.size, *wave.shape))
    for k, made in enumerate(prepared):
        for i, star in enumerate(best):
            models[k, i] = np.interp(wave[i] / (1 + star.rv / C_KMS), made.wavelength, made.flux[chosen[i]])
    ends = (float(wave.min()), float(wave.max()))
    tilted = _tilted(arm, models, ladder, width, reduced, ends)
    pairs = tilted or ((ends[0], width),)
    within = tuple((at, float(np.sqrt(max(w**2 - PIXEL * pixel**2, (0.5 * pixel) ** 2)))) for at, w in pairs)
    return (within if tilted else within[0][1]), error, len(best)


def _plausible(colour: NDArray[np.float64]) -> NDArray[np.int64]:
    """Some of the templates that have the colours of a star, spread over the others' parameters."""
    inside = np.flatnonzero(colour < colour.min() + 6)
    if inside.size > MOST_TEMPLATES:
        inside = generator(0, "fluxcal-width").choice(inside, MOST_TEMPLATES, replace=False)
    return inside


def _constant(values: NDArray[np.float64], ladder: NDArray[np.float64]) -> tuple[float, float] | None:
    """The width at the minimum of chi-square and its error, by the parabola in ln width through three steps."""
    start = int(np.argmin(values))
    if start == 0:
        # Lines that are not resolved: no narrower width can be told from the narrowest.
        return float(ladder[0]), LARGEST * float(ladder[0])
    if start == ladder.size - 1:
        return None
    around = slice(start - 1, start + 2)
    a, b, _ = np.polyfit(np.log(ladder[around]), values[around], 2)
    if not a > 1 / LARGEST**2:
        return None
    width = float(np.exp(-0.5 * b / a))
    return width, width / float(np.sqrt(a))


def _tilted(
    arm: Arm,
    models: NDArray[np.float64],
    ladder: NDArray[np.float64],
    width: float,
    reduced: NDArray[np.float64],
    ends: tuple[float, float],
) -> tuple[tuple[float, float], ...]:
    """A width that is linear in wavelength, at the ends of the spectra; empty if a constant one is no worse."""
    from scipy.optimize import minimize

    x = unit_interval(arm.frame.wavelength[arm.rows], *ends)

    def target(p: NDArray[np.float64]) -> float:
        steep = max(abs(float(p[1])) - STEEPEST, 0.0)
        size = np.clip(np.exp(p[0]) * (1 + np.clip(p[1], -STEEPEST, STEEPEST) * x), ladder[0], ladder[-1])
        return float(np.sum(_chi2(arm, models, ladder, size) / reduced)) + 1e4 * steep

    start = [np.log(width), 0.0]
    corners = [start, [start[0] + 0.05, 0.0], [start[0], 0.1]]
    limits = {"xatol": 1e-3, "fatol": 0.01, "maxfev": 80, "initial_simplex": corners}
    best = minimize(target, start, method="Nelder-Mead", options=limits)
    constant = minimize(
        lambda p: target(np.array([p[0], 0.0])), start[:1], method="Nelder-Mead", options={"maxfev": 30}
    )
    if constant.fun - best.fun < LINEAR:
        return ()
    size, tilt = float(np.exp(best.x[0])), float(np.clip(best.x[1], -STEEPEST, STEEPEST))
    return (ends[0], size * (1 - tilt)), (ends[1], size * (1 + tilt))


def _chi2(
    arm: Arm, models: NDArray[np.float64], ladder: NDArray[np.float64], width: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Chi-square (n_star,) at widths (n_star, n_pix): between steps models are linear in the square of the width."""
    place = np.interp(width**2, ladder**2, np.arange(ladder.size))
    left = np.clip(place.astype(int), 0, ladder.size - 2)
    share, pixels = place - left, np.arange(width.shape[1])
    total = np.empty(len(width))
    for i in range(len(width)):
        model = models[left[i], i, pixels] * (1 - share[i]) + models[left[i] + 1, i, pixels] * share[i]
        fit = fit_continuum(model, arm.data[i], arm.weight[i], arm.x[i], arm.n_terms)
        total[i] = np.sum(arm.weight[i] * (arm.data[i] - fit) ** 2)
    return total


def told(fwhm: Resolution, error: float, n_stars: int) -> str:
    """One line about a fitted width."""
    if isinstance(fwhm, tuple):
        (low, a), (high, b) = fwhm[0], fwhm[-1]
        what = f"{a:.2f} Angstrom at {low:.0f}, {b:.2f} at {high:.0f}"
    else:
        what = f"{fwhm:.2f}"
    return f"FWHM {what} +/- {error:.2f} Angstrom was fitted to {n_stars} stars, because the file states no resolution"
