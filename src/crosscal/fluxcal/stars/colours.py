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
    members: NDArray[np.int64] | slice = slice(None),
) -> NDArray[np.float64]:
    """Synthetic magnitudes (n_ebv, n_t, n_b) of templates behind dust, by the parabola through :data:`NODES`."""
    key = (id(library), tuple(id(f) for f in filters), law)
    if key not in _MEMORY:
        if len(_MEMORY) > 16:
            _MEMORY.clear()
        made = np.stack([library.magnitudes(filters, e, law) for e in NODES])
        # The library and filters are kept with the value, so that an id cannot be reused while it is remembered.
        _MEMORY[key] = ((library, filters), made)
    x = ebv / NODES[1]
    shares = np.stack([0.5 * (1 - x) * (2 - x), x * (2 - x), 0.5 * x * (x - 1)], axis=1)
    return np.asarray(np.tensordot(shares, _MEMORY[key][1][:, members], axes=1))
