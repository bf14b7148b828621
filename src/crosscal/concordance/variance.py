"""Variance models of the cells, their priors, and the published shrinkage of a variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.types import Comparison
from crosscal.core.errors import InputError, UnknownNameError

Floats = NDArray[np.float64]
Kind = Literal["quoted", "unknown", "quoted+excess"]
KINDS = ("quoted", "unknown", "quoted+excess")

#: Default scale of an excess variance: one percent, squared.
EXCESS_BETA = 1e-4
#: Default scale of sigma, half-t, where no errors are quoted: ten percent. Wide enough for few sources to be honest.
SCATTER = 0.1


@dataclass(frozen=True, eq=False)
class VarianceModel:
    """How the variance s_ij of a cell is made.

    "quoted": s_ij = v_ij. "unknown": s_ij = s_i. "quoted+excess": s_ij = v_ij + s_i. In the last two
    s_i ~ InverseGamma(df, beta) per channel, or sqrt(s_i) ~ half-t with 2 df degrees of freedom and this ``scale``.

    Attributes
    ----------
    kind : str
    df, beta : arrays (N,)
    scale : array (N,)
        Zero where InverseGamma(df, beta) holds.
    """

    kind: Kind
    df: Floats
    beta: Floats
    scale: Floats

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
        return VarianceModel(self.kind, *(np.delete(x, index) for x in (self.df, self.beta, self.scale)))


def make_variance_model(
    data: Comparison,
    kind: str | None = None,
    *,
    df: ArrayLike = 1.5,
    beta: ArrayLike | None = None,
    scatter: ArrayLike | None = None,
) -> VarianceModel:
    """Make a variance model for a comparison.

    Parameters
    ----------
    kind : str, optional
        "quoted+excess" by default where errors are quoted, else "unknown".
    df, beta : float or array (N,)
        Prior of s_i: InverseGamma(df, beta), density ~ s^(-df - 1) e^(-beta / s). By default beta is 1e-4 (one percent)
        for the excess; for additive data a tenth of the median quoted variance.
    scatter : float or array (N,), optional
        Scale of a half-t prior of sigma_i = sqrt(s_i) with 2 df degrees of freedom instead. The default for "unknown",
        where beta is not given: the median quoted error, or 0.1 (ten percent) without quoted errors; for additive
        data the scatter of the sources' values over instruments.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    InputError
        If errors are needed and not quoted, df, beta or scatter is not positive, or beta and scatter are both given.
    """
    chosen = kind or ("quoted+excess" if data.variance is not None else "unknown")
    if chosen not in KINDS:
        raise UnknownNameError("variance model", chosen, KINDS)
    if chosen != "unknown" and data.variance is None:
        raise InputError(f"variance = {chosen!r} needs quoted errors", where=data.label, expected="an error column")
    if beta is not None and scatter is not None:
        raise InputError("beta and scatter are both given", where="prior of the variances", expected="one of them")
    if beta is None and scatter is None:
        if chosen == "unknown":
            scatter = default_scatter(data)
        else:
            beta = 0.1 * float(np.median(data.variance)) if data.additive else EXCESS_BETA  # type: ignore[arg-type]
    n = data.n_channels
    try:
        a, b, scale = (
            np.broadcast_to(np.asarray(x, dtype=float), (n,)).copy()
            for x in (df, 0.0 if beta is None else beta, 0.0 if scatter is None else scatter)
        )
    except ValueError:
        raise InputError(
            "df, beta or scatter does not fit", where="prior of the variances", expected=f"1 or {n} values"
        ) from None
    if np.any(~(a > 0)) or np.any(~((scale if beta is None else b) > 0)):
        raise InputError(
            "df, beta or scatter is not positive", where="prior of the variances", expected="positive numbers"
        )
    # Samplers start the mixing variable of a half-t from its typical value.
    return VarianceModel(chosen, a, np.where(scale > 0, scale**2 * a, b), scale)  # type: ignore[arg-type]


def default_scatter(data: Comparison) -> float:
    """Return the scale of the half-t prior of sigma where no other is given (see `make_variance_model`)."""
    if data.variance is not None:
        return float(np.sqrt(np.median(data.variance[np.isfinite(data.variance)])))
    if not data.additive:
        return SCATTER
    level = np.bincount(data.column, data.log_rate, data.n_columns) / np.diff(data.indptr)
    spread = float(np.sqrt(np.mean((data.log_rate - level[data.column]) ** 2)))
    # Values that agree exactly still need a proper prior.
    return spread if spread > 0 else max(float(np.std(data.log_rate)), 1.0) * 1e-6


def starting_variances(data: Comparison, model: VarianceModel) -> Floats:
    """Rough s_i to start samplers from: the prior mode and the scatter about column means."""
    y = np.where(np.isfinite(data.log_rate), data.log_rate, 0.0)
    level = np.bincount(data.column, y, data.n_columns) / np.diff(data.indptr)
    r = y - level[data.column]
    r -= (np.bincount(data.row, r, data.n_channels) / data.per_channel)[data.row]
    scatter = np.bincount(data.row, r**2, data.n_channels)
    beta = np.where(model.scale > 0, 1e-3 * model.scale**2, model.beta)
    total = (scatter + 2 * beta) / (data.per_channel + 2 * model.df + 2)
    if model.kind == "quoted+excess":
        assert data.variance is not None
        total = total - np.bincount(data.row, data.variance, data.n_channels) / data.per_channel
    return np.maximum(total, beta / (model.df + 1))


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

    Examples
    --------
    >>> concordance.shrinkage_variance(0.4, n=40, df=1.5, beta=8e-4)  # doctest: +SKIP
    """
    n, df = np.asarray(n, dtype=float), np.asarray(df, dtype=float)
    denominator = n + 2 * df + 2
    square = (np.asarray(residual_square, dtype=float) + 2 * np.asarray(beta)) / denominator
    kappa = 1.0 if published else n / denominator
    return 2 * square / (1 + np.sqrt(1 + kappa * square))
