"""What a calibration-uncertainty library of Chandra's kind holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
