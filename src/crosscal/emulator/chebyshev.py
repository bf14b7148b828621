"""Least-squares Chebyshev polynomials: for grids and for scattered designs, and it averages noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.emulator.base import Emulator, Floats
from crosscal.emulator.table import TrainingTable

MAX_TERMS = 1500


@dataclass(frozen=True, eq=False)
class Chebyshev(Emulator):
    """y = sum_a c_a prod_j T_aj(x_j), by weighted least squares over a set of multi-indices a.

    Attributes
    ----------
    index : int array (n_terms, d)
        Degree per input and term.
    coefficients : array (n_terms, k)
    """

    index: NDArray[np.int64] = field(kw_only=True)
    coefficients: Floats = field(kw_only=True)

    kind = "chebyshev"

    def _evaluate(self, unit: Any, xp: Any) -> Any:
        return _design(unit, self.index, xp) @ self.coefficients

    def arrays(self) -> dict[str, Floats]:
        """Return the multi-indices and coefficients."""
        return {"index": self.index.astype(float), "coefficients": self.coefficients}

    def select(self, columns: Sequence[int]) -> Emulator:
        """Return the emulator of some outputs, by their numbers."""
        return self._selected(columns, coefficients=self.coefficients[:, list(columns)])

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], settings: Mapping[str, Any], **facts: Any) -> Chebyshev:
        """Rebuild from `arrays`.

        Raises
        ------
        InputError
            If the multi-indices are not degrees of the inputs.
        """
        index, coefficients = arrays["index"].astype(np.int64), arrays["coefficients"]
        d = len(facts["inputs"])
        if index.ndim != 2 or index.shape != (len(coefficients), d) or np.any((index < 0) | (index > MAX_TERMS)):
            raise InputError(
                f"multi-indices of shape {index.shape}", where="chebyshev emulator", expected=f"{d} degrees a term"
            )
        return cls(index=index, coefficients=coefficients, **facts)


def _design(unit: Any, index: NDArray[np.int64], xp: Any) -> Any:
    """Return the products of Chebyshev polynomials, (n, n_terms)."""
    total = None
    for j in range(index.shape[1]):
        x, top = unit[:, j], int(index[:, j].max())
        rows = [xp.ones_like(x), x]
        for _ in range(2, top + 1):
            rows.append(2 * x * rows[-1] - rows[-2])
        factor = xp.stack(rows[: max(top + 1, 1)], axis=1)[:, index[:, j]]
        total = factor if total is None else total * factor
    return total


def multi_indices(degrees: tuple[int, ...], power: float = 0.75) -> NDArray[np.int64]:
    """Return the multi-indices a with (sum (a_j / degree_j)^power)^(1/power) <= 1, shape (n, d).

    ``power`` 1 is the total-degree set; below 1 mixed terms of high degree are left out (hyperbolic cross).
    """
    rows = [
        a
        for a in product(*(range(q + 1) for q in degrees))
        if sum((x / q) ** power for x, q in zip(a, degrees, strict=True) if q) <= 1 + 1e-9
    ]
    return np.array(rows, dtype=np.int64)


def _degrees(table: TrainingTable, scale: float) -> tuple[int, ...]:
    """Degrees that the design can bear: well below the number of nodes per axis, so that nothing oscillates."""
    if table.grid is not None:
        # Equispaced nodes bear a degree of about 2 sqrt(n) in least squares before Runge's oscillation.
        tops = [min(len(a) - 1, round(2.0 * np.sqrt(len(a)) * 1.2)) for a in table.grid.axes]
    else:
        tops = [max(2, round(len(table.points) ** (1 / len(table.inputs)) * 1.5))] * len(table.inputs)
    return tuple(max(1, round(t * scale)) for t in tops)


def train_chebyshev(
    table: TrainingTable, *, seed: int = 0, progress: Progress = SILENT, degrees: tuple[int, ...] | None = None
) -> Chebyshev:
    """Fit Chebyshev polynomials; the degree is chosen by generalised cross-validation unless it is given.

    Parameters
    ----------
    degrees : tuple of int, optional
        Highest degree per input.

    Raises
    ------
    InputError
        If ``degrees`` has a wrong length or too many terms for the points.
    """
    good = table.good
    x, y = table.unit_points[good], table.values[good]
    weight = np.ones_like(y[:, :1])
    if table.sd is not None and np.any(table.sd[good] > 0):
        sd = table.sd[good][:, :1]
        weight = 1.0 / np.maximum(sd, np.median(sd) * 1e-3)
        weight /= np.sqrt(np.mean(weight**2))
    if degrees is not None and len(degrees) != len(table.inputs):
        raise InputError(f"{len(degrees)} degrees", where="chebyshev emulator", expected=f"{len(table.inputs)}")
    choices = [tuple(degrees)] if degrees else [_degrees(table, s) for s in (0.4, 0.55, 0.7, 0.85, 1.0)]
    best: tuple[float, Any] | None = None
    with progress.stage("Fitting Chebyshev polynomials", total=len(choices)) as advance:
        for choice in dict.fromkeys(choices):
            index = multi_indices(choice)
            advance(1)
            if len(index) > min(MAX_TERMS, 0.5 * len(x)):
                continue
            coefficients, score, residual = _least_squares(x, y, weight, index)
            if best is None or score < best[0]:
                best = (score, (index, coefficients, residual, choice))
    if best is None:
        raise InputError(
            f"{len(x)} points for degrees {choices[0]}", where="chebyshev emulator", expected="more points"
        )
    index, coefficients, residual, choice = best[1]
    return Chebyshev(
        table.inputs,
        table.outputs,
        residual,
        index=index,
        coefficients=coefficients,
        report={"degrees": list(choice), "terms": len(index)},
        provenance=table.provenance,
    )


def _least_squares(x: Floats, y: Floats, weight: Floats, index: NDArray[np.int64]) -> tuple[Floats, float, Floats]:
    """Solve the normal equations in blocks; return coefficients, the GCV score and the GCV residual per output."""
    m, k = len(index), y.shape[1]
    normal, right = np.zeros((m, m)), np.zeros((m, k))
    for s in range(0, len(x), 8192):
        a = _design(x[s : s + 8192], index, np) * weight[s : s + 8192]
        normal += a.T @ a
        right += a.T @ (y[s : s + 8192] * weight[s : s + 8192])
    # A whisper of ridge keeps nearly dependent columns harmless; far below any residual.
    coefficients = np.linalg.solve(normal + 1e-12 * np.trace(normal) / m * np.eye(m), right)
    square, weighted = np.zeros(k), np.zeros(k)
    for s in range(0, len(x), 8192):
        r = y[s : s + 8192] - _design(x[s : s + 8192], index, np) @ coefficients
        square += np.sum(r**2, axis=0)
        weighted += np.sum((weight[s : s + 8192] * r) ** 2, axis=0)
    inflation = 1.0 / (1.0 - m / len(x))
    spread = np.maximum(y.var(axis=0), 1e-300)
    return coefficients, float(np.sum(weighted / spread)) * inflation**2, np.sqrt(square / len(x)) * inflation
