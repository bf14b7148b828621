"""Template, velocity and photometric scale of every standard star of a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.random import generator
from crosscal.fluxcal.flux_units import FLUX_SCALE
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.stars.arm import Arm, Prepared, best_velocities
from crosscal.fluxcal.stars.colours import Photometry, at_nodes, node_shares, star_photometry
from crosscal.fluxcal.stars.extinction import redden
from crosscal.fluxcal.stars.photometry import C_KMS, Filter
from crosscal.fluxcal.stars.reddening import (
    MOST_STARS,
    MOST_TEMPLATES,
    OFFSETS,
    FieldReddening,
    average,
    field_reddening,
    star_estimates,
)
from crosscal.fluxcal.stars.resample import resample
from crosscal.fluxcal.types import Catalogue, Frame, StarFit, StarStatus

#: So many members of largest posterior weight enter a star's mean model.
MOST_MEMBERS = 24
#: A star's candidates are the templates whose weighted colour chi-square is within this of the best;
#: at least so many.
CANDIDATE_CHI2 = 60.0
FEWEST = 100


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
    native = prepared[0].native
    ebv = np.array([_ebv(star, catalogue, options) for star in chosen])

    def magnitudes(of: NDArray[np.float64]) -> list[Photometry]:
        return [
            star_photometry(star, catalogue, filters, native, options, e) for star, e in zip(chosen, of, strict=True)
        ]

    photometry = magnitudes(ebv)
    colour = [p.offsets()[2] for p in photometry]
    rows = [np.array([own[k].fibre for k in active]) for own in stars]
    arms = [Arm.of(*given, options) for given in zip(frames, rows, prepared, throughput, strict=True)]
    velocity = best_velocities([arm.velocities(colour, options) for arm in arms])
    ok = velocity[2] | (not options.rv_required)
    velocity[0][~velocity[2] & ok] = 0.0
    velocity[1][~velocity[2] & ok] = np.nan
    positions = [arm.positions(velocity[0]) for arm in arms]
    field, known = chosen[0].reddening, np.full((len(active), len(native)), np.nan)
    if field is None:
        field, known = _field(arms, positions, photometry, ebv, ok, catalogue, filters, options)
        ebv = np.clip(ebv + field.offset, 0, None)
        photometry = magnitudes(ebv)
    dustier = magnitudes(ebv + field.error)
    boxes = [_candidates(p.offsets()[2], options) for p in (*photometry, *dustier)]
    candidates = np.unique(np.concatenate(boxes))

    chi2 = _scores(arms, positions, candidates, known)
    if options.metric == "huber":
        for _ in range(2):
            for arm, at in zip(arms, positions, strict=True):
                arm.reweight(at, np.nanargmin(chi2, axis=1))
            chi2 = _scores(arms, positions, candidates)
    dof = np.sum([np.sum(arm.weights > 0, axis=1) - arm.n_terms for arm in arms], axis=0) - 4
    for i, k in enumerate(active):
        rv, error, peak = (float(velocity[j][i]) for j in (0, 1, 3))
        seen: dict[str, Any] = {"rv": rv, "rv_error": error, "rv_peak": peak, "ebv": float(ebv[i]), "reddening": field}
        own = [replace(one[k], **seen) for one in stars]
        if ok[i]:
            pair = (photometry[i], dustier[i])
            own = _describe(own, frames, chi2[i], int(dof[i]), pair, catalogue.bands, prepared, options)
        else:
            own = [replace(one, status=StarStatus.RV_FAILED) for one in own]
        for arm_result, star in zip(result, own, strict=True):
            arm_result[k] = star
    return result


def _scores(
    arms: Sequence[Arm],
    positions: Sequence[NDArray[np.float64]],
    candidates: NDArray[np.int64],
    known: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Chi-squares (n_star, n_t) over all arms, NaN for templates that are not candidates; those of ``known`` that are
    not NaN are not computed again.
    """
    n_star, n_t = len(positions[0]), len(arms[0].prepared.native)
    chi2 = np.full((n_star, n_t), np.nan)
    if known is not None:
        chi2[:, candidates] = known[:, candidates]
    missing = np.isnan(chi2[:, candidates])
    for rows in (np.flatnonzero(missing.all(axis=1)), np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1))):
        columns = candidates[missing[rows].any(axis=0)]
        if columns.size:
            parts = [arm.of_stars(rows).scores(at[rows], columns) for arm, at in zip(arms, positions, strict=True)]
            chi2[np.ix_(rows, columns)] = np.sum(parts, axis=0)[:, columns]
    return chi2


def _candidates(colour: NDArray[np.float64], options: Options) -> NDArray[np.int64]:
    """Templates whose colours are not far worse than the best: the box that photometry leaves.

    Beyond a difference of ``CANDIDATE_CHI2`` the spectrum would have to be better by as much, after its chi-square
    has been
    divided by the reduced one.
    """
    excess = options.photometric_weight * (colour - colour.min())
    inside = np.flatnonzero(excess <= CANDIDATE_CHI2)
    return inside if inside.size >= FEWEST else np.sort(np.argsort(excess, kind="stable")[:FEWEST])


def _ebv(star: StarFit, catalogue: Catalogue, options: Options) -> float:
    """E(B-V) of a star: that of the fit to its field, where there was one, else that of the catalogue."""
    value = star.ebv if star.reddening is not None else float(catalogue.ebv[star.catalogue_row])
    return value if np.isfinite(value) else options.ebv


def _field(
    arms: Sequence[Arm],
    positions: Sequence[NDArray[np.float64]],
    photometry: Sequence[Photometry],
    ebv: NDArray[np.float64],
    usable: NDArray[np.bool_],
    catalogue: Catalogue,
    filters: Sequence[Filter],
    options: Options,
) -> tuple[FieldReddening, NDArray[np.float64]]:
    """E(B-V) of the field from the stars with the best spectra and a part of the library, over all its temperatures.

    Also the chi-squares (n_star, n_t) that were computed for it; the others are NaN.
    """
    scored = np.full((len(positions[0]), len(arms[0].prepared.native)), np.nan)
    library, level = arms[0].prepared.native, float(np.median(ebv))
    known = bool(np.isfinite(catalogue.ebv).any()) or options.ebv > 0
    told = field_reddening((np.nan, np.nan), level, options.ebv_error, known, fit=False)
    several = np.array([p.index.size > 1 for p in photometry])
    signal = np.sum([np.sum(arm.weight * arm.data**2, axis=1) for arm in arms], axis=0)
    best = np.flatnonzero(usable & several)
    best = best[np.argsort(-signal[best], kind="stable")[:MOST_STARS]]
    if not best.size or options.ebv_error == 0:
        return told, scored
    some = np.arange(len(library))
    if some.size > MOST_TEMPLATES:
        some = np.sort(generator(0, "fluxcal-reddening").choice(some, MOST_TEMPLATES, replace=False))
    scores = [arm.of_stars(best).scores(at[best], some) for arm, at in zip(arms, positions, strict=True)]
    scored[best] = np.sum(scores, axis=0)
    chi2 = scored[best][:, some]
    dof = np.sum([np.sum(arm.weights[best] > 0, axis=1) - arm.n_terms for arm in arms], axis=0) - 4
    reduced = np.clip(np.nanmin(chi2, axis=1) / np.clip(dof, 1, None), 1.0, None)
    colour = []
    for s in best:
        bands = tuple(filters[int(b)] for b in photometry[s].index)
        nodes = at_nodes(library, bands, options.law)[:, some]
        colour.append(photometry[s].colours(nodes, node_shares(ebv[s] + OFFSETS)))
    own = average(*star_estimates(chi2, reduced, colour), min(float(arm.frame.wavelength.min()) for arm in arms))
    return field_reddening(own, level, options.ebv_error, known, fit=options.reddening == "fit"), scored


@dataclass(frozen=True, eq=False)
class _Posterior:
    """Of one star over templates: its strongest members, their shares, the best, and mean offsets of all (mag)."""

    members: NDArray[np.int64]
    share: NDArray[np.float64]
    best: int
    mean: NDArray[np.float64]
    residual: NDArray[np.float64]

    @classmethod
    def of(cls, chi2: NDArray[np.float64], photometry: Photometry, weight: float) -> _Posterior:
        """Of scaled chi-squares (n_t,), NaN for templates that are not candidates, and magnitudes."""
        mean, residual, colour = photometry.offsets()
        total = np.nan_to_num(chi2, nan=np.inf) + weight * colour
        share = np.exp(-0.5 * (total - total.min()))
        members = np.argpartition(-share, min(MOST_MEMBERS, share.size - 1))[:MOST_MEMBERS]
        # Denormal weights would cost time and change nothing.
        members = members[share[members] > 1e-6]
        return cls(members, share[members] / share[members].sum(), int(np.argmax(share)), mean, residual)

    def scaled(self, spectra: Mapping[int, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Spectra (n_members, n_pix) of the members, each at the scale of its magnitudes."""
        return np.stack([spectra[int(m)] for m in self.members]) * 10 ** (0.4 * self.mean[self.members])[:, None]


def _describe(
    arms: Sequence[StarFit],
    frames: Sequence[Frame],
    chi2: NDArray[np.float64],
    dof: int,
    photometry: tuple[Photometry, Photometry],
    names: tuple[str, ...],
    prepared: Sequence[Prepared],
    options: Options,
) -> list[StarFit]:
    """Posterior of a star over templates, then the mean model in physical units on its pixels in each arm.

    ``photometry`` is that at the E(B-V) which is used, and at one that is larger by its error.
    """
    # The spectrum's chi-square is divided by its reduced minimum: templates are never perfect.
    reduced = max(float(np.nanmin(chi2)) / max(dof, 1), 1.0)
    field, ebv, seen = arms[0].reddening, arms[0].ebv, photometry[0]
    assert field is not None
    at, dusty = (_Posterior.of(chi2 / reduced, p, options.photometric_weight) for p in photometry)
    native = prepared[0].native
    teff, logg, feh = (at.share @ native.parameters[at.members])[:3]
    colour_rms = float(np.sqrt(np.mean((at.share @ at.residual[at.members]) ** 2))) if at.residual.shape[1] > 1 else 0.0
    scale_error = float(1 / np.sqrt(np.sum(1 / seen.error**2)))
    found: dict[str, Any] = {
        "status": StarStatus.COLOUR_OUTLIER if colour_rms > options.colour_limit else StarStatus.USED,
        "teff": float(teff), "logg": float(logg), "feh": float(feh), "template": native.label[at.best],
        "chi2": float(chi2[at.best]), "dof": dof, "scale": float(10 ** (0.4 * at.mean[at.best])),
        "scale_error": scale_error, "colour_residual": colour_rms,
        "bands": tuple(names[b] for b in seen.index),
        "dropped_bands": tuple(n for b, n in enumerate(names) if b not in seen.index),
    }  # fmt: skip
    made, more = [], np.setdiff1d(dusty.members, at.members)
    for star, frame, own in zip(arms, frames, prepared, strict=True):
        wave = frame.wavelength[star.fibre]
        spectra = _spectra(star, frame, np.concatenate([at.members, more]), own)
        model, variance, modes = _model(spectra, at, redden(wave, ebv, options.law))
        modes = np.concatenate([np.full((1, model.size), 0.4 * np.log(10) * scale_error), modes])
        dust = np.zeros(model.size)
        if field.error > 0:
            dust = np.log((dusty.share @ dusty.scaled(spectra)) * redden(wave, ebv + field.error, options.law) / model)
        found |= {"model": model, "model_variance": variance, "model_modes": modes, "dust": dust}
        made.append(replace(star, **found, mismatch=own.mismatch.errors(wave)))
    return made


def _spectra(
    star: StarFit, frame: Frame, members: NDArray[np.int64], prepared: Prepared
) -> dict[int, NDArray[np.float64]]:
    """Templates on a star's pixels (n_pix,) at its velocity, in the library's units, by their numbers."""
    moved = prepared.wavelength * (1 + star.rv / C_KMS)
    physical = np.asarray(prepared.flux[members], dtype=float) * prepared.scale[members][:, None]
    return dict(zip(members.tolist(), resample(moved, physical, frame.wavelength[star.fibre]), strict=True))


def _model(
    spectra: Mapping[int, NDArray[np.float64]], posterior: _Posterior, dust: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean model (n_pix,), its independent variance, and the two strongest modes of ln model over the posterior."""
    scaled, share = posterior.scaled(spectra) * dust, posterior.share
    mean = share @ scaled
    deviation = np.log(scaled / mean) * np.sqrt(share)[:, None]
    modes = np.zeros((2, mean.size))
    if len(share) > 1:
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
