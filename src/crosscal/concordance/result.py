"""What a concordance fit hands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance.examination import ModelTests
from crosscal.concordance.model import Model
from crosscal.concordance.types import Comparison
from crosscal.core.check import Check
from crosscal.core.correction import Correction
from crosscal.core.display import Words
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.rounding import with_error
from crosscal.core.tables import ResultTable, describe
from crosscal.inference.diagnostics import sampling_check
from crosscal.inference.posterior import Posterior
from crosscal.jobs.result import Presented
from crosscal.report.words import counted

Floats = NDArray[np.float64]
#: Below this p-value the data and the priors of the areas disagree.
CONFLICT = 1e-3
#: So many instruments are named in the answer; of more, the two extremes.
MOST_NAMED = 6
#: Above this sd of ln factor its interval is printed, since a symmetric error in percent would mislead.
LOOSE = 0.2

#: What the columns of `ConcordanceFit.summary` mean.
SUMMARY = {
    "instrument": "instrument, or detector",
    "band": "energy band",
    "factor": "true over nominal effective area exp(B - b), median of the posterior",
    "shift": "shift B - b to subtract from the values, median of the posterior",
    "q*": "quantile of the factor or shift: q2.5 to q97.5 holds 95 %, q16 to q84 holds 68 %",
    "log_factor": "mean of B - b",
    "log_factor_sd": "standard deviation of B - b",
    "relative": "mean of B - b relative to the mean over the instruments that are compared",
    "relative_sd": "standard deviation of it: constrained by the data, without the common factor",
    "tau": "prior standard deviation of B",
    "W": "published weight of the prior, which assumes known fluxes: 0 is data alone, 1 prior alone",
    "D": "exact weight of the prior: change of the estimate of B with its own prior mean b",
    "sigma": "standard deviation of the instrument's measurements of ln flux",
    "sigma_sd": "standard deviation of sigma",
    "drift": "change of B per unit of time",
    "drift_sd": "standard deviation of drift",
    "n_sources": "measurements of the instrument",
    "component": "instruments of one number are connected by common sources",
    "pull": "area by the sources and the other instruments minus the nominal one, in predictive standard deviations",
    "scatter_p": "predictive p-value of the scatter of its residuals; below 0.01 the model is inadequate",
    "extreme_p": "predictive p-value of its largest residuals; below 0.01 there are outliers",
}


@dataclass(frozen=True, eq=False, repr=False)
class ConcordanceFit(Presented):
    """Adjusted areas, concordance fluxes, and what to trust.

    Attributes
    ----------
    model : Model
        What was fitted; ``model.data`` has the column order of ``flux_mean``.
    posterior_draws : Posterior
        Draws of B, sigma (root of the unknown or excess variance), drift and variability where the model has them;
        ``posterior`` is its DataTree.
    flux_mean, flux_sd : arrays (M,)
        Posterior of the log fluxes G.
    prior_weight : array (N,)
        Published prior influence W.
    influence : array (N, N)
        Exact prior influence D = S_B^-1 T (mean over draws); rows sum to 1.
    tests : ModelTests
    notes, remarks : tuples of str
        Warnings, and sentences that are true of every such comparison.
    band_energies : mapping of band name to (lo, hi) in keV
        For corrections against energy.
    arfs : mapping of instrument to path
        Nominal ARFs that the job asked to correct.

    Examples
    --------
    >>> result = concordance.fit(data, tau=0.05)  # doctest: +SKIP
    >>> result.summary(), result.correction, result.figures()  # doctest: +SKIP
    """

    kind: ClassVar[str] = "concordance"
    citations: ClassVar[tuple[str, ...]] = ("concordance", "concordance-application")

    model: Model
    posterior_draws: Posterior
    flux_mean: Floats
    flux_sd: Floats
    prior_weight: Floats
    influence: Floats
    tests: ModelTests
    notes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    band_energies: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    arfs: Mapping[str, Path] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Comparison:
        """The comparison that was fitted."""
        return self.model.data

    @cached_property
    def log_factor(self) -> Floats:
        """Draws of B - b, (n_draws, N)."""
        return self.posterior_draws.draws("B") - np.where(self.model.prior.flat, 0.0, self.model.prior.mean)

    @cached_property
    def relative(self) -> Floats:
        """Draws of B - b relative to the mean over the channels that are compared with each other, (n_draws, N)."""
        parts = self.model.components
        number = np.bincount(parts)
        means = np.stack([self.log_factor[:, parts == k].mean(axis=1) for k in range(len(number))], axis=1)
        return self.log_factor - means[:, parts]

    @cached_property
    def correction(self) -> Correction | None:
        """exp(B - b) per channel: multiply the nominal effective areas by it. None for additive data."""
        if self.data.additive:
            return None
        return Correction.from_draws(
            np.array(self.data.channel_names),
            np.exp(self.log_factor),
            axis="instrument",
            target="effective area",
            provenance=dict(self.provenance),
        )

    def correction_for(self, instrument: str, energies: Mapping[str, tuple[float, float]] | None = None) -> Correction:
        """Return one instrument's correction against energy, for its ARF.

        With several bands the factor is given at the centres of the bands (and is interpolated in ln between them,
        constant beyond); with one band it is one factor for all energies.

        Parameters
        ----------
        energies : mapping of band to (lo, hi) in keV, optional
            By default ``band_energies``.

        Raises
        ------
        UnknownNameError
            If the instrument is unknown, or a band has no energies.
        InputError
            If the data are additive.
        """
        if instrument not in self.data.instruments:
            raise UnknownNameError("instrument", instrument, self.data.instruments)
        if self.data.additive:
            raise InputError("additive values have no factor", where=self.data.label, expected="shifts: summary()")
        index = [i for i, (name, _) in enumerate(self.data.channels) if name == instrument]
        known = dict(self.band_energies if energies is None else energies)
        centres = []
        for i in index:
            band = self.data.channels[i][1]
            if band in known:
                centres.append(0.5 * (known[band][0] + known[band][1]))
            elif len(index) == 1:
                centres.append(1.0)
            else:
                raise UnknownNameError("band with energies", band, known, where=f"correction of {instrument!r}")
        order = np.argsort(centres)
        return Correction.from_draws(
            np.array(centres)[order],
            np.exp(self.log_factor[:, np.array(index)[order]]),
            axis="energy",
            unit="keV",
            target=f"effective area of {instrument}",
            provenance=dict(self.provenance),
        )

    def summary(self) -> Any:
        """Return a QTable with one row per instrument and band.

        Columns: factor (median of exp(B - b); for additive data the shift B - b) with its 68 and 95 % interval, mean
        and sd of B - b, the same relative to all instruments, prior tau, W, D_ii, sigma with sd where unknown, drift,
        number of measurements, pull and p-values of the tests.
        """
        data, prior, tests = self.data, self.model.prior, self.tests
        values = self.log_factor if data.additive else np.exp(self.log_factor)
        quantiles = np.quantile(values, [0.5, 0.16, 0.84, 0.025, 0.975], axis=0)
        table = ResultTable({"instrument": [name for name, _ in data.channels]})
        if data.bands != ("",):
            table["band"] = [band for _, band in data.channels]
        first = "shift" if data.additive else "factor"
        for key, row in zip((first, "q16", "q84", "q2.5", "q97.5"), quantiles, strict=True):
            table[key] = row
        for name, draws in (("log_factor", self.log_factor), ("relative", self.relative)):
            table[name], table[f"{name}_sd"] = draws.mean(axis=0), draws.std(axis=0, ddof=1)
        table["tau"], table["W"], table["D"] = prior.tau, self.prior_weight, np.diag(self.influence)
        for name in ("sigma", "drift"):
            if name in self.posterior_draws.names:
                table[name], table[f"{name}_sd"] = self.posterior_draws.mean(name), self.posterior_draws.sd(name)
        table["n_sources"] = data.per_channel
        table["component"] = self.model.components
        table["pull"] = tests.leave_one_out.pull
        if tests.predictive is not None:
            table["scatter_p"], table["extreme_p"] = tests.predictive.scatter_p, tests.predictive.extreme_p
        table.meta = {
            "noise": self.model.noise,
            "variance": self.model.variance.kind,
            "route": self.posterior_draws.method,
            "converged": bool(self.posterior_draws.converged),
        }
        return describe(table, SUMMARY)

    def spreads(self) -> tuple[Floats, Floats]:
        """Scatter (standard deviation) over instruments of each column's log flux, nominal and adjusted: (M,) each.

        NaN for columns that one instrument sees.
        """
        data = self.data
        nominal = data.log_rate - np.where(self.model.prior.flat, 0.0, self.model.prior.mean)[data.row]
        return (_spread(data, nominal), _spread(data, nominal - self.log_factor.mean(axis=0)[data.row]))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user must know before trusting the result."""
        return (*self.posterior_draws.messages, *self.notes)

    @property
    def diagnostics(self) -> str:
        """What to trust and what not, in words and numbers."""
        state = "converged" if self.posterior_draws.converged else "NOT converged"
        lines = [f"Route {self.posterior_draws.method}: {state}, {self.posterior_draws.n_draws} draws."]
        tests = self.tests.conflicts
        if len(tests) > MOST_NAMED:
            p = np.array([t.p_value for t in tests])
            lines.append(
                f"Prior against data in {len(tests)} groups of instruments: p from {p.min():.3g} to {p.max():.3g}, "
                f"{np.sum(p < CONFLICT)} below {CONFLICT}."
            )
        else:
            lines += [
                f"Prior against data: chi2 = {test.chi2:.2f} for {test.dof} contrasts of {len(test.channels)} "
                f"instruments, p = {test.p_value:.3g}."
                for test in tests
            ]
        lines += self._compared()
        return Words("\n".join([*lines, *self.remarks, *self.warnings]))

    def _compared(self) -> list[str]:
        """What was estimated or compared in addition to the fit: tau by other estimators, the noise."""
        lines = []
        tests = self.tests.conflicts
        if self.model.prior.tau_scale > 0 and len(tests) == 1:
            lines.append(
                f"Spread of ln area estimated from the data alone: {tests[0].mandel_paule:.3g} (Mandel-Paule) or "
                f"{tests[0].dersimonian_laird:.3g} (DerSimonian-Laird)."
            )
        score = self.tests.noise
        if score is not None and not score.prefers_t:
            lines.append(
                f"Leave-one-out log score of Student-t against Gaussian errors: {score.difference:+.1f} +/- "
                f"{score.error:.1f}; Gaussian errors are kept."
            )
        return lines

    @property
    def checks(self) -> tuple[Check, ...]:
        """Whether the sampler converged, and the data agree with the priors of the areas."""
        draws = self.posterior_draws
        conflicts = (
            Check(
                f"prior against data, {_few(test.channels)}",
                bool(test.p_value >= CONFLICT),
                f"p = {test.p_value:.3g} (>= {CONFLICT})",
            )
            for test in self.tests.conflicts
        )
        return (sampling_check(draws.converged, draws.messages), *conflicts)

    @property
    def answer(self) -> str:
        """The result in one sentence: areas relative to their mean, and their common factor."""
        data = self.data
        bands = f" in {len(data.bands)} bands" if len(data.bands) > 1 else ""
        what = "Values" if data.additive else "Effective areas"
        kind = "counts" if data.counts is not None else "values" if data.additive else "fluxes"
        # Known fluxes tell what all areas have in common; else the data constrain the ratios.
        compared = self.relative.any() and not data.references
        draws = self.relative if compared else self.log_factor
        mean = draws.mean(axis=0)
        own = [i for i, (name, _) in enumerate(data.channels) if name not in data.references]
        chosen = own if len(own) <= MOST_NAMED else [max(own, key=mean.__getitem__), min(own, key=mean.__getitem__)]
        listed = ", ".join(f"{data.channel_names[i]} {self._change(draws[:, i])}" for i in chosen)
        sources = f"{counted(data.n_columns, 'source')} ({data.n_cells} {kind})"
        source = counted(data.n_columns, "ratio") if data.ratios else sources
        sentence = f"{what} of {len(data.instruments)} instruments{bands} adjusted from {source}: "
        sentence += f"{'relative to their mean, ' if compared else ''}{listed}"
        if compared and self.model.components.max() == 0:
            common = self._change(self.log_factor.mean(axis=1))
            sentence += f"; all together {common}, constrained by the prior only"
        if not self.model.in_flux and not self.model.poisson and not data.ratios:
            before, after = (float(np.sqrt(np.nanmean(np.square(x)))) for x in self.spreads())
            if np.isfinite(before) and data.additive:
                sentence += f"; scatter {before:.3g} before and {after:.3g} after the adjustment"
            elif np.isfinite(before):
                sentence += f"; flux scatter {100 * before:.1f} % before and {100 * after:.1f} % after the adjustment"
        return sentence + "."

    def _change(self, draws: Floats) -> str:
        """A shift or factor with its error; its 95 % interval where ln factor is known to worse than 0.2."""
        mean, sd = float(draws.mean()), float(draws.std(ddof=1))
        if self.data.additive:
            return f"by {with_error(mean, sd, sign=True)} {self.data.flux_unit}".rstrip()
        if sd > LOOSE:
            low, high = np.exp(np.quantile(draws, [0.025, 0.975]))
            return f"by a factor {np.exp(np.median(draws)):.2g} (95 %: {low:.2g} to {high:.2g})"
        return f"by {with_error(100 * np.expm1(mean), 100 * sd, sign=True)} %"

    def with_energies(self, energies: Mapping[str, tuple[float, float]]) -> ConcordanceFit:
        """Return the result with the energies of its bands (keV)."""
        return replace(self, band_energies=dict(energies))


def _few(names: tuple[str, ...], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _spread(data: Comparison, values: Floats) -> Floats:
    """Standard deviation within each column; cells without a logarithm (zero counts) do not take part."""
    usable = np.isfinite(values)
    x, column = values[usable], data.column[usable]
    n = np.bincount(column, minlength=data.n_columns)
    mean = np.bincount(column, x, data.n_columns) / np.maximum(n, 1)
    square = np.bincount(column, (x - mean[column]) ** 2, data.n_columns)
    return np.where(n > 1, np.sqrt(square / np.maximum(n - 1, 1)), np.nan)
