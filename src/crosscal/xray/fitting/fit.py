"""Fit one spectrum with any model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from crosscal.core.errors import InputError
from crosscal.core.keywords import keywords
from crosscal.xray.fitting import statistics
from crosscal.xray.fitting.data import data_of, default_statistic, error_notes
from crosscal.xray.fitting.poisson import poisson_counts
from crosscal.xray.fitting.result import FitProblem, FitResult
from crosscal.xray.fitting.simulate import plain_band
from crosscal.xray.fitting.solve import solve
from crosscal.xray.fitting.source import ModelSource, resolution
from crosscal.xray.fitting.statistics import Data, Kind
from crosscal.xray.instrument.grouping import Groups, group

if TYPE_CHECKING:
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.response import Response
    from crosscal.xray.instrument.spectrum import Spectrum

Array = NDArray[np.float64]

_SIMULATIONS = 1000
# Shares and counts above and below which the notes speak up.
_MANY_EMPTY, _FEW = 0.1, 10.0


@keywords
def fit(
    spectrum: Spectrum,
    response: Response,
    model: Model,
    *,
    statistic: str | None = None,
    band: tuple[float, float] | None = None,
    free: Sequence[str] | None = None,
    groups: Groups | None = None,
    background_sd: ArrayLike | None = None,
    scan: bool = True,
) -> FitResult:
    """Fit a spectrum by maximum likelihood.

    Parameters
    ----------
    spectrum : Spectrum
        With a background spectrum, that is part of the likelihood (wstat, pgstat) or subtracted (chi2).
    response : Response
    model : Model
        Its values are the start.
    statistic : str, optional
        "cstat", "wstat", "pgstat", "chi2", "chi2-gehrels", "chi2-model"; by default wstat with a background and cstat
        without, or chi2 where net counts are negative. chi2 uses the errors of the file (STAT_ERR, SYS_ERR), pgstat
        those of the background.
    band : (low, high), keV or quantities
    free : sequence of str
        Free parameters, by default the model's.
    groups : Groups, optional
        From :func:`crosscal.xray.group`, which knows the methods and ignored ranges; by default the file's own
        groups in the band, or its good channels one by one where the file has none.
    background_sd : array, (n_channel,)
        Errors of the background counts, for pgstat; by default those of its file, or sqrt(counts).
    scan : bool
        Also try other starts: temperatures for one component; for several, combinations of their temperatures and
        photon indices, the best of which are fitted to the end. Norms are scaled to the counts.

    Raises
    ------
    InputError, UnknownNameError
        If spectrum, response, groups and statistic do not fit together.

    Examples
    --------
    >>> found = xray.fit(spectrum, telescope, model, band=(0.7, 7.0))  # doctest: +SKIP
    >>> found.summary()  # doctest: +SKIP
    """
    spectrum.check_response(response)
    groups = _groups(spectrum, response, band, groups)
    name = default_statistic(spectrum, groups) if statistic is None else statistic
    kind = statistics.kind_of(name)
    data, background = data_of(spectrum, groups, name, background_sd)
    names = tuple(model.free if free is None else free)
    for n in names:
        model.parameter(n)
    source = _source(spectrum, response, model, groups, names)
    n_free, n_group = len(names), groups.n_group
    found = solve(source, data, background, model, scan)
    x, value, status = found.x, found.statistic, found.status
    scale = source.scale(x)
    natural = found.covariance * np.outer(scale, scale)
    best = dict(zip(source.names, source.from_engine(x).tolist(), strict=True))
    errors = dict(zip(source.names, np.sqrt(np.diag(natural)).tolist(), strict=True))
    expected = source.counts(x)
    low, high = groups.energies(response)
    dof = n_group - n_free
    return FitResult(
        source.names, best, errors, natural, float(value), name, dof, status,
        _pvalue(kind, data, expected, background, value, dof, n_free),
        model.replace(free=names, **best), low, high, data.counts if kind < Kind.CHI2 else data.counts + background,
        background, expected, spectrum.exposure,
        (*_notes(spectrum, response, groups, kind, name, data), *_weak_lines(response, groups, model), *found.notes),
        FitProblem(source, data, x, source.low, source.high, found.work, found.covariance, float(value)),
    )  # fmt: skip


def _foreign(spectrum: Spectrum, response: Response) -> Iterator[str]:
    """Say where the headers of spectrum and response name different instruments."""
    for key in ("TELESCOP", "INSTRUME"):
        ours, theirs = (str(m.get(key, "")).strip().upper() for m in (spectrum.mission, response.mission))
        if ours and theirs and ours != theirs:
            yield f"the spectrum is of {key} = {ours}, the response of {theirs}"
            return


def _weak_lines(response: Response, groups: Groups, model: Model) -> Iterator[str]:
    """Say where the plasma table is coarser than the response: the built-in one at microcalorimeter resolution."""
    energy, sigma = resolution(response.restricted(groups.mask))
    bins, fwhm = float(np.median(model.line_bins(energy))), 2.355 * float(np.median(sigma))
    if bins > fwhm:
        yield (
            f"the plasma table sums weak lines in bins of {100 * bins:.2g} %, wider than the resolution of the "
            f"response, {100 * fwhm:.2g} %: use table= a directory of AtomDB files, or a table of "
            "crosscal data build-plasma"
        )


def _notes(
    spectrum: Spectrum, response: Response, groups: Groups, kind: Kind, name: str, data: Data
) -> tuple[str, ...]:
    notes = [*spectrum.notes, *response.notes, *_foreign(spectrum, response), *error_notes(spectrum, kind, name)]
    if groups.note:
        notes.append(groups.note)
    if kind in (Kind.WSTAT, Kind.PGSTAT):
        empty = float((data.background == 0).mean())
        if empty > _MANY_EMPTY:
            notes.append(
                f"{100 * empty:.0f} % of the groups have no background count, which biases a profiled background: "
                "group for about 5 counts of the background (min_counts(spectrum.background.counts, 5))"
            )
    if kind == Kind.CHI2 and float((data.variance < _FEW).mean()) > _MANY_EMPTY:
        notes.append("many groups have few counts, which biases chi2: use cstat or wstat, or group more")
    return tuple(notes)


def _groups(spectrum: Spectrum, response: Response, band: Any, groups: Groups | None) -> Groups:
    if groups is None:
        return group(spectrum, response, None if band is None else plain_band(band))
    if band is not None:
        raise InputError("a band and groups", where="fit", expected="one of them: the groups say which channels count")
    if groups.n_channel != spectrum.n_channel:
        raise InputError(f"groups of {groups.n_channel} channels", where="fit", expected=f"{spectrum.n_channel}")
    return groups


def _source(spectrum: Spectrum, response: Response, model: Model, groups: Groups, names: Sequence[str]) -> ModelSource:
    part = response.restricted(groups.mask)
    exposure = np.broadcast_to(spectrum.exposure * np.asarray(spectrum.areascale), groups.mask.shape)[groups.mask]
    summed = groups.matrix[:, np.flatnonzero(groups.mask)].multiply(exposure[None, :]).tocsr()
    matrix = (summed @ part.redistribution).multiply(part.area[None, :]).tocsr()
    table = not model.precise and any(n.split("_")[0] == "Redshift" for n in names)
    return ModelSource(model, part.energy_edges, matrix, names, resolution(part)[1].min() if table else np.inf)


def _pvalue(kind: Kind, data: Data, expected: Array, background: Array, value: float, dof: int, n_free: int) -> float:
    if not np.isfinite(value) or dof <= 0:
        return float("nan")
    if kind in (Kind.CHI2, Kind.CHI2_MODEL):
        return float(special.chdtrc(dof, value))
    if kind == Kind.CSTAT:
        mean, variance = statistics.expected_cstat(expected)
        # Each fitted parameter takes away one unit, as it does from chi2.
        return float(special.ndtr(-(value - (mean.sum() - n_free)) / np.sqrt(variance.sum())))
    return _simulated_pvalue(kind, data, expected, value, n_free)


def _simulated_pvalue(kind: Kind, data: Data, expected: Array, value: float, n_free: int) -> float:
    """Share of spectra simulated from the best fit (background profiled) whose statistic is larger."""
    profiled = np.array(
        [
            statistics.profiled_background(*row)
            for row in zip(data.counts, data.background, data.ratio, expected, strict=True)
        ]
    )
    seeds = np.arange(_SIMULATIONS, dtype=np.uint64)[None, :]
    on = poisson_counts((expected + profiled)[None, :], seeds)[0]
    off = poisson_counts((data.ratio * profiled)[None, :], seeds + np.uint64(_SIMULATIONS))[0]
    gaussian = kind == Kind.PGSTAT and not np.array_equal(data.variance, data.background)
    if gaussian:
        noise = np.random.default_rng(_SIMULATIONS).normal(size=off.shape)
        off = data.ratio * profiled + np.sqrt(data.variance) * noise
    channels = np.maximum(expected, 1e-25)[None, :]
    above = 0
    for s, b in zip(on, off, strict=True):
        variance = b if kind == Kind.PGSTAT and not gaussian else data.variance
        above += statistics.total(Data(int(kind), s, b, data.ratio, variance), channels) - n_free >= value
    return above / _SIMULATIONS
