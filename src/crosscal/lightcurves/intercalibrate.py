"""The verb of the part: light curves in, factors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from crosscal.core.errors import InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.provenance import record
from crosscal.lightcurves.kernels.base import Kernel
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.normalise import Normalisation
from crosscal.lightcurves.physical import Factors
from crosscal.lightcurves.result import Result
from crosscal.lightcurves.sampling import draw
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.types import LightCurves


def intercalibrate(
    curves: LightCurves | Mapping[str, tuple[ArrayLike, ...]],
    *,
    settings: Settings | None = None,
    reference: str | None = None,
    normalisation: str | Normalisation | None = None,
    sampler: str = "auto",
    draws: int | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    sampler_options: dict[str, Any] | None = None,
    **changes: Any,
) -> Result:
    """Bring light curves of one source to the flux scale of one telescope.

    Calibrated flux = phi f - G (continuum) and phi f (lines), with phi and G per telescope, a common process per
    file, and optional systematic errors and error scales (`Settings`).

    Parameters
    ----------
    curves : LightCurves, or mapping of code to (time, flux, error)
        What one of the readers gives; several survey tables are joined by :func:`crosscal.lightcurves.merge`.
    settings : Settings, optional
    reference : str, optional
        The telescope whose scale is kept; the first code by default.
    normalisation : "mean", "none", "spread" or Normalisation, optional
        Overrides that of the settings; an object gives the divisors themselves.
    sampler : "auto", "importance", "laplace", "nuts" or "nested"
        Student-t errors are always sampled by Gibbs steps.
    draws : int, optional
        Posterior draws asked for; 4000 by default, 1000 above 20000 points.
    sampler_options : dict, optional
        Passed on to the sampler.
    **changes
        Fields of `Settings`, such as ``kernel="matern32"`` or ``systematic_error=True``.

    Raises
    ------
    InputError, UnknownNameError, FitError

    Examples
    --------
    >>> result = intercalibrate(curves, kernel="drw", systematic_error=True)    # doctest: +SKIP
    >>> result.summary()                                                       # doctest: +SKIP
    """
    curves = LightCurves.of(curves)
    divisors = normalisation if isinstance(normalisation, Normalisation) else None
    if isinstance(normalisation, str):
        changes["normalisation"] = normalisation
    chosen = replace(settings or Settings(), **changes)
    ordered = curves.reordered(reference) if reference is not None else curves
    model = Model(ordered, chosen, normalisation=divisors)
    options = dict(sampler_options or {})
    if chosen.errors == "student-t":
        from crosscal.lightcurves.student import draw_student

        found = draw_student(model, draws=draws, seed=seed, progress=progress, **options)
    else:
        found = draw(model, route=sampler, draws=draws, seed=seed, progress=progress, **options)
    factors = Factors.of(found.model, found.vectors, found.means)
    config = {
        "part": "lightcurves",
        "files": {curve.name: len(curve) for curve in ordered.files},
        "reference": ordered.codes[0],
        "settings": {f.name: _plain(getattr(chosen, f.name)) for f in fields(chosen)},
        "sampler": found.posterior.method,
        "draws": len(found.vectors),
    }
    return Result(ordered, found, factors, seed, record(config=config, seed=seed))


def _plain(value: Any) -> Any:
    return type(value).__name__ if isinstance(value, Kernel) else value


def compare_kernels(
    curves: LightCurves,
    kernels: Sequence[str | Kernel] = ("drw", "drw+jitter", "matern32", "matern52", "sho"),
    *,
    settings: Settings | None = None,
    reference: str | None = None,
    draws: int | None = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
    **changes: Any,
) -> Any:
    """Return an astropy QTable of log evidences per kernel, best first.

    Columns: kernel, log_evidence, error, difference (to the best), sampler, converged. Evidences depend on the prior
    ranges; differences below about 3 decide nothing.

    Parameters
    ----------
    kernels : sequence of str or Kernel
    settings, reference, draws, seed, **changes
        As in `intercalibrate`.

    Raises
    ------
    InputError
        If the errors are Student-t: their sampler gives no evidence.
    """
    from crosscal.core.tables import ResultTable

    if replace(settings or Settings(), **changes).errors != "gaussian":
        raise InputError("Student-t errors have no evidence", where="kernels", expected="errors = 'gaussian'")
    rows: list[tuple[str, float, float | None, str, bool]] = []
    for name in kernels:
        result = intercalibrate(
            curves, settings=settings, reference=reference, draws=draws, seed=seed, progress=progress,
            **{**changes, "kernel": name},
        )  # fmt: skip
        posterior = result.draws.posterior
        label = name if isinstance(name, str) else type(name).__name__
        rows.append(
            (
                label,
                posterior.log_evidence or np.nan,
                posterior.log_evidence_error,
                posterior.method,
                posterior.converged,
            )
        )
    rows.sort(key=lambda row: -row[1])
    table = ResultTable(rows=rows, names=("kernel", "log_evidence", "error", "sampler", "converged"))
    table.add_column(table["log_evidence"] - table["log_evidence"][0], name="difference", index=3)
    return table
