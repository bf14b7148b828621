"""Folded templates: a model's spectra at the nodes of its shape parameters, folded through a response once.

At fixed redshift and absorption the spectrum of a plasma is linear in node spectra (their interpolation in kT) and
in norm and abundance, and folding is linear too. So ``counts(kT, norm, Z) = norm sum_k w_k(kT) (c_k + Z l_k)`` with c_k
and l_k folded once, exactly, and no product with the redistribution is left inside a fit. Further non-linear
parameters (nH, redshift, a photon index) get axes of their own with a tensor-product cubic spline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.fitting.folding import PackedMatrix
from crosscal.xray.fitting.nodes import NodeSpectra, Range, ShapeAxis, node_spectra, shape_axis
from crosscal.xray.fitting.table import JACOBIAN, MODEL, FoldedTable, Work, evaluate_table, make_work

if TYPE_CHECKING:
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.response import Response

Array = NDArray[np.float64]

__all__ = [
    "FoldedTemplates",
    "LinearTables",
    "NodeSpectra",
    "Range",
    "ShapeAxis",
    "evaluate_many",
    "node_spectra",
    "shape_axis",
]


@dataclass(frozen=True)
class LinearTables:
    """Tables of a modifier that is linear in theta, each basis function folded once: T(theta) = T_0 + sum theta_k T_k.

    Attributes
    ----------
    nodes : what was folded
    tables : (1 + d, n_row, n_part, width) offset, then the basis functions
    """

    nodes: NodeSpectra
    tables: Array

    @classmethod
    def fold(
        cls, nodes: NodeSpectra, matrix: PackedMatrix, weight: Array, energy: Array, modifier: Any
    ) -> LinearTables:
        """Fold the offset and every basis function of ``modifier`` at ``energy`` (n_energy,)."""
        functions = np.concatenate([modifier.offset(energy)[None, :], modifier.basis(energy)])
        return cls(nodes, np.stack([nodes.table(matrix, weight * f) for f in functions]))

    @staticmethod
    def pays(nodes: NodeSpectra, matrix: PackedMatrix, modifier: Any) -> bool:
        """Whether adding tables is less work than folding again."""
        if not (modifier.acts_on == "area" and modifier.linear):
            return False
        n_node, n_part, _ = nodes.photons.shape
        adding = (1 + len(modifier.names)) * nodes.table_rows() * n_part * matrix.n_channel
        # An addition waits for memory, a product in the folding does not: three times slower.
        return 3 * adding < matrix.values.size * n_node * n_part

    def at(self, theta: ArrayLike) -> FoldedTable:
        """Return the engine's table at theta (d,)."""
        out = np.array(self.tables[0])
        coefficients = np.ascontiguousarray(theta, dtype=float)
        _add_scaled(self.tables.reshape(self.tables.shape[0], -1), coefficients, out.reshape(-1))
        return self.nodes.folded(out)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _add_scaled(tables, coefficients, out):
    for k in range(coefficients.size):
        for i in range(out.size):
            out[i] += coefficients[k] * tables[k + 1, i]


@dataclass(frozen=True)
class FoldedTemplates:
    """Node spectra folded through one response, in the channels of a band.

    Use :meth:`build`.

    Attributes
    ----------
    nodes : photon spectra of the model
    matrix : redistribution into the channels of the band
    area : (n_energy,) cm2
    exposure : s; expected counts are of this time (1 s: count rates)
    mask : (n_channel of the response,) the band
    fixed : the model's other parameters
    energy : (n_energy,) mid-points of the energy bins, keV
    redistribution : sparse (n_channel, n_energy), the same as ``matrix``
    """

    nodes: NodeSpectra
    matrix: PackedMatrix
    area: Array
    exposure: float
    mask: NDArray[np.bool_]
    fixed: Mapping[str, float]
    energy: Array
    redistribution: Any

    @classmethod
    def build(
        cls,
        response: Response,
        model: Model,
        *,
        band: tuple[float, float] | None = None,
        mask: ArrayLike | None = None,
        free: Sequence[str] | None = None,
        axes: Mapping[str, Range] | None = None,
        exposure: float = 1.0,
        trim: bool = True,
    ) -> FoldedTemplates:
        """Fold the model's nodes.

        Parameters
        ----------
        response : Response
        model : Model
            Its fixed parameters keep their values.
        band : (low, high), keV
            Channels that overlap it (``Response.band``); all channels if neither band nor mask is given.
        mask : bool array, (n_channel,)
        free : sequence of str
            Free parameters, by default the model's.
        axes : mapping
            Nodes of free parameters that the model does not tabulate; see :func:`node_spectra`.
        exposure : float, s
        trim : bool
            Leave out energies that cannot reach the band; False where the redistribution will change.
        """
        if mask is None:
            mask = np.ones(response.n_channel, bool) if band is None else response.band(*band)
        mask = np.asarray(mask)
        part = response.restricted(mask) if trim else response
        matrix = part.redistribution if trim else response.redistribution[np.flatnonzero(mask)]
        nodes = node_spectra(model, part.energy_edges, free=free, axes=axes)
        fixed = {p.name: p.default for p in model.parameters if p.name not in nodes.names}
        return cls(
            nodes, PackedMatrix.pack(matrix), part.area, float(exposure), mask, fixed, part.energy, csr_array(matrix)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Free parameters in the order of the engine."""
        return self.nodes.names

    @property
    def n_channel(self) -> int:
        """Number of channels in the band."""
        return self.matrix.n_channel

    @cached_property
    def table(self) -> FoldedTable:
        """The engine's table of the response as it is."""
        return self.folded()

    def folded(self, factor: ArrayLike | None = None) -> FoldedTable:
        """Return the engine's table with the area multiplied by ``factor`` (n_energy,)."""
        weight = self.area * self.exposure
        if factor is not None:
            weight = weight * np.asarray(factor, dtype=float)
        return self.nodes.folded(self.nodes.table(self.matrix, weight))

    def linear_in(self, modifier: Any) -> LinearTables:
        """Fold each basis function of a modifier that is linear in theta (grey, spline, PCA, ...) once.

        Raises
        ------
        InputError
            If the modifier is not linear.
        """
        return LinearTables.fold(self.nodes, self.matrix, self.area * self.exposure, self.energy, modifier)

    def counts(self, table: FoldedTable | None = None, **values: ArrayLike) -> Array:
        """Return expected counts (..., n_channel) for values of the free parameters."""
        return self.evaluate(table, **values)[0]

    def evaluate(self, table: FoldedTable | None = None, **values: ArrayLike) -> tuple[Array, Array]:
        """Return expected counts (..., n_channel) and their derivatives (..., n_free, n_channel) by ``names``.

        Raises
        ------
        UnknownNameError, InputError
            If a name is not free here, or a value lies outside the nodes.
        """
        self._check_values(values)
        x = self.nodes.to_engine(values)
        flat = np.ascontiguousarray(x.reshape(-1, x.shape[-1]))
        counts, jacobian = evaluate_many(self.table if table is None else table, flat, self.n_channel)
        for p, axis in enumerate(self.nodes.axes):
            jacobian[:, p] /= axis.derivative(axis.from_coordinate(flat[:, p]))[:, None]
        return counts.reshape(*x.shape[:-1], -1), jacobian.reshape(*x.shape, -1)

    def photons(self, **values: ArrayLike) -> Array:
        """Return photon spectra (..., n_energy) in photon/cm2/s per bin, interpolated as the counts are."""
        self._check_values(values)
        n_node, n_part, n_energy = self.nodes.photons.shape
        width = (n_energy + 7) // 8 * 8
        unfolded = np.zeros((n_node * n_part, width))
        unfolded[:, :n_energy] = self.nodes.photons.reshape(-1, n_energy)
        x = self.nodes.to_engine(values)
        table = self.nodes.folded(self.nodes.interleaved(unfolded))
        return evaluate_many(table, x.reshape(-1, x.shape[-1]), n_energy)[0].reshape(*x.shape[:-1], n_energy)

    def _check_values(self, values: Mapping[str, ArrayLike]) -> None:
        for name in values:
            if name not in self.names:
                raise UnknownNameError("free parameter", name, self.names, where="templates")
        missing = [n for n in self.names if n not in values]
        if missing:
            raise InputError(f"no value for {', '.join(missing)}", where="templates", expected="all free parameters")
        for axis in self.nodes.axes:
            v = np.asarray(values[axis.name], dtype=float)
            low, high = axis.values[0], axis.values[-1]
            if not np.all((v >= low * (1 - 1e-12)) & (v <= high * (1 + 1e-12))):
                raise InputError(
                    f"{axis.name} outside the nodes", where="templates", expected=f"{low:.4g} to {high:.4g}"
                )

    def limits(self, model: Model) -> tuple[Array, Array]:
        """Return the limits of the free parameters in engine coordinates, (n_free,) each."""
        low = [a.coordinate[0] for a in self.nodes.axes] + [model.parameter(n).low for n in self.nodes.linear]
        high = [a.coordinate[-1] for a in self.nodes.axes] + [model.parameter(n).high for n in self.nodes.linear]
        return np.array(low, dtype=float), np.array(high, dtype=float)

    def work(self) -> Work:
        """Scratch space for fits with these templates."""
        n_part = self.nodes.monomials.shape[0]
        return make_work(self.n_channel, len(self.names), n_part, max(len(self.nodes.axes), 1))


def evaluate_many(table: FoldedTable, x: Array, n_channel: int) -> tuple[Array, Array]:
    """Return counts (n, n_channel) and derivatives by x (n, n_free, n_channel) at engine coordinates x (n, n_free)."""
    counts, jacobian = np.empty((x.shape[0], n_channel)), np.empty((*x.shape, n_channel))
    _evaluate_many(table, np.ascontiguousarray(x), counts, jacobian)
    return counts, jacobian


@njit(cache=True, nogil=True)
def _evaluate_many(table, x, counts, jacobian):
    n_point, n_free = x.shape
    n = counts.shape[1]
    work = make_work(n, n_free, table.monomials.shape[0], table.kinds.size)
    for p in range(n_point):
        evaluate_table(table, x[p], work, n)
        # Loops, because for slices Numba would compile a formatted error message as well.
        for i in range(n):
            counts[p, i] = work.channels[MODEL, i]
        for j in range(n_free):
            for i in range(n):
                jacobian[p, j, i] = work.channels[JACOBIAN + j, i]
