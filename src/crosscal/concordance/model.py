"""The statement of one concordance problem: data, priors and noise, and what each route needs of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.concordance.graph import require_anchors
from crosscal.concordance.patterns import Patterns, summarise
from crosscal.concordance.priors import AreaPrior, make_prior
from crosscal.concordance.settings import Noise, Sources
from crosscal.concordance.types import Comparison
from crosscal.concordance.variability import Walk, independent, random_walk
from crosscal.concordance.variance import EXCESS_BETA, VarianceModel, make_variance_model
from crosscal.core.errors import InputError
from crosscal.core.keywords import keywords

Floats = NDArray[np.float64]
NOISES = ("log-normal", "gaussian-flux", "log-t", "poisson", "gamma-poisson")
#: Below this S/N of a measurement its error is Gaussian in flux unless something else is asked for: the bias of the
#: logarithm is 1 / SNR^2, a tenth of a percent there for half the weight.
BRIGHT = 20.0
#: CPU-hours of 2400 sweeps of gaussian-flux noise for each measurement, measured: 4 microseconds a sweep.
HOURS_A_CELL = 2400 * 4e-6 / 3600


@dataclass(frozen=True, eq=False)
class Model:
    """A concordance problem, ready for any route.

    Attributes
    ----------
    walk : Walk
        The data, with columns linked in time where sources vary.
    prior : AreaPrior
    variance : VarianceModel
    noise : "log-normal", "gaussian-flux", "log-t", "poisson" or "gamma-poisson"
    nu : float
        Degrees of freedom of the log-t weights; unused otherwise.
    drift_sd : float or None
        Prior standard deviation of the drift of B per unit of time; None for no drift.
    components : int array (N,)
        Connected component of each channel.
    remarks : tuple of str
        What was chosen or assumed, one sentence each.

    Examples
    --------
    >>> model = concordance.make_model(data, prior, concordance.Noise(variance="unknown"))  # doctest: +SKIP
    >>> model.dims, model.without_channel(0)  # doctest: +SKIP
    """

    walk: Walk
    prior: AreaPrior
    variance: VarianceModel
    noise: str
    nu: float
    drift_sd: float | None
    components: NDArray[np.int32]
    remarks: tuple[str, ...] = ()

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
    def in_flux(self) -> bool:
        """Whether errors are Gaussian in flux."""
        return self.noise == "gaussian-flux"

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


@keywords
def make_model(
    data: Comparison,
    prior: AreaPrior | None = None,
    noise: Noise | None = None,
    sources: Sources | None = None,
    *,
    df: ArrayLike | None = None,
    beta: ArrayLike | None = None,
) -> Model:
    """State a concordance problem.

    Parameters
    ----------
    prior : AreaPrior, optional
        By default that of `make_prior`.
    noise, sources : Noise, Sources, optional
    df, beta : float or array (N,), optional
        Instead of those of ``noise``, where they differ between channels.

    Raises
    ------
    InputError
        If the data lack what the model needs, or a component of instruments is not anchored.

    Examples
    --------
    >>> prior = concordance.make_prior(data, 0.05)  # doctest: +SKIP
    >>> model = concordance.make_model(data, prior, concordance.Noise(kind="log-t"))  # doctest: +SKIP
    """
    noise, sources = noise or Noise(), sources or Sources()
    prior = make_prior(data) if prior is None else prior
    kind, remarks = choose_noise(data, noise, sources)
    df, beta = noise.df if df is None else df, noise.beta if beta is None else beta
    if kind in ("poisson", "gamma-poisson"):
        _check_counts(data, noise.variance, sources)
        data = _without_empty_columns(data)
        if beta is None and noise.scatter is None:
            beta = EXCESS_BETA
        variance = make_variance_model(data, "unknown", df=df, beta=beta, scatter=noise.scatter)
    else:
        if kind == "gaussian-flux":
            _check_fluxes(data, noise.variance, sources)
        else:
            data.require_logarithms()
        variance = make_variance_model(data, noise.variance, df=df, beta=beta, scatter=noise.scatter)
    walk = random_walk(data) if sources.variability else independent(data)
    parts = require_anchors(walk.data, prior, linked=sources.variability)
    if sources.drift is not None and np.any(prior.flat):
        raise InputError("drift needs a finite tau for every instrument", where=data.label)
    remarks = (*data.assumed, *remarks, *_prior_of_scatter(data, variance, kind))
    return Model(walk, prior, variance, kind, noise.nu, sources.drift, parts, remarks)


def signal_to_noise(data: Comparison) -> Floats:
    """|flux| / error of each measurement with an error in flux, infinite for others and for limits: (n_cells,)."""
    if data.flux is None:
        return np.full(data.n_cells, np.inf)
    assert data.flux_low is not None
    ratio = np.abs(data.flux) / data.flux_low
    return ratio if data.limit is None else np.where(data.limit == 0, ratio, np.inf)


def choose_noise(data: Comparison, noise: Noise, sources: Sources) -> tuple[str, tuple[str, ...]]:
    """Return the kind of noise, and the sentence that says why where it was not given."""
    if noise.kind is not None:
        return noise.kind, ()
    if data.flux is None or data.counts is not None or noise.variance == "unknown":
        return "log-normal", ()
    ratio = signal_to_noise(data)
    faint, limits = int(np.sum(ratio < BRIGHT)), 0 if data.limit is None else int(np.sum(data.limit != 0))
    if not faint and not limits:
        return "log-normal", ()
    reasons = [f"{faint} of {data.n_cells} measurements have S/N below {BRIGHT:g} (lowest {ratio.min():.2g})"] * bool(
        faint
    )
    reasons += [f"{limits} are limits"] * bool(limits)
    if sources.variability:
        told = (
            f"Errors are treated as Gaussian in ln flux because sources vary, although {' and '.join(reasons)}: "
            "areas of faint instruments are biased by about 1 / SNR^2."
        )
        return "log-normal", (told,)
    hours = data.n_cells * HOURS_A_CELL
    long = f" and takes seconds instead of about {hours:.1g} CPU-hours" if hours > 0.2 else ""
    return "gaussian-flux", (
        (
            f"Errors are treated as Gaussian in flux (noise = 'gaussian-flux') because {' and '.join(reasons)}; "
            f"noise = 'log-normal' treats them as Gaussian in ln flux{long}."
        ),
    )


def _prior_of_scatter(data: Comparison, variance: VarianceModel, kind: str) -> tuple[str, ...]:
    if variance.kind == "quoted" or kind in ("poisson", "gamma-poisson") or not np.any(variance.scale > 0):
        return ()
    size = float(np.median(variance.scale))
    shown = f"{size:.3g} {data.flux_unit}".rstrip() if data.additive else f"{100 * size:.3g} %"
    return (
        (
            f"The scatter of each instrument is estimated; its prior is half-t with {2 * variance.df[0]:g} degrees of "
            f"freedom and scale {shown}."
        ),
    )


def _check_fluxes(data: Comparison, variance: str | None, sources: Sources) -> None:
    if data.flux is None or data.additive:
        raise InputError("gaussian-flux noise needs fluxes with errors", where=data.label, expected="an error column")
    for what, given in (("variance = 'unknown'", variance == "unknown"), ("source variability", sources.variability)):
        if given:
            raise InputError(f"gaussian-flux noise with {what}", where=data.label, expected="noise = 'log-normal'")


def _check_counts(data: Comparison, variance: str | None, sources: Sources) -> None:
    if data.counts is None:
        raise InputError("Poisson noise needs counts", where=data.label, expected="a counts column")
    bad = np.flatnonzero(data.counts != np.round(data.counts))
    if len(bad):
        name = data.channel_names[data.row[bad[0]]]
        raise InputError(f"counts {data.counts[bad[0]]:g} in {name!r}", where=data.label, expected="whole numbers")
    wanted = (("a variance model", variance), ("source variability", sources.variability), ("drift", sources.drift))
    for what, given in wanted:
        if given:
            raise InputError(f"Poisson noise with {what}", where=data.label, expected="log-normal or log-t noise")


def _without_empty_columns(data: Comparison) -> Comparison:
    """Drop sources without a single count: with flat log flux they carry no information on the areas."""
    assert data.counts is not None
    total = np.bincount(data.column, data.counts, data.n_columns)
    if np.all(total > 0):
        return data
    keep = total[data.column] > 0
    seen = np.bincount(data.row[keep], minlength=data.n_channels)
    if np.any(seen == 0):
        name = data.channel_names[int(np.argmin(seen))]
        raise InputError(f"instrument {name!r} sees only sources without counts", where=data.label)
    return data.take(keep)
