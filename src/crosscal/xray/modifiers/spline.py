"""Shape-free: a cubic B-spline in log energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.interpolate import BSpline as _BSpline

from crosscal.core.errors import InputError
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import BasisModifier

_DEGREE = 3


@dataclass(frozen=True)
class BSpline(BasisModifier):
    """Cubic B-spline in ln E: phi = 1 + sum_k c_k B_k(ln E), or phi = exp(sum_k c_k B_k(ln E)) if ``log``.

    The B_k sum to 1, so that equal coefficients are a grey factor. Outside ``low`` to ``high`` phi keeps its
    value at the end.

    Parameters
    ----------
    knots : int
        Number of coefficients c0, c1, ... (>= 4).
    low, high : float, keV
    log : bool
        Whether the spline is ln phi (always positive) instead of phi - 1 (linear in its coefficients).

    References
    ----------
    de Boor 1978, A Practical Guide to Splines, ch. IX.

    Examples
    --------
    >>> spline = xray.Spline(knots=8, low=0.7, high=7.0)  # doctest: +SKIP
    >>> spline.names  # doctest: +SKIP
    """

    name: ClassVar[str] = "spline"
    knots: int = 10
    low: float = 0.3
    high: float = 10.0
    log: bool = False

    def __post_init__(self) -> None:
        if self.knots < _DEGREE + 1:
            raise InputError(f"{self.knots} knots", where="modifier 'spline'", expected=f"at least {_DEGREE + 1}")
        if not 0 < self.low < self.high < np.inf:
            raise InputError(
                f"range {self.low:g} to {self.high:g} keV", where="modifier 'spline'", expected="0 < low < high"
            )

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``c0``, ``c1``, ...: the coefficients."""
        low = -10.0 if self.log else -1.0
        return tuple(
            Parameter(f"c{k}", 0.0, low, 10.0, description=f"coefficient at {e:.3g} keV")
            for k, e in enumerate(self.peaks)
        )

    @property
    def peaks(self) -> np.ndarray:
        """Energies at which the basis functions are centred (Greville abscissae), shape (knots,), keV."""
        t = self._knot_vector
        return np.exp(np.array([t[k + 1 : k + 1 + _DEGREE].mean() for k in range(self.knots)]))

    @property
    def _knot_vector(self) -> np.ndarray:
        inner = np.linspace(np.log(self.low), np.log(self.high), self.knots - _DEGREE + 1)
        return np.concatenate([[inner[0]] * _DEGREE, inner, [inner[-1]] * _DEGREE])

    def functions(self, energy: np.ndarray) -> np.ndarray:
        """Return B_k(ln E), shape (knots, n)."""
        x = np.log(np.clip(energy, self.low, self.high))
        return _BSpline.design_matrix(np.clip(x, *self._ends), self._knot_vector, _DEGREE).toarray().T

    @property
    def _ends(self) -> tuple[float, float]:
        return float(np.log(self.low)), float(np.log(self.high))


Spline = BSpline
