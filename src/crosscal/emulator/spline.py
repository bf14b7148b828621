"""Tensor-product cubic splines on complete grids: the most accurate choice for smooth maps of few inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.emulator.base import COMPILE_ABOVE, Emulator, Floats
from crosscal.emulator.table import TrainingTable

#: 4^d coefficients are gathered per prediction.
MAX_INPUTS = 5
#: Failed points are filled from their neighbours; above this fraction a spline would be a guess.
MAX_MISSING = 0.02


@dataclass(frozen=True, eq=False)
class Spline(Emulator):
    """Cubic not-a-knot splines in every input.

    Attributes
    ----------
    breaks : tuple of arrays
        Break points of the polynomial pieces per input, in unit coordinates.
    pieces : tuple of arrays (n_pieces, order, order)
        Power coefficients of the B-splines that live on each piece: value_r = sum_p pieces[i, r, p] u^p.
    coefficients : array (n_1, ..., n_d, k)
        B-spline coefficients.
    """

    breaks: tuple[Floats, ...] = field(kw_only=True)
    pieces: tuple[Floats, ...] = field(kw_only=True)
    coefficients: Floats = field(kw_only=True)

    kind = "spline"

    def _local(self, j: int, x: Any, xp: Any) -> tuple[Any, Any]:
        """Return the first coefficient's number and the weights (n, order) of input j at x (n,)."""
        breaks, pieces = xp.asarray(self.breaks[j]), xp.asarray(self.pieces[j])
        # Counting breaks compiles to one comparison; a binary search would be a loop inside every program.
        i = (x[:, None] >= breaks[1:-1]).sum(axis=1)
        u, local = (x - breaks[i])[:, None], pieces[i]
        value = local[..., -1]
        for p in range(local.shape[-1] - 2, -1, -1):
            value = local[..., p] + u * value
        return i, value

    def _evaluate(self, unit: Any, xp: Any) -> Any:
        shape = self.coefficients.shape[:-1]
        first, weights = zip(*(self._local(j, unit[:, j], xp) for j in range(len(shape))), strict=True)
        table = xp.asarray(self.coefficients.reshape(-1, self.coefficients.shape[-1]))
        strides = np.array([np.prod(shape[j + 1 :], dtype=int) for j in range(len(shape))])
        base = sum(int(s) * i for s, i in zip(strides, first, strict=True))
        steps = np.array([np.dot(strides, r) for r in product(*(range(w.shape[-1]) for w in weights))])
        combined = weights[0]
        for w in weights[1:]:
            combined = (combined[:, :, None] * w[:, None, :]).reshape(len(unit), -1)
        return xp.einsum("nm,nmk->nk", combined, table[base[:, None] + steps])

    def at(self, first: Any, last: Any) -> Any:
        """Contract the fixed inputs once, then evaluate a one-dimensional spline."""
        import jax.numpy as jnp

        last = jnp.asarray(last)
        points = jnp.concatenate([jnp.asarray(first), last.reshape(-1)[:1]])
        unit = jnp.clip(self._unit(points[None], jnp), -1.0, 1.0)
        *counts, n_last, k = self.coefficients.shape
        table = jnp.asarray(self.coefficients.reshape(-1, n_last * k))
        index, combined = jnp.zeros(1, int), jnp.ones(1)
        for j, count in enumerate(counts):
            i, weight = self._local(j, unit[:, j], jnp)
            index = (index[:, None] * count + i[0] + np.arange(weight.shape[1])).ravel()
            combined = (combined[:, None] * weight[0]).ravel()
        table = (combined @ table[index]).reshape(n_last, k)
        item = self.inputs[-1]
        x = jnp.clip(item.to_unit(last.reshape(-1), jnp), -1.0, 1.0)
        i, weight = self._local(len(self.inputs) - 1, x, jnp)
        values = jnp.einsum("nm,nmk->nk", weight, table[i[:, None] + np.arange(weight.shape[1])])
        return values.reshape(*last.shape, len(self.outputs))

    def _in_blocks(self, flat: Floats) -> Floats:
        if len(flat) <= COMPILE_ABOVE:
            return super()._in_blocks(flat)
        from crosscal.emulator.spline_kernel import evaluate

        shape, d = self.coefficients.shape[:-1], len(self.inputs)
        breaks = np.zeros((d, max(map(len, self.breaks))))
        pieces = np.zeros((d, max(map(len, self.pieces)), 4, 4))
        for j, (b, p) in enumerate(zip(self.breaks, self.pieces, strict=True)):
            breaks[j, : len(b)] = b
            pieces[j, : len(p), : p.shape[1], : p.shape[2]] = p
        return evaluate(
            self._unit(flat, np),
            breaks,
            np.array([len(b) for b in self.breaks]),
            pieces,
            np.array([p.shape[1] for p in self.pieces]),
            np.array([np.prod(shape[j + 1 :], dtype=int) for j in range(d)]),
            np.ascontiguousarray(self.coefficients.reshape(-1, self.coefficients.shape[-1])),
        )

    def arrays(self) -> dict[str, Floats]:
        """Return coefficients, break points and pieces."""
        found: dict[str, Floats] = {"coefficients": self.coefficients}
        for j, (b, p) in enumerate(zip(self.breaks, self.pieces, strict=True)):
            found |= {f"breaks_{j}": b, f"pieces_{j}": p}
        return found

    def select(self, columns: Sequence[int]) -> Emulator:
        """Return the emulator of some outputs, by their numbers."""
        return self._selected(columns, coefficients=np.ascontiguousarray(self.coefficients[..., list(columns)]))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], settings: Mapping[str, Any], **facts: Any) -> Spline:
        """Rebuild from `arrays`.

        Raises
        ------
        InputError
            If break points, pieces and coefficients of an input do not belong together.
        """
        coefficients = arrays["coefficients"]
        d = len(facts["inputs"])
        if coefficients.ndim != d + 1:
            raise InputError(
                f"coefficients of shape {coefficients.shape}", where="spline emulator", expected=f"{d} inputs"
            )
        breaks, pieces = (tuple(arrays[f"{name}_{j}"] for j in range(d)) for name in ("breaks", "pieces"))
        # Compiled code indexes these without looking.
        for j, (b, p) in enumerate(zip(breaks, pieces, strict=True)):
            order = p.shape[-1]
            fits = b.ndim == 1 and p.shape == (len(b) - 1, order, order) and 1 <= order <= 4
            if not fits or coefficients.shape[j] != len(p) + order - 1 or np.any(np.diff(b) <= 0):
                raise InputError(
                    f"breaks of shape {b.shape}, pieces of shape {p.shape}",
                    where=f"spline emulator, input {j + 1}",
                    expected=f"{coefficients.shape[j]} basis functions",
                )
        return cls(coefficients=coefficients, breaks=breaks, pieces=pieces, **facts)


def _pieces(knots: Floats, order: int) -> tuple[Floats, Floats]:
    """Return the break points of a B-spline basis and its power coefficients per piece."""
    from math import factorial

    from scipy.interpolate import BSpline

    n = len(knots) - order
    breaks = knots[order - 1 : n + 1]
    basis = BSpline(knots, np.eye(n), order - 1)
    derivatives = np.stack([basis(breaks[:-1], nu=p) / factorial(p) for p in range(order)], axis=-1)
    pieces = np.stack([derivatives[i, i : i + order] for i in range(len(breaks) - 1)])
    return breaks, pieces


def fill_missing(values: Floats) -> tuple[Floats, int]:
    """Fill NaN points of a grid (n_1, ..., n_d, k) by averaging finite neighbours, nearest first; count them."""
    from scipy.ndimage import convolve

    filled = values.copy()
    missing = ~np.all(np.isfinite(values), axis=-1)
    count = int(missing.sum())
    d = values.ndim - 1
    kernel = np.ones((3,) * d)
    while missing.any():
        present = (~missing).astype(float)
        number = convolve(present, kernel, mode="constant")
        reachable = missing & (number > 0)
        for k in range(values.shape[-1]):
            total = convolve(np.where(missing, 0.0, filled[..., k]), kernel, mode="constant")
            filled[..., k][reachable] = total[reachable] / number[reachable]
        missing &= ~reachable
    return filled, count


def train_spline(table: TrainingTable, *, seed: int = 0, progress: Progress = SILENT) -> Spline:
    """Interpolate a complete product grid, axis by axis (de Boor 2001, ch. XVII).

    Axes with fewer than four nodes get polynomials of their highest degree.

    Raises
    ------
    InputError
        If the table is not a grid, has more than five varying inputs, or misses over 2 % of its points.
    """
    from scipy.interpolate import make_interp_spline

    where = "spline emulator"
    if table.grid is None:
        raise InputError("the training points are not a product grid", where=where, expected="a grid, or kind 'mlp'")
    d = len(table.inputs)
    if d > MAX_INPUTS:
        raise InputError(f"{d} inputs", where=where, expected=f"at most {MAX_INPUTS}, or kind 'mlp'")
    missing = 1.0 - table.good.mean()
    if missing > MAX_MISSING:
        raise InputError(
            f"{100 * missing:.1f} % of the grid points failed", where=where, expected="at most 2 %, or kind 'mlp'"
        )
    values = table.values.reshape(*table.grid.shape, len(table.outputs))
    coefficients, filled = fill_missing(values)
    breaks, pieces = [], []
    with progress.stage("Fitting splines", total=d) as advance:
        for j, (item, axis) in enumerate(zip(table.inputs, table.grid.axes, strict=True)):
            order = min(4, len(axis))
            spline = make_interp_spline(item.to_unit(axis.values), coefficients, k=order - 1, axis=j)
            # make_interp_spline moves the interpolated axis to the front of its coefficients.
            coefficients = np.moveaxis(spline.c, 0, j)
            found = _pieces(spline.t, order)
            breaks.append(found[0])
            pieces.append(found[1])
            advance(1)
    return Spline(
        table.inputs,
        table.outputs,
        np.zeros(len(table.outputs)),
        breaks=tuple(breaks),
        pieces=tuple(pieces),
        coefficients=np.ascontiguousarray(coefficients),
        report={"nodes": list(table.grid.shape), "filled_points": filled},
        provenance=table.provenance,
    )
