"""A power law that breaks."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import Modifier


@dataclass(frozen=True)
class BrokenPowerLaw(Modifier):
    """Power law that breaks: phi = scale (E/E_break)^s, with s = slope1 below E_break and slope2 above."""

    name: ClassVar[str] = "broken-power-law"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``scale`` (phi at the break), ``slope1``, ``slope2``, ``E_break`` (keV)."""
        return (
            Parameter("scale", 1.0, 0.0, 10.0, description="factor at the break"),
            Parameter("slope1", 0.0, -5.0, 5.0, description="slope below the break"),
            Parameter("slope2", 0.0, -5.0, 5.0, description="slope above the break"),
            Parameter("E_break", 2.0, 1e-2, 100.0, "keV", "energy of the break", scale="log"),
        )

    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        scale, below, above, position = (theta[..., k, None] for k in range(4))
        x = xp.log(energy / position)
        return scale * xp.exp(xp.where(x < 0, below, above) * x)
