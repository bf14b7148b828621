"""Data from the model itself: for the demonstration, for tests, and for simulation-based calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.types import Comparison
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.keywords import keywords
from crosscal.core.random import generator

Floats = NDArray[np.float64]

_E0102 = (
    "RGS1", "MOS1", "MOS2", "pn", "ACIS-S3", "ACIS-I3", "HETG", "XIS0", "XIS1", "XIS2", "XIS3", "XRT-WT", "XRT-PC",
)  # fmt: skip
_EPIC = ("pn", "MOS1", "MOS2")


@dataclass(frozen=True)
class Published:
    """Shape and hyper-parameters of a published run.

    Attributes
    ----------
    instruments : tuple of str
    n_sources : int
    root_beta : float
        sqrt(beta) of the InverseGamma(1.5, beta) prior of the variances.
    reach : float
        Half-range of the log fluxes of the synthetic sources.
    """

    instruments: tuple[str, ...]
    n_sources: int
    root_beta: float
    reach: float


#: Chen et al. 2019, section 6 and tables 1, 2: the supernova remnant 1E 0102 (two lines of one element each), sources
#: of the 2XMM catalogue and bright AGN of the XMM cross-calibration sample (XCAL).
PUBLISHED = {
    "E0102_O": Published(_E0102, 2, 0.014, 0.3),
    "E0102_Ne": Published(_E0102, 2, 0.009, 0.3),
    "2XMM_hard": Published(_EPIC, 41, 0.116, 1.0),
    "2XMM_medium": Published(_EPIC, 41, 0.288, 1.0),
    "2XMM_soft": Published(_EPIC, 42, 0.148, 1.0),
    "XCAL_hard": Published(_EPIC, 94, 0.028, 1.0),
    "XCAL_medium": Published(_EPIC, 103, 0.093, 1.0),
    "XCAL_soft": Published(_EPIC, 108, 0.026, 1.0),
}


@dataclass(frozen=True, eq=False)
class Simulation:
    """Synthetic data with its truth.

    Attributes
    ----------
    data : Comparison
    b, s : arrays (N,)
        True log areas and variances (log-t: squared scales).
    g : array (M,)
        True log fluxes.

    Examples
    --------
    >>> case = concordance.simulate(3, 50, tau=0.05, seed=1)  # doctest: +SKIP
    >>> case.data, case.b  # doctest: +SKIP
    """

    data: Comparison
    b: Floats
    s: Floats
    g: Floats


@keywords
def simulate(
    n_instruments: int,
    n_sources: int,
    *,
    tau: ArrayLike = 0.05,
    df: float = 1.5,
    beta: float = 1e-3,
    sigma: ArrayLike | None = None,
    noise: str = "log-normal",
    nu: float = 4.0,
    quoted: ArrayLike | None = None,
    filled: float = 1.0,
    outliers: float = 0.0,
    outlier_size: float = 0.3,
    log_flux: ArrayLike | None = None,
    b: ArrayLike | None = None,
    mean_counts: float | None = None,
    instruments: Sequence[str] | None = None,
    seed: int = 0,
) -> Simulation:
    """Simulate a comparison.

    Parameters
    ----------
    n_instruments, n_sources : int
        N and M.
    tau : float or array (N,)
        Areas are drawn from N(0, tau^2) unless ``b`` is given.
    df, beta : float
        Variances are drawn from InverseGamma(df, beta) unless ``sigma`` (N,) is given.
    noise : "log-normal", "log-t", "poisson" or "gamma-poisson"
        In "gamma-poisson" s is the variance of the gamma factor.
    quoted : float or array (M, N), optional
        Quoted standard errors of y: noise of this size is added to that of s, and they are given with the data.
    filled : float
        Fraction of cells present, at random; each source and instrument keeps at least one.
    outliers, outlier_size : float
        Fraction of cells moved up or down by ``outlier_size`` in ln.
    log_flux : array (M,), optional
        Standard normal by default.
    mean_counts : float, optional
        For Poisson: expected counts per cell of a source of log flux 0.
    nu : float
        Degrees of freedom of log-t.
    instruments : sequence of str, optional
        Their names.

    Raises
    ------
    UnknownNameError
        If the noise is unknown.
    InputError
        If ``filled`` is not in (0, 1].

    Examples
    --------
    >>> case = concordance.simulate(3, 50, tau=0.05, outliers=0.1, seed=1)  # doctest: +SKIP
    """
    from crosscal.concordance.model import NOISES

    if noise not in NOISES:
        raise UnknownNameError("noise model", noise, NOISES)
    if not 0 < filled <= 1:
        raise InputError(f"filled = {filled:g}", where="simulation", expected="a fraction above 0, at most 1")
    rng = generator(seed, "concordance-simulation")
    n, m = n_instruments, n_sources
    areas = rng.normal(0.0, np.asarray(tau, dtype=float), n) if b is None else np.asarray(b, dtype=float)
    s = beta / rng.gamma(df, size=n) if sigma is None else np.broadcast_to(np.square(sigma), n).astype(float)
    g = rng.standard_normal(m) if log_flux is None else np.asarray(log_flux, dtype=float)
    names = list(instruments) if instruments is not None else [f"instrument {i + 1}" for i in range(n)]
    present = _pattern(rng, m, n, filled)
    mean = g[:, None] + areas
    if noise in ("poisson", "gamma-poisson"):
        factor = rng.gamma(1 / s, size=(m, n)) * s if noise == "gamma-poisson" else 1.0
        exposure = mean_counts or 100.0
        counts = rng.poisson(exposure * np.exp(mean) * factor)
        j, i = np.nonzero(present)
        data = Comparison.from_cells(
            np.array(names)[i],
            [f"source {k + 1}" for k in j],
            counts=counts[present],
            exposure=np.full(len(j), exposure),
            where="simulated counts",
        )
        return Simulation(data, areas, s, g)
    variance = np.broadcast_to(s, (m, n))
    if quoted is not None:
        variance = variance + np.broadcast_to(np.square(quoted), (m, n))
    if noise == "log-t":
        # A quoted error is the scale of the t distribution, sigma / sqrt(nu).
        variance = variance * (nu if quoted is not None else 1.0) / rng.chisquare(nu, (m, n))
    y = mean - 0.5 * variance + rng.standard_normal((m, n)) * np.sqrt(variance)
    if outliers > 0:
        y = y + outlier_size * rng.choice([-1.0, 1.0], (m, n)) * (rng.random((m, n)) < outliers)
    y = np.where(present, y, np.nan)
    errors = None if quoted is None else np.broadcast_to(np.square(quoted), (m, n))
    data = Comparison.from_matrix(y, instruments=names, variance=errors, label="simulated data")
    return Simulation(data, areas, s, g)


def _pattern(rng: np.random.Generator, m: int, n: int, filled: float) -> NDArray[np.bool_]:
    if filled == 1.0:
        return np.ones((m, n), bool)
    present = rng.random((m, n)) < filled
    empty = np.flatnonzero(~present.any(axis=1))
    present[empty, rng.integers(n, size=len(empty))] = True
    unused = np.flatnonzero(~present.any(axis=0))
    present[rng.integers(m, size=len(unused)), unused] = True
    return present


@keywords
def published_like(name: str, *, tau: float = 0.05, seed: int = 0) -> Simulation:
    """Simulate a data set of the shape and hyper-parameters of a published run (the originals are not public).

    Parameters
    ----------
    name : str
        A key of `PUBLISHED`.
    tau : float
        Areas are drawn from N(0, tau^2).

    Raises
    ------
    UnknownNameError
        If there is no such run; `PUBLISHED` lists them.

    Examples
    --------
    >>> case = concordance.published_like("XCAL_hard", tau=0.05, seed=8)  # doctest: +SKIP
    >>> result = concordance.fit(case.data, tau=0.05)  # doctest: +SKIP
    """
    if name not in PUBLISHED:
        raise UnknownNameError("published data set", name, PUBLISHED)
    facts = PUBLISHED[name]
    return simulate(
        len(facts.instruments),
        facts.n_sources,
        tau=tau,
        beta=facts.root_beta**2,
        log_flux=np.linspace(-facts.reach, facts.reach, facts.n_sources),
        instruments=facts.instruments,
        seed=seed,
    )
