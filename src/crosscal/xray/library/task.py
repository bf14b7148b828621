"""One chunk of a library, as an object that any worker process can call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.compute.layout import ChunkLayout
from crosscal.core.grid import Grid, Scatter
from crosscal.core.random import point_seeds
from crosscal.xray.fitting.batch import profile_batch, solve_batch
from crosscal.xray.fitting.engine import Status
from crosscal.xray.fitting.folding import PackedMatrix
from crosscal.xray.fitting.poisson import poisson_counts
from crosscal.xray.fitting.table import FoldedTable
from crosscal.xray.fitting.templates import LinearTables, NodeSpectra, evaluate_many
from crosscal.xray.library.library import CALIBRATIONS

Array = NDArray[np.float64]

# Of noisy fits: the last step, which is applied, is below 0.01 sigma, and what is left some hundredths of it.
NOISY_TOLERANCE = 1e-4


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
        seeds = None
        results = []
        nominal = self.nominal_table()
        for point, theta in zip(points, self.design.take(points), strict=True):
            if self.is_poisson:
                n_T = np.arange(self.x_true.shape[0])[:, None]
                seeds = point_seeds(self.seed, point, n_T, np.arange(self.realisations)[None, :])
            results.append(self.one_theta(nominal, theta, self.x_true, seeds))
        return self.variables(*(np.stack(column) for column in zip(*results, strict=True)))

    def one_theta(
        self, nominal: FoldedTable, theta: Array, x_true: Array, seeds: NDArray[np.uint64] | None
    ) -> tuple[Array, Array, Array, NDArray[np.int8], Array]:
        """Simulate and fit all temperatures and realisations of one theta.

        Parameters
        ----------
        x_true : (n_T, n_free) engine coordinates
        seeds : (n_T, n_realisation), or None for noiseless spectra

        Returns
        -------
        x, covariance, statistic, status, profile
            (n_T, n_realisation, 2, ...), the axis of length 2 being nominal, modified.
        """
        (n_T, n_free), n_draw = x_true.shape, 1 if seeds is None else seeds.shape[1]
        shape = (n_T, n_draw, 2)
        x, covariance = np.empty((*shape, n_free)), np.empty((*shape, n_free, n_free))
        statistic, status = np.empty(shape), np.empty(shape, dtype=np.int8)
        profile = np.empty((*shape, self.offsets.size))
        modified = self.modified_table(theta)
        if modified is None:
            for values in (x, covariance, statistic, profile):
                values[:] = np.nan
            status[:] = Status.BAD_DATA.value
            return x, covariance, statistic, status, profile
        expected = np.maximum(evaluate_many(modified, x_true, self.matrix.n_channel)[0], 0.0)
        # The noiseless solution is within the noise of every noisy one: the best start there is.
        noiseless = solve_batch(nominal, expected, x_true, self.low, self.high)
        biased = np.where(noiseless.status[:, None] <= Status.AT_BOUND, noiseless.x, x_true)
        counts = expected if seeds is None else poisson_counts(expected, seeds).reshape(n_T * n_draw, -1)
        for c, (table, start) in enumerate(((nominal, biased), (modified, x_true))):
            if seeds is None and c == 0:
                found = noiseless
            else:
                found = solve_batch(table, counts, start, self.low, self.high, tolerance=NOISY_TOLERANCE)
            x[:, :, c] = found.x.reshape(n_T, n_draw, n_free)
            covariance[:, :, c] = found.covariance.reshape(n_T, n_draw, n_free, n_free)
            statistic[:, :, c] = found.statistic.reshape(n_T, n_draw)
            status[:, :, c] = found.status.reshape(n_T, n_draw)
            if self.offsets.size:
                curves = profile_batch(table, counts, found, self.profiled, self.offsets, self.low, self.high)
                profile[:, :, c] = curves.reshape(n_T, n_draw, -1)
        return x, covariance, statistic, status, profile

    def at(self, theta: Array, kT: Array) -> dict[str, NDArray[Any]]:
        """Noiseless fits at scattered points: theta (n, d), kT (n,) -> arrays (n,) of all variables and truths."""
        others = self.nodes.from_engine(self.x_true[:1])[0]
        truth = {n: np.full(kT.size, others[p]) for p, n in enumerate(self.nodes.names)}
        truth["kT"] = kT
        nominal = self.nominal_table()
        truth = scaled_truth(self.nodes, nominal, self.matrix.n_channel, truth, self.counts)
        x_true = self.nodes.to_engine(truth)
        results = [self.one_theta(nominal, theta[i], x_true[i : i + 1], None) for i in range(kT.size)]
        out = self.variables(*(np.stack(column) for column in zip(*results, strict=True)))
        return {n: v[:, 0, 0] for n, v in out.items()} | {f"{n}_true": v for n, v in truth.items()}

    def nominal_table(self) -> FoldedTable:
        """Fold the nodes through the nominal calibration."""
        return self.nodes.folded(self.nodes.table(self.matrix, self.weight))

    @cached_property
    def linear_tables(self) -> LinearTables | None:
        """The basis functions of a linear modifier, folded once in each process; None where that does not pay."""
        if not LinearTables.pays(self.nodes, self.matrix, self.modifier):
            return None
        return LinearTables.fold(self.nodes, self.matrix, self.weight, self.energy, self.modifier)

    def __getstate__(self) -> dict[str, Any]:
        # They are quickly made again, and large.
        return {k: v for k, v in self.__dict__.items() if k != "linear_tables"}

    def modified_table(self, theta: Array) -> FoldedTable | None:
        """Fold the nodes through the calibration of one theta; None where its area is negative or not finite."""
        if self.modifier.acts_on == "area":
            if self.linear_tables is not None and np.all(self.modifier.factor(self.energy, theta) >= 0.0):
                return self.linear_tables.at(theta)
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
