"""What residuals tell: a drift that was not asked for, and whether Student-t errors predict the data better."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp
from scipy.stats import norm

from crosscal.concordance.algebra import closed_form
from crosscal.concordance.chains import Draws
from crosscal.concordance.model import Model
from crosscal.concordance.types import Comparison

Floats = NDArray[np.float64]
#: Tests of single cells are made up to so many.
MOST_CELLS, MOST_CHANNELS = 2_000_000, 100
#: A drift is told below this p-value, over the number of channels.
DRIFT_LIMIT = 1e-3
#: Student-t errors are recommended where their score is better by so much, and by so many standard errors.
BETTER, CERTAIN = 4.0, 2.0
#: Degrees of freedom of the Student-t errors that are compared.
NU = 4.0
#: Largest number of cells whose noise is compared, and half-width and points of the grid over each flux, in its sd.
MOST_SCORED, REACH, POINTS = 200_000, 6.0, 61


@dataclass(frozen=True)
class NoiseScore:
    """Leave-one-out log score of Student-t errors minus that of Gaussian ones, with its standard error."""

    difference: float
    error: float

    @property
    def prefers_t(self) -> bool:
        """Whether Student-t errors predict the measurements better for certain."""
        return self.difference > max(BETTER, CERTAIN * self.error)


@dataclass(frozen=True, eq=False)
class Drifts:
    """Drift of each channel relative to the others per unit of time, its standard deviation, p-value: (N,) each."""

    slope: Floats
    sd: Floats
    p_value: Floats


def linear_data(model: Model, found: Draws) -> tuple[Comparison, Floats]:
    """Measurements as ln fluxes with their variances, limits left out; fluxes are linear about the fitted ones."""
    data, n = model.data, model.data.n_channels
    s = np.zeros(n) if found.s is None else found.s.reshape(-1, n).mean(axis=0)
    if not model.in_flux:
        return data, model.variance.cells(data, s)
    assert data.flux is not None
    assert data.flux_low is not None
    assert data.flux_high is not None
    assert found.flux_mean is not None
    level = found.b.reshape(-1, n).mean(axis=0)[data.row] + found.flux_mean[data.column]
    mu = np.exp(level)
    variance = (np.where(data.flux > mu, data.flux_low, data.flux_high) / mu) ** 2 + s[data.row]
    y = level + (data.flux - mu) / mu - data.half * variance
    measured = np.ones(data.n_cells, bool) if data.limit is None else data.limit == 0
    return replace(data, log_rate=y).take(measured), variance[measured]


def drifts(model: Model, found: Draws) -> Drifts | None:
    """Test each channel for a linear drift relative to the others.

    The drifts D_i of B are fitted with the areas at the variances found, under a prior that lets ln A change by about
    one over the time spanned. Returns None without different times, for counts, and where sources vary or drift is
    fitted already.
    """
    data = model.data
    fitted = model.drift_sd is not None or model.varying or model.poisson
    if data.time is None or fitted or np.ptp(data.time) == 0 or data.n_channels < 2:
        return None
    if data.n_cells > MOST_CELLS or data.n_channels > MOST_CHANNELS:
        return None
    linear, variance = linear_data(model, found)
    n = linear.n_channels
    if n < data.n_channels:
        return None
    # Additive values move by as much as they span.
    size = float(np.ptp(linear.log_rate)) or 1.0 if data.additive else 1.0
    exact = closed_form(linear, model.prior, variance, drift_sd=size / float(np.ptp(data.time)), fluxes=False)
    contrast = np.zeros((n, n))
    for k in range(int(model.components.max()) + 1):
        inside = np.flatnonzero(model.components == k)
        contrast[np.ix_(inside, inside)] = np.eye(len(inside)) - 1.0 / len(inside)
    slope = contrast @ exact.mean[n:]
    sd = np.sqrt(np.maximum(np.diag(contrast @ exact.covariance[n:, n:] @ contrast.T), 1e-300))
    lonely = np.bincount(model.components)[model.components] < 2
    p = np.where(lonely, np.nan, 2 * norm.sf(np.abs(slope) / sd))
    return Drifts(slope, sd, p)


def drift_warning(model: Model, tested: Drifts | None) -> tuple[str, ...]:
    """Name the instrument that drifts most, and what fits it."""
    if tested is None or not np.any(tested.p_value * model.data.n_channels < DRIFT_LIMIT):
        return ()
    data = model.data
    bad = np.flatnonzero(tested.p_value * data.n_channels < DRIFT_LIMIT)
    worst = bad[np.argmax(np.abs(tested.slope[bad]) / tested.sd[bad])]
    unit = data.time_unit or "unit of time"
    what = f" {data.flux_unit}".rstrip() if data.additive else " %"
    size = 1.0 if data.additive else 100.0
    others = f" ({len(bad) - 1} others drift too)" if len(bad) > 1 else ""
    sentence = (
        f"{data.channel_names[worst]} drifts by {size * tested.slope[worst]:+.2g} +/- {size * tested.sd[worst]:.1g}"
        f"{what} per {unit} relative to the mean of all{others}, but the fit has no drift: set drift = "
        f"{2 * abs(tested.slope[worst]):.1g} (the prior standard deviation per unit of time) to fit it."
    )
    return (sentence,)


def noise_score(model: Model, found: Draws) -> NoiseScore | None:
    """Compare Gaussian with Student-t errors by how they predict each measurement from the others of its source.

    The score of cell c of source j is ln of the ratio of Z_j, the integral over the flux of the product of all
    densities of the source's measurements, to the same without c; areas and scatter are those of the fit, and for
    Student-t errors those of their own maximum. Returns None for counts, varying sources, and many or few cells.
    """
    data = model.data
    if model.noise not in ("log-normal", "gaussian-flux") or model.varying or data.n_cells > MOST_SCORED:
        return None
    linear, variance = linear_data(model, found)
    usable = np.diff(linear.indptr)[linear.column] > 1
    if linear.n_channels < data.n_channels or np.sum(usable) < 20:
        return None
    n = linear.n_channels
    b = found.b.reshape(-1, n).mean(axis=0)
    z = linear.log_rate + linear.half * variance - b[linear.row]
    if found.drift is not None:
        assert linear.time is not None
        assert data.time is not None
        z = z - found.drift.reshape(-1, n).mean(axis=0)[linear.row] * (linear.time - data.time.mean())
    quoted = None if model.variance.kind == "unknown" else variance
    shifted, scale = _student(linear, z, variance, quoted)
    gain = _scores(linear, shifted, scale, NU)[usable] - _scores(linear, z, variance, np.inf)[usable]
    return NoiseScore(float(gain.sum()), float(np.sqrt(len(gain)) * gain.std(ddof=1)))


def _student(data: Comparison, z: Floats, variance: Floats, quoted: Floats | None) -> tuple[Floats, Floats]:
    """Residuals and squared scales of Student-t errors at their maximum, by reweighted means (n_cells,) each.

    Areas move; scales are common factors of each channel, at most 1 where errors are quoted.
    """
    n, factor, shift = data.n_channels, np.ones(data.n_channels), np.zeros(data.n_channels)
    weight = np.ones(data.n_cells)
    for _ in range(40):
        scale = variance * factor[data.row]
        p = weight / scale
        total = np.bincount(data.column, p, data.n_columns)
        level = np.bincount(data.column, p * (z - shift[data.row]), data.n_columns) / total
        shift = np.bincount(data.row, p * (z - level[data.column]), n) / np.bincount(data.row, p, n)
        shift -= shift.mean()
        r = z - shift[data.row] - level[data.column]
        weight = (NU + 1) / (NU + r**2 / scale)
        # Each source's level takes part of the scatter with it.
        freedom = np.maximum(1 - p / total[data.column], 1e-3)
        factor = np.bincount(data.row, weight * r**2 / variance, n) / np.bincount(data.row, freedom, n)
        factor = np.clip(factor, 1e-2, 1e2 if quoted is None else 1.0)
    return z - shift[data.row], variance * factor[data.row]


def _scores(data: Comparison, z: Floats, scale: Floats, nu: float) -> Floats:
    """ln p(z_c | the other cells of its source) for errors of squared scale ``scale``, (n_cells,)."""
    p = 1 / scale
    centre = np.bincount(data.column, p * z, data.n_columns) / np.bincount(data.column, p, data.n_columns)
    width = np.sqrt(np.diff(data.indptr) / np.bincount(data.column, p, data.n_columns))
    farthest = np.zeros(data.n_columns)
    np.maximum.at(farthest, data.column, np.abs(z - centre[data.column]))
    half = REACH * width + farthest
    found = np.empty(data.n_cells)
    grid = np.linspace(-1.0, 1.0, POINTS)
    for block in np.array_split(np.arange(data.n_columns), max(1, data.n_columns // 20_000)):
        first, last = data.indptr[block[0]], data.indptr[block[-1] + 1]
        column = data.column[first:last] - block[0]
        g = centre[block][:, None] + half[block][:, None] * grid
        r = z[first:last, None] - g[column]
        v = scale[first:last, None]
        if np.isinf(nu):
            logs = -0.5 * (r**2 / v + np.log(2 * np.pi * v))
        else:
            constant = gammaln(0.5 * (nu + 1)) - gammaln(0.5 * nu)
            logs = constant - 0.5 * np.log(nu * np.pi * v) - 0.5 * (nu + 1) * np.log1p(r**2 / (nu * v))
        total = np.zeros((len(block), POINTS))
        np.add.at(total, column, logs)
        found[first:last] = logsumexp(total, axis=1)[column] - logsumexp(total[column] - logs, axis=1)
    return found
