"""From spectra to pairs: every spectrum fitted by itself, a table of how good the fits are, and the pairs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from crosscal.compute.layout import ChunkLayout
from crosscal.compute.schema import Variable, fingerprint
from crosscal.core.errors import FitError, InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.xray.correction.observations import Observation
from crosscal.xray.correction.pairs import QUANTITIES, PairedSources
from crosscal.xray.correction.pairs_columns import CONSTANTS
from crosscal.xray.fitting.engine import Status
from crosscal.xray.fitting.fit import fit
from crosscal.xray.instrument.checks import told_once

if TYPE_CHECKING:
    from astropy.table import Table

    from crosscal.xray.instrument.response import Response

Floats = NDArray[np.float64]

#: A temperature known no better than this (1 sigma, relative) says nothing of a calibration.
WORST = 0.5
#: Fields of spectra and responses on which no fit depends.
WORDS = ("name", "files", "links", "notes", "mission", "headers")
#: Fits whose spectra are less probable than this are told; they stay.
IMPROBABLE = 1e-3


@dataclass(frozen=True, eq=False)
class FitTask:
    """``task(chunk) -> {variable: array}``: the fits of the spectra of one chunk; picklable.

    Attributes
    ----------
    observations : tuple of Observation
    names : free parameters
    layout : chunks along the spectra
    """

    observations: tuple[Observation, ...]
    names: tuple[str, ...]
    layout: ChunkLayout

    def __call__(self, chunk: int) -> dict[str, NDArray[Any]]:
        """Fit the spectra of a chunk."""
        found = [self.one(self.observations[k]) for k in self.layout.flat(chunk)]
        return {name: np.stack([f[name] for f in found]) for name in found[0]}

    def one(self, o: Observation) -> dict[str, NDArray[Any]]:
        """Fit one spectrum; what cannot be fitted is a status."""
        p = len(self.names)
        out: dict[str, Any] = {"value": np.full(p, np.nan), "covariance": np.full((p, p), np.nan)}
        out |= {"statistic": np.nan, "dof": 0, "pvalue": np.nan, "counts": o.total, "status": Status.BAD_DATA.value}
        try:
            found = fit(o.spectrum, o.response, o.model, band=o.band)
        except InputError:
            return {n: np.asarray(v) for n, v in out.items()}
        order = [found.names.index(n) for n in self.names]
        out |= {"statistic": found.statistic, "dof": found.dof, "pvalue": found.pvalue, "status": int(found.status)}
        out["value"] = np.array([found.values[n] for n in self.names])
        out["covariance"] = found.covariance[np.ix_(order, order)]
        return {n: np.asarray(v) for n, v in out.items()}


@dataclass(frozen=True, eq=False)
class FittedSpectra:
    """Fits of many spectra.

    Attributes
    ----------
    observations : tuple of Observation
    names : free parameters, p of them
    value, covariance : (n, p), (n, p, p)
    statistic, pvalue, counts : (n,)
    dof, status : (n,)
    """

    observations: tuple[Observation, ...]
    names: tuple[str, ...]
    value: Floats
    covariance: Floats
    statistic: Floats
    pvalue: Floats
    counts: Floats
    dof: NDArray[np.int64]
    status: NDArray[np.int8]

    @property
    def trouble(self) -> tuple[str, ...]:
        """Why each fit gives no temperature; empty where it does."""
        at = self.names.index("kT")
        found = []
        for k, status in enumerate(self.status):
            kT, sd = self.value[k, at], np.sqrt(max(self.covariance[k, at, at], 0.0))
            if status > Status.AT_BOUND.value:
                found.append(f"the fit ended with {Status(int(status)).name}")
            elif not np.all(np.isfinite(self.covariance[k])) or not np.all(np.diagonal(self.covariance[k]) > 0):
                found.append("the fit has no errors, because a parameter is at its limit")
            elif sd > WORST * kT:
                found.append(f"kT = {kT:.2g} +/- {sd:.2g} keV is not constrained")
            else:
                found.append("")
        return tuple(found)

    def table(self) -> Table:
        """Return one row a spectrum: best fits, errors, statistic, probability, status, and why it is not used."""
        from astropy.table import Table

        rows: dict[str, Any] = {
            "source": [o.source for o in self.observations],
            "telescope": [o.telescope for o in self.observations],
            "counts": self.counts,
        }
        with np.errstate(invalid="ignore"):
            sd = np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        for p, name in enumerate(self.names):
            rows[name], rows[f"{name}_err"] = self.value[:, p], sd[:, p]
        rows |= {"statistic": self.statistic, "dof": self.dof, "pvalue": self.pvalue}
        rows |= {"status": [Status(int(s)).name for s in self.status], "left_out": list(self.trouble)}
        found = Table(rows)
        found["kT"].unit = found["kT_err"].unit = "keV"
        return found


def fit_spectra(
    observations: Sequence[Observation],
    *,
    store: str | os.PathLike[str] | None = None,
    executor: Any = None,
    progress: Progress = SILENT,
    **options: Any,
) -> FittedSpectra:
    """Fit each spectrum by itself, with its own background, response, band and fixed parameters.

    Parameters
    ----------
    observations : sequence of Observation
        With the same free parameters, kT and norm among them.
    store : path, optional
        A Zarr directory; the same call goes on where another one was interrupted.
    executor : str or Executor, optional
        With a store: "serial", "local" (default), "dask".
    **options
        Of the executor (``workers=2``).

    Raises
    ------
    InputError
        If there are no spectra or their free parameters differ; StoreError if the store holds other spectra.
    """
    observed = tuple(observations)
    if (
        not observed
        or any(o.model.free != observed[0].model.free for o in observed)
        or "kT" not in observed[0].model.free
    ):
        raise InputError("free parameters", where="spectra to fit", expected="the same ones for all, kT among them")
    names = tuple(observed[0].model.free)
    task = FitTask(
        observed, names, ChunkLayout.of({"spectrum": len(observed)}, {"spectrum": 1 if store else len(observed)})
    )
    if store is None:
        with progress.stage("Fitting spectra", total=len(observed)) as advance:
            parts = []
            for o in observed:
                parts.append(task.one(o))
                advance(1)
        return FittedSpectra(observed, names, **{n: np.stack([p[n] for p in parts]) for n in parts[0]})
    return FittedSpectra(observed, names, **_in_store(Path(store), task, executor, progress, options))


def _in_store(
    path: Path, task: FitTask, executor: Any, progress: Progress, options: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    from crosscal.compute.schema import Coordinate
    from crosscal.compute.store import Store
    from crosscal.compute.sweeps import sweep

    dims = ("spectrum",)
    variables = {
        "value": Variable((*dims, "parameter"), description="best fit"),
        "covariance": Variable((*dims, "parameter", "parameter_"), description="inverse Fisher matrix"),
        "status": Variable(dims, dtype="int8", description="how the fit ended"),
        "dof": Variable(dims, dtype="int32", description="degrees of freedom"),
    }
    variables |= {n: Variable(dims, description=n) for n in ("statistic", "pvalue", "counts")}
    coords = {
        "spectrum": Coordinate(dims, np.arange(len(task.observations))),
        "parameter": Coordinate(("parameter",), np.array(task.names)),
        "parameter_": Coordinate(("parameter_",), np.array(task.names)),
    }
    job = {"kind": "xray fits of spectra", "spectra": [_described(o) for o in task.observations]}
    store = Store.open_or_create(path, variables, coords, {"spectrum": 1}, job=job)
    sweep(task, store, executor or "local", progress=progress, name="Fitting spectra", status="status", **options)
    dataset = store.dataset()
    return {n: np.asarray(dataset[n].values) for n in variables}


def _described(o: Observation) -> list[Any]:
    """Return what a fit depends on, JSON-like: the spectrum with its background and errors, the response, the model."""
    values = {p.name: p.default for p in o.model.parameters}
    model = [o.model.expression, list(o.model.free), values, {k: str(v) for k, v in o.model.options.items()}]
    return [o.source, o.telescope, list(o.band), model, fingerprint(_content([o.spectrum, o.response]))]


def _content(value: Any) -> Any:
    """Return the numbers of spectra and responses, without names of files, headers and notes."""
    if is_dataclass(value):
        return {f.name: _content(getattr(value, f.name)) for f in fields(value) if f.name not in WORDS}
    if issparse(value):
        rows = value.tocsr()
        return [list(rows.shape), rows.data, rows.indices, rows.indptr]
    return [_content(v) for v in value] if isinstance(value, list) else value


def pairs_of(fitted: FittedSpectra, trusted: str, corrected: str) -> PairedSources:
    """Return the sources that both telescopes measured, with the absorption and redshift of each.

    Several spectra of a source in one telescope are joined by their weighted mean.

    Raises
    ------
    InputError
        If a telescope is not there; FitError if no source has fits in both.
    """
    telescopes = {o.telescope for o in fitted.observations}
    for name in (trusted, corrected):
        if name not in telescopes:
            raise InputError(
                f"no spectra of {name!r}", where="pairs of spectra", expected=", ".join(sorted(telescopes))
            )
    quantities = tuple(q for q in QUANTITIES if q in fitted.names)
    index = [fitted.names.index(q) for q in quantities]
    trouble, notes = fitted.trouble, []
    sources = tuple(dict.fromkeys(o.source for o in fitted.observations if o.telescope in (trusted, corrected)))
    kept, values, covariances = [], [], []
    for name in sources:
        both = []
        for telescope in (trusted, corrected):
            own = [k for k, o in enumerate(fitted.observations) if (o.source, o.telescope) == (name, telescope)]
            good = [k for k in own if not trouble[k]]
            if not good:
                why = f"{trouble[own[0]]} with {telescope}" if own else f"no spectrum of {telescope}"
                notes.append(f"source {name!r} is left out: {why}")
                break
            both.append(_mean(fitted.value[good][:, index], fitted.covariance[good][:, index][:, :, index]))
        else:
            kept.append(name)
            values.append([b[0] for b in both])
            covariances.append([b[1] for b in both])
    if not kept:
        raise FitError(
            f"no source has good fits with both telescopes, so that there are no pairs: {'; '.join(notes[:3])}"
        )
    notes += told_once(note for o in fitted.observations for note in (*o.spectrum.notes, *o.response.notes))
    poor = int(np.sum(fitted.pvalue < IMPROBABLE))
    if poor:
        notes.append(f"{poor} spectra are improbable under their model (p < {IMPROBABLE:g}): see fits.ecsv")
    first = {o.source: o.model for o in reversed(fitted.observations)}
    held = [n for n in CONSTANTS if n in first[kept[0]].names and n not in fitted.names]
    constants = {n: np.array([first[s].parameter(n).default for s in kept]) for n in held}
    responses = [_main_response(fitted, s, corrected, trouble, notes) for s in kept]
    value, covariance = (np.swapaxes(np.array(a), 0, 1) for a in (values, covariances))
    telescopes = (trusted, corrected)
    return PairedSources(
        tuple(kept), telescopes, quantities, value, covariance, constants=constants, notes=tuple(notes),
        responses={corrected: responses},
    )  # fmt: skip


def _main_response(
    fitted: FittedSpectra, source: str, telescope: str, trouble: Sequence[str], notes: list[str]
) -> Response:
    """Return the response of a source's spectrum with most counts; others are told in ``notes``."""
    own = [k for k, o in enumerate(fitted.observations) if (o.source, o.telescope) == (source, telescope)]
    best = max((k for k in own if not trouble[k]), key=lambda k: fitted.counts[k])
    response = fitted.observations[best].response
    if any(fitted.observations[k].response is not response for k in own if not trouble[k]):
        notes.append(f"source {source!r}: exact fits use the response of its spectrum with most counts in {telescope}")
    return response


def _mean(values: Floats, covariances: Floats) -> tuple[Floats, Floats]:
    """Return the weighted mean of independent measurements (m, q) and its covariance."""
    if len(values) == 1:
        return values[0], covariances[0]
    precision = np.linalg.inv(covariances)
    covariance = np.linalg.inv(precision.sum(axis=0))
    return covariance @ np.einsum("mab,mb->a", precision, values), covariance
