"""Smooth: a polynomial in log energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import BasisModifier


@dataclass(frozen=True)
class Polynomial(BasisModifier):
    """Polynomial in x = ln(E / pivot): phi = 1 + sum_k c_k x^k, or phi = exp(sum_k c_k x^k) if ``log``.

    Parameters
    ----------
    degree : int
        Highest power (>= 0); the coefficients are c0, c1, ...
    pivot : float, keV
    log : bool
        Whether the polynomial is ln phi (so that degree 1 is a power law) instead of phi - 1.
    """

    name: ClassVar[str] = "polynomial"
    degree: int = 2
    pivot: float = 1.5
    log: bool = False

    def __post_init__(self) -> None:
        where = "modifier 'polynomial'"
        if self.degree < 0:
            raise InputError(f"degree {self.degree}", where=where, expected="0 or more")
        if not 0 < self.pivot < np.inf:
            raise InputError(f"pivot {self.pivot:g} keV", where=where, expected="a positive energy")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``c0``, ``c1``, ...: the coefficients."""
        return tuple(
            Parameter(f"c{k}", 0.0, -10.0, 10.0, description=f"coefficient of ln(E / {self.pivot:g} keV)^{k}")
            for k in range(self.degree + 1)
        )

    def functions(self, energy: np.ndarray) -> np.ndarray:
        """Return ln(E / pivot)^k, shape (degree + 1, n)."""
        return np.log(energy / self.pivot) ** np.arange(self.degree + 1)[:, None]
