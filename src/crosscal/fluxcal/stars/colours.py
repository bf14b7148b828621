"""Magnitudes of stars beside those of all templates behind dust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.fluxcal.options import Options
from crosscal.fluxcal.stars.photometry import Filter
from crosscal.fluxcal.stars.templates import TemplateLibrary
from crosscal.fluxcal.types import Catalogue, StarFit

#: E(B-V) at which synthetic magnitudes are computed; between them a parabola holds to 0.1 mmag.
NODES = (0.0, 0.25, 0.5)


@dataclass(frozen=True, eq=False)
class Photometry:
    """Of one star: indices of bands, catalogue magnitudes, errors, synthetic magnitudes (n_t, n_used)."""

    index: NDArray[np.int64]
    magnitude: NDArray[np.float64]
    error: NDArray[np.float64]
    synthetic: NDArray[np.float64]

    def offsets(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Mean (synthetic - catalogue) offset per template, residuals (n_t, n_used) about it, chi-square of colours."""
        weight = 1 / self.error**2
        delta = self.synthetic - self.magnitude
        mean = delta @ weight / weight.sum()
        residual = delta - mean[:, None]
        return mean, residual, (residual**2) @ weight

    def colours(self, nodes: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Chi-squares of colours (n_e, n_t) whose synthetic magnitudes are sums of those of nodes.

        With shares s_ek of sum 1, residuals are r_e = sum_k s_ek r_k and chi-squares sum_kl s_ek s_el r_k w r_l: a
        product of matrices for all e and templates, where :meth:`offsets` takes one e after another.

        Parameters
        ----------
        nodes : array (n_k, n_t, n_used), magnitudes
        shares : array (n_e, n_k)
        """
        weight = 1 / self.error**2
        delta = nodes - self.magnitude
        residual = delta - (delta @ weight / weight.sum())[..., None]
        weighted = residual * weight
        pairs = [(k, l) for k in range(len(nodes)) for l in range(k + 1)]
        products = np.stack([np.einsum("tb,tb->t", weighted[k], residual[l]) for k, l in pairs])
        twice = np.stack([shares[:, k] * shares[:, l] * (1 if k == l else 2) for k, l in pairs], axis=1)
        return np.asarray(twice @ products)


def star_photometry(
    star: StarFit, catalogue: Catalogue, filters: Sequence[Filter], library: TemplateLibrary, options: Options,
    ebv: float,
) -> Photometry:  # fmt: skip
    """The photometry of a star behind dust of ``ebv``."""
    magnitude, error = catalogue.magnitude[star.catalogue_row], catalogue.error[star.catalogue_row]
    used = np.flatnonzero(np.isfinite(magnitude) & (library.coverage(filters) >= options.coverage))
    chosen = tuple(filters[int(b)] for b in used)
    synthetic = reddened(library, chosen, np.array([ebv]), options.law)[0]
    total = np.hypot(error[used], options.mag_floor)
    return Photometry(used, magnitude[used], total, synthetic)


_MEMORY: dict[tuple[int, tuple[int, ...], str], tuple[object, NDArray[np.float64]]] = {}


def reddened(
    library: TemplateLibrary,
    filters: tuple[Filter, ...],
    ebv: NDArray[np.float64],
    law: str,
) -> NDArray[np.float64]:
    """Synthetic magnitudes (n_ebv, n_t, n_b) of templates behind dust, by the parabola through :data:`NODES`."""
    return np.asarray(np.tensordot(node_shares(ebv), at_nodes(library, filters, law), axes=1))


def at_nodes(library: TemplateLibrary, filters: tuple[Filter, ...], law: str) -> NDArray[np.float64]:
    """Synthetic magnitudes (n_nodes, n_t, n_b) at :data:`NODES`; remembered."""
    key = (id(library), tuple(id(f) for f in filters), law)
    if key not in _MEMORY:
        if len(_MEMORY) > 16:
            _MEMORY.clear()
        made = np.stack([library.magnitudes(filters, e, law) for e in NODES])
        # The library and filters are kept with the value, so that an id cannot be reused while it is remembered.
        _MEMORY[key] = ((library, filters), made)
    return _MEMORY[key][1]


def node_shares(ebv: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the magnitudes at each of :data:`NODES` count (n_ebv, n_nodes) at values of E(B-V): a parabola."""
    x = ebv / NODES[1]
    return np.stack([0.5 * (1 - x) * (2 - x), x * (2 - x), 0.5 * x * (x - 1)], axis=1)
