"""``train(library)``: the emulator of what the nominal calibration measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.grid import Axis, Grid
from crosscal.core.progress import SILENT, Progress
from crosscal.emulator.registry import train as train_table
from crosscal.emulator.table import Input, TrainingTable
from crosscal.emulator.validation import draw_points
from crosscal.xray.correction.emulate import OUTPUTS, T_TRUE, CalibrationEmulator
from crosscal.xray.correction.exact import ExactMap
from crosscal.xray.correction.kernel_training import train_kernel_mlp
from crosscal.xray.correction.pairs import QUANTITIES

#: An emulator's rms error above this part of the smallest statistical error is told.
COARSE = 0.3
#: Fresh points on which candidates are compared.
FRESH = 256


def train(
    library: Any,
    kind: str = "auto",
    *,
    telescope: str = "",
    quantities: tuple[str, ...] | None = None,
    fresh: int = FRESH,
    seed: int = 0,
    progress: Progress = SILENT,
    **options: Any,
) -> CalibrationEmulator:
    """Learn (theta, T_true) -> ln(kT_nominal / kT_true), ln norm ratio, abundance shift from a library.

    Parameters
    ----------
    library : Library
    kind : str
        "auto" (the kind with the smallest error on newly simulated points, where the library can simulate), a name
        in ``crosscal.emulator.EMULATORS``, or "exact": nothing is trained, and inference fits spectra itself.
    telescope : str
        Name of the telescope; "acis", "pn", ... also choose its row of prior uncertainties.
    quantities : tuple of str, optional
        By default all fitted parameters among kT, norm, Abundanc.
    fresh : int
        Number of newly simulated points to choose and judge by; 0 uses the grid only.
    **options
        For the named kind.

    Raises
    ------
    InputError
        If the library holds too few converged fits or lacks a quantity.

    Examples
    --------
    >>> emulator = xray.train(library)  # doctest: +SKIP
    >>> print(emulator.validate(300))  # doctest: +SKIP
    """
    chosen = quantities or tuple(q for q in QUANTITIES if q in library.parameters)
    for quantity in chosen:
        if quantity not in library.parameters:
            raise InputError(f"no fits of {quantity}", where="library", expected=", ".join(library.parameters))
    table = training_table(library, chosen)
    names = table.inputs[:-1]
    fixed = {n: float(library.theta[0, k]) for k, n in enumerate(library.names) if n not in [i.name for i in names]}
    if kind == "exact":
        if options:
            raise InputError(f"the option {next(iter(options))!r}", where="emulator kind 'exact'", expected="none")
        return exact_map(library, table, fixed, telescope)
    simulator: Any = None
    if library.task is not None:

        def afresh(theta: NDArray[np.float64], kT: NDArray[np.float64]) -> NDArray[np.float64]:
            return simulated(library, chosen, [i.name for i in names], fixed, theta, kT)

        simulator = afresh

    validation = None
    if simulator is not None and fresh:
        validation = _fresh(table, simulator, fresh, seed)
    trainers = _trainers(library, tuple(i.name for i in names), chosen, fixed)
    emulator = train_table(
        table, kind, validation=validation, trainers=trainers, seed=seed, progress=progress, **options
    )
    found = CalibrationEmulator(
        emulator,
        library.modifier,
        fixed,
        telescope or _telescope(library),
        smallest_errors(library, chosen),
        simulator,
        None if library.task is None else exact_map(library, table, fixed, telescope),
    )
    if coarse := [f"{name} {error:.2g}" for name, error in found.relative_errors.items() if error > COARSE]:
        progress.message(
            f"The emulator's rms error is not small compared with the smallest statistical error ({', '.join(coarse)}, "
            f"tested on {emulator.report['judged']}): use more nodes."
        )
    return found


@dataclass(frozen=True)
class _Fits:
    """What `ExactMap` asks: the emulated numbers of one theta by fits."""

    task: Any
    names: tuple[str, ...]
    fixed: dict[str, float]
    order: tuple[str, ...]
    quantities: tuple[str, ...]

    def shifts(self, theta: NDArray[np.float64], kT: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ln kT ratio, ln norm ratio, abundance shift (n, q) of theta (d,) at kT (n,); NaN: failed."""
        found = self.task.nominal_fits(self.full(theta), np.asarray(kT, dtype=float))
        return self.outputs(found, {q: found[f"{q}_true"] for q in self.quantities})

    def only(self, columns: Sequence[int]) -> _Fits:
        """Return the fits of some outputs."""
        return replace(self, quantities=tuple(self.quantities[c] for c in columns))

    def full(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return all parameters of the modifier (D,) of those that vary (d,)."""
        return np.array([theta[self.names.index(n)] if n in self.names else self.fixed[n] for n in self.order])

    def outputs(self, fitted: Mapping[str, Any], truth: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the emulated numbers (n, q) of fitted and true values."""
        return _shifts({q: fitted[q] for q in self.quantities}, {q: truth[q] for q in self.quantities}, self.quantities)


def exact_map(library: Any, table: TrainingTable, fixed: dict[str, float], telescope: str) -> CalibrationEmulator:
    """Return the map of a library by fits, with the domain of its training table.

    Raises
    ------
    InputError
        If the library was read from a file, so that nothing can be fitted.
    """
    if library.task is None:
        raise InputError("no spectra can be simulated", where="exact map", expected="a library built in this session")
    known = {text: name for name, text in OUTPUTS.items()}
    quantities = tuple(known[output] for output in table.outputs)
    names = tuple(i.name for i in table.inputs[:-1])
    fits = _Fits(library.task, names, fixed, tuple(library.names), quantities)
    nothing = np.zeros(len(table.outputs))
    report = {"kind": "exact", "judged": "fits: exact"}
    emulator = ExactMap(table.inputs, table.outputs, nothing, task=fits, report=report, provenance=table.provenance)
    sigma = smallest_errors(library, quantities)
    return CalibrationEmulator(emulator, library.modifier, fixed, telescope or _telescope(library), sigma)


def _trainers(
    library: Any, names: tuple[str, ...], quantities: tuple[str, ...], fixed: dict[str, float]
) -> dict[str, Any]:
    """Return the perceptron that starts from the linear kernel, where the library can work it out."""
    if library.task is None or library.modifier is None or library.modifier.acts_on != "area":
        return {}
    sigma = np.array(list(smallest_errors(library, quantities).values()))
    fits = _Fits(library.task, names, fixed, tuple(library.names), quantities)
    return {"mlp": partial(train_kernel_mlp, fits=fits, sigma=sigma)}


def with_fits(emulator: CalibrationEmulator, library: Any) -> CalibrationEmulator:
    """Give an emulator that was read from a file the fits of its library, where that can fit."""
    if library.task is None:
        return emulator
    table = training_table(library, emulator.quantities)
    return replace(emulator, exact=exact_map(library, table, dict(emulator.fixed or {}), emulator.telescope))


def _telescope(library: Any) -> str:
    response = library.job.get("response")
    if isinstance(response, dict):
        return str(response.get("name", ""))
    return str(response or "")


def _shifts(fitted: dict[str, Any], truth: dict[str, Any], quantities: tuple[str, ...]) -> NDArray[np.float64]:
    """Turn fitted and true values into the emulated numbers, stacked on a last axis; NaN where a fit failed."""
    columns = []
    for name in quantities:
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = fitted[name] - truth[name] if name == "Abundanc" else np.log(fitted[name] / truth[name])
        columns.append(difference)
    return np.stack(columns, axis=-1)


def training_table(library: Any, quantities: tuple[str, ...]) -> TrainingTable:
    """Return the library as points and values: means over the converged realisations of each point."""
    good = library.good()[..., None]
    truth = {q: library.truth(q)[None, :, None] for q in quantities}
    shifts = np.where(good, _shifts({q: library.values(q) for q in quantities}, truth, quantities), np.nan)
    number = np.isfinite(shifts).all(axis=-1).sum(axis=2)[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(shifts, axis=2) / number
        sd = None
        if not library.is_asimov:
            scale = [np.ones_like(truth[q]) if q == "Abundanc" else library.values(q) for q in quantities]
            errors = np.stack([library.errors(q) / s for q, s in zip(quantities, scale, strict=True)], axis=-1)
            sd = np.nanmean(np.where(good, errors, np.nan), axis=2) / np.sqrt(number)
            sd = np.where(np.isfinite(sd), sd, np.nanmedian(sd))
    mean[number[..., 0] == 0] = np.nan
    outputs = [OUTPUTS[q] for q in quantities]
    provenance = {"library": dict(library.job), "kind": "crosscal.xray.library"}
    temperature = Axis(T_TRUE, library.T_true, "keV", "log")
    axes = library.job.get("axes")
    parameters = {p.name: p for p in library.modifier.parameters} if library.modifier is not None else {}

    def describe(name: str) -> tuple[str, str]:
        return (parameters[name].unit, parameters[name].scale) if name in parameters else ("", "linear")

    if axes:
        grid = Grid((*(Axis(n, np.asarray(v, dtype=float), *describe(n)) for n, v in axes.items()), temperature))
        return TrainingTable.from_grid(grid, outputs, mean, sd, provenance)
    theta = library.theta
    varying = [k for k in range(theta.shape[1]) if np.ptp(theta[:, k]) > 0]
    inputs = [
        Input(library.names[k], theta[:, k].min(), theta[:, k].max(), *describe(library.names[k])) for k in varying
    ]
    inputs.append(Input(T_TRUE, library.T_true[0], library.T_true[-1], "keV", "log"))
    points = np.concatenate(
        [np.repeat(theta[:, varying], len(library.T_true), axis=0), np.tile(library.T_true, len(theta))[:, None]],
        axis=1,
    )
    k = len(quantities)
    return TrainingTable(
        tuple(inputs),
        tuple(outputs),
        points,
        mean.reshape(-1, k),
        None if sd is None else sd.reshape(-1, k),
        None,
        provenance,
    )


def smallest_errors(library: Any, quantities: tuple[str, ...]) -> dict[str, float]:
    """Return the smallest 1-sigma statistical error of each emulated number over the library."""
    good, found = library.good(), {}
    for quantity in quantities:
        scale = 1.0 if quantity == "Abundanc" else library.values(quantity)
        found[OUTPUTS[quantity]] = float(np.nanmin(np.where(good, library.errors(quantity) / scale, np.nan)))
    return found


def simulated(
    library: Any,
    quantities: tuple[str, ...],
    names: list[str],
    fixed: dict[str, float],
    theta: NDArray[np.float64],
    kT: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute the emulated numbers afresh, without noise, at theta (n, d) and kT (n,): (n, q); NaN: failed."""
    full = np.stack(
        [theta[:, names.index(n)] if n in names else np.full(len(theta), fixed[n]) for n in library.names], axis=1
    )
    found = library.simulate(full, kT)
    truth = {q: found.get(f"{q}_true", kT) for q in quantities}
    values = _shifts({q: found[f"{q}_nominal"] for q in quantities}, truth, quantities)
    return np.where((np.asarray(found["status_nominal"]) == 0)[:, None], values, np.nan)


def _fresh(table: TrainingTable, simulator: Any, n: int, seed: int) -> TrainingTable:
    points = draw_points(table.inputs, n, seed=seed + 1)
    values = simulator(points[:, :-1], points[:, -1])
    return TrainingTable(table.inputs, table.outputs, points, values)
