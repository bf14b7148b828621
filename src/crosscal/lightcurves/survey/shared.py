"""A prior that the sources of a survey share: the distribution of each telescope's factors over the sources.

Let x = (ln phi, G / level) of one telescope (and filter, which is part of its name) at source i, with ``level`` the
divisor of the reference's fluxes. Its own data give x_i +/- C_i under flat priors, nearly normal. If the factors of all
sources come from N(mu, T), their mean and scatter follow from maximising prod_i N(x_i; mu, T + C_i) by expectation and
maximisation (Dempster, Laird & Rubin 1977), and each source gets the posterior of precision C^-1 + T'^-1, where T' is T
with what is uncertain about mu and T themselves. All telescopes of a source are updated together. The logarithm of the
error scale, where it is fitted, is treated alike, by itself. A source with many points hardly moves; one with few takes
the factors of the others. Wrong where sources differ for a reason, such as their colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.lightcurves.survey.one import Record

Floats = NDArray[np.float64]

#: A telescope of fewer sources has no population.
LEAST_SOURCES = 10
_ROUNDS, _CONVERGED = 500, 1e-5


@dataclass(frozen=True, eq=False)
class Population:
    """The distribution of one telescope's factors over the sources of a survey.

    Attributes
    ----------
    telescope : str
    sources : int
        Sources it was estimated from.
    mean, covariance : arrays (2,), (2, 2)
        Of ln scale and shift per unit flux.
    ln_errscale : tuple of float, or None
        Mean and standard deviation of ln of the error scale, where that is fitted.
    """

    telescope: str
    sources: int
    mean: Floats
    covariance: Floats
    ln_errscale: tuple[float, float] | None = None

    @property
    def sentence(self) -> str:
        """The population in words."""
        scatter = np.sqrt(np.diag(self.covariance))
        text = (
            f"{self.telescope}: ln scale {self.mean[0]:.3g} with a scatter of {scatter[0]:.2g}, shift per unit flux "
            f"{self.mean[1]:.3g} with {scatter[1]:.2g}"
        )
        if self.ln_errscale is not None:
            text += f", ln error scale {self.ln_errscale[0]:.2g} with {self.ln_errscale[1]:.2g}"
        return f"{text} ({self.sources} sources)"


def random_effects(x: Floats, C: Floats) -> tuple[Floats, Floats]:
    """Maximise prod_i N(x_i; mu, T + C_i) for values (n, d) with covariances (n, d, d); return mu and a prior's T'.

    T' = T + cov(mu) + one standard error of each variance of T, sqrt(2 / sum_i (T + C_i)^-2): few sources tell T badly,
    and too small a scatter would make intervals too narrow.
    """
    n, d = x.shape
    mu = np.mean(x, axis=0)
    T = np.atleast_2d(np.cov(x, rowvar=False)) + 1e-12 * np.eye(d)
    for _ in range(_ROUNDS):
        gain = T @ np.linalg.inv(T + C)
        best = mu + np.einsum("nab,nb->na", gain, x - mu)
        V = T - gain @ T
        centre = best.mean(axis=0)
        off = best - centre
        new = V.mean(axis=0) + off.T @ off / n
        new = 0.5 * (new + new.T)
        change = np.max(np.abs(new - T)) / np.max(np.abs(T))
        mu, T = centre, new
        if change < _CONVERGED:
            break
    of_mean = np.linalg.inv(np.sum(np.linalg.inv(T + C), axis=0))
    own = np.diagonal(T + C, axis1=1, axis2=2)
    return mu, T + of_mean + np.diag(np.sqrt(2.0 / np.sum(own**-2.0, axis=0)))


def populations(records: tuple[Record, ...], usable: NDArray[np.bool_]) -> tuple[Population, ...]:
    """Estimate the population of each telescope that is not the reference, over the usable sources."""
    found: dict[str, list[tuple[Floats, Floats]]] = {}
    scales: dict[str, list[tuple[float, float]]] = {}
    for record, use in zip(records, usable, strict=True):
        if not use:
            continue
        covariance, k = np.array(record["log_covariance"]), len(record["codes"])
        for i, code in enumerate(record["codes"]):
            at = [i, k + i]
            own = covariance[np.ix_(at, at)]
            if np.all(np.diag(own) > 0):
                found.setdefault(code, []).append((np.array(record["log_mean"])[at], own))
            if record["ln_errscale_sd"][i] > 0:
                scales.setdefault(code, []).append((record["ln_errscale"][i], record["ln_errscale_sd"][i]))
    made = []
    for code, values in found.items():
        if len(values) < LEAST_SOURCES:
            continue
        mean, T = random_effects(np.array([v for v, _ in values]), np.array([c for _, c in values]))
        of_errors = None
        if len(some := np.array(scales.get(code, []))) >= LEAST_SOURCES:
            centre, spread = random_effects(some[:, :1], some[:, 1:, None] ** 2)
            of_errors = (float(centre[0]), float(np.sqrt(spread[0, 0])))
        made.append(Population(code, len(values), mean, T, of_errors))
    return tuple(made)


def with_prior(record: Record, known: tuple[Population, ...]) -> Record:
    """Return the record of a source with the shared prior of its telescopes; its own factors are under "alone".

    ``population_share`` is the share of the information on ln scale that comes from the prior.
    """
    k, by_code = len(record["codes"]), {one.telescope: one for one in known}
    x, C = np.array(record["log_mean"]), np.array(record["log_covariance"])
    chosen = [i for i, code in enumerate(record["codes"]) if code in by_code and C[i, i] > 0 and C[k + i, k + i] > 0]
    if not chosen:
        return {**record, "population_share": [0.0] * k}
    mu, T = x.copy(), np.zeros_like(C)
    for i in chosen:
        at = np.array([i, k + i])
        mu[at], T[np.ix_(at, at)] = by_code[record["codes"][i]].mean, by_code[record["codes"][i]].covariance
    places = np.array([*chosen, *(k + i for i in chosen)])
    # Telescopes without a population keep their own values, and follow those that they are correlated with.
    sub = np.ix_(places, places)
    gain = C[:, places] @ np.linalg.inv(C[sub] + T[sub])
    new, V = x + gain @ (mu - x)[places], C - gain @ C[places]
    V = 0.5 * (V + V.T)
    level, log_scale = record["level"], new[:k]
    scale = np.where(np.diag(C)[:k] > 0, np.exp(log_scale + 0.5 * np.diag(V)[:k]), record["scale"])
    slope = np.concatenate([scale, np.full(k, level)])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(np.diag(C)[:k] > 0, 1.0 - np.diag(V)[:k] / np.diag(C)[:k], 0.0)
    covariance = slope[:, None] * V * slope
    covariance[:k, :k] = scale[:, None] * np.expm1(V[:k, :k]) * scale
    kept = ("scale", "shift", "covariance", "errscale")
    return {
        **record, "scale": scale.tolist(), "shift": (level * new[k:]).tolist(), "covariance": covariance.tolist(),
        "errscale": _error_scales(record, by_code), "population_share": np.clip(share, 0.0, 1.0).tolist(),
        "alone": {name: record[name] for name in kept},
    }  # fmt: skip


def _error_scales(record: Record, by_code: dict[str, Population]) -> list[float]:
    """Means of the error scales with the prior of their logarithms."""
    found = []
    for i, code in enumerate(record["codes"]):
        one, sd = by_code.get(code), record["ln_errscale_sd"][i]
        if one is None or one.ln_errscale is None or not sd > 0:
            found.append(record["errscale"][i])
            continue
        mean, spread = one.ln_errscale
        variance = 1.0 / (1.0 / sd**2 + 1.0 / spread**2)
        value = variance * (record["ln_errscale"][i] / sd**2 + mean / spread**2)
        found.append(float(np.exp(value + 0.5 * variance)))
    return found
