"""Edges and steps."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import Modifier


@dataclass(frozen=True)
class EdgeDepth(Modifier):
    """Depth of an absorption edge: phi = exp(-tau (E/edge)^-3) above the edge, 1 below (XSPEC's ``edge``).

    A negative ``tau`` undoes an edge that the nominal area has too deep.
    """

    name: ClassVar[str] = "edge"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``edge`` (keV) and ``tau`` (optical depth just above it)."""
        return (
            Parameter("edge", 1.839, 1e-2, 100.0, "keV", "energy of the edge (1.839: Si K)"),
            Parameter("tau", 0.0, -5.0, 20.0, description="optical depth just above the edge"),
        )

    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        edge, tau = theta[..., 0, None], theta[..., 1, None]
        ratio = energy / edge
        return xp.exp(xp.where(ratio >= 1, -tau * xp.maximum(ratio, 1.0) ** -3, 0.0))


@dataclass(frozen=True)
class Step(Modifier):
    """Step in quantum efficiency: phi = 1 + height / (1 + exp(-(E - edge) / width)).

    Parameters
    ----------
    width : float, keV
        Softness of the step; small against the instrument's resolution makes it sharp.
    """

    name: ClassVar[str] = "step"
    width: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.width < np.inf:
            raise InputError(f"width {self.width:g} keV", where="modifier 'step'", expected="a positive number")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``edge`` (keV) and ``height`` (relative change above it)."""
        return (
            Parameter("edge", 1.839, 1e-2, 100.0, "keV", "energy of the step (1.839: Si K)"),
            Parameter("height", 0.0, -1.0, 10.0, description="relative change above the step"),
        )

    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        edge, height = theta[..., 0, None], theta[..., 1, None]
        # tanh instead of exp: no overflow far from the step.
        return 1.0 + height * 0.5 * (1.0 + xp.tanh((energy - edge) / (2 * self.width)))
