"""Emission lines: their widths, and sums of them in bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.xray.emission import elements

Array = NDArray[np.float64]

SPEED_OF_LIGHT = 299792.458  # km/s
ATOMIC_MASS_KEV = 931494.10242  # CODATA 2018
# Least width (sigma) of a line in bins of energy, where spectra shall be smooth in the redshift.
SMOOTH = 0.6


@dataclass(frozen=True)
class Lines:
    """Where lines stand and how wide they are.

    Parameters
    ----------
    redshift : float
    velocity : float
        Gaussian sigma of turbulent broadening, km/s.
    thermal : bool
        Broaden by the thermal motion of each element.
    smooth : bool
        No line is narrower than 0.6 (sigma) of its bin of energy: a spectrum then changes smoothly with the redshift,
        to 1e-3 of a line's peak.
    kT : float, keV, optional
        Temperature of the thermal motion of all lines; by default that of each node, as XSPEC takes it.
    """

    redshift: float = 0.0
    velocity: float = 0.0
    thermal: bool = False
    smooth: bool = False
    kT: float | None = None


def line_widths(energy: Array, element: NDArray[np.int64], kT: float, velocity: float, thermal: bool) -> Array | None:
    """Return the Gaussian sigma of each line in keV, or None if lines stay sharp.

    ``sigma^2 = E^2 [(v / c)^2 + kT / (m c^2)]``, the second term with ``thermal`` only.
    """
    if not (velocity > 0 or thermal):
        return None
    squared = np.full(energy.shape, (velocity / SPEED_OF_LIGHT) ** 2)
    if thermal:
        squared += kT / (elements.MASSES[element] * ATOMIC_MASS_KEV)
    return energy * np.sqrt(squared)


def add_lines(energy: Array, sigma: Array | None, strength: Array, edges: Array) -> Array:
    """Sum lines, sharp or Gaussian, into bins; ``strength`` has shape (n_w, n_lines), the result (n_w, n)."""
    if sigma is not None:
        from crosscal.xray.emission.broadening import spread_lines  # numba loads only where it is needed

        return spread_lines(energy, sigma, np.ascontiguousarray(strength), edges)
    n = edges.size - 1
    bounds = np.searchsorted(energy, edges)  # line energies are sorted: edges[i] <= E < edges[i+1]
    index = np.repeat(np.arange(n), np.diff(bounds))
    inside = slice(bounds[0], bounds[-1])
    return np.stack([np.bincount(index, weights=row[inside], minlength=n) for row in strength])
