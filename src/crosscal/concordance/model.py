"""The statement of one concordance problem: data, priors and noise, and what each route needs of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.graph import require_anchors
from crosscal.concordance.patterns import Patterns, summarise
from crosscal.concordance.priors import AreaPrior, Tau, make_prior
from crosscal.concordance.types import Comparison
from crosscal.concordance.variability import Walk, independent, random_walk
from crosscal.concordance.variance import EXCESS_BETA, VarianceModel, make_variance_model
from crosscal.core.errors import InputError, UnknownNameError

Floats = NDArray[np.float64]
NOISES = ("log-normal", "log-t", "poisson", "gamma-poisson")


@dataclass(frozen=True, eq=False)
class Model:
    """A concordance problem, ready for any route.

    Attributes
    ----------
    walk : Walk
        The data, with columns linked in time where sources vary.
    prior : AreaPrior
    variance : VarianceModel
    noise : "log-normal", "log-t", "poisson" or "gamma-poisson"
    nu : float
        Degrees of freedom of the log-t weights; unused otherwise.
    drift_sd : float or None
        Prior standard deviation of the drift of B per unit of time; None for no drift.
    components : int array (N,)
        Connected component of each channel.
    """

    walk: Walk
    prior: AreaPrior
    variance: VarianceModel
    noise: str
    nu: float
    drift_sd: float | None
    components: NDArray[np.int32]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Comparison:
        """The comparison, in the column order of the walk."""
        return self.walk.data

    @property
    def varying(self) -> bool:
        """Whether sources vary in time."""
        return bool(np.any(self.walk.gap > 0))

    @property
    def poisson(self) -> bool:
        """Whether the likelihood is of counts."""
        return self.noise in ("poisson", "gamma-poisson")

    @property
    def compressible(self) -> bool:
        """Whether sufficient statistics per missing pattern hold all information."""
        plain = self.noise == "log-normal" and self.variance.kind == "unknown"
        return plain and not self.varying and self.drift_sd is None

    @property
    def stretch(self) -> float:
        """Factor from quoted variances to the squared scale sigma^2 of the log-t weights (nu, else 1).

        With xi ~ chi2_nu the error Z sigma / sqrt(xi) is Student-t of scale sigma / sqrt(nu); a quoted error means that
        scale, while an unknown s_i is sigma^2 itself as in Chen et al. 2019.
        """
        return self.nu if self.noise == "log-t" and self.variance.kind != "unknown" else 1.0

    @cached_property
    def patterns(self) -> Patterns:
        """Sufficient statistics of the data."""
        return summarise(self.data)

    @property
    def dims(self) -> dict[str, list[str]]:
        """Dimension names of the posterior's variables."""
        return {name: ["channel"] for name in ("B", "sigma", "drift")} | {"variability": ["band"]}

    @property
    def coords(self) -> dict[str, list[str]]:
        """Coordinates of the dimensions."""
        return {"channel": list(self.data.channel_names), "band": list(self.walk.groups)}

    def without_channel(self, index: int) -> Model:
        """Return the problem without one channel."""
        data = self.data.without_channel(index)
        walk = random_walk(data) if self.varying else independent(data)
        prior = self.prior.drop(index)
        parts = require_anchors(walk.data, prior, linked=self.varying)
        return replace(self, walk=walk, prior=prior, variance=self.variance.drop(index), components=parts)


def make_model(
    data: Comparison,
    *,
    tau: Tau = 0.05,
    mean: float | Mapping[str, float] = 0.0,
    covariance: ArrayLike | None = None,
    variance: str | None = None,
    df: ArrayLike = 1.5,
    beta: ArrayLike | None = None,
    noise: str = "log-normal",
    nu: float = 4.0,
    variability: bool = False,
    drift: float | None = None,
) -> Model:
    """State a concordance problem; the parameters are those of `fit`.

    The prior is tau, mean, covariance; the noise is variance, df, beta, noise, nu; sources and areas may change in time
    by variability and drift.

    Raises
    ------
    UnknownNameError
        If the noise or variance model is unknown.
    InputError
        If the data lack what the model needs, a component of instruments is not anchored, or nu is not positive.
    """
    if noise not in NOISES:
        raise UnknownNameError("noise model", noise, NOISES)
    if noise == "log-t" and not nu > 0:
        raise InputError(f"nu = {nu:g}", where="log-t noise", expected="a positive number")
    counts = noise in ("poisson", "gamma-poisson")
    if counts:
        _check_counts(data, variance, variability, drift)
        data = _without_empty_columns(data)
        kind = make_variance_model(data, "unknown", df=df, beta=EXCESS_BETA if beta is None else beta)
    else:
        data.require_logarithms()
        kind = make_variance_model(data, variance, df=df, beta=beta)
    prior = make_prior(data, tau, mean=mean, covariance=covariance)
    walk = random_walk(data) if variability else independent(data)
    parts = require_anchors(walk.data, prior, linked=variability)
    if drift is not None and np.any(prior.flat):
        raise InputError("drift needs a finite tau for every instrument", where=data.label)
    return Model(walk, prior, kind, noise, float(nu), drift, parts)


def _check_counts(data: Comparison, variance: str | None, variability: bool, drift: float | None) -> None:
    if data.counts is None:
        raise InputError("Poisson noise needs counts", where=data.label, expected="a counts column")
    bad = np.flatnonzero(data.counts != np.round(data.counts))
    if len(bad):
        name = data.channel_names[data.row[bad[0]]]
        raise InputError(f"counts {data.counts[bad[0]]:g} in {name!r}", where=data.label, expected="whole numbers")
    for what, given in (("a variance model", variance), ("source variability", variability), ("drift", drift)):
        if given:
            raise InputError(f"Poisson noise with {what}", where=data.label, expected="log-normal or log-t noise")


def _without_empty_columns(data: Comparison) -> Comparison:
    """Drop sources without a single count: with flat log flux they carry no information on the areas."""
    assert data.counts is not None
    total = np.bincount(data.column, data.counts, data.n_columns)
    if np.all(total > 0):
        return data
    keep = total[data.column] > 0
    used, column = np.unique(data.column[keep], return_inverse=True)
    seen = np.bincount(data.row[keep], minlength=data.n_channels)
    if np.any(seen == 0):
        name = data.channel_names[int(np.argmin(seen))]
        raise InputError(f"instrument {name!r} sees only sources without counts", where=data.label)

    def cut(values: NDArray | None) -> NDArray | None:
        return None if values is None else values[keep]

    return replace(
        data,
        columns=tuple(data.columns[j] for j in used),
        row=data.row[keep],
        column=column.astype(np.int32),
        log_rate=data.log_rate[keep],
        variance=cut(data.variance),
        counts=cut(data.counts),
        exposure=cut(data.exposure),
        time=cut(data.time),
        campaign=None if data.campaign is None else data.campaign[used],
    )
