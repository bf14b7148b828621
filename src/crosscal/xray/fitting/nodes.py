"""Photon spectra of a model at the nodes of its shape parameters, before any telescope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.fitting.folding import PackedMatrix
from crosscal.xray.fitting.table import CUBIC, FIXED, LINEAR, FoldedTable, aligned_zeros

if TYPE_CHECKING:
    from crosscal.xray.emission.expression import Model

Array = NDArray[np.float64]
Range = tuple[float, float, int] | ArrayLike

# A cubic spline needs four nodes; with fewer an axis is interpolated linearly.
_MIN_CUBIC = 4
# Tables above this size are refused: the axes were meant to be coarser.
_MAX_BYTES = 2**31


@dataclass(frozen=True)
class ShapeAxis:
    """A free parameter in which the spectrum is interpolated.

    Parameters
    ----------
    name : str
    values : array, shape (n,)
        Nodes, increasing.
    kind : int
        ``table.LINEAR`` (in the parameter) or ``table.CUBIC`` (spline in ``coordinate``).
    log : bool
        Whether the coordinate is the natural logarithm.
    """

    name: str
    values: Array
    kind: int
    log: bool

    @property
    def coordinate(self) -> Array:
        """Nodes in the coordinate of the interpolation."""
        return np.log(self.values) if self.log else self.values

    def to_coordinate(self, value: ArrayLike) -> Array:
        """Turn parameter values into coordinates."""
        return np.log(value) if self.log else np.asarray(value, dtype=float)

    def from_coordinate(self, u: ArrayLike) -> Array:
        """Turn coordinates into parameter values."""
        return np.exp(u) if self.log else np.asarray(u, dtype=float)

    def derivative(self, value: ArrayLike) -> Array:
        """d value / d coordinate."""
        return np.asarray(value, dtype=float) if self.log else np.ones(np.shape(value))

    @property
    def rows(self) -> int:
        """Number of table rows: nodes, and slopes where the interpolation is cubic."""
        return (2 if self.kind == CUBIC else 1) * self.values.size

    @cached_property
    def slope_operator(self) -> Array:
        """Matrix from values at the nodes to slopes at the nodes of the not-a-knot cubic spline, (n, n)."""
        u = self.coordinate
        return CubicSpline(u, np.eye(u.size))(u, 1)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _with_slopes(values, operator, out):
    """Interleave values (n_pre, n, n_post) and their slopes along axis 1 into out (n_pre, 2 n, n_post)."""
    n_pre, n, n_post = values.shape
    for a in range(n_pre):
        for k in range(n):
            for i in range(n_post):
                out[a, 2 * k, i] = values[a, k, i]
                out[a, 2 * k + 1, i] = 0.0
            for j in range(n):
                w = operator[k, j]
                # The operator decays by 3.7 a node; what is left out is below rounding.
                if abs(w) > 1e-17 * abs(operator[k, k]) + 1e-16:
                    for i in range(n_post):
                        out[a, 2 * k + 1, i] += w * values[a, j, i]


@dataclass(frozen=True)
class NodeSpectra:
    """Photon spectra at all nodes, before any telescope: what a library folds again for every theta.

    Attributes
    ----------
    axes : shape axes, the one with most nodes last
    linear : names of the free linear parameters
    monomials : (n_part, n_linear) which of them multiply each part
    photons : (n_node, n_part, n_energy) photon/cm2/s per bin at unit linear parameters
    """

    axes: tuple[ShapeAxis, ...]
    linear: tuple[str, ...]
    monomials: NDArray[np.int64]
    photons: Array

    @property
    def names(self) -> tuple[str, ...]:
        """Free parameters in the order of the engine: shapes, then linear ones."""
        return (*(a.name for a in self.axes), *self.linear)

    def to_engine(self, values: Mapping[str, ArrayLike]) -> Array:
        """Return x of shape (..., n_free): coordinates of the shapes, values of the linear parameters."""
        columns = [a.to_coordinate(values[a.name]) for a in self.axes]
        columns += [np.asarray(values[name], dtype=float) for name in self.linear]
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def from_engine(self, x: Array) -> Array:
        """Turn x (..., n_free) into parameter values in the same order."""
        out = np.array(x, dtype=float)
        for p, axis in enumerate(self.axes):
            out[..., p] = axis.from_coordinate(out[..., p])
        return out

    def covariance_from_engine(self, x: Array, covariance: Array) -> Array:
        """Turn a covariance of x (..., n, n) into one of the parameter values."""
        scale = np.ones(x.shape)
        for p, axis in enumerate(self.axes):
            scale[..., p] = axis.derivative(axis.from_coordinate(x[..., p]))
        return covariance * scale[..., :, None] * scale[..., None, :]

    def table_rows(self) -> int:
        """Number of rows of the folded table."""
        return int(np.prod([a.rows for a in self.axes], dtype=np.int64)) if self.axes else 1

    def table(self, matrix: PackedMatrix, weight: Array, *, out: Array | None = None) -> Array:
        """Fold all nodes with ``weight`` (n_energy,) = area x exposure x factor and add the slopes.

        Returns
        -------
        array, (n_row, n_part, width), width = n_channel rounded up to 8
        """
        return self.interleaved(matrix.fold(self.photons.reshape(-1, self.photons.shape[-1]), weight))

    def interleaved(self, folded: Array) -> Array:
        """Turn values at all nodes and parts (n_node n_part, width) into table rows, slopes added."""
        n_part, width = self.photons.shape[1], folded.shape[-1]
        shape = [a.values.size for a in self.axes]
        values, n_rest = folded, n_part * width
        for p in range(len(self.axes) - 1, -1, -1):
            axis = self.axes[p]
            n_rows = axis.rows
            if axis.kind == CUBIC:
                n_pre = int(np.prod(shape[:p], dtype=np.int64))
                total = n_pre * n_rows * n_rest
                target = aligned_zeros(1, total)[0, :total].reshape(n_pre, n_rows, n_rest)
                _with_slopes(values.reshape(n_pre, axis.values.size, n_rest), axis.slope_operator, target)
                values = target
            n_rest *= n_rows
        return values.reshape(self.table_rows(), n_part, width)

    def folded(self, table: Array) -> FoldedTable:
        """Wrap a table for the engine."""
        if not self.axes:
            return FoldedTable(
                table, np.zeros(1), np.array([0, 1]), np.array([FIXED]), np.array([1]), self.monomials, 0
            )
        sizes = [a.values.size for a in self.axes]
        rows = [a.rows for a in self.axes]
        strides = [int(np.prod(rows[p + 1 :], dtype=np.int64)) for p in range(len(rows))]
        return FoldedTable(
            table,
            np.concatenate([a.coordinate for a in self.axes]),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.array([a.kind for a in self.axes], dtype=np.int64),
            np.array(strides, dtype=np.int64),
            self.monomials,
            len(self.axes),
        )


def shape_axis(model: Model, name: str, given: Range | None) -> ShapeAxis:
    """Make the axis of a free non-linear parameter, at the model's own nodes unless nodes are given.

    Raises
    ------
    InputError
        If the model has no nodes for it and none are given, or they lie outside the parameter's range.
    """
    parameter = model.parameter(name)
    own = model.nodes(name)
    where = f"axis {name!r} of the templates"
    if own is not None:
        inside = (own >= parameter.low) & (own <= parameter.high)
        nodes, interpolation = np.asarray(own, dtype=float)[inside], model.interpolation(name)
        return ShapeAxis(name, nodes, LINEAR if interpolation == "linear" else CUBIC, interpolation == "log-cubic")
    if given is None:
        raise InputError(
            f"the free parameter {name!r} is not tabulated by the model",
            where=where,
            expected=f"axes={{{name!r}: (low, high, number of nodes)}}",
        )
    log = parameter.scale == "log"
    if isinstance(given, tuple) and len(given) == 3:
        low, high, n = float(given[0]), float(given[1]), int(given[2])
        log = log and low > 0
        nodes = np.geomspace(low, high, n) if log else np.linspace(low, high, n)
    else:
        nodes = np.asarray(given, dtype=float)
        log = log and bool(np.all(nodes > 0))
    if nodes.ndim != 1 or nodes.size < 2 or np.any(np.diff(nodes) <= 0):
        raise InputError("nodes that do not increase", where=where, expected="two or more increasing values")
    for end in (nodes[0], nodes[-1]):
        parameter.check(end, where=where)
    return ShapeAxis(name, nodes, CUBIC if nodes.size >= _MIN_CUBIC else LINEAR, log)


def node_spectra(
    model: Model,
    energy_edges: ArrayLike,
    *,
    free: Sequence[str] | None = None,
    axes: Mapping[str, Range] | None = None,
) -> NodeSpectra:
    """Compute a model's photon spectra at all nodes, split into parts that are linear in the free linear parameters.

    A model that is linear in each of norm, Abundanc, ... separately is a sum of products of them. The parts are
    found from the model itself, by differences between its values at 0 and 1 of each linear parameter.

    Parameters
    ----------
    model : Model
    energy_edges : array, (n_energy + 1,), keV
    free : sequence of str
        By default the model's.
    axes : mapping of name to nodes or (low, high, n)
        For free non-linear parameters that the model does not tabulate.

    Raises
    ------
    InputError, UnknownNameError
    """
    names = tuple(model.free if free is None else free)
    for name in names:
        model.parameter(name)
    for name in axes or {}:
        if name not in names:
            raise UnknownNameError("free parameter", name, names, where="axes of the templates")
    if not names:
        raise InputError("no free parameter", where="templates", expected="at least one, such as 'norm'")
    linear = tuple(n for n in names if n in model.linear)
    shapes = [shape_axis(model, n, (axes or {}).get(n)) for n in names if n not in linear]
    # The last axis is the one that the engine mixes four rows at a time.
    shapes.sort(key=lambda a: (model.nodes(a.name) is not None, a.values.size))
    sizes = [a.values.size for a in shapes]
    n_node, n_energy = int(np.prod(sizes, dtype=np.int64)), np.size(energy_edges) - 1
    if 8 * n_node * n_energy * 2 ** len(linear) > _MAX_BYTES:
        raise InputError(
            f"templates of {n_node} nodes and {n_energy} energies",
            where="templates",
            expected="at most 2 GiB: fewer nodes",
        )
    grids = np.meshgrid(*(a.values for a in shapes), indexing="ij") if shapes else []
    nodes: dict[str, Any] = {a.name: g.ravel() for a, g in zip(shapes, grids, strict=True)}
    corners = {}
    for corner in product((0, 1), repeat=len(linear)):
        values = {**nodes, **{name: float(c) for name, c in zip(linear, corner, strict=True)}}
        corners[corner] = np.atleast_2d(model.spectrum(energy_edges, **values)).reshape(n_node, n_energy)
    scale = max(float(np.max(np.abs(c))) for c in corners.values())
    monomials, photons = [], []
    for corner in corners:
        # Moebius inversion: the coefficient of prod_{l in S} a_l is the alternating sum over subsets of S.
        part = np.zeros((n_node, n_energy))
        for other in product(*((0, 1) if c else (0,) for c in corner)):
            part += (-1) ** (sum(corner) - sum(other)) * corners[other]
        if np.any(np.abs(part) > 1e-13 * scale):
            monomials.append(corner)
            photons.append(part)
    if not photons:
        raise InputError("the model emits nothing at these energies", where="templates", expected="a positive flux")
    return NodeSpectra(
        tuple(shapes),
        linear,
        np.array(monomials, dtype=np.int64).reshape(len(monomials), len(linear)),
        np.ascontiguousarray(np.stack(photons, axis=1)),
    )
