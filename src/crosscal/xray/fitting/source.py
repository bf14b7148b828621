"""Any model as a source of counts for the engine: one call of the model gives the counts and all derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.xray.fitting.table import FIXED, LINEAR

if TYPE_CHECKING:
    from crosscal.xray.emission.expression import Model

Array = NDArray[np.float64]

# Step of a central difference, in the coordinate: truncation and rounding both stay below 1e-8.
_STEP = 1e-4
# With the redshift, lines jump from bin to bin of energy (some eV), which makes a likelihood of steps with a local
# minimum on each. So the model is taken at redshifts this far apart and interpolated between them.
_REDSHIFT_SPACING = 2e-3
# A linear parameter of zero is stepped by this.
_UNIT = 1.0


class ModelSource:
    """Counts of a model in groups of channels, with derivatives by its free parameters.

    Coordinates are the parameters themselves, or the logarithm of shape parameters of logarithmic scale that cannot
    be zero.

    Parameters
    ----------
    model : Model
    energy_edges : (n_energy + 1,) keV
    matrix : sparse (n_group, n_energy)
        Redistribution, summed over groups, times area and exposure.
    free : sequence of str
    """

    def __init__(self, model: Model, energy_edges: Array, matrix: Any, free: Sequence[str]) -> None:
        if not free:
            raise InputError("no free parameter", where="fit", expected="at least one, such as 'norm'")
        linear = [n for n in free if n in model.linear]
        shapes = [n for n in free if n not in linear]
        # The engine looks for kinks along the last shape parameter.
        shapes.sort(key=lambda n: model.interpolation(n) == "linear")
        self.model, self.edges, self.matrix = model, energy_edges, matrix
        self.names = (*shapes, *linear)
        self.n_shape = len(shapes)
        self.log = np.array(
            [
                n in shapes
                and model.interpolation(n) != "linear"
                and model.parameter(n).scale == "log"
                and model.parameter(n).low > 0
                for n in self.names
            ]
        )
        self.low = np.array([self._coordinate(n, model.parameter(n).low, -np.inf) for n in self.names])
        self.high = np.array([self._coordinate(n, model.parameter(n).high, np.inf) for n in self.names])
        self.kinds = np.full(max(self.n_shape, 1), FIXED)
        self.nodes, self.offset = np.zeros(0), np.zeros(self.kinds.size + 1, np.int64)
        for j, name in enumerate(shapes):
            nodes = model.nodes(name)
            if nodes is None:
                continue
            ends = nodes[[0, -1]]
            self.low[j] = max(self.low[j], self._coordinate(name, ends[0], -np.inf))
            self.high[j] = min(self.high[j], self._coordinate(name, ends[1], np.inf))
            if model.interpolation(name) == "linear" and j == self.n_shape - 1:
                self.kinds[j], self.nodes = LINEAR, np.asarray(nodes, dtype=float)
                self.offset[j + 1] = nodes.size

    def _coordinate(self, name: str, value: float, edge: float) -> float:
        if not self.log[self.names.index(name)]:
            return float(value)
        return float(np.log(value)) if value > 0 else edge

    def to_engine(self, values: Mapping[str, float]) -> Array:
        """Turn parameter values into coordinates, within the limits."""
        x = np.array([self._coordinate(n, values[n], -np.inf) for n in self.names])
        return np.clip(x, self.low, self.high)

    def from_engine(self, x: Array) -> Array:
        """Turn coordinates (..., n_free) into parameter values."""
        # exp(log(limit)) may miss the limit by one rounding.
        out = np.where(self.log, np.exp(np.where(self.log, x, 0.0)), x)
        low = [self.model.parameter(n).low for n in self.names]
        high = [self.model.parameter(n).high for n in self.names]
        for j, name in enumerate(self.names):
            nodes = self.model.nodes(name)
            if nodes is not None:
                low[j], high[j] = max(low[j], nodes[0]), min(high[j], nodes[-1])
        return np.clip(out, low, high)

    def scale(self, x: Array) -> Array:
        """d value / d coordinate, (n_free,)."""
        return np.where(self.log, self.from_engine(x), 1.0)

    def steps(self, x: Array) -> tuple[Array, Array]:
        """Return the two points of each parameter's difference, (n_free,) each, within the limits."""
        size = np.empty(x.size)
        for j in range(x.size):
            if j >= self.n_shape:
                size[j] = abs(x[j]) if x[j] != 0.0 else _UNIT
            else:
                size[j] = _STEP if self.log[j] else _STEP * max(abs(x[j]), 0.01)
        return np.maximum(x - size, self.low), np.minimum(x + size, self.high)

    def counts(self, x: Array) -> Array:
        """Expected counts (n_group,) at ``x``."""
        return self._at(self.from_engine(x)[None, :])[0]

    def evaluate(self, x: Array, model: Array, jacobian: Array) -> None:
        """Fill counts and derivatives; linear parameters are exact, shapes central differences."""
        below, above = self.steps(x)
        points = np.tile(x, (1 + 2 * x.size, 1))
        for j in range(x.size):
            points[1 + 2 * j, j], points[2 + 2 * j, j] = below[j], above[j]
        counts = self._at(self.from_engine(points))
        model[:] = counts[0]
        for j in range(x.size):
            jacobian[j] = (counts[2 + 2 * j] - counts[1 + 2 * j]) / (above[j] - below[j])

    def _at(self, values: Array) -> Array:
        """Counts (m, n_group) at parameter values (m, n_free), smooth in redshifts."""
        weight = np.ones((values.shape[0], 1))
        for j, name in enumerate(self.names):
            if j < self.n_shape and name.split("_")[0] == "Redshift":
                values, weight = _between_nodes(values, weight, j, _REDSHIFT_SPACING)
        distinct, member = np.unique(values, axis=0, return_inverse=True)
        photons = self.model.spectrum(self.edges, **{n: distinct[:, j] for j, n in enumerate(self.names)})
        counts = (self.matrix @ photons.T).T[member.ravel()]
        return np.einsum("mk,mkc->mc", weight, counts.reshape(*weight.shape, -1))


def _between_nodes(values: Array, weight: Array, j: int, spacing: float) -> tuple[Array, Array]:
    """Replace each point by the four nearest multiples of ``spacing`` in parameter j, with Lagrange's weights."""
    t = values[:, j] / spacing
    k = np.floor(t)
    t = t - k
    cubic = np.stack(
        [
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        ],
        axis=1,
    )
    nodes = np.repeat(values[:, None, :], 4, axis=1)
    nodes[:, :, j] = (k[:, None] + np.arange(-1, 3)) * spacing
    combined = weight[:, :, None] * cubic.reshape(*weight.shape, 4)
    return nodes.reshape(-1, values.shape[1]), combined.reshape(weight.shape[0], -1)
