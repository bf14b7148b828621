"""The closed form: areas and fluxes when the variances are known, and what the prior contributes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.elimination import column_variances, eliminate, factor_columns, solve_columns
from crosscal.concordance.priors import AreaPrior
from crosscal.concordance.types import Comparison
from crosscal.core.errors import InputError

Floats = NDArray[np.float64]
NO_TIMES = np.empty(0)


@dataclass(frozen=True, eq=False)
class AreaPosterior:
    """Gaussian posterior of the areas (B, or B and drifts) for known variances.

    Attributes
    ----------
    mean : array (K,)
    covariance : array (K, K)
    precision : array (K, K)
        S_B = T + diag_i(sum_j p_ij) - P diag_j(1 / sum_i p_ij) P'.
    prior_precision : array (K, K)
        T.
    log_evidence : float
        Log marginal likelihood up to constants that depend on neither variances nor data shape.
    flux_mean, flux_sd : arrays (M,)
        Posterior of G.

    Examples
    --------
    >>> posterior = concordance.closed_form(data, prior, variance)  # doctest: +SKIP
    >>> posterior.mean, posterior.covariance  # doctest: +SKIP
    """

    mean: Floats
    covariance: Floats
    precision: Floats
    prior_precision: Floats
    log_evidence: float
    flux_mean: Floats
    flux_sd: Floats

    @property
    def influence(self) -> Floats:
        """Sensitivity of the posterior mean to the prior mean, D = S_B^-1 T, shape (K, K)."""
        return self.covariance @ self.prior_precision


def times_of(data: Comparison, drift: bool) -> Floats:
    """Return times of the cells relative to their mean, or an empty array without drift.

    Raises
    ------
    InputError
        If drift is asked for and the data have no times, or all times are equal.
    """
    if not drift:
        return NO_TIMES
    if data.time is None:
        raise InputError("drift needs times", where=data.label, expected="a time for each measurement")
    times = data.time - data.time.mean()
    if np.ptp(times) == 0:
        raise InputError("all times are equal", where=data.label, expected="different times, for drift")
    return times


def with_drift(prior: AreaPrior, drift_sd: float | None) -> tuple[Floats, Floats]:
    """Return prior precision and information vector T b of (B,) or of (B, D) with D ~ N(0, drift_sd^2)."""
    information = prior.precision @ np.where(prior.flat, 0.0, prior.mean)
    if drift_sd is None:
        return prior.precision, information
    if not drift_sd > 0:
        raise InputError(f"drift sd {drift_sd:g}", where="prior of the drift", expected="a positive number")
    n = len(information)
    precision = np.zeros((2 * n, 2 * n))
    precision[:n, :n] = prior.precision
    precision[n:, n:] = np.eye(n) / drift_sd**2
    return precision, np.concatenate([information, np.zeros(n)])


def closed_form(
    data: Comparison,
    prior: AreaPrior,
    variance: Floats,
    *,
    link: Floats | None = None,
    drift_sd: float | None = None,
    fluxes: bool = True,
) -> AreaPosterior:
    """Return the exact posterior of areas and fluxes for known variances of the cells.

    Parameters
    ----------
    data : Comparison
    prior : AreaPrior
    variance : array (n_cells,)
        s_ij of each cell.
    link : array (M,), optional
        Precision of G_j - G_{j-1}; zero where unlinked (see `variability.links`).
    drift_sd : float, optional
        Prior standard deviation of a linear drift of B per unit of time; None for no drift.
    fluxes : bool
        Compute ``flux_mean`` and ``flux_sd``, which costs O(cells x channels); else they are empty.

    Raises
    ------
    InputError
        If the areas are not identified (an unanchored component).

    Notes
    -----
    Chen et al. 2019 (JASA 114, 1018), section 3, in the exact form with G eliminated and the mean term -s/2.

    Examples
    --------
    >>> posterior = concordance.closed_form(data, concordance.make_prior(data, 0.05), variance)  # doctest: +SKIP
    """
    data.require_logarithms()
    t = times_of(data, drift_sd is not None)
    precision, information = with_drift(prior, drift_sd)
    links = np.zeros(data.n_columns) if link is None else np.asarray(link, dtype=float)
    p = 1.0 / np.asarray(variance, dtype=float)
    z = data.log_rate + data.half * np.asarray(variance, dtype=float)
    d, l = factor_columns(data.indptr, p, links)
    s, h, quadratic = eliminate(data.indptr, data.row, t, p, z, d, l, precision, information)
    s = np.tril(s) + np.tril(s, -1).T
    log_determinant = np.linalg.slogdet(s)[1]
    # Without an anchor the common mode has no precision but rounding's, about 1e-16 after scaling.
    scale = 1 / np.sqrt(np.maximum(np.diag(s), 1e-300))
    if not np.linalg.eigvalsh(s * np.outer(scale, scale))[0] > 1e-14:
        raise InputError("the areas are not identified", where=data.label, expected="an anchor in each component")
    covariance = np.linalg.inv(s)
    covariance = 0.5 * (covariance + covariance.T)
    mean = covariance @ h
    used = links[links > 0]
    evidence = 0.5 * (h @ mean - log_determinant - quadratic + np.log(p).sum() - np.log(d).sum() + np.log(used).sum())
    flux_mean, flux_sd = _fluxes(data, t, p, z, d, l, mean, covariance) if fluxes else (np.empty(0), np.empty(0))
    return AreaPosterior(mean, covariance, s, precision, float(evidence), flux_mean, flux_sd)


def _fluxes(data, t, p, z, d, l, mean, covariance) -> tuple[Floats, Floats]:
    m = data.n_columns
    g, forward, own = np.empty(m), np.empty(m), np.empty(m)
    column_variances(d, l, own)
    root = np.linalg.cholesky(covariance)
    nothing = np.zeros(data.n_cells)
    for k in range(len(mean)):
        # G answers linearly to the areas: each principal direction of their covariance adds its square.
        solve_columns(data.indptr, data.row, t, p, nothing, d, l, np.ascontiguousarray(root[:, k]), False, g, forward)
        own += g**2
    solve_columns(data.indptr, data.row, t, p, z, d, l, mean, False, g, forward)
    return g.copy(), np.sqrt(own)


def prior_weight(tau: ArrayLike, n_cells: ArrayLike, mean_variance: ArrayLike) -> Floats:
    """Return the published prior influence W_i = tau_i^-2 / (tau_i^-2 + n_i / s_i), shape (N,).

    tau_i is ``tau``, n_i is ``n_cells``, s_i is ``mean_variance``. It takes the fluxes as known and so understates the
    prior; see `AreaPosterior.influence` for the exact one. Chen et al. 2019, eq. 8 (tables 1 and 2 print W although
    their caption says 1 - W).

    Examples
    --------
    >>> concordance.prior_weight(tau=0.05, n_cells=94, mean_variance=0.002)  # doctest: +SKIP
    """
    return 1.0 / (1.0 + np.asarray(n_cells) * np.square(tau) / np.asarray(mean_variance))


def shrinkage_areas(data: Comparison, prior: AreaPrior, variance: Floats, fluxes: Floats) -> Floats:
    """Return B_i = W_i b_i + (1 - W_i) mean_j (y_ij + s_i/2 - G_j), the shrinkage form for given fluxes, shape (N,).

    ``variance`` has one entry per channel, ``prior`` gives b and W. With the fluxes of `closed_form` this is the exact
    posterior mean for diagonal L. Chen et al. 2019, eqs 7-8.

    Examples
    --------
    >>> concordance.shrinkage_areas(data, prior, variance, fluxes)  # doctest: +SKIP
    """
    s = np.asarray(variance, dtype=float)
    residual = data.log_rate + 0.5 * s[data.row] - np.asarray(fluxes)[data.column]
    average = np.bincount(data.row, residual, data.n_channels) / data.per_channel
    weight = prior_weight(prior.tau, data.per_channel, s)
    return weight * prior.mean + (1 - weight) * average


def shrinkage_fluxes(data: Comparison, variance: Floats, areas: Floats) -> Floats:
    """Return G_j = sum_i p_i (y_ij + s_i/2 - B_i) / sum_i p_i for given areas, p_i = 1 / s_i, shape (M,).

    ``variance`` s has one entry per channel. Chen et al. 2019, eq. 9.

    Examples
    --------
    >>> concordance.shrinkage_fluxes(data, variance, areas)  # doctest: +SKIP
    """
    s = np.asarray(variance, dtype=float)[data.row]
    residual = data.log_rate + 0.5 * s - np.asarray(areas)[data.row]
    weight = np.bincount(data.column, 1 / s, data.n_columns)
    return np.bincount(data.column, residual / s, data.n_columns) / weight
