"""A layer of contaminant that grows on a filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import BasisModifier

# K edges of the elements in solids, keV: Thompson et al. 2009, X-ray Data Booklet (LBNL), table 1-1.
EDGES = {"C": 0.2842, "N": 0.4099, "O": 0.5431, "F": 0.6967}
# K-shell photoionisation of the neutral atoms, E0 (eV), y_a, P: Verner & Yakovlev 1995, A&AS 109, 125, table 1.
_K_SHELL = {
    "C": (86.55, 54.98, 1.503),
    "N": (127.0, 138.0, 1.252),
    "O": (177.4, 381.2, 1.083),
    "F": (239.0, 1257.0, 0.9638),
}


def k_shell(element: str, energy: np.ndarray) -> np.ndarray:
    """Return the K-shell cross-section in units of that just above the edge, zero below, shape (n,).

    With y = E / E0: (y - 1)^2 y^(P/2 - 5.5) (1 + sqrt(y / y_a))^-P.

    References
    ----------
    Verner & Yakovlev 1995, Eq. 1 (l = 0, y_w = 0).
    """
    e0, y_a, p = _K_SHELL[element]

    def shape(kev: np.ndarray) -> np.ndarray:
        y = 1000 * kev / e0
        return (y - 1) ** 2 * y ** (0.5 * p - 5.5) * (1 + np.sqrt(y / y_a)) ** -p

    edge = np.array(EDGES[element])
    return np.where(energy >= edge, shape(np.maximum(energy, edge)) / shape(edge), 0.0)


@dataclass(frozen=True)
class Contamination(BasisModifier):
    """Growing contamination layer: phi = exp(-g(t) sum_X tau_X sigma_X(E) / sigma_X(edge)).

    tau_X is the optical depth just above the K edge of element X at the time ``reference``; the layer grows as
    g(t) = (1 - exp(-t / growth_time)) / (1 - exp(-reference / growth_time)), or t / reference where
    ``growth_time`` is infinite.

    Parameters
    ----------
    elements : tuple of str
        Among C, N, O, F.
    time : float, years
        When the spectrum was taken, since the layer began to grow.
    reference : float, years
    growth_time : float, years

    References
    ----------
    Marshall et al. 2004, SPIE 5165, 497 (ACIS contaminant and its growth).
    """

    name: ClassVar[str] = "contamination"
    elements: tuple[str, ...] = ("C", "O", "F")
    time: float = 1.0
    reference: float = 1.0
    growth_time: float = np.inf
    log: ClassVar[bool] = True  # type: ignore[misc]

    def __post_init__(self) -> None:
        where = "modifier 'contamination'"
        object.__setattr__(self, "elements", tuple(self.elements))
        for element in self.elements:
            if element not in EDGES:
                raise UnknownNameError("contaminant element", str(element), EDGES, where=where)
        if not self.elements or len(set(self.elements)) != len(self.elements):
            raise InputError(f"elements {self.elements}", where=where, expected="each element once")
        if not 0 <= self.time < np.inf:
            raise InputError(f"time {self.time:g} years", where=where, expected="0 or more")
        if not 0 < self.reference < np.inf:
            raise InputError(f"reference {self.reference:g} years", where=where, expected="a positive time")
        if not self.growth_time > 0:
            raise InputError(f"growth time {self.growth_time:g} years", where=where, expected="a positive time")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``tau_C``, ``tau_O``, ``tau_F``: optical depths above the K edges at the reference time."""
        return tuple(
            Parameter(f"tau_{x}", 0.0, -5.0, 50.0, description=f"optical depth above the {x} K edge")
            for x in self.elements
        )

    @property
    def growth(self) -> float:
        """g(t): thickness of the layer at ``time``, in units of that at ``reference``."""
        if np.isinf(self.growth_time):
            return self.time / self.reference
        return float(np.expm1(-self.time / self.growth_time) / np.expm1(-self.reference / self.growth_time))

    def functions(self, energy: np.ndarray) -> np.ndarray:
        """Return d ln phi / d tau_X, shape (n_elements, n)."""
        return -self.growth * np.stack([k_shell(x, energy) for x in self.elements])
