"""Fit a Parquet table that is larger than memory: its sources are summed over in chunks, on any executor."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.compute import EXECUTORS
from crosscal.concordance.chunks import ChunkedTable, ChunkSums
from crosscal.concordance.examination import CONFLICT_LIMIT, Conflict, conflict_sentence, conflicts_of
from crosscal.concordance.expansion import explore_sums, sums_of
from crosscal.concordance.model import BRIGHT
from crosscal.concordance.parquet import columns_of_long
from crosscal.concordance.priors import AreaPrior, Tau, make_prior
from crosscal.concordance.reading_cells import Missing, Request
from crosscal.concordance.settings import VarianceKind
from crosscal.concordance.table_columns import Column
from crosscal.concordance.types import Comparison
from crosscal.concordance.variance import VarianceModel, make_variance_model, starting_variances
from crosscal.core.correction import Correction
from crosscal.core.errors import InputError
from crosscal.core.files import existing_file
from crosscal.core.progress import SILENT, Progress
from crosscal.core.provenance import record
from crosscal.core.tables import ResultTable, describe
from crosscal.inference.posterior import Posterior

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StreamedFit:
    """Areas from a table that was never in memory: no fluxes, and no tests that need single measurements.

    Attributes
    ----------
    instruments : tuple of str
        Names of the channels, with their bands where there are several.
    prior : AreaPrior
    posterior_draws : Posterior
        Draws of B, and of sigma where variances are unknown.
    components : int array (N,)
    n_sources, n_cells : int
    per_instrument : int array (N,)
    conflicts : tuple of Conflict
        Tests of the priors against the data.
    warnings, remarks : tuples of str

    Examples
    --------
    >>> result = concordance.fit_parquet("fluxes.parquet", error="flux_err")  # doctest: +SKIP
    >>> result.summary()  # doctest: +SKIP
    """

    instruments: tuple[str, ...]
    prior: AreaPrior
    posterior_draws: Posterior
    components: NDArray[np.int32]
    n_sources: int
    n_cells: int
    per_instrument: NDArray[np.int64]
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def log_factor(self) -> Floats:
        """Draws of B - b, (n_draws, N)."""
        return self.posterior_draws.draws("B") - np.where(self.prior.flat, 0.0, self.prior.mean)

    @cached_property
    def relative(self) -> Floats:
        """Draws of B - b relative to the mean over the instruments that are compared with each other."""
        means = [self.log_factor[:, self.components == k].mean(axis=1) for k in range(self.components.max() + 1)]
        return self.log_factor - np.stack(means, axis=1)[:, self.components]

    @cached_property
    def correction(self) -> Correction:
        """exp(B - b) per instrument: multiply the nominal effective areas by it."""
        return Correction.from_draws(
            np.array(self.instruments), np.exp(self.log_factor), axis="instrument", target="effective area",
            provenance=dict(self.provenance),
        )  # fmt: skip

    def summary(self) -> Any:
        """Return a QTable with one row per instrument: factor with its 95 % interval, ln factor, sigma."""
        quantiles = np.quantile(np.exp(self.log_factor), [0.5, 0.025, 0.975], axis=0)
        table = ResultTable({"instrument": list(self.instruments)})
        for key, row in zip(("factor", "q2.5", "q97.5"), quantiles, strict=True):
            table[key] = row
        for name, draws in (("log_factor", self.log_factor), ("relative", self.relative)):
            table[name], table[f"{name}_sd"] = draws.mean(axis=0), draws.std(axis=0, ddof=1)
        if "sigma" in self.posterior_draws.names:
            table["sigma"], table["sigma_sd"] = self.posterior_draws.mean("sigma"), self.posterior_draws.sd("sigma")
        table["n_sources"] = self.per_instrument
        from crosscal.concordance.result import SUMMARY

        return describe(table, SUMMARY)

    @property
    def diagnostics(self) -> str:
        """What to trust and what not, in words."""
        return "\n".join([*self.remarks, *self.warnings])


def fit_parquet(
    path: str | os.PathLike[str],
    *,
    instrument: Column = "instrument",
    source: str = "source",
    flux: str | None = None,
    counts: str | None = None,
    log_flux: str | None = None,
    error: str | Sequence[str] | None = None,
    log_error: str | None = None,
    scale: str | None = None,
    confidence: float | None = None,
    missing: Missing | None = None,
    repeats: bool = False,
    exposure: str | None = None,
    band: Column | None = None,
    select: Mapping[str, Any] | None = None,
    rename: Mapping[str, str] | None = None,
    unit: str | None = None,
    flux_unit: str = "",
    bounds: bool | None = None,
    tau: Tau | None = None,
    mean: float | Mapping[str, float] = 0.0,
    variance: VarianceKind | None = None,
    df: float = 1.5,
    beta: float | None = None,
    scatter: float | None = None,
    draws: int = 2000,
    chains: int = 4,
    executor: Any = "serial",
    seed: int = 0,
    progress: Progress = SILENT,
    **options: Any,
) -> StreamedFit:
    """Adjust effective areas from a Parquet table sorted by source, however long it is.

    With fluxes integrated out, the log likelihood of areas B and variances s is a sum over sources. It is summed over
    chunks of the table on an executor, maximised, expanded to second order, and compared with its expansion at draws.

    Parameters
    ----------
    path : path
        One row a measurement, sorted by source.
    instrument, source, flux, counts, log_flux, error, log_error, scale, confidence, missing, repeats, exposure, band
        See `read_table`, also for ``select``, ``rename``, ``unit``, ``flux_unit`` and ``bounds``. Sources are named by
        one column; limits, times, ratios and additive values need `read_table` and `fit`.
    tau, mean, variance, df, beta, scatter
        See `fit`. Errors are Gaussian in ln flux, areas are normal, and tau is not estimated.
    draws, chains : int
    executor : str or Executor
        "serial", "local" or "dask"; the result has the same bits on each. ``options`` are the executor's
        (``workers=2``).

    Returns
    -------
    result : StreamedFit

    Raises
    ------
    InputError
        If the table is not sorted by source, or lacks what the model needs.
    FitError
        If the likelihood is not quadratic where the posterior lies (too few sources).

    Examples
    --------
    >>> result = concordance.fit_parquet("fluxes.parquet", error="flux_err", executor="local")  # doctest: +SKIP
    """
    if isinstance(executor, str):
        EXECUTORS.get(executor)
    request = Request(
        instrument, source, flux, counts, log_flux, error, log_error, scale, confidence, None, None, missing, repeats,
        exposure, band, None, None, select, rename, unit, flux_unit, "", None, bounds,
    )  # fmt: skip
    table = ChunkedTable.open(Path(existing_file(path, what="table")).resolve(), request)
    columns = columns_of_long(table.path, request.columns, unit)
    pilot = next(part for k in range(len(table.chunks)) if (part := table.read(k)) is not None)
    pilot.require_logarithms()
    n = len(table.channels)
    shell = _shell(table)
    prior = make_prior(shell, tau, mean=mean)
    if prior.latent or pilot.additive:
        raise InputError(
            "an estimated tau or additive values",
            where=str(path),
            expected="read_table and fit, which hold all in memory",
        )
    known = make_variance_model(pilot, variance, df=df, beta=beta, scatter=scatter)
    spread = VarianceModel(known.kind, *(np.full(n, x[0]) for x in (known.df, known.beta, known.scale)))
    sums = ChunkSums(table, known.kind, executor, options, progress)
    start = np.full(n, float(np.median(starting_variances(pilot, known))))
    first = sums_of(pilot, known.kind) if pilot.channels == table.channels else sums
    mean_b = np.where(prior.flat, 0.0, prior.mean)
    if np.any(prior.flat):
        sums.values([(mean_b, start)])
        _require_anchors(table, prior, sums.shared)
    found = explore_sums(sums, first, prior, spread, (mean_b, start), seed, draws, chains, progress)
    told = (*pilot.assumed, *request.unused(columns, pilot.assumed))
    return _concluded(table, prior, known, sums, found, told, seed)


def _shell(table: ChunkedTable) -> Comparison:
    """A comparison of the table's channels without cells."""
    nothing = np.empty(0)
    return Comparison(table.channels, (), nothing.astype(np.int32), nothing.astype(np.int32), nothing)


def _require_anchors(table: ChunkedTable, prior: AreaPrior, shared: Floats) -> NDArray[np.int32]:
    """Return the groups of instruments that share sources; each needs a finite tau."""
    from scipy.sparse.csgraph import connected_components

    parts: NDArray[np.int32] = connected_components(shared, directed=False)[1]
    for k in range(int(parts.max()) + 1):
        if np.all(prior.flat[parts == k]):
            names = _shell(table).channel_names
            listed = ", ".join(name for name, part in zip(names, parts, strict=True) if part == k)
            raise InputError(
                f"nothing fixes the common area factor of {listed}: each has an infinite tau", where=str(table.path),
                expected="a finite tau, or a reference (tau = 0), for at least one of them",
            )  # fmt: skip
    return parts


def _concluded(
    table: ChunkedTable, prior: AreaPrior, variance: VarianceModel, sums: ChunkSums, found: Any,
    told: tuple[str, ...], seed: int,
) -> StreamedFit:  # fmt: skip
    """Put draws and counts together, with what must be known of them."""
    names = _shell(table).channel_names
    parts = _require_anchors(table, prior, sums.shared)
    arrays = {"B": found.b} | ({} if found.s is None else {"sigma": np.sqrt(found.s)})
    posterior = Posterior.from_draws(
        arrays, method=found.method, dims={name: ["channel"] for name in arrays}, coords={"channel": list(names)}
    )
    counted = sums.counted
    conflicts = conflicts_of(names, parts, prior, *found.information)
    warnings = [*found.messages]
    warnings += [conflict_sentence(test) for test in conflicts if test.p_value < CONFLICT_LIMIT]
    if counted["faint"]:
        warnings.append(
            f"{counted['faint']} of {counted['cells']} measurements have S/N below {BRIGHT:g}: errors are treated as "
            "Gaussian in ln flux, which biases areas of faint instruments by about 1 / SNR^2."
        )
    if counted["lonely"]:
        warnings.append(
            f"{counted['lonely']} of {counted['sources']} sources were observed by only one instrument and carry no "
            "information."
        )
    remarks = [f"Summed over {len(table.chunks)} chunks of {counted['sources']} sources."]
    # What one chunk leaves out is counted below for all.
    remarks += [line for line in told if "without a measurement" not in line]
    if counted["left_out"]:
        remarks.append(f"Rows without a measurement are excluded ({counted['left_out']}).")
    config = {"part": "concordance", "data": table.path.name, "variance": variance.kind, "route": found.method}
    return StreamedFit(
        names, prior, posterior, parts, counted["sources"], counted["cells"], sums.per_channel, conflicts,
        tuple(warnings), tuple(remarks), record(config=config, seed=seed),
    )  # fmt: skip
