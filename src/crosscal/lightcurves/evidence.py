"""Which process describes the source: log evidences of several kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.keywords import keywords
from crosscal.core.progress import SILENT, Progress
from crosscal.core.tables import ResultTable, describe
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.kernels.base import Kernel
from crosscal.lightcurves.kernels.registry import process as gaussian_process
from crosscal.lightcurves.result import KernelEvidence
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.types import LightCurves

COLUMNS = {
    "kernel": "variability of the source",
    "log_evidence": "natural logarithm of the marginal likelihood",
    "error": "its standard error",
    "difference": "to the best one; below about 3 it decides nothing",
    "sampler": "how it was computed",
    "converged": "whether it can be trusted",
}


@keywords
def compare_kernels(
    curves: LightCurves,
    kernels: Sequence[str | Kernel] = ("drw", "drw+jitter", "matern32", "matern52", "sho"),
    *,
    settings: Settings | None = None,
    draws: int | None = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Any:
    """Return an astropy QTable of log evidences per kernel, best first.

    Columns: kernel, log_evidence, error, difference (to the best), sampler, converged. Evidences depend on the prior
    ranges; differences below about 3 decide nothing.

    Parameters
    ----------
    kernels : sequence of str or Kernel
    settings, draws, seed
        As in `intercalibrate`.

    Raises
    ------
    InputError
        If the errors are Student-t, whose sampler gives no evidence, or a kernel is not a Gaussian process.

    Examples
    --------
    >>> lightcurves.compare_kernels(curves, ["drw", "matern32"], draws=1000, seed=1)  # doctest: +SKIP
    """
    return evidence_table(
        kernel_evidences(curves, kernels, settings=settings, draws=draws, seed=seed, progress=progress)
    )


def kernel_evidences(
    curves: LightCurves,
    kernels: Sequence[str | Kernel],
    *,
    settings: Settings | None = None,
    draws: int | None = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> tuple[KernelEvidence, ...]:
    """Return the log evidences of kernels, best first; see `compare_kernels`.

    Raises
    ------
    InputError
        As `compare_kernels`.
    """
    chosen = settings or Settings()
    if chosen.errors != "gaussian":
        raise InputError("Student-t errors have no evidence", where="kernels", expected="errors = 'gaussian'")
    rows = []
    for name in kernels:
        gaussian_process(name, where="compare_kernels")
        result = intercalibrate(
            curves, settings=replace(chosen, kernel=name), draws=draws, seed=seed, progress=progress
        )
        found = result.draws.posterior
        label = name if isinstance(name, str) else type(name).__name__
        value, error = found.log_evidence, found.log_evidence_error
        rows.append(
            KernelEvidence(
                label, np.nan if value is None else value, np.nan if error is None else error, found.method,
                found.converged,
            )
        )  # fmt: skip
    return tuple(sorted(rows, key=lambda row: -row.log_evidence))


def evidence_table(rows: Sequence[KernelEvidence]) -> Any:
    """Return evidences as a table."""
    content = [(r.kernel, r.log_evidence, r.error, r.sampler, r.converged) for r in rows]
    table = ResultTable(rows=content, names=("kernel", "log_evidence", "error", "sampler", "converged"))
    table.add_column(table["log_evidence"] - table["log_evidence"][0], name="difference", index=3)
    return describe(table, COLUMNS)
