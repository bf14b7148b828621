"""One chunk of a library, as an object that any worker process can call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosscal.compute.layout import ChunkLayout
from crosscal.core.grid import Grid, Scatter
from crosscal.core.random import point_seeds
from crosscal.xray.fitting.batch import interval_batch, profile_batch, solve_batch
from crosscal.xray.fitting.engine import TOLERANCE, Status
from crosscal.xray.fitting.folding import PackedMatrix
from crosscal.xray.fitting.nodes import node_spectra
from crosscal.xray.fitting.poisson import poisson_counts
from crosscal.xray.fitting.table import FoldedTable, aligned_zeros
from crosscal.xray.fitting.templates import FoldedTemplates, LinearTables, NodeSpectra, evaluate_many

if TYPE_CHECKING:
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.response import Response

Array = NDArray[np.float64]

CALIBRATIONS = ("nominal", "modified")
#: Bytes of tables of unit amplitude that a process keeps.
KEPT_BYTES = 2**27
# Of noisy fits: the last step, which is applied, is below 0.01 sigma, and what is left some hundredths of it.
NOISY_TOLERANCE = 1e-4
# Of noiseless fits that noisy ones start from: the last step, which is applied, is below 0.1 sigma.
START_TOLERANCE = 1e-2


def scaled_truth(
    nodes: NodeSpectra, nominal: FoldedTable, n_channel: int, truth: Mapping[str, Array], counts: float | None
) -> dict[str, Array]:
    """Scale the norms of ``truth`` (arrays (n,)) so that the nominal response expects ``counts`` in the band."""
    if counts is None:
        return dict(truth)
    expected = evaluate_many(nominal, nodes.to_engine(truth), n_channel)[0].sum(axis=-1)
    return {n: v * (counts / expected) if n.split("_")[0] == "norm" else v for n, v in truth.items()}


def instrument(templates: FoldedTemplates, response: Response, model: Model, modifier: Any) -> dict[str, Any]:
    """Return the fields of `LibraryTask` that say what is observed with what."""
    whole = modifier.acts_on != "area"
    return {
        "nodes": templates.nodes,
        "matrix": templates.matrix,
        "weight": templates.area * templates.exposure,
        "energy": templates.energy,
        "exposure": templates.exposure,
        "mask": templates.mask,
        "modifier": modifier,
        "model": model,
        "profiled": templates.names.index("kT"),
        "response": response if whole else None,
        "edges": (response if whole else response.restricted(templates.mask)).energy_edges,
    }


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
    offsets, delta : where profiles of kT are taken, and by how much C rises at the ends of its interval
    profiled : number of kT among the parameters
    response : the whole response, for modifiers that act on the matrix
    mask : channels of the band
    model, edges : what ``nodes`` were made of: the model, and the edges of ``energy``
    band : (low, high), keV
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
    delta: float | None
    exposure: float
    mask: NDArray[np.bool_]
    response: Any = None
    counts: float | None = None
    model: Any = None
    edges: Array = field(default_factory=lambda: np.zeros(0))
    band: tuple[float, float] = (0.0, np.inf)

    def with_response(self, response: Response) -> LibraryTask:
        """Return the task of sources that the telescope saw with another response, such as another ARF.

        Noiseless fits do not depend on the exposure: it multiplies the statistic.

        Raises
        ------
        InputError
            If the response has no channels in the band.
        """
        given = {a.name: a.values for a in self.nodes.axes if self.model.nodes(a.name) is None}
        templates = FoldedTemplates.build(
            response,
            self.model,
            band=self.band,
            free=self.nodes.names,
            axes=given,
            exposure=self.exposure,
            trim=self.modifier.acts_on == "area",
        )
        return replace(self, **instrument(templates, response, self.model, self.modifier))

    def sees_as(self, response: Response) -> bool:
        """Whether a response is the one of this task, number by number, in the band."""
        mask, whole = response.band(*self.band), self.modifier.acts_on != "area"
        part = response if whole else response.restricted(mask)
        if not (
            np.array_equal(self.edges, part.energy_edges) and np.array_equal(self.weight, part.area * self.exposure)
        ):
            return False
        packed = PackedMatrix.pack(response.redistribution[np.flatnonzero(mask)] if whole else part.redistribution)
        same = [(self.matrix.first, packed.first), (self.matrix.values, packed.values)]
        return packed.n_channel == self.matrix.n_channel and all(np.array_equal(a, b) for a, b in same)

    def with_constants(self, **values: float) -> LibraryTask:
        """Return the task of sources with other values of parameters that no fit frees, such as nH and Redshift."""
        free, given = self.nodes.names, {a.name: a.values for a in self.nodes.axes if self.model.nodes(a.name) is None}
        nodes = node_spectra(self.model.replace(**values), self.edges, free=free, axes=given)
        return replace(self, nodes=nodes)

    def __call__(self, chunk: int) -> dict[str, NDArray[Any]]:
        """Compute a chunk."""
        points = self.layout.flat(chunk)
        results, seeds = [], [None] * points.size
        if self.is_poisson:
            n_T, n_draw = self.x_true.shape[0], self.realisations
            seeds = point_seeds(self.seed, points[:, None, None], np.arange(n_T)[:, None], np.arange(n_draw))
        for theta, own in zip(self.design.take(points), seeds, strict=True):
            results.append(self.one_theta(self.nominal, theta, self.x_true, own, keep=True))
        return self.variables({name: np.stack([r[name] for r in results]) for name in results[0]})

    def one_theta(
        self, nominal: FoldedTable, theta: Array, x_true: Array, seeds: NDArray[np.uint64] | None, *, keep: bool = False
    ) -> dict[str, NDArray[Any]]:
        """Simulate and fit all temperatures and realisations of one theta.

        Parameters
        ----------
        x_true : (n_T, n_free) engine coordinates
        seeds : (n_T, n_realisation), or None for noiseless spectra
        keep : whether what other thetas of the design can share is kept; see `modified_table`

        Returns
        -------
        mapping
            x, covariance, statistic, status, profile, interval: (n_T, n_realisation, 2, ...), the axis of length 2
            being nominal, modified.
        """
        (n_T, n_free), n_draw = x_true.shape, 1 if seeds is None else seeds.shape[1]
        shape = (n_T, n_draw, 2)
        out: dict[str, NDArray[Any]] = {
            "x": np.full((*shape, n_free), np.nan),
            "covariance": np.full((*shape, n_free, n_free), np.nan),
            "statistic": np.full(shape, np.nan),
            "status": np.full(shape, Status.BAD_DATA.value, dtype=np.int8),
            "profile": np.full((*shape, self.offsets.size), np.nan),
            "interval": np.full((*shape, 0 if self.delta is None else 2), np.nan),
        }
        modified = self.modified_table(theta, keep=keep)
        if modified is None:
            return out
        expected = np.maximum(evaluate_many(modified, x_true, self.matrix.n_channel)[0], 0.0)
        # The noiseless solution is within the noise of every noisy one: the best start there is.
        enough = TOLERANCE if seeds is None else START_TOLERANCE
        noiseless = solve_batch(nominal, expected, x_true, self.low, self.high, tolerance=enough)
        biased = np.where(noiseless.status[:, None] <= Status.AT_BOUND, noiseless.x, x_true)
        counts = expected if seeds is None else poisson_counts(expected, seeds).reshape(n_T * n_draw, -1)
        for c, (table, start) in enumerate(((nominal, biased), (modified, x_true))):
            if seeds is None and c == 0:
                found = noiseless
            else:
                found = solve_batch(table, counts, start, self.low, self.high, tolerance=NOISY_TOLERANCE)
            results = {n: getattr(found, n) for n in ("x", "covariance", "statistic", "status")}
            if self.offsets.size:
                results["profile"] = profile_batch(
                    table, counts, found, self.profiled, self.offsets, self.low, self.high
                )
            if self.delta is not None:
                results["interval"] = interval_batch(
                    table, counts, found, self.profiled, self.delta, self.low, self.high
                )
            for name, values in results.items():
                out[name][:, :, c] = values.reshape(n_T, n_draw, *values.shape[1:])
        return out

    def nominal_fits(self, theta: Array, kT: Array) -> dict[str, NDArray[Any]]:
        """Noiseless fits with the nominal calibration, one theta (d,) and kT (n,): arrays (n,) of values and truths."""
        x_true, truth = self.truths(kT)
        values = {n: np.full(kT.size, np.nan) for n in self.nodes.names}
        modified = self.modified_table(theta)
        if modified is not None:
            expected = np.maximum(evaluate_many(modified, x_true, self.matrix.n_channel)[0], 0.0)
            found = solve_batch(self.nominal, expected, x_true, self.low, self.high)
            good = np.asarray(found.status) == Status.OK.value
            fitted = self.nodes.from_engine(found.x)
            values = {n: np.where(good, fitted[:, p], np.nan) for p, n in enumerate(self.nodes.names)}
        return values | {f"{n}_true": v for n, v in truth.items()}

    def truths(self, kT: Array) -> tuple[Array, dict[str, Array]]:
        """Return the true parameters at kT (n,): engine coordinates (n, n_free), and values by name."""
        others = self.nodes.from_engine(self.x_true[:1])[0]
        truth = {n: np.full(kT.size, others[p]) for p, n in enumerate(self.nodes.names)}
        truth["kT"] = kT
        truth = scaled_truth(self.nodes, self.nominal, self.matrix.n_channel, truth, self.counts)
        return self.nodes.to_engine(truth), truth

    def photons(self, x: Array) -> Array:
        """Return photon spectra (n, n_energy) at engine coordinates (n, n_free), interpolated as counts are."""
        n_energy = self.energy.size
        unfolded = aligned_zeros(self.nodes.photons.shape[0] * self.nodes.photons.shape[1], n_energy)
        unfolded[:, :n_energy] = self.nodes.photons.reshape(-1, n_energy)
        return evaluate_many(self.nodes.folded(self.nodes.interleaved(unfolded)), x, n_energy)[0]

    @cached_property
    def nominal(self) -> FoldedTable:
        """`nominal_table`, folded once."""
        return self.nominal_table()

    def at(self, theta: Array, kT: Array) -> dict[str, NDArray[Any]]:
        """Noiseless fits at scattered points: theta (n, d), kT (n,) -> arrays (n,) of all variables and truths."""
        x_true, truth = self.truths(kT)
        results = [self.one_theta(self.nominal, theta[i], x_true[i : i + 1], None) for i in range(kT.size)]
        out = self.variables({name: np.stack([r[name] for r in results]) for name in results[0]})
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
        return {k: v for k, v in self.__dict__.items() if k not in ("linear_tables", "nominal", "_units")}

    @cached_property
    def _units(self) -> dict[bytes, Array]:
        return {}

    def unit_table(self, theta: Array, column: int, *, keep: bool) -> Array:
        """Fold what a unit of the amplitude, parameter ``column``, adds to the area; with ``keep`` once for all.

        When `KEPT_BYTES` are full no more are kept: a grid asks for its tables in turn, so that those that are kept
        are asked for again.
        """
        one = np.array(theta, dtype=float)
        one[column] = 0.0
        key = one.tobytes()
        if key in self._units:
            return self._units[key]
        one[column] = 1.0
        table = self.nodes.table(self.matrix, self.weight * (self.modifier.factor(self.energy, one) - 1.0))
        if keep and (len(self._units) + 1) * table.nbytes <= KEPT_BYTES:
            self._units[key] = table
        return table

    def modified_table(self, theta: Array, *, keep: bool = False) -> FoldedTable | None:
        """Fold the nodes through the calibration of one theta; None where its area is negative or not finite.

        Where the modifier has an amplitude A the table is that of the nominal calibration and A times `unit_table`.
        """
        if self.modifier.acts_on == "area":
            if self.linear_tables is not None and np.all(self.modifier.factor(self.energy, theta) >= 0.0):
                return self.linear_tables.at(theta)
            # One theta at a time: a product of many may round differently with their number.
            factor = np.asarray(self.modifier.factor(self.energy, theta), dtype=float)
            if not np.all((factor >= 0.0) & (factor < np.inf)):
                return None
            if self.modifier.amplitude is not None:
                column = self.modifier.names.index(self.modifier.amplitude)
                unit = self.unit_table(theta, column, keep=keep and isinstance(self.design, Grid))
                changed = aligned_zeros(unit.shape[0] * unit.shape[1], unit.shape[2]).reshape(unit.shape)
                np.multiply(unit, theta[column], out=changed)
                changed += self.nominal.table
                return self.nodes.folded(changed)
            return self.nodes.folded(self.nodes.table(self.matrix, self.weight * factor))
        response = self.modifier.apply(self.response, theta)
        matrix = PackedMatrix.pack(response.redistribution[np.flatnonzero(self.mask)])
        return self.nodes.folded(self.nodes.table(matrix, response.area * self.exposure))

    def variables(self, results: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Turn stacked results of :meth:`one_theta` into the library's variables."""
        values = self.nodes.from_engine(results["x"])
        covariance = self.nodes.covariance_from_engine(results["x"], results["covariance"])
        out: dict[str, NDArray[Any]] = {}
        for c, calibration in enumerate(CALIBRATIONS):
            for p, name in enumerate(self.nodes.names):
                out[f"{name}_{calibration}"] = values[..., c, p]
            out[f"covariance_{calibration}"] = covariance[..., c, :, :]
            out[f"statistic_{calibration}"] = results["statistic"][..., c]
            out[f"status_{calibration}"] = results["status"][..., c]
            if self.offsets.size:
                out[f"profile_{calibration}"] = results["profile"][..., c, :]
            if self.delta is not None:
                axis = self.nodes.axes[self.profiled]
                for side, end in enumerate(("low", "high")):
                    out[f"kT_{calibration}_{end}"] = axis.from_coordinate(results["interval"][..., c, side])
        return out
