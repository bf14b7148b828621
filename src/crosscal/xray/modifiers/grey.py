"""The grey factor."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import Modifier


@dataclass(frozen=True)
class Grey(Modifier):
    """One factor at all energies: phi = scale."""

    name: ClassVar[str] = "grey"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``scale``: the factor."""
        return (Parameter("scale", 1.0, 0.0, 10.0, description="factor at all energies"),)

    @property
    def linear(self) -> bool:
        """True."""
        return True

    def offset(self, energy: ArrayLike) -> np.ndarray:
        """Zeros: phi is proportional to ``scale``."""
        return np.zeros(np.shape(energy))

    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        return theta * xp.ones(energy.shape)
