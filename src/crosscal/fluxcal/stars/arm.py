"""The spectra of one arm as they are fitted: a library at its resolution, weights, scores, velocities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.stars.lsf import Resolution, convolve_lsf, widths
from crosscal.fluxcal.stars.mismatch import Mismatch, known_mismatch
from crosscal.fluxcal.stars.photometry import C_KMS
from crosscal.fluxcal.stars.resample import convert_medium, log_grid
from crosscal.fluxcal.stars.rv import cross_correlate
from crosscal.fluxcal.stars.score import fit_continuum, robust_weight, score_templates, unit_interval
from crosscal.fluxcal.stars.templates import TemplateLibrary
from crosscal.fluxcal.types import Frame

#: Velocity, error, success and peak of the cross-correlation of stars (n_star,).
Velocities = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]
#: Velocities are searched with this many templates per star.
RV_TEMPLATES = 8


@dataclass(frozen=True, eq=False)
class Prepared:
    """A library at the frame's resolution on its own wavelengths (in the frame's medium) that cover the frame.

    ``mismatch`` says how real stars differ from it;
    ``flux`` (n_t, n_grid) has mean 1 for each member; ``native`` is the library it came from; ``scale`` (n_t,) turns
    ``flux`` back into the library's units.
    """

    native: TemplateLibrary
    wavelength: NDArray[np.float64]
    flux: NDArray[np.float32]
    scale: NDArray[np.float64]
    step: float

    @property
    def mismatch(self) -> Mismatch:
        """How real stars differ from the library."""
        return self.native.mismatch or known_mismatch(self.native.name)


def prepare(library: TemplateLibrary, frame: Frame, fwhm: Resolution, *, reach: float = 900.0) -> Prepared:
    """Convolve a library to ``fwhm`` (Angstrom; a number, or pairs that :func:`widths` reads) and cut it to a frame,
    with room for ``reach`` km/s.

    Raises
    ------
    InputError
        If the library does not cover the frame's wavelengths.
    """
    wave = convert_medium(library.wavelength, library.medium, frame.medium)
    low, high = float(frame.wavelength.min()), float(frame.wavelength.max())
    room = 1 + reach / C_KMS
    if wave[0] * room > low or wave[-1] / room < high:
        raise InputError(
            f"templates cover {wave[0]:.0f}-{wave[-1]:.0f} A",
            where=f"template library {library.name!r}",
            expected=f"at least {low / room:.0f}-{high * room:.0f} A for this frame",
        )
    step = library.step
    margin = 8 * float(np.max(widths(fwhm, frame.grid))) / low
    a, b = np.searchsorted(wave, [low / room * (1 - margin), high * room * (1 + margin)])
    cut = slice(max(a - 1, 0), min(b + 1, wave.size))
    # Air wavelengths depart from even steps in ln lambda by 1 part in 1e5: nothing to a kernel of a few steps.
    native_fwhm = library.fwhm if np.ndim(library.fwhm) == 0 else np.asarray(library.fwhm)[cut]
    part = np.asarray(library.flux[:, cut], dtype=np.float32)
    flux = convolve_lsf(wave[cut], part, widths(fwhm, wave[cut]), native_fwhm=native_fwhm)
    scale = flux.mean(axis=1, dtype=float)
    flux /= scale[:, None].astype(np.float32)
    return Prepared(library, wave[cut], flux, scale, step)


@dataclass(frozen=True, eq=False)
class Arm:
    """The spectra (n_star, n_pix) of the stars in one arm, as they are fitted.

    ``data`` and ``weight`` are counts and inverse variances, ``shaped`` and ``weights`` those relative to the
    throughput, where it is known; ``x`` is the coordinate of the continuum of ``n_terms`` terms.
    """

    frame: Frame
    rows: NDArray[np.int64]
    prepared: Prepared
    data: NDArray[np.float64]
    weight: NDArray[np.float64]
    shaped: NDArray[np.float64]
    weights: NDArray[np.float64]
    x: NDArray[np.float64]
    n_terms: int

    @classmethod
    def of(
        cls, frame: Frame, rows: NDArray[np.int64], prepared: Prepared, throughput: NDArray[np.float64] | None,
        options: Options,
    ) -> Arm:  # fmt: skip
        data, weight = _weights(frame, rows, options)
        shaped, weights, n_terms = data, weight.copy(), _terms(frame, options)
        if throughput is not None:
            shaped = np.where(weight > 0, data / throughput[rows], 0.0)
            weights, n_terms = weight * throughput[rows] ** 2, options.second_terms
        wavelength = frame.wavelength[rows]
        x = unit_interval(wavelength, float(wavelength.min()), float(wavelength.max()))
        return cls(frame, rows, prepared, data, weight, shaped, weights, x, n_terms)

    def of_stars(self, index: NDArray[np.int64]) -> Arm:
        """The spectra of some stars, by their places among these."""
        keys = ("rows", "data", "weight", "shaped", "weights", "x")
        return replace(self, **{key: getattr(self, key)[index] for key in keys})

    def positions(self, velocity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places of the pixels on the templates' grid, in each star's rest frame."""
        steps = np.arange(self.prepared.wavelength.size, dtype=float)
        rest = self.frame.wavelength[self.rows] / (1 + velocity / C_KMS)[:, None]
        return np.interp(rest, self.prepared.wavelength, steps, left=-1.0, right=steps[-1] + 1)

    def scores(self, position: NDArray[np.float64], candidates: NDArray[np.int64]) -> NDArray[np.float64]:
        """Chi-square (n_star, n_t), NaN for templates that are not candidates."""
        return score_templates(
            self.prepared.flux, self.shaped, self.weights, self.x, self.n_terms, position, candidates
        )

    def reweight(self, position: NDArray[np.float64], best: NDArray[np.int64]) -> None:
        """Give pixels far from the best template less weight, in place."""
        steps = np.arange(self.prepared.wavelength.size)
        for i, k in enumerate(best):
            template = np.interp(position[i], steps, self.prepared.flux[k])
            model = fit_continuum(template, self.shaped[i], self.weights[i], self.x[i], self.n_terms)
            self.weights[i] = robust_weight(self.weights[i], self.shaped[i], model, "huber")

    def velocities(self, colour: list[NDArray[np.float64]], options: Options) -> Velocities:
        """Velocity, error, success and peak of each star, with a few templates near its colours."""
        return _velocities(self.frame, self.rows, self.data, self.weight, colour, self.prepared, options)


def best_velocities(found: Sequence[Velocities]) -> Velocities:
    """For each star those of the arm with the smallest error among the successful ones."""
    error = np.stack([np.where(v[2], v[1], np.inf) for v in found])
    best = np.argmin(error, axis=0)
    stars = np.arange(best.size)
    rv, sd, ok, peak = (np.stack([v[j] for v in found])[best, stars] for j in range(4))
    return rv, sd, ok, peak


def _terms(frame: Frame, options: Options) -> int:
    if options.continuum_terms:
        return options.continuum_terms
    return int(np.clip(np.ptp(frame.grid) / 250, 6, 12))


def _weights(
    frame: Frame, rows: NDArray[np.int64], options: Options
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts and inverse variances with the template-error floor; zero where masked."""
    from scipy.ndimage import median_filter

    usable, flux = frame.usable(rows), frame.flux[rows]
    good = usable & ~options.masked(frame.wavelength[rows], frame.medium)
    data = np.where(good, flux, 0.0)
    level = median_filter(np.where(usable, flux, 0.0), size=(1, 25), mode="nearest")
    variance = np.where(good, frame.variance[rows], 1.0) + (options.template_error * level) ** 2
    # Cosmic rays: no line of a star rises so far above its surroundings.
    good &= ~(data - level > 8 * np.sqrt(variance + (0.3 * level) ** 2))
    data = np.where(good, data, 0.0)
    return data, np.where(good, 1 / variance, 0.0)


def _velocities(
    frame: Frame,
    rows: NDArray[np.int64],
    data: NDArray[np.float64],
    weight: NDArray[np.float64],
    colour: list[NDArray[np.float64]],
    prepared: Prepared,
    options: Options,
) -> Velocities:
    """Velocity, error, success and peak of each star, with a few templates near its colours."""
    first, last = prepared.wavelength[0], prepared.wavelength[-1]
    grid = log_grid(float(first), float(last), prepared.step)
    stars, weights = np.empty((len(rows), grid.size)), np.empty((len(rows), grid.size))
    for i, row in enumerate(rows):
        wave = frame.wavelength[row]
        place = np.interp(grid, wave, np.arange(wave.size), left=-1, right=-1)
        left = np.clip(place.astype(int), 0, wave.size - 2)
        share = place - left
        inside = place >= 0
        w = weight[i]
        bad = (w[left] == 0) | (w[left + 1] == 0) | ~inside
        stars[i] = np.where(bad, 0.0, data[i, left] * (1 - share) + data[i, left + 1] * share)
        weights[i] = np.where(bad, 0.0, w[left] * (1 - share) + w[left + 1] * share)
    # The templates: for each star a spread over its plausible ones, shared by all stars.
    chosen: list[int] = []
    for chi2 in colour:
        plausible = np.argsort(chi2)[: max(RV_TEMPLATES, int(np.sum(chi2 < chi2.min() + 9)))]
        chosen += [int(plausible[k]) for k in np.linspace(0, plausible.size - 1, 3).astype(int)]
    values, counts = np.unique(chosen, return_counts=True)
    chosen_templates = values[np.argsort(-counts)][:RV_TEMPLATES]
    templates = np.stack([np.interp(grid, prepared.wavelength, prepared.flux[k]) for k in chosen_templates])
    found = cross_correlate(stars, weights, templates, prepared.step, limit=options.rv_limit, spread=options.rv_spread)
    return np.where(np.isfinite(found.rv), found.rv, 0.0), found.error, found.ok, found.peak
