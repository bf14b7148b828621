"""Libraries of stellar templates as arrays: photometry of all members at once, interpolation between nodes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.core.threads import one_thread
from crosscal.core.units import floats
from crosscal.fluxcal.stars.extinction import redden
from crosscal.fluxcal.stars.mismatch import Mismatch
from crosscal.fluxcal.stars.photometry import Filter
from crosscal.fluxcal.types import MEDIA, as_floats

PARAMETERS = ("teff", "logg", "feh", "alpha")


@dataclass(frozen=True, eq=False)
class TemplateLibrary:
    """Model spectra of stars.

    Attributes
    ----------
    name : str
    wavelength : array (n_pix,), Angstrom, evenly spaced in ln lambda
    flux : array (n_t, n_pix), float32, proportional to erg/s/cm2/A; positive
    parameters : array (n_t, 3) or (n_t, 4)
        Teff [K], log g [cm/s2], [M/H], and [alpha/M] where the library has several values of it.
    label : tuple of str (n_t,)
    medium : "air" or "vacuum"
    fwhm : float or array (n_pix,)
        Resolution of the templates, Angstrom (0 = much finer than the instrument).
    mismatch : Mismatch, optional
        How real stars differ from the templates; by default bounds for a library that was not compared with stars.

    Examples
    --------
    >>> library = fluxcal.load_templates("demo")  # doctest: +SKIP
    >>> library.parameters, library.wavelength  # doctest: +SKIP
    """

    name: str
    wavelength: NDArray[np.float64]
    flux: NDArray[np.float32]
    parameters: NDArray[np.float64]
    label: tuple[str, ...]
    medium: str = "vacuum"
    fwhm: float | NDArray[np.float64] = 0.0
    mismatch: Mismatch | None = None

    def __post_init__(self) -> None:
        where = f"template library {self.name!r}"
        as_floats(self, where, wavelength="Angstrom", parameters="")
        object.__setattr__(self, "fwhm", floats(self.fwhm, "Angstrom", where=where)[()])
        if hasattr(self.flux, "to_value") or np.ma.isMA(self.flux):
            flux = getattr(self.flux, "value", self.flux)
            object.__setattr__(self, "flux", floats(flux, where=where).astype(np.float32))
        object.__setattr__(self, "flux", np.ascontiguousarray(self.flux, dtype=np.float32))
        n_t, n_pix = len(self.label), np.size(self.wavelength)
        if n_t == 0:
            raise InputError("no templates", where=where, expected="at least one")
        if np.shape(self.flux) != (n_t, n_pix) or np.shape(self.parameters) not in ((n_t, 3), (n_t, 4)):
            raise InputError(
                f"fluxes {np.shape(self.flux)}, parameters {np.shape(self.parameters)}",
                where=where,
                expected=f"({n_t}, {n_pix}) and ({n_t}, 3) or ({n_t}, 4)",
            )
        steps = np.diff(np.log(self.wavelength))
        if not np.allclose(steps, steps.mean(), rtol=1e-3) or steps.mean() <= 0:
            raise InputError(
                "wavelengths are not evenly spaced in ln lambda", where=where, expected="a logarithmic grid"
            )
        if self.medium not in MEDIA:
            raise InputError(f"wavelengths in {self.medium!r}", where=where, expected="'air' or 'vacuum'")
        if not np.all(np.isfinite(self.parameters)):
            raise InputError("a parameter is not finite", where=where, expected="numbers")
        low = float(np.min(self.flux))
        if not low > 0:
            raise InputError("a flux is not positive", where=where, expected="fluxes > 0")

    def __len__(self) -> int:
        return len(self.label)

    @property
    def step(self) -> float:
        """Spacing in ln lambda."""
        return float(np.log(self.wavelength[-1] / self.wavelength[0]) / (self.wavelength.size - 1))

    @cached_property
    def axes(self) -> tuple[NDArray[np.float64], ...]:
        """The distinct values of Teff, log g, [M/H] (and [alpha/M])."""
        return tuple(np.unique(np.round(column, 6)) for column in self.parameters.T)

    @cached_property
    def _nodes(self) -> NDArray[np.int64]:
        """Template number of each grid node, -1 where there is none."""
        nodes = np.full([len(axis) for axis in self.axes], -1)
        place = [np.searchsorted(a, np.round(c, 6)) for a, c in zip(self.axes, self.parameters.T, strict=True)]
        nodes[tuple(place)] = np.arange(len(self))
        if np.sum(nodes >= 0) < len(self):
            raise InputError(
                f"{len(self) - np.sum(nodes >= 0)} templates repeat the parameters of others",
                where=f"template library {self.name!r}",
                expected="one template for each Teff, log g and [M/H], or refine = false",
            )
        return nodes

    def corrected(self, mismatch: Mismatch) -> TemplateLibrary:
        """Return the library without its known mean differences from real stars."""
        factor = mismatch.factor(self.wavelength, self.parameters[:, 2])
        return replace(self, flux=(self.flux * factor).astype(np.float32), mismatch=mismatch)

    def take(self, index: ArrayLike) -> TemplateLibrary:
        """Return the library of some members."""
        chosen = np.asarray(index)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return replace(
            self,
            flux=self.flux[chosen],
            parameters=self.parameters[chosen],
            label=tuple(self.label[k] for k in chosen),
        )

    def box(self, **limits: tuple[float, float]) -> NDArray[np.bool_]:
        """Mask of templates inside closed limits of ``teff``, ``logg``, ``feh``."""
        inside = np.ones(len(self), dtype=bool)
        for name, (low, high) in limits.items():
            known = PARAMETERS[: self.parameters.shape[1]]
            if name not in known:
                raise InputError(f"no parameter {name!r}", where="template box", expected=", ".join(known))
            column = self.parameters[:, known.index(name)]
            inside &= (column >= low) & (column <= high)
        return inside

    def magnitudes(
        self, filters: Sequence[Filter], ebv: float = 0.0, law: str = "fitzpatrick99"
    ) -> NDArray[np.float64]:
        """AB magnitudes (n_t, n_b) of all templates behind dust of ``ebv``, up to one constant per template."""
        weights = np.stack([f.weights(self.wavelength) for f in filters], axis=1)
        if ebv:
            weights = weights * redden(self.wavelength, ebv, law)[:, None]
        used = np.flatnonzero(weights.any(axis=1))
        cut = slice(used[0], used[-1] + 1) if used.size else slice(0, 1)
        # Templates have a range of scales; single precision is enough for 1e-4 mag.
        mean = self.flux[:, cut] @ weights[cut].astype(np.float32) if len(filters) != 0 else np.empty((len(self), 0))
        with np.errstate(divide="ignore"):
            return -2.5 * np.log10(mean.astype(float))

    def coverage(self, filters: Sequence[Filter]) -> NDArray[np.float64]:
        """Fraction of each band that the templates cover, shape (n_b,)."""
        return np.array([f.coverage(self.wavelength[0], self.wavelength[-1]) for f in filters])

    def interpolation(self, points: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Multilinear weights (m, n_t) of the nodes around points (m, 3 or 4), and which points can be reached.

        A point outside the grid, or whose cell lacks a node that it needs, is not reached: never extrapolated.
        """
        p = np.atleast_2d(np.asarray(points, dtype=float))
        weights, reached = np.zeros((len(p), len(self))), np.ones(len(p), dtype=bool)
        left, share = [], []
        for axis, x in zip(self.axes, p.T, strict=True):
            reached &= (x >= axis[0] - 1e-9) & (x <= axis[-1] + 1e-9)
            if axis.size == 1:
                left.append(np.zeros(len(p), dtype=int))
                share.append(np.zeros(len(p)))
                continue
            k = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, axis.size - 2)
            left.append(k)
            share.append(np.clip((x - axis[k]) / (axis[k + 1] - axis[k]), 0, 1))
        rows = np.arange(len(p))
        for corner in np.ndindex((2,) * len(self.axes)):
            weight = np.ones(len(p))
            place = []
            for c, k, s, axis in zip(corner, left, share, self.axes, strict=True):
                weight = weight * (s if c else 1 - s)
                place.append(np.minimum(k + c, axis.size - 1))
            node = self._nodes[tuple(place)]
            needed = weight > 1e-12
            reached &= ~(needed & (node < 0))
            use = needed & (node >= 0)
            np.add.at(weights, (rows[use], node[use]), weight[use])
        return weights, reached

    @one_thread
    def refined(self, *, teff: float = 50.0, logg: float = 0.25, feh: float = 0.125) -> TemplateLibrary:
        """Fill the grid with multilinear interpolation in ln flux at steps of at most these sizes.

        [alpha/M] keeps its nodes. Only cells with all their nodes are filled; nodes are kept as they are.
        """
        fine = []
        for axis, step in zip(self.axes, (teff, logg, feh, np.inf), strict=False):
            pieces = [axis[:1]]
            for a, b in itertools.pairwise(axis):
                n = max(int(np.ceil((b - a) / step - 1e-9)), 1)
                pieces.append(a + (b - a) * np.arange(1, n + 1) / n)
            fine.append(np.concatenate(pieces))
        points = np.stack([g.ravel() for g in np.meshgrid(*fine, indexing="ij")], axis=1)
        weights, reached = self.interpolation(points)
        points, weights = points[reached], weights[reached].astype(np.float32)
        flux = np.exp(weights @ np.log(self.flux))
        label = tuple(f"t{t:.0f}g{g:.2f}m{m:+.2f}" + "".join(f"a{a:+.2f}" for a in rest) for t, g, m, *rest in points)
        return replace(self, flux=flux, parameters=points, label=label)
