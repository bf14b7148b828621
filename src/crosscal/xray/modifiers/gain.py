"""Changes of the energy scale and of the matrix itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.sparse import csr_array

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import Build, Modifier, Theta, checked_options
from crosscal.xray.modifiers.polynomial import Polynomial

if TYPE_CHECKING:
    from crosscal.xray.instrument.response import Response


def channel_edges(response: Response) -> np.ndarray:
    """Return the channel edges, shape (n_channel + 1,), keV.

    Raises
    ------
    InputError
        If the channels have gaps or do not rise in energy.
    """
    low, high = response.channel_lo, response.channel_hi
    slack = 1e-3 * (high - low)[1:] + 1e-6 * np.abs(high[:-1])
    if np.any(np.abs(low[1:] - high[:-1]) > slack):
        raise InputError(
            "the channels have gaps or fall in energy",
            where=f"response {response.name!r}",
            expected="contiguous channels for a change of gain",
        )
    return np.append(low, high[-1])


@dataclass(frozen=True)
class Gain(Modifier):
    """Gain of the energy scale: what the nominal matrix records at E is recorded at E' = slope E + offset.

    Each channel's events are spread evenly over its energy range and counted in the channels that the shifted
    range overlaps; what falls off either end is lost. The channel energies (EBOUNDS) and the area stay.

    XSPEC's ``gain s b`` gives the columns of the matrix new photon energies E_new = E / s - b instead, so that a
    photon of energy E is recorded where the nominal matrix puts s (E + b): slope = s, offset = s b, up to the
    width of the peak, which that command moves along.
    """

    name: ClassVar[str] = "gain"
    acts_on: ClassVar[str] = "matrix"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``slope`` and ``offset`` (keV)."""
        return (
            Parameter("slope", 1.0, 0.5, 2.0, description="recorded energy per nominal energy"),
            Parameter("offset", 0.0, -1.0, 1.0, "keV", "shift of the recorded energy"),
        )

    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        return xp.ones((*theta.shape[:-1], energy.size))

    def transfer(self, response: Response, theta: Theta = None) -> csr_array:
        """Return G, shape (n_channel, n_channel): counts' = G counts. Columns sum to 1, less at the ends."""
        slope, offset = self._one(theta)
        edges = channel_edges(response)
        moved = slope * edges + offset
        cuts = np.unique(np.concatenate([edges, moved]))
        cuts = cuts[(cuts >= max(edges[0], moved[0])) & (cuts <= min(edges[-1], moved[-1]))]
        middle, length = 0.5 * (cuts[1:] + cuts[:-1]), np.diff(cuts)
        source = np.searchsorted(moved, middle, side="right") - 1
        target = np.searchsorted(edges, middle, side="right") - 1
        share = length / np.diff(moved)[source]
        n = response.n_channel
        return csr_array((share, (target, source)), shape=(n, n))

    def counts(self, response: Response, counts: Any, theta: Theta = None, xp: ModuleType = np) -> Any:
        """Return counts' = G counts for counts (..., n_channel), differentiable in theta (2,) with JAX.

        The same as ``transfer(response, theta) @ counts``, through the cumulative counts.
        """
        edges = channel_edges(response)
        slope, offset = self.theta(theta, xp)
        counts = xp.asarray(counts)
        zero = xp.zeros((*counts.shape[:-1], 1))
        cumulative = xp.concatenate([zero, xp.cumsum(counts, axis=-1)], axis=-1)
        edges = xp.asarray(edges)
        at = xp.clip((edges - offset) / slope, edges[0], edges[-1])
        index = xp.clip(xp.searchsorted(edges, at, side="right") - 1, 0, counts.shape[-1] - 1)
        within = (at - edges[index]) / (edges[index + 1] - edges[index])
        below = cumulative[..., index] + within * (cumulative[..., index + 1] - cumulative[..., index])
        return below[..., 1:] - below[..., :-1]

    def apply(self, response: Response, theta: Theta = None) -> Response:
        """Return ``response`` with its redistribution moved in energy."""
        moved = self.transfer(response, theta) @ response.redistribution
        return replace(response, redistribution=moved)


SIDES = ("photon", "channel")


@dataclass(frozen=True, eq=False)
class MatrixScaling(Modifier):
    """Energy-dependent scaling of the response matrix: P'(c | E) = s(E) P(c | E), with s of another family.

    Parameters
    ----------
    scaling : Modifier
        The family s (a polynomial in ln E of degree 1 by default); its parameters are taken over.
    side : "photon" or "channel"
        Whether s is a function of the photon energy (quantum efficiency: the same rates as a factor on the
        area, but the area stays) or of the channel's nominal energy (efficiency of event selection).
    """

    name: ClassVar[str] = "matrix-scaling"
    acts_on: ClassVar[str] = "matrix"
    scaling: Modifier = field(default_factory=lambda: Polynomial(degree=1))
    side: str = "photon"

    @classmethod
    def from_options(cls, options: Mapping[str, Any], build: Build) -> MatrixScaling:
        """Build from ``scaling``, the name or table of a family, and ``side``."""
        plan = checked_options(cls.name, options, ("scaling", "side"))
        if "scaling" in plan:
            plan["scaling"] = build(plan["scaling"])
        return cls(**plan)

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise UnknownNameError("side of the matrix", self.side, SIDES)
        if self.scaling.acts_on != "area":
            raise InputError(
                f"the modifier {self.scaling.name!r} changes the matrix itself",
                where="modifier 'matrix-scaling'",
                expected="a family of factors against energy",
            )

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those of ``scaling``."""
        return self.scaling.parameters

    @property
    def null(self) -> tuple[float, ...]:
        """That of ``scaling``."""
        return self.scaling.null

    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        return xp.ones((*theta.shape[:-1], energy.size))

    def apply(self, response: Response, theta: Theta = None) -> Response:
        """Return ``response`` with its redistribution scaled."""
        energy = response.energy
        if self.side == "channel":
            # A channel of energy zero has no logarithm: the first ones of many missions start there.
            energy = np.maximum(0.5 * (response.channel_lo + response.channel_hi), 1e-6)
        scale = self.scaling.factor(energy, self._one(theta))
        if np.any(scale < 0) or not np.all(np.isfinite(scale)):
            raise InputError(
                f"the matrix is scaled by {np.nanmin(scale):.4g}",
                where="modifier 'matrix-scaling'",
                expected="a finite factor >= 0 at every energy",
            )
        shaped = scale[:, None] if self.side == "channel" else scale[None, :]
        return replace(response, redistribution=csr_array(response.redistribution.multiply(shaped)))
