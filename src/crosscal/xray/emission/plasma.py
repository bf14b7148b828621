"""Tables of the emission of hot plasma in collisional ionisation equilibrium.

A table holds, at temperature nodes, what each element emits: ``DetailedPlasma`` every line and continuum of an
AtomDB release, ``CompactPlasma`` a binned part and the strongest lines at their exact energies. Both give the
spectrum of each node on any energy grid; a spectral model interpolates between nodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.xray.emission import elements
from crosscal.xray.emission.rebin import integrate_linear, limited_slopes, overlap_matrices

Array = NDArray[np.float64]

SPEED_OF_LIGHT = 299792.458  # km/s
ATOMIC_MASS_KEV = 931494.10242  # CODATA 2018
_CACHE_SIZE = 6


class PlasmaTable(ABC):
    """Emissivity of a plasma at temperature nodes.

    Attributes
    ----------
    kT : array, shape (n_T,)
        Nodes in keV, increasing.
    version, citation : str
        The atomic database and the papers to cite.
    """

    kT: Array
    version: str
    citation: str

    @property
    @abstractmethod
    def energy_range(self) -> tuple[float, float]:
        """Rest-frame photon energies covered, keV; emission outside is zero."""

    @abstractmethod
    def _node(self, k: int, grid: _ObservedGrid, weights: Array, velocity: float, thermal: bool) -> Array:
        """Spectrum of node k for each row of element weights, shape (n_w, n)."""

    def spectra(
        self,
        edges: Array,
        weights: Array,
        *,
        redshift: float = 0.0,
        velocity: float = 0.0,
        thermal: bool = False,
    ) -> Array:
        """Return what a plasma of unit emission measure emits into bins, at every node.

        ``out[k, w, i] = sum_Z weights[w, Z] * integral of eps_Z(E, kT_k) dE over rest-frame energies
        edges[i] (1 + z) to edges[i+1] (1 + z)``. Time dilation and the norm's 1e14 are left to the model.

        Parameters
        ----------
        edges : array, shape (n + 1,), keV
            Observed bin edges, increasing.
        weights : array, shape (n_w, 30)
            Abundances relative to Anders & Grevesse (1989) of the elements from H to Zn.
        redshift : float
        velocity : float
            Gaussian sigma of turbulent broadening, km/s.
        thermal : bool
            Broaden each line by the thermal motion of its element, sigma = E sqrt(kT / (m c^2)).

        Returns
        -------
        array, shape (n_T, n_w, n), photon cm3 / s
        """
        edges = np.asarray(edges, dtype=float)
        weights = np.atleast_2d(np.asarray(weights, dtype=float))
        key = (edges.tobytes(), weights.tobytes(), float(redshift), float(velocity), bool(thermal))
        cache = self._cache
        if key in cache:
            cache.move_to_end(key)
            return cache[key]
        grid = _ObservedGrid(edges, float(redshift))
        out = np.stack([self._node(k, grid, weights, velocity, thermal) for k in range(self.kT.size)])
        out.setflags(write=False)
        cache[key] = out
        while len(cache) > _CACHE_SIZE:
            cache.popitem(last=False)
        return out

    @cached_property
    def _cache(self) -> OrderedDict:
        return OrderedDict()

    def __getstate__(self):
        # Cached spectra are cheap to make again and would travel with every task sent to a worker.
        return {k: v for k, v in self.__dict__.items() if k != "_cache"}

    def check_temperature(self, kT: Array, *, where: str | None = None) -> None:
        """Check that every temperature lies inside the nodes.

        Raises
        ------
        InputError
            Naming the first temperature outside and the table's range.
        """
        kT = np.asarray(kT, dtype=float)
        outside = ~((kT >= self.kT[0]) & (kT <= self.kT[-1]))
        if np.any(outside):
            raise InputError(
                f"kT = {kT[outside].flat[0]:g} keV is outside the plasma table",
                where=where,
                expected=f"{self.kT[0]:.4g} to {self.kT[-1]:.4g} keV",
            )


@dataclass(frozen=True)
class _ObservedGrid:
    """An observed energy grid and its redshift, with what is the same for every node."""

    edges: Array
    redshift: float
    shared: dict = field(default_factory=dict)

    @property
    def rest(self) -> Array:
        return self.edges * (1.0 + self.redshift)

    @property
    def size(self) -> int:
        return self.edges.size - 1


@dataclass(frozen=True)
class NodeEmission:
    """Everything that AtomDB lists at one temperature.

    Lines are sorted by energy: ``line_energy`` keV, ``line_emissivity`` photon cm3/s, ``line_element`` (atomic
    number minus one), ``line_id`` (element, ion, upper and lower level, for matching between temperatures).
    ``continua`` holds (element, energy, density) of each continuum and pseudo-continuum.
    """

    line_energy: Array
    line_emissivity: Array
    line_element: NDArray[np.int64]
    line_id: NDArray[np.int64]
    continua: tuple[tuple[int, Array, Array], ...]


@dataclass(frozen=True, eq=False)
class DetailedPlasma(PlasmaTable):
    """A whole AtomDB release in memory; see ``read_atomdb``."""

    kT: Array
    nodes: tuple[NodeEmission, ...]
    version: str
    citation: str

    @property
    def energy_range(self) -> tuple[float, float]:
        return 0.01, 100.0  # the grid on which AtomDB computes continua (DE_START, DE_END)

    def _node(self, k, grid, weights, velocity, thermal):
        node = self.nodes[k]
        used = np.any(weights != 0, axis=0)
        rest = grid.rest
        out = np.zeros((weights.shape[0], grid.size))
        for element, energy, density in node.continua:
            if used[element]:
                out += np.outer(weights[:, element], integrate_linear(energy, density, rest))
        # Energies are shifted, not edges: XSPEC does so, and a line on an edge falls into the same bin.
        energy = node.line_energy / (1.0 + grid.redshift)
        first, last = np.searchsorted(energy, grid.edges[[0, -1]])
        if velocity > 0 or thermal:
            first, last = 0, energy.size
        part = slice(first, last)
        element = node.line_element[part]
        sigma = line_widths(energy[part], element, self.kT[k], velocity, thermal)
        return out + add_lines(energy[part], sigma, weights[:, element] * node.line_emissivity[part], grid.edges)


@dataclass(frozen=True, eq=False)
class CompactPlasma(PlasmaTable):
    """A binned table with the strongest lines kept apart; made by ``build_plasma``.

    Parameters
    ----------
    kT : array, shape (n_T,)
    edges : array, shape (m + 1,), keV
        Rest-frame bins of continuum and weak lines.
    content : array, shape (n_T, n_groups, m), photon cm3/s
    line_energy : array, shape (n_lines,), keV, increasing
    line_element : int array, shape (n_lines,)
        Atomic number minus one.
    line_emissivity : array, shape (n_T, n_lines), photon cm3/s
    trace_share : array, shape (16,)
        Share of each element in the emission of the last group, the trace elements.
    velocity, thermal : float, bool
        Broadening that the binned part already has, and that is given to the strong lines.
    """

    kT: Array
    edges: Array
    content: Array
    line_energy: Array
    line_element: NDArray[np.int64]
    line_emissivity: Array
    trace_share: Array
    version: str
    citation: str
    velocity: float = 0.0
    thermal: bool = False

    @property
    def energy_range(self) -> tuple[float, float]:
        return float(self.edges[0]), float(self.edges[-1])

    @cached_property
    def _slopes(self) -> Array:
        return limited_slopes(self.content, self.edges)

    def group_weights(self, weights: Array) -> Array:
        """Turn weights of 30 elements into weights of the groups, shape (n_w, n_groups)."""
        columns = [weights[:, elements.Z[group[0]] - 1] for group in elements.GROUPS[:-1]]
        trace = [elements.Z[symbol] - 1 for symbol in elements.TRACE]
        columns.append(weights[:, trace] @ self.trace_share)
        return np.stack(columns, axis=1)

    def _node(self, k, grid, weights, velocity, thermal):
        if "overlap" not in grid.shared:
            grid.shared["overlap"] = overlap_matrices(self.edges, grid.rest)
            grid.shared["groups"] = self.group_weights(weights)
        mean, tilt = grid.shared["overlap"]
        groups = grid.shared["groups"]
        out = (mean @ (groups @ self.content[k]).T + tilt @ (groups @ self._slopes[k]).T).T
        energy = self.line_energy / (1.0 + grid.redshift)
        velocity = float(np.hypot(velocity, self.velocity))
        sigma = line_widths(energy, self.line_element, self.kT[k], velocity, thermal or self.thermal)
        strength = weights[:, self.line_element] * self.line_emissivity[k]
        return out + add_lines(energy, sigma, strength, grid.edges)


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
