"""Template, velocity and photometric scale of every standard star of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.fluxcal.flux_units import FLUX_SCALE
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.stars.extinction import redden
from crosscal.fluxcal.stars.lsf import Resolution, convolve_lsf, widths
from crosscal.fluxcal.stars.mismatch import Mismatch, known_mismatch
from crosscal.fluxcal.stars.photometry import C_KMS, Filter
from crosscal.fluxcal.stars.resample import convert_medium, log_grid, resample
from crosscal.fluxcal.stars.rv import cross_correlate
from crosscal.fluxcal.stars.score import fit_continuum, robust_weight, score_templates, unit_interval
from crosscal.fluxcal.stars.templates import TemplateLibrary
from crosscal.fluxcal.types import Catalogue, Frame, StarFit, StarStatus

#: So many members of largest posterior weight enter a star's mean model.
MOST_MEMBERS = 24
#: A star's candidates are the templates whose weighted colour chi-square is within this of the best;
#: at least so many.
CANDIDATE_CHI2 = 60.0
FEWEST = 100
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
class _Photometry:
    """Of one star: indices of bands, catalogue magnitudes, errors, synthetic magnitudes (n_t, n_used)."""

    index: NDArray[np.int64]
    magnitude: NDArray[np.float64]
    error: NDArray[np.float64]
    synthetic: NDArray[np.float64]

    def offsets(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Mean (synthetic - catalogue) offset per template, residuals (n_t, n_used) about it, chi-square of colours."""
        weight = 1 / self.error**2
        delta = self.synthetic - self.magnitude
        mean = delta @ weight / weight.sum()
        residual = delta - mean[:, None]
        return mean, residual, (residual**2) @ weight


def fit_stars(
    frame: Frame,
    stars: Sequence[StarFit],
    catalogue: Catalogue,
    filters: Sequence[Filter],
    prepared: Prepared,
    options: Options,
    throughput: NDArray[np.float64] | None = None,
) -> list[StarFit]:
    """Fit the stars that are still in use; the others pass through.

    Parameters
    ----------
    frame, stars, catalogue
    filters : of the catalogue's bands, in the same order
    prepared : Prepared
    options : Options
    throughput : array (n_fib, n_pix), optional
        First estimate of counts/s per flux: templates are multiplied by it in the second pass.
    """
    active = [k for k, star in enumerate(stars) if star.status == StarStatus.USED]
    result = list(stars)
    if not active:
        return result
    rows = np.array([stars[k].fibre for k in active])
    data, weight = _weights(frame, rows, options)
    photometry = [_star_photometry(stars[k], catalogue, filters, prepared.native, options) for k in active]
    colour = [p.offsets()[2] for p in photometry]
    velocities = _velocities(frame, rows, data, weight, colour, prepared, options)
    ok = velocities[2] | (not options.rv_required)
    velocities[0][~velocities[2] & ok] = 0.0
    velocities[1][~velocities[2] & ok] = np.nan
    shaped = data if throughput is None else np.where(weight > 0, data / throughput[rows], 0.0)
    weights = weight if throughput is None else weight * throughput[rows] ** 2
    n_terms = _terms(frame, options) if throughput is None else options.second_terms
    wavelength = frame.wavelength[rows]
    low, high = float(wavelength.min()), float(wavelength.max())
    x = unit_interval(wavelength, low, high)
    steps = np.arange(prepared.wavelength.size, dtype=float)
    rest = wavelength / (1 + velocities[0] / C_KMS)[:, None]
    position = np.interp(rest, prepared.wavelength, steps, left=-1.0, right=steps[-1] + 1)
    candidates = np.unique(np.concatenate([_candidates(c, options) for c in colour]))
    chi2 = score_templates(prepared.flux, shaped, weights, x, n_terms, position, candidates)
    if options.metric == "huber":
        for _ in range(2):
            for i in range(len(active)):
                best = int(np.nanargmin(chi2[i]))
                template = np.interp(position[i], steps, prepared.flux[best])
                model = fit_continuum(template, shaped[i], weights[i], x[i], n_terms)
                weights[i] = robust_weight(weights[i], shaped[i], model, "huber")
            chi2 = score_templates(prepared.flux, shaped, weights, x, n_terms, position, candidates)
    n_pixels = np.sum(weights > 0, axis=1)
    for i, k in enumerate(active):
        star = replace(
            stars[k], rv=float(velocities[0][i]), rv_error=float(velocities[1][i]), rv_peak=float(velocities[3][i])
        )
        if not ok[i]:
            result[k] = replace(star, status=StarStatus.RV_FAILED)
            continue
        dof = int(n_pixels[i]) - n_terms - 4
        result[k] = _describe(star, frame, chi2[i], dof, photometry[i], catalogue, prepared, options)
    return result


def _candidates(colour: NDArray[np.float64], options: Options) -> NDArray[np.int64]:
    """Templates whose colours are not far worse than the best: the box that photometry leaves.

    Beyond a difference of ``CANDIDATE_CHI2`` the spectrum would have to be better by as much, after its chi-square
    has been
    divided by the reduced one.
    """
    excess = options.photometric_weight * (colour - colour.min())
    inside = np.flatnonzero(excess <= CANDIDATE_CHI2)
    return inside if inside.size >= FEWEST else np.sort(np.argsort(excess, kind="stable")[:FEWEST])


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


def _star_photometry(
    star: StarFit, catalogue: Catalogue, filters: Sequence[Filter], library: TemplateLibrary, options: Options
) -> _Photometry:
    magnitude, error = catalogue.magnitude[star.catalogue_row], catalogue.error[star.catalogue_row]
    used = np.flatnonzero(np.isfinite(magnitude) & (library.coverage(filters) >= options.coverage))
    chosen = tuple(filters[int(b)] for b in used)
    synthetic = _magnitudes(library, chosen, _ebv(star, catalogue, options), options.law)
    total = np.hypot(error[used], options.mag_floor)
    return _Photometry(used, magnitude[used], total, synthetic)


_MEMORY: dict[tuple[int, tuple[int, ...], float, str], tuple[object, NDArray[np.float64]]] = {}


def _magnitudes(library: TemplateLibrary, filters: tuple[Filter, ...], ebv: float, law: str) -> NDArray[np.float64]:
    """Synthetic magnitudes, remembered for the last few (library, filters, E(B-V)): stars of a field share them."""
    key = (id(library), tuple(id(f) for f in filters), round(ebv, 4), law)
    if key not in _MEMORY:
        if len(_MEMORY) > 64:
            _MEMORY.clear()
        # The library and filters are kept with the value, so that an id cannot be reused while it is remembered.
        _MEMORY[key] = ((library, filters), library.magnitudes(filters, ebv, law))
    return _MEMORY[key][1]


def _ebv(star: StarFit, catalogue: Catalogue, options: Options) -> float:
    value = float(catalogue.ebv[star.catalogue_row])
    return value if np.isfinite(value) else options.ebv


def _velocities(
    frame: Frame,
    rows: NDArray[np.int64],
    data: NDArray[np.float64],
    weight: NDArray[np.float64],
    colour: list[NDArray[np.float64]],
    prepared: Prepared,
    options: Options,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
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


def _describe(
    star: StarFit,
    frame: Frame,
    chi2: NDArray[np.float64],
    dof: int,
    photometry: _Photometry,
    catalogue: Catalogue,
    prepared: Prepared,
    options: Options,
) -> StarFit:
    """Posterior over templates, then the mean model in physical units on the star's pixels."""
    mean, residual, colour = photometry.offsets()
    # The spectrum's chi-square is divided by its reduced minimum: templates are never perfect.
    reduced = max(float(np.nanmin(chi2)) / max(dof, 1), 1.0)
    total = np.nan_to_num(chi2 / reduced, nan=np.inf) + options.photometric_weight * colour
    share = np.exp(-0.5 * (total - total.min()))
    members = np.argpartition(-share, min(MOST_MEMBERS, share.size - 1))[:MOST_MEMBERS]
    # Denormal weights would cost time and change nothing.
    members = members[share[members] > 1e-6]
    p = share[members] / share[members].sum()
    best = int(np.argmax(share))
    teff, logg, feh = (p @ prepared.native.parameters[members])[:3]
    colour_rms = float(np.sqrt(np.mean((p @ residual[members]) ** 2))) if residual.shape[1] > 1 else 0.0
    scale_error = float(1 / np.sqrt(np.sum(1 / photometry.error**2)))
    ebv = _ebv(star, catalogue, options)
    dust = redden(frame.wavelength[star.fibre], ebv, options.law)
    model, variance, modes = _model(star, frame, members, p, 10 ** (0.4 * mean[members]), dust, prepared)
    modes = np.concatenate([np.full((1, model.size), 0.4 * np.log(10) * scale_error), modes])
    names = catalogue.bands
    return replace(
        star,
        status=StarStatus.COLOUR_OUTLIER if colour_rms > options.colour_limit else StarStatus.USED,
        teff=float(teff),
        logg=float(logg),
        feh=float(feh),
        template=prepared.native.label[best],
        chi2=float(chi2[best]),
        dof=dof,
        scale=float(10 ** (0.4 * mean[best])),
        scale_error=scale_error,
        colour_residual=colour_rms,
        ebv=ebv,
        bands=tuple(names[b] for b in photometry.index),
        dropped_bands=tuple(n for b, n in enumerate(names) if b not in photometry.index),
        model=model,
        model_variance=variance,
        model_modes=modes,
        mismatch=prepared.mismatch.errors(frame.wavelength[star.fibre]),
    )


def _model(
    star: StarFit,
    frame: Frame,
    members: NDArray[np.int64],
    share: NDArray[np.float64],
    scale: NDArray[np.float64],
    dust: NDArray[np.float64],
    prepared: Prepared,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean model (n_pix,), its independent variance, and the two strongest modes of ln model over the posterior."""
    wave = frame.wavelength[star.fibre]
    moved = prepared.wavelength * (1 + star.rv / C_KMS)
    physical = np.asarray(prepared.flux[members], dtype=float) * (prepared.scale[members] * scale)[:, None]
    spectra = resample(moved, physical, wave) * dust
    mean = share @ spectra
    deviation = np.log(spectra / mean) * np.sqrt(share)[:, None]
    modes = np.zeros((2, wave.size))
    if len(members) > 1:
        # Small Gram matrix: members are few, pixels many.
        _values, vectors = np.linalg.eigh(deviation @ deviation.T)
        strongest = vectors[:, -2:].T @ deviation
        modes[: len(strongest)] = strongest
    rest = np.clip(np.sum(deviation**2, axis=0) - np.sum(modes**2, axis=0), 0, None)
    return mean, rest * mean**2, modes


def synthetic_offset(
    filter: Filter, wavelength: NDArray[np.float64], flux: NDArray[np.float64], magnitude: float
) -> float:
    """Synthetic minus catalogue magnitude of a calibrated spectrum in 1e-17 erg/s/cm2/A (positive = too faint)."""
    mean = float(flux * FLUX_SCALE @ filter.weights(wavelength))
    return -2.5 * np.log10(mean) - magnitude if mean > 0 else float("nan")
