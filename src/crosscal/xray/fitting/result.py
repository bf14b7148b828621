"""The answer of a fit of one spectrum: best values, intervals, draws, files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.check import Check
from crosscal.core.display import Words
from crosscal.core.errors import FitError, UnknownNameError
from crosscal.core.provenance import record
from crosscal.core.rounding import with_sides
from crosscal.core.tables import describe
from crosscal.core.units import plain
from crosscal.jobs.result import Presented
from crosscal.xray.fitting.engine import MAX_ITERATIONS, MEANING, Status
from crosscal.xray.fitting.flux import BandValue, band_flux, band_luminosity
from crosscal.xray.fitting.profile import constrained_object, profile_limit_object
from crosscal.xray.fitting.solve import TOLERANCE
from crosscal.xray.fitting.source import ModelSource
from crosscal.xray.fitting.statistics import Data, Kind
from crosscal.xray.fitting.table import TRIAL

if TYPE_CHECKING:
    from astropy.table import QTable

    from crosscal.inference.posterior import Posterior
    from crosscal.xray.emission.expression import Model

Array = NDArray[np.float64]

#: What the columns of `FitResult.summary` mean.
COLUMNS = {
    "parameter": "parameter of the model, or a flux or luminosity of it in a band",
    "value": "best-fit value, or the value at which it was fixed",
    "error": "1 sigma from the curvature at the best fit",
    "unit": "unit of value and error",
    "free": "whether it was fitted",
    "low": "lower end of the interval from the change of the statistic",
    "high": "upper end of the interval",
}

# Probability of a larger statistic below which the data reject the model.
REJECTED = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(Presented):
    """Best fit of one spectrum; its ``correction`` is None, as a fit of one spectrum corrects no instrument.

    Attributes
    ----------
    names : free parameters
    values, errors : mapping of name to value and 1-sigma error (Fisher)
    covariance : (n, n)
    statistic, statistic_name, dof
    status : Status
        Only ``Status.OK`` means that value and error can be used as they are.
    pvalue : float
        Probability of a larger statistic if the model is right: from the expected mean and variance of cstat
        (Kaastra 2017), by simulation of source and background for wstat and pgstat, from chi2 otherwise.
    model : Model with the best values
    energy_lo, energy_hi : (n_group,) keV
    counts, background, expected : (n_group,)
        Counts in each group, the background expected in it, and the model's source counts.
    notes : what to be careful about, in words
    name : of the spectrum
    intervals : mapping of name to (low, high)
        Profile-likelihood intervals, where they were asked for.
    fluxes : tuple of BandValue
        Fluxes and luminosities that were asked for.
    """

    kind: ClassVar[str] = "xray-fit"
    citations: ClassVar[tuple[str, ...]] = ("apec", "atomdb", "tbabs", "cash")
    correction: ClassVar[None] = None

    names: tuple[str, ...]
    values: Mapping[str, float]
    errors: Mapping[str, float]
    covariance: Array
    statistic: float
    statistic_name: str
    dof: int
    status: Status
    pvalue: float
    model: Model
    energy_lo: Array
    energy_hi: Array
    counts: Array
    background: Array
    expected: Array
    exposure: float
    notes: tuple[str, ...]
    _problem: FitProblem = field(repr=False)
    name: str = ""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    fluxes: tuple[BandValue, ...] = ()

    @property
    def answer(self) -> str:
        """Best values with their errors, and how well the model fits, in one sentence."""
        shown = []
        for name in self.names:
            value, unit = self.values[name], self.model.parameter(name).unit
            low, high = self.intervals.get(name, (value - self.errors[name], value + self.errors[name]))
            shown.append(f"{name} = {with_sides(value, value - low, high - value)} {unit}".rstrip())
        bands = "".join(f"; {value.named} = {value.shown}" for value in self.fluxes)
        return (
            f"{self.name or 'The spectrum'}: {', '.join(shown) or 'no free parameters'}; {self.statistic_name} = "
            f"{self.statistic:.1f} for {self.dof} degrees of freedom (p = {self.pvalue:.2g}){bands}."
        )

    @property
    def checks(self) -> tuple[Check, ...]:
        """Whether the fit ended well and the model describes the data."""
        return (
            Check("fit", self.status == Status.OK, MEANING[self.status]),
            Check("goodness of fit", not self.pvalue < REJECTED, f"p = {self.pvalue:.2g} (>= {REJECTED})"),
        )

    def with_intervals(
        self, delta: float = 1.0, *, name: str = "", advance: Callable[[int], None] = lambda n: None
    ) -> FitResult:
        """Return the result with the profile-likelihood intervals of all free parameters; none where the fit failed."""
        found = {}
        for parameter in self.names if self.status == Status.OK else ():
            found[parameter] = self.interval(parameter, delta)
            advance(1)
        return replace(self, intervals=found, name=name or self.name)

    @property
    def residuals(self) -> Array:
        """(counts - model - background) over the expected sd of each group; with chi2, over the error it uses."""
        mean = self.expected + self.background
        if self._problem.data.kind == Kind.CHI2:
            return (self.counts - mean) / np.sqrt(self._problem.data.variance)
        return (self.counts - mean) / np.sqrt(np.maximum(mean, 1e-25))

    def interval(self, name: str, delta: float = 1.0) -> tuple[float, float]:
        """Return the profile-likelihood interval: where the statistic, minimised over the others, rises by ``delta``.

        1.0 gives 68 %, 2.706 gives 90 % for one parameter. An end that the parameter's limit cuts off is that limit.

        Raises
        ------
        UnknownNameError
        FitError
            If the fit itself or one on the way failed.
        """
        j = self._index(name)
        ends = []
        for direction in (-1, 1):
            x = profile_limit_object(
                *self._problem.profile_arguments(), j, direction, float(delta), *self._problem.rest()
            )
            if np.isinf(x):
                raise FitError(
                    f"the search for the interval of {name} found a better minimum: fit again from {self._met()}."
                )
            if not np.isfinite(x):
                raise FitError(f"the profile of {name} failed before it reached delta = {delta:g}.")
            point = self._problem.x.copy()
            point[j] = x
            ends.append(float(self._problem.source.from_engine(point)[j]))
        return ends[0], ends[1]

    def _met(self) -> str:
        """Return where the last fit of a profile ended, in words."""
        p = self._problem
        values = p.source.from_engine(p.work.vectors[TRIAL].copy())
        return ", ".join(f"{n} = {v:.4g}" for n, v in zip(p.source.names, values, strict=True))

    def profile(self, name: str, at: ArrayLike) -> Array:
        """Return the rise of the statistic, minimised over the others, at values of one parameter (NaN: failed)."""
        j = self._index(name)
        p = self._problem
        out = []
        for value in np.atleast_1d(np.asarray(plain(at, self.model.parameter(name).unit, where=name), dtype=float)):
            x = p.source.to_engine({**self.values, name: float(value)})[j]
            trial = np.empty(p.x.size)
            statistic = constrained_object(
                p.source, p.data, p.x, j, x, p.covariance, p.low, p.high, p.work, np.zeros_like(p.covariance),
                MAX_ITERATIONS, TOLERANCE, trial,
            )  # fmt: skip
            out.append(statistic - self.statistic)
        return np.array(out)

    def flux(
        self,
        band: tuple[float, float],
        *,
        absorbed: bool = True,
        photons: bool = False,
        level: float = 0.6827,
        draws: int = 1000,
        seed: int = 0,
    ) -> BandValue:
        """Return the model's energy flux in a band of the observer's frame, with its error.

            F = integral from low to high of E s(E) dE                                          [erg / cm2 / s]

        The interval is that of the flux for parameters drawn from the Gaussian of best fit and covariance, as XSPEC's
        ``flux`` with ``err`` and Sherpa's ``sample_energy_flux`` do; draws beyond a parameter's limit are set to it.

        Parameters
        ----------
        band : (low, high), keV or quantities
        absorbed : bool
            False sets all column densities (nH) to 0: the flux before absorption.
        photons : bool
            Photon flux, photon / cm2 / s, instead.
        level : float
            Probability of the central interval.
        draws, seed : int

        Raises
        ------
        InputError
            For a band that is not positive and increasing, or a level that is not a probability.
        FitError
            If the fit gave no covariance.
        """
        return band_flux(self, band, absorbed=absorbed, photons=photons, level=level, draws=draws, seed=seed)

    def luminosity(
        self,
        band: tuple[float, float],
        *,
        redshift: float | None = None,
        cosmology: Any = "Planck18",
        absorbed: bool = False,
        level: float = 0.6827,
        draws: int = 1000,
        seed: int = 0,
    ) -> BandValue:
        """Return the model's luminosity in a band of the source's frame, with its error.

            L(low, high) = 4 pi d_L^2 F(low / (1 + z), high / (1 + z))                          [erg / s]

        (Hogg 1999), by default without absorption; the redshift and its error do not enter the interval through d_L.

        Parameters
        ----------
        band : (low, high), keV or quantities
            In the source's frame.
        redshift : float, optional
            By default the model's.
        cosmology : str or astropy cosmology
            Name of one of ``astropy.cosmology.available``, or an object with ``luminosity_distance``.
        absorbed, level, draws, seed
            As of :meth:`flux`.

        Raises
        ------
        InputError
            If no positive redshift is known, and as :meth:`flux`.
        """
        return band_luminosity(
            self, band, redshift=redshift, cosmology=cosmology, absorbed=absorbed, level=level, draws=draws, seed=seed
        )

    def summary(self) -> QTable:
        """Return one row per parameter: name, value, 1-sigma error, unit, whether it was free, and its interval.

        Fluxes and luminosities that were asked for follow, with half the width of their interval as the error.
        """
        from astropy.table import QTable

        rows = [
            {
                "parameter": p.name,
                "value": p.default,
                "error": self.errors.get(p.name, np.nan),
                "unit": p.unit,
                "free": p.name in self.names,
            }
            for p in self.model.parameters
        ]
        table = QTable(rows=[*rows, *(value.row for value in self.fluxes)])
        table.meta.update(
            statistic=self.statistic, statistic_name=self.statistic_name, dof=self.dof, status=self.status.name,
            pvalue=self.pvalue,
        )  # fmt: skip
        if self.intervals or self.fluxes:
            known = {**self.intervals, **{value.named: (value.low, value.high) for value in self.fluxes}}
            bounds = [known.get(name, (np.nan, np.nan)) for name in table["parameter"]]
            table["low"], table["high"] = [b[0] for b in bounds], [b[1] for b in bounds]
        return describe(table, COLUMNS)

    @cached_property
    def posterior_draws(self) -> Posterior:
        """Draws of the free parameters from the Gaussian of best values and covariance; limits do not cut it.

        Raises
        ------
        FitError
            If the fit gave no covariance.
        """
        from crosscal.inference.gaussian import gaussian_posterior

        if not (self.names and np.all(np.isfinite(self.covariance))):
            raise FitError(f"the fit has no posterior: {self._trouble or 'it has no covariance'}.")
        return gaussian_posterior(
            {name: self.values[name] for name in self.names},
            self.covariance,
            units={name: self.model.parameter(name).unit for name in self.names},
            messages=self.warnings,
            provenance=self.provenance,
        )

    @property
    def _trouble(self) -> str:
        return "" if self.status == Status.OK else MEANING[self.status]

    @property
    def warnings(self) -> tuple[str, ...]:
        """A fit that ended badly or that the data reject, and what its notes say, one sentence each."""
        found = [f"{note}." for note in self.notes]
        if self._trouble:
            found.append(f"the fit ended with status {self.status.name} ({self._trouble}): do not use its errors.")
        if self.pvalue < REJECTED:
            found.append(f"the data reject the model (p = {self.pvalue:.2g}).")
        return tuple(found)

    @property
    def diagnostics(self) -> str:
        """How the fit ended, how well it describes the data, and which parameters go together."""
        names, covariance = self.names, self.covariance
        fits = f"{self.statistic_name} {self.statistic:.1f} for {self.dof} degrees of freedom, p = {self.pvalue:.2g}"
        lines = [f"{self.status.name}: {MEANING[self.status]}", fits]
        sd = np.sqrt(np.diag(covariance))
        pairs = [(i, j) for j in range(len(names)) for i in range(j) if sd[i] * sd[j] > 0]
        shown = [(names[i], names[j], covariance[i, j] / (sd[i] * sd[j])) for i, j in pairs]
        lines += [f"correlation of {one} and {other}: {value:+.2f}" for one, other, value in shown]
        held = [p.name for p in self.model.parameters if p.name not in names]
        lines.append(f"Fixed: {', '.join(held) or 'none'}")
        return Words("\n".join(lines))

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        """Versions, model and statistic."""
        config = {
            "part": "xray-fit",
            "model": self.model.expression,
            "free": list(self.names),
            "statistic": self.statistic_name,
            "groups": len(self.counts),
            "exposure": self.exposure,
        }
        return record(config=config, seed=0)

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise UnknownNameError("free parameter", name, self.names, where="fit")
        if self.status not in (Status.OK, Status.AT_BOUND):
            raise FitError(f"the fit has no profile: {MEANING[self.status]}.")
        return self.names.index(name)


@dataclass(eq=False)
class FitProblem:
    """What a fit works on; kept so that a result can answer for profiles."""

    source: ModelSource
    data: Data
    x: Array
    low: Array
    high: Array
    work: Any
    covariance: Array
    statistic: float

    def profile_arguments(self) -> tuple[Any, ...]:
        return self.source, self.data, self.x, self.statistic

    def rest(self) -> tuple[Any, ...]:
        return self.covariance, self.low, self.high, self.work, MAX_ITERATIONS, TOLERANCE
