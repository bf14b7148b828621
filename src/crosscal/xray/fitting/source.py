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
    from crosscal.xray.instrument.response import Response

Array = NDArray[np.float64]

# Step of a one-sided difference, in the coordinate, and of a central one, where the model may be of single precision or
# has kinks: truncation and rounding both stay below 1e-6 of the derivative, or 1e-3 in single precision.
_STEP, _CENTRAL = 1e-6, 1e-4
# With the redshift, sharp lines jump from bin to bin of energy (some eV), which makes a likelihood of steps with a
# local minimum on each. CrossCal's own plasmas widen them to the bins and shift them exactly. Other models are taken at
# redshifts apart by this share of the response's relative resolution (sigma), but at most so far, and interpolated
# between them: cubic interpolation of a line of that width is good to 1e-3 of its peak.
_SPACING, _MOST_SPACING = 0.35, 2e-3
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
    resolution : float
        Smallest sigma / E of the redistribution, for redshifts of sharp lines.

    Attributes
    ----------
    spacing : mapping of redshift to float
        Distance between the redshifts that the model is interpolated between; without an entry lines are shifted
        exactly.
    """

    def __init__(
        self, model: Model, energy_edges: Array, matrix: Any, free: Sequence[str], resolution: float = np.inf
    ) -> None:
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
        bins = np.diff(energy_edges) / energy_edges[:-1]
        moving = [j for j, n in enumerate(shapes) if n.split("_")[0] == "Redshift"]
        self.spacing: dict[int, float] = {}
        if moving and model.precise:
            self.model = model.replace(smooth_lines=True)
        elif moving:
            self.spacing = dict.fromkeys(moving, min(_SPACING * resolution, _MOST_SPACING))
        self.narrowest = float(bins.min())

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
        """Return the two points of each parameter's difference, (n_free,) each, within the limits.

        One of the two is ``x`` itself where the model is smooth and of double precision.
        """
        below, above = x.copy(), x.copy()
        for j in range(x.size):
            if j >= self.n_shape:
                below[j], above[j] = (0.0, x[j]) if x[j] != 0.0 else (0.0, _UNIT)
                continue
            unit = 1.0 if self.log[j] else max(abs(x[j]), 0.01)
            if self.model.precise and self.kinds[j] != LINEAR:
                up = x[j] + _STEP * unit
                below[j], above[j] = (x[j], up) if up <= self.high[j] else (x[j] - _STEP * unit, x[j])
            else:
                below[j], above[j] = x[j] - _CENTRAL * unit, x[j] + _CENTRAL * unit
        return np.maximum(below, self.low), np.minimum(above, self.high)

    def counts(self, x: Array) -> Array:
        """Expected counts (n_group,) at ``x``."""
        return self._at(self.from_engine(x)[None, :])[0]

    def many(self, x: Array) -> Array:
        """Expected counts (m, n_group) at several ``x`` (m, n_free)."""
        return self._at(self.from_engine(x))

    def direct(self, x: Array) -> Array:
        """Expected counts (n_group,) at ``x`` without interpolation in redshift: the mean over its spacing, as the
        model itself jumps where a line crosses a bin of energy."""
        points = self.from_engine(x)[None, :]
        for j, spacing in self.spacing.items():
            steps = np.repeat(_PLACES * spacing, points.shape[0])
            points = np.tile(points, (_PLACES.size, 1))
            points[:, j] += steps
        return self._exact(points).mean(axis=0)

    def evaluate(self, x: Array, model: Array, jacobian: Array) -> None:
        """Fill counts and derivatives; linear parameters are exact, shapes differences."""
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
        for j, spacing in self.spacing.items():
            values, weight = _between_nodes(values, weight, j, spacing)
        return np.einsum("mk,mkc->mc", weight, self._exact(values).reshape(*weight.shape, -1))

    def _exact(self, values: Array) -> Array:
        """Counts (m, n_group) of the model itself at parameter values (m, n_free)."""
        distinct, member = np.unique(values, axis=0, return_inverse=True)
        photons = self.model.spectrum(self.edges, **{n: distinct[:, j] for j, n in enumerate(self.names)})
        return (self.matrix @ photons.T).T[member.ravel()]


# Places in a bin over which direct spectra are averaged.
_PLACES = np.array([-0.375, -0.125, 0.125, 0.375])


def resolution(response: Response) -> tuple[Array, Array]:
    """Return energies in keV and sigma / E there: sigma of a Gaussian of the same area and peak as the redistribution
    of photons of one energy."""
    columns = response.redistribution.tocsc()
    width = response.channel_hi - response.channel_lo
    peak = columns.multiply(1.0 / width[:, None]).tocsc().max(axis=0).toarray().ravel()
    total = columns.sum(axis=0)
    used = peak > 0
    # Energies at the rim of the band reach only a part of their channels.
    whole = used & (total > 0.5 * np.median(total[used]))
    return response.energy[whole], total[whole] / (peak[whole] * np.sqrt(2 * np.pi)) / response.energy[whole]


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
