"""One chunk of a library, as an object that any worker process can call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.compute.layout import ChunkLayout
from crosscal.core.grid import Grid, Scatter
from crosscal.core.random import point_seeds
from crosscal.xray.fitting.engine import MAX_ITERATIONS, TOLERANCE, Status
from crosscal.xray.fitting.folding import PackedMatrix
from crosscal.xray.fitting.poisson import tables
from crosscal.xray.fitting.table import FoldedTable
from crosscal.xray.fitting.templates import NodeSpectra, evaluate_many
from crosscal.xray.library.kernel import library_points
from crosscal.xray.library.library import CALIBRATIONS

Array = NDArray[np.float64]


def scaled_truth(
    nodes: NodeSpectra, nominal: FoldedTable, n_channel: int, truth: Mapping[str, Array], counts: float | None
) -> dict[str, Array]:
    """Scale the norms of ``truth`` (arrays (n,)) so that the nominal response expects ``counts`` in the band."""
    if counts is None:
        return dict(truth)
    expected = evaluate_many(nominal, nodes.to_engine(truth), n_channel)[0].sum(axis=-1)
    return {n: v * (counts / expected) if n.split("_")[0] == "norm" else v for n, v in truth.items()}


@dataclass(frozen=True)
class LibraryTask:
    """``task(chunk) -> {variable: array}``: all T_true and realisations of the thetas of one chunk.

    Attributes
    ----------
    nodes : photon spectra of the model at its nodes
    matrix : redistribution in the band
    weight : (n_energy,) nominal area x exposure
    energy : (n_energy,) keV
    modifier, design : what changes and where
    layout : chunks along theta
    x_true : (n_T, n_free) truth in engine coordinates
    low, high : (n_free,)
    response : the whole response, for modifiers that act on the matrix
    mask : channels of the band
    """

    nodes: NodeSpectra
    matrix: PackedMatrix
    weight: Array
    energy: Array
    modifier: Any
    design: Grid | Scatter
    layout: ChunkLayout
    x_true: Array
    low: Array
    high: Array
    seed: int
    realisations: int
    is_poisson: bool
    offsets: Array
    profiled: int
    exposure: float
    mask: NDArray[np.bool_]
    response: Any = None
    counts: float | None = None

    def __call__(self, chunk: int) -> dict[str, NDArray[Any]]:
        """Compute a chunk."""
        points = self.layout.flat(chunk)
        thetas = self.design.take(points)
        n_T, n_free = self.x_true.shape
        shape = (points.size, n_T, self.realisations, 2)
        x = np.full((*shape, n_free), np.nan)
        covariance = np.full((*shape, n_free, n_free), np.nan)
        statistic = np.full(shape, np.nan)
        status = np.full(shape, Status.NOT_DONE.value, dtype=np.int8)
        profile = np.full((*shape, self.offsets.size), np.nan)
        nominal = self.nodes.folded(self.nodes.table(self.matrix, self.weight))
        alias = tables()
        for i, (point, theta) in enumerate(zip(points, thetas, strict=True)):
            modified = self.modified_table(theta)
            if modified is None:
                status[i] = Status.BAD_DATA.value
                continue
            seeds = point_seeds(self.seed, point, np.arange(n_T)[:, None], np.arange(self.realisations)[None, :])
            library_points(
                nominal, modified, self.matrix.n_channel, self.x_true, self.low, self.high, seeds,
                self.is_poisson, alias, self.offsets, self.profiled, MAX_ITERATIONS, TOLERANCE,
                x[i], covariance[i], statistic[i], status[i], profile[i],
            )  # fmt: skip
        return self.variables(x, covariance, statistic, status, profile)

    def at(self, theta: Array, kT: Array) -> dict[str, NDArray[Any]]:
        """Noiseless fits at scattered points: theta (n, d), kT (n,) -> arrays (n,) of all variables and truths."""
        others = self.nodes.from_engine(self.x_true[:1])[0]
        truth = {n: np.full(kT.size, others[p]) for p, n in enumerate(self.nodes.names)}
        truth["kT"] = kT
        nominal = self.nodes.folded(self.nodes.table(self.matrix, self.weight))
        truth = scaled_truth(self.nodes, nominal, self.matrix.n_channel, truth, self.counts)
        x_true = self.nodes.to_engine(truth)
        n_free = x_true.shape[1]
        shape = (kT.size, 1, 1, 2)
        x, covariance = np.full((*shape, n_free), np.nan), np.full((*shape, n_free, n_free), np.nan)
        statistic, profile = np.full(shape, np.nan), np.empty((*shape, 0))
        status = np.full(shape, Status.BAD_DATA.value, dtype=np.int8)
        for i in range(kT.size):
            modified = self.modified_table(theta[i])
            if modified is not None:
                library_points(
                    nominal, modified, self.matrix.n_channel, x_true[i : i + 1], self.low, self.high,
                    np.zeros((1, 1), np.uint64), False, tables(), np.zeros(0), self.profiled, MAX_ITERATIONS,
                    TOLERANCE, x[i], covariance[i], statistic[i], status[i], profile[i],
                )  # fmt: skip
        out = self.variables(x, covariance, statistic, status, profile)
        return {n: v[:, 0, 0] for n, v in out.items()} | {f"{n}_true": v for n, v in truth.items()}

    def modified_table(self, theta: Array) -> FoldedTable | None:
        """Fold the nodes through the calibration of one theta; None where its area is negative or not finite."""
        if self.modifier.acts_on == "area":
            # One theta at a time: a product of many may round differently with their number.
            factor = np.asarray(self.modifier.factor(self.energy, theta), dtype=float)
            if not np.all((factor >= 0.0) & (factor < np.inf)):
                return None
            return self.nodes.folded(self.nodes.table(self.matrix, self.weight * factor))
        changed = self.modifier.apply(self.response, theta)
        matrix = PackedMatrix.pack(changed.redistribution[np.flatnonzero(self.mask)])
        return self.nodes.folded(self.nodes.table(matrix, changed.area * self.exposure))

    def variables(
        self, x: Array, covariance: Array, statistic: Array, status: NDArray[np.int8], profile: Array
    ) -> dict[str, NDArray[Any]]:
        """Split the kernel's arrays into the library's variables."""
        values = self.nodes.from_engine(x)
        covariance = self.nodes.covariance_from_engine(x, covariance)
        out: dict[str, NDArray[Any]] = {}
        for c, calibration in enumerate(CALIBRATIONS):
            for p, name in enumerate(self.nodes.names):
                out[f"{name}_{calibration}"] = values[..., c, p]
            out[f"covariance_{calibration}"] = covariance[..., c, :, :]
            out[f"statistic_{calibration}"] = statistic[..., c]
            out[f"status_{calibration}"] = status[..., c]
            if self.offsets.size:
                out[f"profile_{calibration}"] = profile[..., c, :]
        return out
