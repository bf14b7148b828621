"""What a model component is: a name, parameters in XSPEC's order, and a function of bin edges.

Add a component: subclass ``Additive`` or ``Multiplicative`` in one file and name it in ``registry.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosscal.core.parameter import Parameter
from crosscal.xray.emission.plasma import PlasmaTable

Array = NDArray[np.float64]
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Settings:
    """What a whole model fixes for its components.

    Parameters
    ----------
    abundances : str
        Solar abundances of plasma components.
    absorption_abundances : str
        Solar abundances of absorption components.
    interp : "spline" or "xspec"
        Interpolation between the plasma table's temperatures.
    load_table : callable
        Returns the plasma table; called when the first plasma component needs it.
    atomdb_root : str
        Beginning of the paths of AtomDB's files, for models of the XSPEC library ("/data/apec_v3.0.8").
    smooth_lines : bool
        Whether lines narrower than the bins of energy are made as wide as these.
    """

    abundances: str = "angr"
    absorption_abundances: str = "wilm"
    interp: str = "spline"
    load_table: Callable[[], PlasmaTable] = field(default=None)  # type: ignore[assignment]
    atomdb_root: str = ""
    smooth_lines: bool = False


class Component(ABC):
    """One named part of a spectral model."""

    name: ClassVar[str]
    kind: ClassVar[str]  # "additive", "multiplicative" or "convolution"
    parameters: tuple[Parameter, ...]
    linear: ClassVar[tuple[str, ...]] = ()
    #: Whether values are smooth to double precision in every parameter but a redshift.
    precise: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def line_bins(self, energy: Array) -> Array:
        """Relative width of the bins in which weak lines are summed; 0 where every line has its own place."""
        return np.zeros(np.shape(energy))

    def check(self, values: Values, *, where: str) -> None:  # noqa: B027  (most components need no more than ranges)
        """Refuse values that the ranges of the parameters do not catch."""

    def nodes(self, name: str) -> Array | None:
        """Return the values at which the component is tabulated in a parameter, or None."""
        return None

    def interpolation(self, name: str) -> str | None:
        """Return how it interpolates between ``nodes(name)``: "linear", "log-cubic" or None."""
        return None


class Additive(Component):
    """A component that emits: photon/cm2/s in each bin, proportional to its parameter ``norm``."""

    kind = "additive"

    @abstractmethod
    def unit_spectrum(self, edges: Array, values: Values) -> Array:
        """Spectrum at norm 1, shape (..., n), broadcastable with the parameters' shapes."""

    def evaluate(self, edges: Array, values: Values) -> Array:
        """Spectrum in photon/cm2/s per bin, shape (..., n)."""
        return np.asarray(values["norm"])[..., None] * self.unit_spectrum(edges, values)


class Multiplicative(Component):
    """A component that multiplies what others emit, such as absorption."""

    kind = "multiplicative"

    @abstractmethod
    def evaluate(self, edges: Array, values: Values) -> Array:
        """Factor in each bin, shape (..., n)."""


class Convolution(Component):
    """A component that evaluates what it encloses on other energies, such as a redshift."""

    kind = "convolution"

    @abstractmethod
    def evaluate(self, edges: Array, values: Values, inner: Callable[[Array], Array]) -> Array:
        """Spectrum in each bin, shape (..., n), from the function ``inner(edges)``."""


def norm_parameter(description: str) -> Parameter:
    """The normalisation that every additive component has as its last parameter."""
    return Parameter("norm", 1.0, 0.0, 1e24, description=description, scale="log", free=True)
