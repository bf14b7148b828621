"""Template, velocity and photometric scale of every standard star of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.fluxcal.flux_units import FLUX_SCALE
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.stars.arm import Arm, Prepared, best_velocities
from crosscal.fluxcal.stars.extinction import redden
from crosscal.fluxcal.stars.photometry import C_KMS, Filter
from crosscal.fluxcal.stars.resample import resample
from crosscal.fluxcal.stars.templates import TemplateLibrary
from crosscal.fluxcal.types import Catalogue, Frame, StarFit, StarStatus

#: So many members of largest posterior weight enter a star's mean model.
MOST_MEMBERS = 24
#: A star's candidates are the templates whose weighted colour chi-square is within this of the best;
#: at least so many.
CANDIDATE_CHI2 = 60.0
FEWEST = 100


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


def fit_arms(
    frames: Sequence[Frame],
    stars: Sequence[Sequence[StarFit]],
    catalogue: Catalogue,
    filters: Sequence[Filter],
    prepared: Sequence[Prepared],
    options: Options,
    throughput: Sequence[NDArray[np.float64] | None],
) -> list[list[StarFit]]:
    """Fit the stars that are still in use to the spectra of all arms of an exposure; the others pass through.

    There is one posterior over templates, one velocity and one scale: the chi-square of a template is the sum over
    arms, each with its own continuum, and the velocity is that of the arm that measures it best.

    Parameters
    ----------
    frames : sequence of Frame, one for each arm
    stars : for each arm, its stars, which correspond
    catalogue : Catalogue
    filters : of the catalogue's bands, in the same order
    prepared : for each arm, the library on its grid
    options : Options
    throughput : for each arm an array (n_fib, n_pix), or None
        First estimate of counts/s per flux: templates are multiplied by it in the second pass.
    """
    active = [k for k, star in enumerate(stars[0]) if star.status == StarStatus.USED]
    result = [list(own) for own in stars]
    if not active:
        return result
    chosen = [stars[0][k] for k in active]
    photometry = [_star_photometry(star, catalogue, filters, prepared[0].native, options) for star in chosen]
    colour = [p.offsets()[2] for p in photometry]
    rows = [np.array([own[k].fibre for k in active]) for own in stars]
    arms = [Arm.of(*given, options) for given in zip(frames, rows, prepared, throughput, strict=True)]
    velocity = best_velocities([arm.velocities(colour, options) for arm in arms])
    ok = velocity[2] | (not options.rv_required)
    velocity[0][~velocity[2] & ok] = 0.0
    velocity[1][~velocity[2] & ok] = np.nan
    candidates = np.unique(np.concatenate([_candidates(c, options) for c in colour]))
    positions = [arm.positions(velocity[0]) for arm in arms]

    def scores() -> NDArray[np.float64]:
        return np.sum([arm.scores(at, candidates) for arm, at in zip(arms, positions, strict=True)], axis=0)

    chi2 = scores()
    if options.metric == "huber":
        for _ in range(2):
            for arm, at in zip(arms, positions, strict=True):
                arm.reweight(at, np.nanargmin(chi2, axis=1))
            chi2 = scores()
    dof = np.sum([np.sum(arm.weights > 0, axis=1) - arm.n_terms for arm in arms], axis=0) - 4
    for i, k in enumerate(active):
        rv, error, peak = (float(velocity[j][i]) for j in (0, 1, 3))
        own = [replace(one[k], rv=rv, rv_error=error, rv_peak=peak) for one in stars]
        if ok[i]:
            own = _describe(own, frames, chi2[i], int(dof[i]), photometry[i], catalogue, prepared, options)
        else:
            own = [replace(one, status=StarStatus.RV_FAILED) for one in own]
        for arm_result, star in zip(result, own, strict=True):
            arm_result[k] = star
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


def _describe(
    arms: Sequence[StarFit],
    frames: Sequence[Frame],
    chi2: NDArray[np.float64],
    dof: int,
    photometry: _Photometry,
    catalogue: Catalogue,
    prepared: Sequence[Prepared],
    options: Options,
) -> list[StarFit]:
    """Posterior of a star over templates, then the mean model in physical units on its pixels in each arm."""
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
    native, names = prepared[0].native, catalogue.bands
    teff, logg, feh = (p @ native.parameters[members])[:3]
    colour_rms = float(np.sqrt(np.mean((p @ residual[members]) ** 2))) if residual.shape[1] > 1 else 0.0
    scale_error = float(1 / np.sqrt(np.sum(1 / photometry.error**2)))
    found: dict[str, Any] = {
        "status": StarStatus.COLOUR_OUTLIER if colour_rms > options.colour_limit else StarStatus.USED,
        "teff": float(teff), "logg": float(logg), "feh": float(feh), "template": native.label[best],
        "chi2": float(chi2[best]), "dof": dof, "scale": float(10 ** (0.4 * mean[best])), "scale_error": scale_error,
        "colour_residual": colour_rms, "ebv": _ebv(arms[0], catalogue, options),
        "bands": tuple(names[b] for b in photometry.index),
        "dropped_bands": tuple(n for b, n in enumerate(names) if b not in photometry.index),
    }  # fmt: skip
    made = []
    for star, frame, own in zip(arms, frames, prepared, strict=True):
        wave = frame.wavelength[star.fibre]
        dust = redden(wave, found["ebv"], options.law)
        model, variance, modes = _model(star, frame, members, p, 10 ** (0.4 * mean[members]), dust, own)
        modes = np.concatenate([np.full((1, model.size), 0.4 * np.log(10) * scale_error), modes])
        made.append(
            replace(
                star, **found, model=model, model_variance=variance, model_modes=modes,
                mismatch=own.mismatch.errors(wave),
            )
        )  # fmt: skip
    return made


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
