"""The options of a fit, each stated once: arguments in Python, tables of the job file."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge

from crosscal.core.options import Positive, option, options

Route = Literal["auto", "closed-form", "expansion", "map", "gibbs", "slice", "nuts", "full-nuts"]
NoiseKind = Literal["log-normal", "gaussian-flux", "log-t", "poisson", "gamma-poisson"]
VarianceKind = Literal["quoted", "unknown", "quoted+excess"]


@options
class Noise:
    """The scatter of the measurements.

    Attributes
    ----------
    kind : str
        "gaussian-flux" for fluxes with Gaussian errors, of any sign, and limits; "log-normal"; "log-t" resists
        outliers; "poisson" and "gamma-poisson" for counts. By default "gaussian-flux" where errors are quoted in flux
        and a measurement has S/N below 20 or is a limit, else "log-normal".
    variance : str
        "quoted" takes the errors as they are, "quoted+excess" adds an unknown variance of each instrument, "unknown"
        estimates it alone; by default "quoted+excess" where errors are quoted.
    df : float
        Prior of an unknown variance: InverseGamma(df, beta), or half-t of its root with 2 df degrees of freedom.
    beta : float
        Scale of the InverseGamma; for an excess 1e-4 (one percent, squared) by default.
    scatter : float
        Scale of the half-t prior of the root, instead of beta: the default without quoted errors, 0.1 (ten percent).
    nu : float
        Degrees of freedom of log-t.

    Examples
    --------
    >>> noise = concordance.Noise(kind="log-t", variance="unknown", nu=4)  # doctest: +SKIP
    """

    kind: NoiseKind | None = option(default=None, example="log-t")
    variance: VarianceKind | None = option(default=None, example="quoted+excess")
    df: Positive = 1.5
    beta: Positive | None = option(default=None, example=1e-4)
    scatter: Positive | None = option(default=None, example=0.1)
    nu: Positive = 4.0


@options
class Sources:
    """How sources and instruments change with time.

    Attributes
    ----------
    variability : bool
        Sources vary as a random walk inside each campaign.
    drift : float
        Prior standard deviation of a linear drift of each ln area per unit of time.

    Examples
    --------
    >>> sources = concordance.Sources(variability=True)  # doctest: +SKIP
    """

    variability: bool = False
    drift: Positive | None = option(default=None, example=1e-5)


@options
class Sampling:
    """How the posterior is explored.

    Attributes
    ----------
    route : str
        "auto" uses the fastest exact route that applies.
    draws : int
        Draws kept in each chain; by default 2000, or 500 for gaussian-flux noise and 400 for more than 200 instruments,
        whose draws are nearly independent.
    warmup : int
        Draws discarded before them; by default 500, and 100 or 60 in these two cases.
    chains : int
        Independent chains.

    Examples
    --------
    >>> sampling = concordance.Sampling(route="nuts", draws=2000, chains=4)  # doctest: +SKIP
    """

    route: Route = "auto"
    draws: Annotated[int, Ge(10)] | None = option(default=None, example=2000)
    warmup: Annotated[int, Ge(0)] | None = option(default=None, example=500)
    chains: Annotated[int, Ge(1)] = 4

    def sizes(self, noise: str, n_channels: int = 1) -> tuple[int, int]:
        """Return draws and warm-up of each chain for a kind of noise and a number of channels."""
        draws, warmup = (500, 100) if noise == "gaussian-flux" else (2000, 500)
        if n_channels > 200:
            draws, warmup = 400, 60
        return draws if self.draws is None else self.draws, warmup if self.warmup is None else self.warmup


@options
class Checks:
    """Which checks are made of a fit.

    Attributes
    ----------
    leave_one_out : bool
        Fit again without each instrument; by default where there are at most 30 channels and 20000 cells.
    predictive : int
        Replicated data sets of the posterior predictive check; 0 skips it.

    Examples
    --------
    >>> checks = concordance.Checks(leave_one_out=True)  # doctest: +SKIP
    """

    leave_one_out: bool | None = option(default=None, example=True)
    predictive: Annotated[int, Ge(0)] = 200
