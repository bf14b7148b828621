"""E(B-V) of a field from its standard stars, with the value of the map as the prior.

Where the continuum is free, lines tell the temperature of a star whatever the dust, and its magnitudes then tell the
dust: star s gives e_s, the mean of its E(B-V) minus that of the map over templates t,

    L_s(e) = sum_t exp(-1/2 [chi2_t / reduced + sum_b (m_tb(E_map + e) - m_b - mean)^2 / sigma_b^2]).

The stars' values are averaged robustly. The prior of the map is N(0, sigma_map) with probability 1 - WRONG and a
broad N(0, BROAD) with probability WRONG, so that a map that is wrong gives way instead of being averaged in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.core.robust import huber_weights, mad_sd

#: Error of E(B-V) of a map where none is stated: this, and this fraction of it, in quadrature (the noise of
#: Schlegel, Finkbeiner & Davis 1998, ApJ 500, 525, section 6, is 16 per cent of single reddenings).
MAP_ERROR, MAP_FRACTION = 0.01, 0.1
#: Probability that a map is wrong by more than its error, and how wrong it may be then, mag.
WRONG, BROAD = 0.1, 0.15
#: What lines of templates are wrong by, as E(B-V): star by star, and common to all (CALSPEC stars that the library's
#: correction did not know differ by so much: ``benchmarks/fluxcal_reddening.py``). Without the lines below BLUE
#: Angstrom temperatures are worse: stars of AAOmega's red arm err by -0.08 in common.
STAR_FLOOR, COMMON_FLOOR, RED_FLOOR, BLUE = 0.03, 0.02, 0.08, 4400.0
#: Stars and templates that the fit uses at most, and offsets that it tries, mag.
MOST_STARS, MOST_TEMPLATES = 12, 1500
OFFSETS = np.arange(-0.3, 0.8001, 0.01)
#: Step of the posterior, mag.
STEP = 0.0005


@dataclass(frozen=True)
class FieldReddening:
    """E(B-V) of a field: what the map says, what its stars say, and what is used; mag.

    ``map`` is the mean over the stars (NaN without a map); ``stars`` and ``stars_error`` come from the stars alone, NaN
    if they do not tell; ``offset`` was added to the map's value of each star, with ``error``.
    """

    map: float
    map_error: float
    stars: float
    stars_error: float
    offset: float
    error: float
    fitted: bool

    @property
    def used(self) -> float:
        """The mean E(B-V) that is used."""
        return float(np.nan_to_num(self.map)) + self.offset

    @property
    def disagrees(self) -> bool:
        """Whether the stars contradict the map by three standard deviations."""
        apart = abs(self.stars - self.map)
        return bool(apart > 3 * np.hypot(self.stars_error, self.map_error))

    def __str__(self) -> str:
        told = f"E(B-V) = {self.used:.3f} +/- {self.error:.3f}"
        source = "no map" if np.isnan(self.map) else f"map {self.map:.3f}"
        own = "" if np.isnan(self.stars) else f", stars {self.stars:.3f} +/- {self.stars_error:.3f}"
        return f"{told} ({source}{own})"


def star_estimates(
    chi2: NDArray[np.float64], reduced: NDArray[np.float64], colour: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each star's offset and its standard deviation at :data:`OFFSETS`; NaN where the offsets do not enclose it.

    ``chi2`` (n_star, n_t) of spectra, ``reduced`` (n_star,) what it is divided by, ``colour`` for each star (n_e, n_t).
    """
    mean, sd = np.full(len(chi2), np.nan), np.full(len(chi2), np.nan)
    for s, of_colour in enumerate(colour):
        total = (chi2[s] / reduced[s])[None, :] + of_colour
        share = np.exp(-0.5 * (total - np.nanmin(total)))
        density = np.nansum(share, axis=1)
        density /= density.sum()
        centre = float(density @ OFFSETS)
        width = float(np.sqrt(density @ (OFFSETS - centre) ** 2))
        if max(density[0], density[-1]) < 1e-3 * density.max():
            mean[s], sd[s] = centre, width
    return mean, sd


def average(mean: NDArray[np.float64], sd: NDArray[np.float64], first: float) -> tuple[float, float]:
    """The robust mean of the stars' offsets and its error, from spectra that begin at ``first`` Angstrom; NaN without
    a star that tells.
    """
    known = np.isfinite(mean)
    if not known.any():
        return float("nan"), float("nan")
    values, width = mean[known], np.hypot(sd[known], STAR_FLOOR)
    centre = float(np.median(values))
    for _ in range(20):
        weight = huber_weights((values - centre) / width, 1.5) / width**2
        centre = float(np.sum(weight * values) / weight.sum())
    scatter = max(float(mad_sd((values - centre) / width)), 1.0) if values.size > 2 else 1.0
    return centre, float(np.hypot(scatter / np.sqrt(weight.sum()), COMMON_FLOOR if first < BLUE else RED_FLOOR))


def posterior(own: float, own_error: float, level: float, map_error: float, known: bool) -> tuple[float, float]:
    """Mean and standard deviation of the offset given the stars' own and the prior of the map.

    ``level`` is the map's E(B-V): a broad prior allows no negative E(B-V). Without a map (``known`` false) the broad
    prior is all there is.
    """
    offset = np.arange(-max(4 * map_error, level) - 0.05, 0.8, STEP)
    core = np.exp(-0.5 * (offset / map_error) ** 2) / map_error
    # The broad part loses what lies below E(B-V) = 0, and is normalised again.
    broad = np.where(offset + level >= 0, np.exp(-0.5 * (offset / BROAD) ** 2) / BROAD, 0.0)
    broad *= np.sqrt(2 * np.pi) / (broad.sum() * STEP)
    prior = (1 - WRONG) * core + WRONG * broad if known else broad
    if np.isfinite(own):
        prior = prior * np.exp(-0.5 * ((offset - own) / own_error) ** 2)
    prior /= prior.sum()
    mean = float(prior @ offset)
    return mean, float(np.sqrt(prior @ (offset - mean) ** 2))


def field_reddening(
    own: tuple[float, float], level: float, stated_error: float | None, known: bool, fit: bool
) -> FieldReddening:
    """Put together what the map and the stars say; without ``fit`` the map's value is used, with its error."""
    map_error = float(np.hypot(MAP_ERROR, MAP_FRACTION * level)) if stated_error is None else stated_error
    stars, error = own
    offset, used_error = (0.0, map_error)
    if fit:
        offset, used_error = posterior(stars, error, level, map_error, known)
    offset = max(offset, -level)
    return FieldReddening(level if known else float("nan"), map_error, level + stars, error, offset, used_error, fit)
