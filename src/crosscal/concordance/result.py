"""What a concordance fit hands out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.concordance import columns
from crosscal.concordance.checks import Checks
from crosscal.concordance.model import Model
from crosscal.concordance.types import Comparison
from crosscal.core.correction import Correction
from crosscal.core.display import by_answer
from crosscal.core.errors import UnknownNameError
from crosscal.inference.diagnostics import sampling_gate
from crosscal.inference.posterior import Posterior

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Result:
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
    checks : Checks
    notes, remarks : tuples of str
        Warnings, and sentences that are true of every such comparison.
    band_energies : mapping of band name to (lo, hi) in keV
        For corrections against energy.
    arfs : mapping of instrument to path
        Nominal ARFs that the job asked to correct.
    """

    model: Model
    posterior_draws: Posterior
    flux_mean: Floats
    flux_sd: Floats
    prior_weight: Floats
    influence: Floats
    checks: Checks
    notes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    band_energies: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    arfs: Mapping[str, Path] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    __repr__ = by_answer

    @property
    def data(self) -> Comparison:
        """The comparison that was fitted."""
        return self.model.data

    @property
    def posterior(self) -> Any:
        """The draws as an xarray DataTree (arviz)."""
        return self.posterior_draws.tree

    @cached_property
    def log_factor(self) -> Floats:
        """Draws of B - b, (n_draws, N)."""
        return self.posterior_draws.draws("B") - np.where(self.model.prior.flat, 0.0, self.model.prior.mean)

    @cached_property
    def correction(self) -> Correction:
        """exp(B - b) per channel: multiply the nominal effective areas by it."""
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
        """
        if instrument not in self.data.instruments:
            raise UnknownNameError("instrument", instrument, self.data.instruments)
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

        Columns: factor (median of exp(B - b)) with its 68 and 95 % interval, mean and sd of B - b, prior tau, W, D_ii,
        sigma with sd where unknown, drift, number of sources, pull and p-values of the checks.
        """
        from crosscal.core.tables import ResultTable, describe

        data, prior, checks = self.data, self.model.prior, self.checks
        quantiles = np.quantile(np.exp(self.log_factor), [0.5, 0.16, 0.84, 0.025, 0.975], axis=0)
        table = ResultTable({"instrument": [name for name, _ in data.channels]})
        if data.bands != ("",):
            table["band"] = [band for _, band in data.channels]
        for key, row in zip(("factor", "q16", "q84", "q2.5", "q97.5"), quantiles, strict=True):
            table[key] = row
        table["log_factor"] = self.log_factor.mean(axis=0)
        table["log_factor_sd"] = self.log_factor.std(axis=0, ddof=1)
        table["tau"], table["W"], table["D"] = prior.tau, self.prior_weight, np.diag(self.influence)
        for name in ("sigma", "drift"):
            if name in self.posterior_draws.names:
                table[name], table[f"{name}_sd"] = self.posterior_draws.mean(name), self.posterior_draws.sd(name)
        table["n_sources"] = data.per_channel
        table["component"] = self.model.components
        table["pull"] = checks.leave_one_out.pull
        if checks.predictive is not None:
            table["scatter_p"], table["extreme_p"] = checks.predictive.scatter_p, checks.predictive.extreme_p
        table.meta = {
            "noise": self.model.noise,
            "variance": self.model.variance.kind,
            "route": self.posterior_draws.method,
            "converged": bool(self.posterior_draws.converged),
        }
        return describe(table, columns.SUMMARY)

    def fluxes(self) -> Any:
        """Return a QTable of the concordance fluxes: log flux with sd, flux with 95 % interval, scatter before, after.

        "spread_before" and "spread_after" are the standard deviations over instruments of y - b and y - B.
        """
        from crosscal.core.tables import ResultTable, describe

        data = self.data
        unit = data.flux_unit or None
        table = ResultTable({"source": [name for name, _ in data.columns]})
        if data.bands != ("",):
            table["band"] = [band for _, band in data.columns]
        table["log_flux"], table["log_flux_sd"] = self.flux_mean, self.flux_sd
        for key, value in (("flux", 0.0), ("q2.5", -1.96), ("q97.5", 1.96)):
            table[key] = np.exp(self.flux_mean + value * self.flux_sd)
            if unit:
                table[key].unit = unit
        table["n_instruments"] = np.diff(data.indptr)
        before, after = self.spreads()
        table["spread_before"], table["spread_after"] = before, after
        return describe(table, columns.FLUXES)

    def spreads(self) -> tuple[Floats, Floats]:
        """Standard deviation over instruments of each column's log flux, nominal and adjusted; NaN for single ones."""
        data = self.data
        nominal = data.log_rate - np.where(self.model.prior.flat, 0.0, self.model.prior.mean)[data.row]
        return (_spread(data, nominal), _spread(data, nominal - self.log_factor.mean(axis=0)[data.row]))

    def conflicts(self) -> Any:
        """Return a table of the prior-data conflict tests, one row per group of connected instruments."""
        from crosscal.core.tables import ResultTable, describe

        tests = self.checks.conflicts
        table = ResultTable()
        table["instruments"] = [", ".join(t.channels) for t in tests] or np.array([], dtype=str)
        table["chi2"] = np.array([t.chi2 for t in tests], dtype=float)
        table["dof"] = np.array([t.dof for t in tests], dtype=int)
        table["p_value"] = np.array([t.p_value for t in tests], dtype=float)
        return describe(table, columns.CONFLICTS)

    def leave_one_out(self) -> Any:
        """Return a table: what each instrument changes (see `LeaveOneOut`)."""
        from crosscal.core.tables import ResultTable, describe

        found, names = self.checks.leave_one_out, self.data.channel_names
        table = ResultTable({"instrument": list(names), "pull": found.pull, "largest_shift": found.shift})
        table["moves_most"] = [names[k] if k >= 0 else "" for k in found.moved]
        return describe(table, columns.LEAVE_ONE_OUT)

    def influences(self) -> Any:
        """Return the exact prior influence D as a table: row i, column k is d E[B_i] / d b_k."""
        from crosscal.core.tables import ResultTable, describe

        table = ResultTable({"instrument": list(self.data.channel_names)})
        for k, name in enumerate(self.data.channel_names):
            table[name] = self.influence[:, k]
        meanings = {name: f"change of the row's estimate with the prior mean of {name}" for name in table.colnames[1:]}
        return describe(table, {"instrument": "the instrument whose estimate changes", **meanings})

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user must know before trusting the result."""
        return (*self.posterior_draws.messages, *self.notes)

    @property
    def diagnostics(self) -> str:
        """What to trust and what not, in words and numbers."""
        state = "converged" if self.posterior_draws.converged else "NOT converged"
        lines = [f"Route {self.posterior_draws.method}: {state}, {self.posterior_draws.n_draws} draws."]
        lines += [
            f"Prior against data: chi2 = {test.chi2:.2f} for {test.dof} contrasts of {len(test.channels)} "
            f"instruments, p = {test.p_value:.3g}."
            for test in self.checks.conflicts
        ]
        return "\n".join([*lines, *self.remarks, *self.warnings])

    @property
    def gates(self) -> list[dict[str, Any]]:
        """Quality gates with their reasons."""
        conflicts = [
            {
                "gate": f"prior against data, {len(test.channels)} instruments",
                "passed": bool(test.p_value >= 1e-3),
                "why": f"p = {test.p_value:.3g} (>= 0.001)",
            }
            for test in self.checks.conflicts
        ]
        return [sampling_gate(self.posterior_draws.converged, self.posterior_draws.messages), *conflicts]

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        mean, sd = self.log_factor.mean(axis=0), self.log_factor.std(axis=0, ddof=1)
        contrast = mean - mean.mean()
        high, low = int(np.argmax(contrast)), int(np.argmin(contrast))
        names = self.data.channel_names
        bands = f" in {len(self.data.bands)} bands" if len(self.data.bands) > 1 else ""
        before, after = (float(np.sqrt(np.nanmean(np.square(x)))) for x in self.spreads())
        return (
            f"Effective areas of {len(self.data.instruments)} instruments{bands} adjusted from {self.data.n_columns} "
            f"fluxes: "
            f"{names[high]} by {100 * np.expm1(mean[high]):+.1f} +- {100 * sd[high]:.1f} %, "
            f"{names[low]} by {100 * np.expm1(mean[low]):+.1f} +- {100 * sd[low]:.1f} %; "
            f"fluxes scatter by {100 * before:.1f} % before and {100 * after:.1f} % after."
        )

    citations = ("concordance", "concordance-application")

    @property
    def captions(self) -> dict[str, str]:
        """One sentence per figure."""
        from crosscal.concordance.figures import CAPTIONS

        return dict(CAPTIONS)

    def figures(self) -> dict[str, Any]:
        """Figures by name: adjustments, fluxes, agreement, variances, influence."""
        from crosscal.concordance.figures import all_figures

        return all_figures(self)

    def with_energies(self, energies: Mapping[str, tuple[float, float]]) -> Result:
        """Return the result with the energies of its bands (keV)."""
        return replace(self, band_energies=dict(energies))

    def write(self, directory: str | os.PathLike[str]) -> dict[str, Path]:
        """Write tables (ECSV), correction and posterior (netCDF), provenance.json; returns name to path."""
        from crosscal.concordance.output import write_result

        return write_result(self, Path(directory))


def _spread(data: Comparison, values: Floats) -> Floats:
    """Standard deviation within each column; cells without a logarithm (zero counts) do not take part."""
    usable = np.isfinite(values)
    x, column = values[usable], data.column[usable]
    n = np.bincount(column, minlength=data.n_columns)
    mean = np.bincount(column, x, data.n_columns) / np.maximum(n, 1)
    square = np.bincount(column, (x - mean[column]) ** 2, data.n_columns)
    return np.where(n > 1, np.sqrt(square / np.maximum(n - 1, 1)), np.nan)
