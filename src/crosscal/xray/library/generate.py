"""Build a library: simulate with a changed calibration, fit with the nominal and with the changed one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.compute.layout import ChunkLayout
from crosscal.compute.schema import Coordinate, Variable, jsonable
from crosscal.core import provenance
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.grid import Grid, Scatter
from crosscal.core.progress import SILENT, Progress
from crosscal.core.units import plain
from crosscal.xray.fitting.simulate import plain_band
from crosscal.xray.fitting.templates import FoldedTemplates, Range
from crosscal.xray.library.library import DIMS, KIND, Library
from crosscal.xray.library.task import CALIBRATIONS, LibraryTask, instrument, scaled_truth

if TYPE_CHECKING:
    from crosscal.compute.job import Executor
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.response import Response

NOISE = ("asimov", "poisson")
# About this many simulated spectra a chunk: a quarter of a second of work, a few files of 200 kB.
_SPECTRA_PER_CHUNK = 20_000
DEFAULT_EXPOSURE = 1e5


def build_library(
    response: Response,
    model: Model,
    design: Grid | Scatter,
    *,
    kT: ArrayLike,
    band: tuple[float, float],
    counts: float | None = None,
    exposure: float | None = None,
    noise: str = "asimov",
    realisations: int = 1,
    seed: int = 0,
    free: Sequence[str] | None = None,
    axes: Mapping[str, Range] | None = None,
    profile: tuple[float, float, int] | ArrayLike | None = None,
    interval: float | None = None,
    modifier: Any = None,
    store: str | os.PathLike[str] | None = None,
    chunk: int | None = None,
    executor: str | Executor | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> Library:
    """Simulate with ``area * phi_theta``, fit with ``area`` (nominal) and with ``area * phi_theta`` (modified).

    Parameters
    ----------
    response : Response
        The nominal calibration.
    model : Model
        Parameters that are not free keep their values, in simulation and fit.
    design : Grid or Scatter
        Points theta; ``Gaussian.grid(...)`` and ``.scatter(...)`` know their modifier, others need ``modifier=``.
    kT : array, shape (n_T,), keV
        True temperatures.
    band : (low, high), keV
    counts : float, optional
        Expected counts in the band with the *nominal* response, at each temperature; all norms are scaled to it.
        Without it the model's norms are kept.
    exposure : float, s
        1e5 by default; it matters only without ``counts``.
    noise : "asimov" or "poisson"
        Expected counts, or Poisson counts with a seed of their own for each (theta, T_true, realisation).
    realisations : int
        Poisson realisations of each point.
    seed : int
    free : sequence of str
        Fitted parameters, kT among them; by default the model's (kT and norm).
    axes : mapping of name to (low, high, n) or nodes
        Ranges of free parameters that the model does not tabulate (nH, Redshift, ...).
    profile : (low, high, n) or array, optional
        Store C - C_min at these offsets of kT, in standard errors.
    interval : float, optional
        Also store the profile-likelihood interval of kT: where C, minimised over the others, is this much above its
        minimum (1 for 68 %, 2.706 for 90 %).
    store : path, optional
        A Zarr directory; the same call resumes it. In memory if not given.
    chunk : int, optional
        Thetas a unit of work.
    executor : str or Executor, optional
        "serial", "local" (default with a store), "dask"; without a store "serial", or "local" for threads.
    progress : Progress
    **options
        Of the executor (``workers=2``).

    Returns
    -------
    Library

    Raises
    ------
    InputError, UnknownNameError, StoreError
        Before anything is computed, if the arguments do not fit together.

    Examples
    --------
    >>> design = xray.Gaussian.grid(A=(-0.15, 0.15, 11), mu=(0.7, 5.0, 17), sigma=0.9)  # doctest: +SKIP
    >>> library = xray.build_library(telescope, model, design, kT=[2, 4, 8], band=(0.7, 7.0))  # doctest: +SKIP
    """
    modifier = _modifier_of(design, modifier)
    temperatures, band = _temperatures(plain(kT, "keV", where="kT")), plain_band(band)
    names = tuple(model.free if free is None else free)
    time = DEFAULT_EXPOSURE if exposure is None else float(plain(exposure, "s", where="exposure"))
    _check_request(noise, realisations, names, time, interval)
    templates = FoldedTemplates.build(
        response, model, band=band, free=names, axes=axes, exposure=time, trim=modifier.acts_on == "area"
    )
    low, high = templates.limits(model)
    truth = true_values(templates, model, temperatures, None)
    _check_inside(templates, truth, low, high)
    truth = true_values(templates, model, temperatures, counts)
    x_true = templates.nodes.to_engine({n: truth[n] for n in templates.names})
    offsets = _offsets(profile)
    length = chunk or max(1, _SPECTRA_PER_CHUNK // (temperatures.size * realisations))
    task = LibraryTask(
        **instrument(templates, response, model, modifier),
        design=design,
        band=band,
        layout=ChunkLayout.of({"theta": len(design)}, {"theta": length}),
        x_true=x_true,
        low=low,
        high=high,
        seed=int(seed),
        realisations=int(realisations),
        is_poisson=noise == "poisson",
        offsets=offsets,
        delta=None if interval is None else float(interval),
        counts=None if counts is None else float(counts),
    )
    job = _job(templates, response, model, modifier, design, temperatures, band, counts, noise, realisations, seed)
    job |= {"profile": offsets, "interval": interval}
    variables = _variables(templates.names, offsets.size, interval is not None)
    coords = _coordinates(design, modifier, temperatures, realisations, truth, templates.names, offsets)
    record = provenance.record(inputs=dict(response.files), config=None, seed=int(seed))
    if store is None:
        return _in_memory(task, variables, coords, job, record, executor, progress, options)
    return _in_store(store, task, variables, coords, job, record, executor, progress, options)


def _check_request(noise: str, realisations: int, names: tuple[str, ...], time: float, interval: float | None) -> None:
    """Refuse arguments that are wrong whatever the response."""
    where = "build_library"
    if noise not in NOISE:
        raise UnknownNameError("noise", noise, NOISE, where=where)
    if realisations < 1 or (noise == "asimov" and realisations != 1):
        raise InputError(f"{realisations} realisations", where=where, expected="1, or more with noise='poisson'")
    if "kT" not in names:
        raise InputError(f"free parameters {names}", where=where, expected="kT among them")
    if not (np.isfinite(time) and time > 0):
        raise InputError(f"exposure {time:g} s", where=where, expected="a positive number")
    if interval is not None and not (np.isfinite(interval) and interval > 0):
        raise InputError(f"interval {interval:g}", where=where, expected="a positive rise of the statistic")


def true_values(
    templates: FoldedTemplates, model: Model, kT: NDArray[np.float64], counts: float | None
) -> dict[str, NDArray[np.float64]]:
    """Return the true value of each free parameter at each temperature, shape (n_T,).

    With ``counts`` the parameters whose name begins with "norm" are scaled so that the nominal response expects
    that many counts in the band.
    """
    truth = {n: np.full(kT.size, model.parameter(n).default) for n in templates.names}
    truth["kT"] = kT
    if counts is None:
        return truth
    if not (np.isfinite(counts) and counts > 0):
        raise InputError(f"counts {counts:g}", where="build_library", expected="a positive number")
    held = [n for n in model.names if n.split("_")[0] == "norm" and n not in truth]
    if held:
        raise InputError(
            f"counts are given but {', '.join(held)} is not free",
            where="build_library",
            expected="all norms free, or counts=None",
        )
    return scaled_truth(templates.nodes, templates.table, templates.n_channel, truth, counts)


def _modifier_of(design: Any, modifier: Any) -> Any:
    if not isinstance(design, (Grid, Scatter)):
        raise InputError(
            f"a design of type {type(design).__name__}",
            where="build_library",
            expected="a Grid or Scatter, as of Gaussian.grid(...)",
        )
    found = getattr(design, "modifier", None) if modifier is None else modifier
    if found is None:
        raise InputError("a design that knows no modifier", where="build_library", expected="modifier=...")
    if tuple(design.names) != tuple(found.names):
        raise InputError(
            f"a design over {', '.join(design.names)}",
            where=f"modifier {found.name!r}",
            expected=", ".join(found.names),
        )
    for name, (low, high) in design.bounds().items():
        for end in (low, high):
            found.parameter(name).check(end, where=f"axis {name!r}")
    return found


def _temperatures(kT: ArrayLike) -> NDArray[np.float64]:
    values = np.atleast_1d(np.asarray(kT, dtype=float))
    if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values)) or np.any(np.diff(values) <= 0):
        raise InputError("bad true temperatures", where="kT", expected="increasing numbers in keV")
    return values


def _offsets(profile: Any) -> NDArray[np.float64]:
    if profile is None:
        return np.zeros(0)
    if isinstance(profile, tuple) and len(profile) == 3:
        return np.linspace(float(profile[0]), float(profile[1]), int(profile[2]))
    return np.atleast_1d(np.asarray(profile, dtype=float))


def _check_inside(
    templates: FoldedTemplates, truth: Mapping[str, Any], low: NDArray[np.float64], high: NDArray[np.float64]
) -> None:
    x = templates.nodes.to_engine({n: truth[n] for n in templates.names})
    ends = templates.nodes.from_engine(np.stack([low, high]))
    for j, name in enumerate(templates.names):
        bad = (x[:, j] < low[j]) | (x[:, j] > high[j])
        if bad.any():
            raise InputError(
                f"the true {name} = {np.asarray(truth[name])[bad][0]:g} is outside what fits allow",
                where="build_library",
                expected=f"{ends[0, j]:.4g} to {ends[1, j]:.4g}",
            )


def _job(
    templates: FoldedTemplates, response: Response, model: Model, modifier: Any, design: Any, kT: Any, band: Any,
    counts: float | None, noise: str, realisations: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    from crosscal.xray.modifiers.describe import describe_modifier

    table = model.options["table"]
    facts = describe_modifier(modifier)
    return {
        "kind": KIND,
        "model": model.expression,
        "values": {p.name: p.default for p in model.parameters},
        "options": {**model.options, "table": table if isinstance(table, (str, type(None))) else str(table)},
        "parameters": list(templates.names),
        "theta": list(design.names),
        "modifier": facts,
        "modifier_repr": repr(modifier),
        "axes": {a.name: a.values.tolist() for a in design.axes} if isinstance(design, Grid) else None,
        "bounds": {n: list(b) for n, b in design.bounds().items()},
        "band": list(band),
        "counts": counts,
        "exposure": templates.exposure,
        "noise": noise,
        "realisations": realisations,
        "seed": seed,
        "dof": templates.n_channel - len(templates.names),
        "response": {
            "name": response.name,
            "area": np.asarray(response.area),
            "redistribution": np.asarray(response.redistribution.data),
            "spectra": templates.nodes.photons.ravel(),
        },
    }


def _variables(names: Sequence[str], n_offset: int, has_interval: bool) -> dict[str, Variable]:
    out = {}
    units = {"kT": "keV"}
    for c in CALIBRATIONS:
        for n in names:
            out[f"{n}_{c}"] = Variable(DIMS, unit=units.get(n, ""), description=f"best fit, {c} calibration")
        out[f"covariance_{c}"] = Variable((*DIMS, "parameter", "parameter_"), description="inverse Fisher matrix")
        out[f"statistic_{c}"] = Variable(DIMS, description="cstat at the best fit")
        out[f"status_{c}"] = Variable(DIMS, dtype="int8", description="how the fit ended, see Library.failures")
        if n_offset:
            out[f"profile_{c}"] = Variable((*DIMS, "offset"), description="C - C_min, kT held")
        if has_interval:
            for end in ("low", "high"):
                out[f"kT_{c}_{end}"] = Variable(DIMS, unit="keV", description=f"{end} end of the profile interval")
    return out


def _coordinates(
    design: Any, modifier: Any, kT: Any, realisations: int, truth: Mapping[str, Any], names: Sequence[str], offsets: Any
) -> dict[str, Coordinate]:
    points = design.take(np.arange(len(design)))
    coords = {n: Coordinate(("theta",), points[:, k], modifier.parameter(n).unit) for k, n in enumerate(design.names)}
    coords["T_true"] = Coordinate(("T_true",), kT, "keV")
    coords["realisation"] = Coordinate(("realisation",), np.arange(realisations))
    coords["parameter"] = Coordinate(("parameter",), np.array(names))
    coords["parameter_"] = Coordinate(("parameter_",), np.array(names))
    for n in names:
        if n != "kT":
            coords[f"{n}_true"] = Coordinate(("T_true",), truth[n])
    if offsets.size:
        coords["offset"] = Coordinate(("offset",), offsets)
    return coords


def _in_memory(
    task: LibraryTask, variables: Mapping[str, Variable], coords: Mapping[str, Coordinate], job: Mapping[str, Any],
    record: Mapping[str, Any], executor: Any, progress: Progress, options: Mapping[str, Any],
) -> Library:  # fmt: skip
    import xarray

    if executor not in (None, "serial", "local"):
        raise InputError(f"executor {executor!r} without a store", where="build_library", expected="store=path")
    n = len(task.layout)
    workers = int(options.get("workers") or os.cpu_count() or 1) if executor == "local" else 1
    results: list[dict[str, Any]] = []
    # The kernel releases Python's lock, so threads are enough here.
    with progress.stage("library", total=n) as advance, ThreadPoolExecutor(workers) as pool:
        for result in pool.map(task, range(n)):
            results.append(result)
            advance(1)
    data = {
        name: (v.dims, np.concatenate([r[name] for r in results]), {"units": v.unit, "long_name": v.description})
        for name, v in variables.items()
    }
    dataset = xarray.Dataset(data, coords={name: (c.dims, c.values, {"units": c.unit}) for name, c in coords.items()})
    return Library(dataset, jsonable(dict(job)), dict(record), None, task)


def _in_store(
    path: str | os.PathLike[str], task: LibraryTask, variables: Mapping[str, Variable],
    coords: Mapping[str, Coordinate], job: Mapping[str, Any], record: Mapping[str, Any], executor: Any,
    progress: Progress, options: Mapping[str, Any],
) -> Library:  # fmt: skip
    from crosscal.compute.store import Store
    from crosscal.compute.sweeps import sweep

    store = Store.open_or_create(
        path, variables, coords, {"theta": task.layout.lengths[0]}, job=job, provenance=record,
        attrs={"title": "CrossCal X-ray calibration library"},
    )  # fmt: skip
    sweep(task, store, executor or "local", progress=progress, name="library", status="status_modified", **options)
    return Library.of_store(store, task)
