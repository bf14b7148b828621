"""Calibration-uncertainty libraries: principal components of an effective area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from crosscal.core.errors import InputError
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import BasisModifier


@dataclass(frozen=True, eq=False)
class PcaLibrary:
    """Principal components of an effective area (EMETHOD = PCA1DADD).

    Parameters
    ----------
    energy_lo, energy_hi : array, shape (n_energy,), keV
    area : array, shape (n_energy,), cm2
        The default area, column SPECRESP.
    offset : array, shape (n_energy,), cm2
        Mean deviation from the default, column BIAS.
    scale : array, shape (k,)
        f_k, column EIGENVAL: the standard deviation along each component (its square is the eigenvalue).
    vectors : array, shape (k, n_energy), cm2
        v_k, column EIGENVEC.
    variance_share : array, shape (k,)
        Column FVARIANCE: the share of the total variance, f_k^2 over their sum. It does not enter the area.
    path : str
    """

    energy_lo: np.ndarray
    energy_hi: np.ndarray
    area: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    vectors: np.ndarray
    variance_share: np.ndarray
    path: str = ""

    @property
    def energy(self) -> np.ndarray:
        """Mid-points of the energy bins, keV."""
        return 0.5 * (self.energy_lo + self.energy_hi)

    def __repr__(self) -> str:
        return f"<PcaLibrary {self.path or 'in memory'}: {self.scale.size} components, {self.area.size} energies>"


@dataclass(frozen=True, eq=False)
class PCA(BasisModifier):
    """Principal components of a calibration library: area = default + offset + sum_k e_k f_k v_k(E), e_k ~ N(0, 1).

    As a factor on the area, phi = 1 + (offset + sum_k e_k f_k v_k) / default, interpolated in E; it is 1 outside
    the library's energies and where its default area is zero. On the library's own default area this is the
    formula exactly; another area of the same instrument is changed by the same fraction.

    Parameters
    ----------
    library : PcaLibrary
        From :func:`crosscal.xray.read_pca_library`.
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
    def example(cls) -> PCA:
        """Two components of a made-up area, for tests and documentation."""
        edges = np.linspace(0.3, 8.0, 78)
        x = np.log(0.5 * (edges[1:] + edges[:-1]))
        area = 400 * np.exp(-(x**2))
        vectors = np.stack([area * np.cos(x), area * np.sin(2 * x)])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        scale = np.array([80.0, 30.0])
        share = scale**2 / np.sum(scale**2)
        return cls(PcaLibrary(edges[:-1], edges[1:], area, np.zeros(77), scale, vectors, share))

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
