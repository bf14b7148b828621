"""Spectra of one source as polynomials of its parameters, over the range that the reference telescope leaves them.

Every table is compared with the model itself: the degree of the polynomials grows until they agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from crosscal.xray.correction.observations import Observation
    from crosscal.xray.correction.pilot import Pilot
    from crosscal.xray.emission.expression import Model

Floats = NDArray[np.float64]

#: Degrees tried for a parameter in which the spectrum is not linear.
DEGREES = (3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32)
#: Misfit between table and model, in standard deviations of a whole spectrum, that a table may have: N sources add
#: up to sqrt(N) times this in what they share.
MISFIT = 0.01
#: Places in the range, away from the nodes of the polynomials, at which table and model are compared.
PLACES = np.array([-0.99, -0.83, -0.52, -0.21, 0.08, 0.37, 0.66, 0.91])
#: A group with fewer counts is weighed as if it had these.
_FEW = 0.1


def multiplicative(model: Model) -> int | None:
    """Return the number of the free parameter that scales the whole spectrum, if there is one."""
    edges = np.geomspace(0.5, 8.0, 20)
    for k, name in enumerate(model.free):
        if name in model.linear and name.startswith("norm"):
            low = model.spectrum(edges, **{name: 1.0})
            if np.allclose(model.spectrum(edges, **{name: 2.0}), 2 * low, rtol=1e-10):
                return k
    return None


def rows_of(tops: Sequence[int]) -> NDArray[np.int64]:
    """Return all products of polynomials up to the degrees ``tops`` (p,): (r, p)."""
    return np.array(list(product(*(range(t + 1) for t in tops))), dtype=np.int64)


def chebyshev(position: Floats, degree: int) -> Floats:
    """Return T_0 to T_degree at places (...): (..., degree + 1)."""
    return np.asarray(np.polynomial.chebyshev.chebvander(position, degree), dtype=float)


def _nodes(degree: int) -> Floats:
    return np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))


def needed_degree(o: Observation, i: int, k: int, pilot: Pilot, edges: Floats, fold: Floats) -> int:
    """Return the degree that parameter ``k`` of source ``i`` needs, the others at their best values.

    Parameters
    ----------
    edges : (n_energy + 1,) keV
    fold : (g, n_energy)
        Redistribution times area, into groups.
    """
    top = DEGREES[-1]
    x = np.concatenate([_nodes(top), PLACES])
    v = np.zeros((x.size, len(pilot.names)))
    v[:, k] = pilot.at(np.zeros((x.size, *pilot.low.shape)) + x[:, None, None])[:, i, k]
    counts = spectra(o, i, v, pilot, edges) @ fold.T
    truth = counts[top + 1 :]
    coefficients = np.linalg.solve(chebyshev(x[: top + 1], top), counts[: top + 1])
    for degree in DEGREES:
        table = chebyshev(PLACES, degree) @ coefficients[: degree + 1]
        if misfit(table, truth, o.total).max() < MISFIT:
            return degree
    return top


def misfit(table: Floats, truth: Floats, total: float) -> Floats:
    """Return the difference between two spectra (..., g) in standard deviations of ``total`` counts.

    sqrt(sum (t - m)^2 / m) with m scaled to the observed number of counts.
    """
    scale = total / np.maximum(truth.sum(axis=-1, keepdims=True), 1e-300)
    m = truth * scale
    return np.sqrt((((table - truth) * scale) ** 2 / np.maximum(m, _FEW)).sum(axis=-1))


def spectra(o: Observation, i: int, v: Floats, pilot: Pilot, edges: Floats) -> Floats:
    """Return photons/cm2 per bin during the exposure from the model itself, at ``v`` (m, p): (m, n_energy)."""
    y = pilot.centre[i] + pilot.scale[i] * v
    values = np.where(pilot.log, np.exp(np.where(pilot.log, y, 0.0)), y)
    named = {}
    for k, name in enumerate(pilot.names):
        column = values[:, k]
        if np.isfinite(pilot.low[i, k]):
            # exp(log(limit)) may miss the limit by one rounding.
            parameter, nodes = o.model.parameter(name), o.model.nodes(name)
            low, high = (parameter.low, parameter.high) if nodes is None else (nodes[0], nodes[-1])
            column = np.clip(column, max(low, parameter.low), min(high, parameter.high))
        named[name] = column
    return _continued(o.model, edges, named) * o.spectrum.exposure


def _continued(model: Model, edges: Floats, values: Mapping[str, Floats]) -> Floats:
    """Return the model's spectra (m, n); where a linear parameter is outside its limits (a fitted abundance below
    zero), as the straight line through the values at 0 and 1 goes on."""
    for name, column in values.items():
        parameter = model.parameter(name)
        if name in model.linear and np.any((column < parameter.low) | (column > parameter.high)):
            ends = [_continued(model, edges, {**values, name: np.full(column.shape, e)}) for e in (0.0, 1.0)]
            return ends[0] + column[:, None] * (ends[1] - ends[0])
    return model.spectrum(edges, **values)


def coefficients(
    o: Observation, i: int, pilot: Pilot, tops: Sequence[int], edges: Floats, scaled: int | None
) -> Floats:
    """Tabulate one source at the nodes of its range and return the coefficients (r, n_energy).

    ``tops`` are the degrees (p,): 0 for the parameter ``scaled`` that multiplies the whole, 1 for those in which the
    spectrum is linear.
    """
    p = len(pilot.names)
    columns, matrices = [], []
    for k, top in enumerate(tops):
        if top == 0:
            columns.append(np.zeros(1))
        elif k != scaled and np.isinf(pilot.low[i, k]):
            # Two values give a linear function at all; these two are inside the parameter's limits.
            y = np.array([0.0, 1.0])
            columns.append((y - pilot.centre[i, k]) / pilot.scale[i, k])
            matrices.append((k, np.linalg.inv(chebyshev(columns[-1], 1))))
        else:
            x = _nodes(top)
            columns.append(pilot.at(np.zeros((x.size, *pilot.low.shape)) + x[:, None, None])[:, i, k])
            matrices.append((k, np.linalg.inv(chebyshev(x, top))))
    v = np.stack([c.ravel() for c in np.meshgrid(*columns, indexing="ij")], axis=-1).reshape(-1, p)
    table = spectra(o, i, v, pilot, edges).reshape(*(c.size for c in columns), -1)
    for k, matrix in matrices:
        table = np.moveaxis(np.tensordot(matrix, table, axes=(1, k)), 0, k)
    return table.reshape(-1, edges.size - 1)
