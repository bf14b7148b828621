"""Variance models of the cells, their priors, and the published shrinkage of a variance."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.types import Comparison
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.robust import mad_sd

Floats = NDArray[np.float64]
Kind = Literal["quoted", "unknown", "quoted+excess"]
KINDS = ("quoted", "unknown", "quoted+excess")

#: Default scale of an excess variance: one percent, squared.
EXCESS_BETA = 1e-4


@dataclass(frozen=True, eq=False)
class VarianceModel:
    """How the variance s_ij of a cell is made.

    "quoted": s_ij = v_ij. "unknown": s_ij = s_i. "quoted+excess": s_ij = v_ij + s_i. In the last two
    s_i ~ InverseGamma(df, beta) per channel.

    Attributes
    ----------
    kind : str
    df, beta : arrays (N,)
    """

    kind: Kind
    df: Floats
    beta: Floats

    @property
    def unknown(self) -> bool:
        """Whether there are variances to sample."""
        return self.kind != "quoted"

    def cells(self, data: Comparison, s: Floats) -> Floats:
        """Variance of each cell for channel variances ``s`` (N,)."""
        if self.kind == "unknown":
            return s[data.row]
        assert data.variance is not None
        return data.variance if self.kind == "quoted" else data.variance + s[data.row]

    def drop(self, index: int) -> VarianceModel:
        """Return the model without one channel."""
        return VarianceModel(self.kind, np.delete(self.df, index), np.delete(self.beta, index))


def make_variance_model(
    data: Comparison,
    kind: str | None = None,
    *,
    df: ArrayLike = 1.5,
    beta: ArrayLike | None = None,
) -> VarianceModel:
    """Make a variance model for a comparison.

    Parameters
    ----------
    kind : str, optional
        "quoted+excess" by default where errors are quoted, else "unknown".
    df, beta : float or array (N,)
        Prior of s_i: InverseGamma(df, beta), density ~ s^(-df - 1) e^(-beta / s). By default beta is the median quoted
        variance (or the robust variance of the residuals, without quoted errors) for "unknown", and 1e-4 (one
        percent) for the excess.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    InputError
        If errors are needed and not quoted, or df or beta is not positive.
    """
    chosen = kind or ("quoted+excess" if data.variance is not None else "unknown")
    if chosen not in KINDS:
        raise UnknownNameError("variance model", chosen, KINDS)
    if chosen != "unknown" and data.variance is None:
        raise InputError(f"variance = {chosen!r} needs quoted errors", where=data.label, expected="an error column")
    if beta is None:
        beta = EXCESS_BETA if chosen == "quoted+excess" else default_beta(data)
    n = data.n_channels
    try:
        a, b = (np.broadcast_to(np.asarray(x, dtype=float), (n,)).copy() for x in (df, beta))
    except ValueError:
        raise InputError(
            "df and beta do not fit", where="prior of the variances", expected=f"1 or {n} values"
        ) from None
    if np.any(~(a > 0)) or np.any(~(b > 0)):
        raise InputError("df or beta is not positive", where="prior of the variances", expected="positive numbers")
    return VarianceModel(chosen, a, b)  # type: ignore[arg-type]


def default_beta(data: Comparison) -> float:
    """Return the typical variance of a cell: median quoted, else robust from residuals of row and column medians."""
    if data.variance is not None:
        return float(np.median(data.variance))
    y = np.where(np.isfinite(data.log_rate), data.log_rate, np.nan)
    level = np.bincount(data.column, np.nan_to_num(y), data.n_columns) / np.diff(data.indptr)
    r = y - level[data.column]
    order, start = data.by_channel
    centres = np.array([np.nanmedian(r[order[a:b]]) for a, b in pairwise(start)])
    r -= centres[data.row]
    seen = np.diff(data.indptr)[data.column]
    r = r[seen > 1] * np.sqrt(seen[seen > 1] / (seen[seen > 1] - 1.0))
    spread = float(mad_sd(r)) if len(r) else 0.0
    # Data that agree exactly still need a proper prior: one part in a thousand.
    return max(spread, 1e-3) ** 2


def starting_variances(data: Comparison, model: VarianceModel) -> Floats:
    """Rough s_i to start samplers from: the prior mode and the scatter about column means."""
    level = np.bincount(data.column, data.log_rate, data.n_columns) / np.diff(data.indptr)
    r = data.log_rate - level[data.column]
    r -= (np.bincount(data.row, r, data.n_channels) / data.per_channel)[data.row]
    scatter = np.bincount(data.row, r**2, data.n_channels)
    total = (scatter + 2 * model.beta) / (data.per_channel + 2 * model.df + 2)
    if model.kind == "quoted+excess":
        assert data.variance is not None
        total = total - np.bincount(data.row, data.variance, data.n_channels) / data.per_channel
    return np.maximum(total, model.beta / (model.df + 1))


def shrinkage_variance(residual_square: ArrayLike, n: ArrayLike, df: ArrayLike, beta: ArrayLike, *,
                       published: bool = False) -> Floats:  # fmt: skip
    """Return the conditional mode of a variance, 2 S^2 / (1 + sqrt(1 + kappa S^2)).

    S^2 = (sum r^2 + 2 beta) / (n + 2 df + 2) and kappa = n / (n + 2 df + 2), where r = y - B - G. It is exact for the
    generalised inverse Gaussian conditional; ``published`` sets kappa = 1 as in Chen et al. 2019, eq. 10.

    Parameters
    ----------
    residual_square : array
        sum_j (y_ij - B_i - G_j)^2.
    n : array
        Number of cells.
    """
    n, df = np.asarray(n, dtype=float), np.asarray(df, dtype=float)
    denominator = n + 2 * df + 2
    square = (np.asarray(residual_square, dtype=float) + 2 * np.asarray(beta)) / denominator
    kappa = 1.0 if published else n / denominator
    return 2 * square / (1 + np.sqrt(1 + kappa * square))
