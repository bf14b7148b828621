"""The kinds of emulator, by name, and the one call that trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.keywords import check_keywords
from crosscal.core.progress import SILENT, Progress
from crosscal.core.registry import Registry
from crosscal.emulator.base import Emulator
from crosscal.emulator.table import TrainingTable

EMULATORS = Registry(
    "emulator",
    {
        "spline": "crosscal.emulator.spline:train_spline",
        "chebyshev": "crosscal.emulator.chebyshev:train_chebyshev",
        "mlp": "crosscal.emulator.mlp:train_mlp",
    },
)

#: With "auto", an rms error of this part of the values' spread is called small ...
SMALL = 0.01
#: ... and costly kinds then enter the comparison with less training; should one still win, it is trained in full.
BRIEFLY: dict[str, dict[str, Any]] = {"mlp": {"epochs": 20}}

#: Where a saved emulator finds its class.
CLASSES = Registry(
    "emulator class",
    {
        "spline": "crosscal.emulator.spline:Spline",
        "chebyshev": "crosscal.emulator.chebyshev:Chebyshev",
        "mlp": "crosscal.emulator.mlp:MLP",
    },
)


def train(
    table: TrainingTable,
    kind: str = "auto",
    *,
    validation: TrainingTable | None = None,
    trainers: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    **options: Any,
) -> Emulator:
    """Train an emulator.

    Parameters
    ----------
    kind : str
        A name in ``EMULATORS``, or "auto": every kind that suits the table is trained and the one with the
        smallest error on points not used in training is kept (``report["candidates"]`` has all figures). Once a
        kind is good to a hundredth of the values' spread, networks are trained for 20 passes only to be compared
        (``report["briefly"]``), and in full if they win all the same.
    validation : TrainingTable, optional
        Newly simulated points. Without them a grid is trained on every second node and judged on the others;
        the chosen kind is then trained on all. For a scattered design a tenth is held out.
    trainers : mapping of kind to callable, optional
        Used in place of the registered ones, where more is known of the map than its points.
    **options
        For the named kind.

    Raises
    ------
    InputError
        If options are given with "auto", or no kind suits the table; UnknownNameError for an unknown kind.
    """
    train_kind = {name: EMULATORS.get(name) for name in EMULATORS} | dict(trainers or {})
    if kind != "auto":
        EMULATORS.get(kind)
        check_keywords(train_kind[kind], options, where=f"emulator kind {kind!r}")
        trained = train_kind[kind](table, seed=seed, progress=progress, **options)
        errors = _held_out_error(kind, train_kind[kind], table, validation, trained, seed, options)
        return trained.with_report(errors, kind=kind, chosen="on request", judged=_judged(table, validation))
    if options:
        raise InputError(f"the option {next(iter(options))!r}", where="emulator kind 'auto'", expected="a named kind")
    found, score, refused, briefly = _tried(table, validation, train_kind, seed, progress)
    best = min(score, key=lambda name: score[name])
    trained, errors = found[best]
    if trained is None or best in briefly:
        trained = train_kind[best](table, seed=seed, progress=progress)
        errors = errors if validation is None else rms(trained, validation)
    progress.message(
        f"Selected emulator: {best} (rms error / spread of the values: "
        + ", ".join(f"{n} {s:.2g}" for n, s in sorted(score.items(), key=lambda pair: pair[1]))
        + ")"
    )
    return trained.with_report(
        errors,
        kind=best,
        chosen="smallest error on points not used in training",
        judged=_judged(table, validation),
        candidates=score,
        refused=refused,
        briefly=briefly,
    )


def _tried(
    table: TrainingTable, validation: TrainingTable | None, train_kind: Mapping[str, Any], seed: int, progress: Progress
) -> tuple[dict[str, Any], dict[str, float], dict[str, str], dict[str, Any]]:
    """Train every kind that suits the table: (emulator, errors), score, why not, and what was trained briefly.

    Raises
    ------
    InputError
        If no kind can be trained.
    """
    spread = np.maximum(np.nanstd(table.values[table.good], axis=0), 1e-300)
    found: dict[str, Any] = {}
    score: dict[str, float] = {}
    refused: dict[str, str] = {}
    briefly: dict[str, Any] = {}
    for name in EMULATORS:
        short = BRIEFLY.get(name, {}) if min(score.values(), default=np.inf) < SMALL else {}
        try:
            if validation is not None:
                trained = train_kind[name](table, seed=seed, progress=progress, **short)
                found[name] = (trained, rms(trained, validation))
            else:
                found[name] = (None, _without(train_kind[name], table, seed, short, progress))
        except InputError as error:
            refused[name] = str(error)
            continue
        figure = float(np.sqrt(np.mean((found[name][1] / spread) ** 2)))
        if not np.isfinite(figure):
            # An error that is not a number is no reason for a kind, and none against the others.
            del found[name]
            refused[name] = "its error on points not used in training is not a number"
            continue
        score[name] = figure
        if short:
            briefly[name] = short
    if not found:
        raise InputError(
            "no kind of emulator can be trained on the points", where="training", expected="; ".join(refused.values())
        )
    return found, score, refused, briefly


def _judged(table: TrainingTable, validation: TrainingTable | None) -> str:
    """Say what the reported errors were measured on."""
    if validation is not None:
        return "newly simulated points"
    return "every second node, with a coarser grid: an upper limit" if table.halved() else "held-out points"


def rms(emulator: Emulator, table: TrainingTable) -> np.ndarray:
    """Root mean square difference between an emulator and a table, per output."""
    good = table.good & emulator.inside(table.points)
    if not good.any():
        raise InputError("no validation point lies in the training domain", where="emulator", expected="some")
    return np.sqrt(np.mean((emulator.predict(table.points[good]) - table.values[good]) ** 2, axis=0))


def _held_out_error(
    kind: str,
    trainer: Any,
    table: TrainingTable,
    validation: TrainingTable | None,
    trained: Emulator,
    seed: int,
    options: Any,
) -> np.ndarray:
    if validation is not None:
        return rms(trained, validation)
    if kind == "spline":
        # An interpolator has no residuals at its nodes; its error is that of the grid with every second node.
        return (
            _without(trainer, table, seed, options, SILENT) if table.halved() else np.full(len(table.outputs), np.nan)
        )
    return trained.residual_sd


def _without(trainer: Any, table: TrainingTable, seed: int, options: Any, progress: Progress) -> np.ndarray:
    """Train on part of the table and return the error on the rest."""
    halved = table.halved()
    if halved is not None:
        coarse, used = halved
        rest = table.take(~used & table.good)
    else:
        order = np.random.default_rng(seed).permutation(np.flatnonzero(table.good))
        n = max(1, len(order) // 10)
        coarse, rest = table.take(np.sort(order[n:])), None
        if table.grid is None:
            rest = TrainingTable(table.inputs, table.outputs, table.points, table.values, None)
        held = np.sort(order[:n])
        trained = trainer(coarse, seed=seed, progress=progress, **options)
        difference = trained.predict(table.points[held]) - table.values[held]
        return np.sqrt(np.mean(difference**2, axis=0))
    trained = trainer(coarse, seed=seed, progress=progress, **options)
    return rms(trained, rest)
