"""Calibration-uncertainty libraries: principal components of an effective area."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from crosscal.core.errors import InputError
from crosscal.core.parameter import Parameter
from crosscal.xray.instrument.ogip_pca import read_pca_library
from crosscal.xray.instrument.pca_library import PcaLibrary
from crosscal.xray.modifiers.base import BasisModifier, Build, checked_options


@dataclass(frozen=True, eq=False)
class PCA(BasisModifier):
    """Principal components of a calibration library: area = default + offset + sum_k e_k f_k v_k(E), e_k ~ N(0, 1).

    As a factor on the area, phi = 1 + (offset + sum_k e_k f_k v_k) / default, interpolated in E; it is 1 outside
    the library's energies and where its default area is zero. On the library's own default area this is the
    formula exactly; another area of the same instrument is changed by the same fraction.

    Parameters
    ----------
    library : PcaLibrary
        From :func:`crosscal.xray.instrument.ogip_pca.read_pca_library`.
    n : int, optional
        Number of leading components; all by default, the residual one included.
    bias : bool
        Whether the offset is applied (then phi at e = 0 is not 1).

    References
    ----------
    Lee et al. 2011, ApJ 731, 126, section 3.2; Drake et al. 2006, SPIE 6270, 49.
    """

    name: ClassVar[str] = "pca"
    library: PcaLibrary
    n: int | None = None
    bias: bool = True
    log: ClassVar[bool] = False  # type: ignore[misc]

    def __post_init__(self) -> None:
        if not isinstance(self.library, PcaLibrary):
            given = type(self.library).__name__
            raise InputError(
                f"a library of type {given}", where="modifier 'pca'", expected="what read_pca_library(path) returns"
            )
        available = self.library.scale.size
        if self.n is not None and not 1 <= self.n <= available:
            raise InputError(f"{self.n} components", where="modifier 'pca'", expected=f"1 to {available}")

    @classmethod
    def from_options(cls, options: Mapping[str, Any], build: Build) -> PCA:
        """Build from ``path`` (a calibration library), ``n`` and ``bias``."""
        plan = checked_options(cls.name, options, ("path", "n", "bias"), required=("path",))
        return cls(read_pca_library(plan.pop("path")), **plan)

    @property
    def count(self) -> int:
        """Number of components used."""
        return self.library.scale.size if self.n is None else self.n

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``e1``, ``e2``, ...: standard normal coefficients."""
        share = self.library.variance_share
        return tuple(
            Parameter(f"e{k + 1}", 0.0, -20.0, 20.0, description=f"N(0, 1) a priori; {share[k]:.2%} of variance")
            for k in range(self.count)
        )

    def _relative(self, deviation: np.ndarray, energy: np.ndarray) -> np.ndarray:
        """Interpolate deviation / default area, zero outside the library."""
        library = self.library
        ratio = np.divide(deviation, library.area, out=np.zeros(deviation.shape), where=library.area > 0)
        inside = (energy >= library.energy_lo[0]) & (energy <= library.energy_hi[-1])
        return np.where(inside, np.interp(energy, library.energy, ratio), 0.0)

    def functions(self, energy: np.ndarray) -> np.ndarray:
        """Return f_k v_k / default, shape (k, n)."""
        library = self.library
        scaled = library.scale[: self.count, None] * library.vectors[: self.count]
        return np.stack([self._relative(row, energy) for row in scaled])

    def offset(self, energy: ArrayLike) -> np.ndarray:
        """Return 1 + offset / default, shape (n,)."""
        energy = np.asarray(energy, dtype=float)
        return 1.0 + (self._relative(self.library.offset, energy) if self.bias else np.zeros(energy.shape))

    @property
    def prior_covariance(self) -> np.ndarray:
        """The unit matrix: coefficients are independent N(0, 1)."""
        return np.eye(len(self.names))
