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
from scipy.sparse import csr_array

from crosscal.core.errors import InputError
from crosscal.xray.emission import elements
from crosscal.xray.emission.lines import ATOMIC_MASS_KEV, SMOOTH, SPEED_OF_LIGHT, Lines, add_lines, line_widths
from crosscal.xray.emission.rebin import integrate_linear, limited_slopes, limits_at, overlap_matrices

Array = NDArray[np.float64]

_CACHE_SIZE = 6
# Node spectra kept between calls: those of a few redshifts and velocities.
_NODES = 12


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

    def mixed(self, edges: Array, weights: Array, mix: Array, lines: Lines) -> Array:
        """Return ``sum_k mix[k] * spectra(...)[k]`` (n_w, n) from the nodes of which ``mix`` (n_T,) takes something.

        One spectrum at one redshift and velocity costs this way what one node costs in :meth:`spectra`.
        """
        edges, weights = np.asarray(edges, dtype=float), np.atleast_2d(np.asarray(weights, dtype=float))
        # At a node the cardinal functions of the others are zero but for rounding.
        mix = np.where(np.abs(mix) > 1e-14, mix, 0.0)
        used = np.flatnonzero(mix)
        if lines.kT is not None and used.size > 1:
            return self._with_lines(edges, weights, mix, lines, lines.kT)
        key = (edges.tobytes(), weights.tobytes(), lines.redshift, lines.velocity, lines.thermal, lines.smooth)
        out = np.zeros((weights.shape[0], edges.size - 1))
        for k in used:
            # Differences by the temperature ask for the same nodes at once.
            one, recent = (int(k), *key), self._kept.setdefault("nodes", OrderedDict())
            if one not in recent:
                alone = np.zeros(self.kT.size)
                alone[k] = 1.0
                recent[one] = self._with_lines(edges, weights, alone, lines, float(self.kT[k]))
                while len(recent) > _NODES:
                    recent.popitem(last=False)
            out += mix[k] * recent[one]
        return out

    def _with_lines(self, edges: Array, weights: Array, mix: Array, lines: Lines, kT: float) -> Array:
        """Return a mix of nodes (n_w, n) with lines of the widths of one temperature."""
        out = np.zeros((weights.shape[0], edges.size - 1))
        self._add_continuum(mix, weights, edges * (1.0 + lines.redshift), out)
        velocity, thermal = float(np.hypot(lines.velocity, self.velocity)), lines.thermal or self.thermal
        heat = kT / (elements.MASSES.min() * ATOMIC_MASS_KEV) if thermal else 0.0
        # The widest line that can reach the grid; sharp lines are cut at its ends as they are.
        reach = 7.0 * np.sqrt((velocity / SPEED_OF_LIGHT) ** 2 + heat)
        if lines.smooth:
            reach += 7.0 * SMOOTH * float(np.max(np.diff(edges)[[0, -1]] / edges[[0, -2]]))
        ends = (edges[0] * (1.0 - reach) * (1.0 + lines.redshift), edges[-1] * (1.0 + reach) * (1.0 + lines.redshift))
        energy, element, emissivity = self._mixed_lines(mix, *ends)
        shifted = energy / (1.0 + lines.redshift)
        sigma = line_widths(shifted, element, kT, velocity, thermal)
        if lines.smooth:
            bins = np.diff(edges)[np.clip(np.searchsorted(edges, shifted) - 1, 0, edges.size - 2)]
            sigma = np.maximum(0.0 if sigma is None else sigma, SMOOTH * bins)
        return out + add_lines(shifted, sigma, weights[:, element] * emissivity, edges)

    def line_bins(self, energy: Array) -> Array:
        """Relative width of the bins in which weak lines are summed at ``energy``; 0 where each has its own place."""
        return np.zeros(np.shape(energy))

    #: Broadening that the table has of itself.
    velocity: float = 0.0
    thermal: bool = False

    @abstractmethod
    def _add_continuum(self, mix: Array, weights: Array, rest: Array, out: Array) -> None:
        """Add everything but single lines, mixed from the nodes, in rest-frame bins to ``out`` (n_w, n)."""

    @abstractmethod
    def _mixed_lines(self, mix: Array, low: float, high: float) -> tuple[Array, NDArray[np.int64], Array]:
        """Return the lines between two rest-frame energies: energy in order, element, emissivity mixed from nodes."""

    @cached_property
    def _cache(self) -> OrderedDict:
        return OrderedDict()

    @cached_property
    def _kept(self) -> dict:
        return {}

    def __getstate__(self):
        # What is cached is cheap to make again and would travel with every task sent to a worker.
        return {k: v for k, v in self.__dict__.items() if k not in ("_cache", "_kept")}

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

    def _add_continuum(self, mix, weights, rest, out):
        from crosscal.xray.emission.broadening import add_continuum  # numba loads only where it is needed

        for k in np.flatnonzero(mix):
            add_continuum(*self._summed(int(k), weights), rest, float(mix[k]), out)

    def _summed(self, k: int, weights: Array) -> tuple[Array, Array]:
        """Return all continua of node k as one piecewise-linear function for each row of weights."""
        key = (k, weights.tobytes())
        if key not in self._kept:
            used = np.any(weights != 0, axis=0)
            parts = [c for c in self.nodes[k].continua if used[c[0]]]
            knots = np.unique(np.concatenate([energy for _, energy, _ in parts]))
            total = np.zeros((weights.shape[0], knots.size, 2))
            for element, energy, density in parts:
                total += weights[:, element, None, None] * limits_at(knots, energy, density)
            # Left and right limits differ at steps only.
            both = np.any(total[..., 0] != total[..., 1], axis=0)
            keep = np.stack([both, np.ones_like(both)], axis=1).ravel()
            self._kept[key] = (
                np.repeat(knots, 2)[keep],
                np.ascontiguousarray(total.reshape(weights.shape[0], -1)[:, keep]),
            )
        return self._kept[key]

    def _mixed_lines(self, mix, low, high):
        used = np.flatnonzero(mix)
        if used.size == 1:
            node = self.nodes[used[0]]
            inside = slice(*np.searchsorted(node.line_energy, [low, high]))
            return node.line_energy[inside], node.line_element[inside], mix[used[0]] * node.line_emissivity[inside]
        energy, element, emissivity = self._all_lines
        inside = slice(*np.searchsorted(energy, [low, high]))
        return energy[inside], element[inside], emissivity[inside] @ mix

    @cached_property
    def _all_lines(self) -> tuple[Array, NDArray[np.int64], csr_array]:
        """Energy and element of the lines of all nodes, each once, and their emissivity (n_line, n_T)."""
        sizes = [node.line_energy.size for node in self.nodes]
        pairs = np.zeros(sum(sizes), dtype=[("energy", float), ("element", np.int64)])
        pairs["energy"] = np.concatenate([node.line_energy for node in self.nodes])
        pairs["element"] = np.concatenate([node.line_element for node in self.nodes])
        lines, member = np.unique(pairs, return_inverse=True)
        emissivity = np.concatenate([node.line_emissivity for node in self.nodes])
        node = np.repeat(np.arange(len(sizes)), sizes)
        matrix = csr_array((emissivity, (member.ravel(), node)), shape=(lines.size, len(sizes)))
        return np.ascontiguousarray(lines["energy"]), np.ascontiguousarray(lines["element"]), matrix


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

    def line_bins(self, energy: Array) -> Array:
        k = np.clip(np.searchsorted(self.edges, energy) - 1, 0, self.edges.size - 2)
        return np.diff(self.edges)[k] / self.edges[k]

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

    def _add_continuum(self, mix, weights, rest, out):
        from crosscal.xray.emission.broadening import add_continuum  # numba loads only where it is needed

        groups = self.group_weights(weights)
        content = groups @ np.tensordot(mix, self.content, axes=1)
        slopes = groups @ np.tensordot(mix, self._slopes, axes=1)
        width = np.diff(self.edges)
        density = np.stack([(content - slopes) / width, (content + slopes) / width], axis=-1)
        knots = np.repeat(self.edges, 2)[1:-1]
        add_continuum(knots, np.ascontiguousarray(density.reshape(len(groups), -1)), rest, 1.0, out)

    def _mixed_lines(self, mix, low, high):
        inside = slice(*np.searchsorted(self.line_energy, [low, high]))
        return self.line_energy[inside], self.line_element[inside], mix @ self.line_emissivity[:, inside]
