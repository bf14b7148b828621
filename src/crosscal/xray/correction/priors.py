"""Priors of theta: how wrong an effective area may be before any source was compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError, UnknownNameError

#: Edges (keV) of the bands in which the instrument teams judged their effective areas.
BANDS = (0.15, 0.33, 0.54, 0.8, 1.2, 1.5, 1.8, 2.2, 3.5, 5.5, 10.0)

#: Fractional 1-sigma uncertainty of the effective area per band, in per cent; NaN where a team gave none.
#: Source: IACHEC calibration-uncertainty matrix, version of May 2024 (tau of Chen et al. 2019, JASA 114, 1018).
_N = float("nan")
TAU_PERCENT: dict[str, tuple[float, ...]] = {
    "acis": (3, 3, 3, 3, 2.6, 3, 3.3, 3.3, 4.9, 5),
    "mos": (20, 10, 6, 6, 6, 6, 6, 6, 6, 10),
    "pn": (2, 2, 2, 2, 2, 2, 2, 2, 2, 3),
    "nustar": (_N, _N, _N, _N, _N, _N, _N, _N, 4, 3),
    "rosat-pspc": (10, 10, 10, 10, 10, 10, 10, _N, _N, _N),
    "suzaku-xis1": (_N, 20, 15, 10, 10, 10, 15, 5, 5, 5),
    "suzaku-xis": (_N, _N, 15, 10, 10, 10, 15, 5, 5, 5),
    "swift-xrt": (_N, 15, 10, 7.5, 7.5, 7.5, 10, 5, 5, 5),
    "astrosat-sxt": (_N, 15, 15, 10, 10, 10, 10, 10, 10, 10),
    "default": (10, 10, 10, 10, 10, 10, 10, 10, 10, 10),
}

#: Fractional intrinsic scatter between telescopes (different regions, backgrounds): scale of a half-normal prior.
SCATTER_SCALE = 0.03
#: Uncertainty of the relative normalisation of two telescopes (ln): prior of the cross-norm.
CROSS_NORM_SD = 0.1


def tau(telescope: str, energy: ArrayLike) -> NDArray[np.float64]:
    """Return the fractional 1-sigma uncertainty of the effective area at ``energy`` (keV), shape of energy.

    Beyond a telescope's bands, the value of its nearest band.

    Raises
    ------
    UnknownNameError
        If there is no row for the telescope.
    """
    if telescope.lower() not in TAU_PERCENT:
        raise UnknownNameError("telescope", telescope, TAU_PERCENT, where="prior of the effective area")
    row = np.array(TAU_PERCENT[telescope.lower()])
    known = np.flatnonzero(np.isfinite(row))
    band = np.clip(np.searchsorted(BANDS, np.asarray(energy, dtype=float), side="right") - 1, known[0], known[-1])
    return row[band] / 100.0


def amplitude(telescope: str | float | None, low: float, high: float) -> float:
    """Return one prior sd for amplitudes in the band ``low`` to ``high`` keV: the rms of tau over ln E.

    ``telescope`` is a row of ``TAU_PERCENT``, a number (the fractional sd itself), or None for "default".
    """
    if isinstance(telescope, (int, float)):
        if not telescope > 0:
            raise InputError(f"prior sd {telescope:g}", where="prior of the effective area", expected="a number > 0")
        return float(telescope)
    energy = np.geomspace(low, high, 200)
    return float(np.sqrt(np.mean(tau(telescope or "default", energy) ** 2)))


def priors_of(
    modifier: Any,
    names: Sequence[str],
    domain: Mapping[str, tuple[float, float]],
    *,
    sd: float,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return one numpyro prior per varying parameter.

    Dimensionless parameters get a normal prior around the value at which nothing changes, with standard deviation
    ``sd`` (or the family's own, as for principal components), cut at the domain; energies and widths are uniform
    over the domain.

    Raises
    ------
    UnknownNameError
        If ``given`` names a parameter that does not vary.
    """
    import numpyro.distributions as dist

    for name in given or {}:
        if name not in names:
            raise UnknownNameError("parameter", name, names, where="priors")
    null = {} if modifier is None else dict(zip(modifier.names, modifier.null, strict=True))
    units = {} if modifier is None else {p.name: p.unit for p in modifier.parameters}
    own = getattr(modifier, "prior_covariance", None)
    widths = {} if own is None else dict(zip(modifier.names, np.sqrt(np.diag(own)), strict=True))
    priors = {}
    for name in names:
        low, high = domain[name]
        if given and name in given:
            priors[name] = given[name]
        elif name in null and not units[name]:
            limits = {k: v for k, v in (("low", low), ("high", high)) if np.isfinite(v)}
            kind = dist.TruncatedNormal if limits else dist.Normal
            priors[name] = kind(null[name], widths.get(name, sd), **limits)
        elif np.isfinite(low) and np.isfinite(high):
            priors[name] = dist.Uniform(low, high)
        else:
            raise InputError(
                f"{name} reaches {low:g} to {high:g}", where="priors", expected=f"a prior for {name!r} in priors="
            )
    return priors
