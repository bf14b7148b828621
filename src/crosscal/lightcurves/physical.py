"""Draws in physical units, and in the gauge of any reference telescope.

A gauge is the choice of the telescope whose flux scale is kept: phi = 1 and G = 0 for it. From the gauge of telescope
0 to that of r, with calibrated flux F = phi_c f - G_c (continuum) and phi_c f (lines):

    phi_c -> phi_c / phi_r,   G_c -> (G_c - G_r) / phi_r,   sigma -> sigma / phi_r,   q -> (q + G_r) / phi_r

(the sign of the last because q is the mean of F + G_0-gauge zero: F_r = (F + G_r) / phi_r). Systematic errors and
error scales are properties of the measured fluxes and do not change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.lightcurves.model import Model


@dataclass(frozen=True, eq=False)
class Factors:
    """Posterior draws in physical units, in the gauge of ``reference``.

    Attributes
    ----------
    codes, files : tuple of str
    reference : str
    kernel : array (n_draws, 1 + m, n_kernel)
        Kernel parameters; of a process the first two are ln sigma (flux unit / sqrt(time unit)) and ln tau (time
        unit), further ones are as the kernel defines them (a jitter is in flux units).
    scale, shift : array (n_draws, k)
        phi and G: calibrated flux = phi f - G (continuum), phi f (lines).
    mean : array (n_draws, 1 + m)
        Mean q of each calibrated light curve.
    syserr, errscale : array (n_draws, 1 + m, k, n_flags)
        eps in the unit of the measured fluxes; b.

    Examples
    --------
    >>> factors = result.factors  # doctest: +SKIP
    >>> factors.scale.mean(axis=0), factors.regauge("B")  # doctest: +SKIP
    """

    codes: tuple[str, ...]
    files: tuple[str, ...]
    reference: str
    kernel_names: tuple[str, ...]
    kernel: NDArray[np.float64]
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    mean: NDArray[np.float64]
    syserr: NDArray[np.float64]
    errscale: NDArray[np.float64]

    @classmethod
    def of(cls, model: Model, vectors: NDArray[np.float64], means: NDArray[np.float64]) -> Factors:
        """Convert draws of the normalised full vector."""
        lay, norm = model.layout, model.norm
        names = model.settings.process.names
        level = norm.factors[:, 0]  # C_0, L'_0, ...: the flux unit of each calibrated curve
        kernel = vectors[:, lay.kernel].copy()
        for k, name in enumerate(names):
            if name in ("log_sigma", "log_jitter"):
                kernel[:, :, k] += np.log(level)
        return cls(
            model.curves.codes,
            tuple(curve.name for curve in model.curves.files),
            model.curves.codes[0],
            names,
            kernel,
            np.exp(vectors[:, lay.scale]) * norm.scale_to_physical(),
            vectors[:, lay.shift] * norm.shift_to_physical,
            means * level,
            vectors[:, lay.syserr] * norm.factors[None, :, :, None],
            np.exp(vectors[:, lay.errscale]),
        )

    def regauge(self, code: str) -> Factors:
        """Return the draws with another telescope as the reference.

        Raises
        ------
        UnknownNameError
            If there is no such telescope.
        """
        if code not in self.codes:
            raise UnknownNameError("telescope", code, self.codes, where="regauge")
        r = self.codes.index(code)
        phi, G = self.scale[:, [r]], self.shift[:, [r]]
        kernel = self.kernel.copy()
        for k, name in enumerate(self.kernel_names):
            if name in ("log_sigma", "log_jitter"):
                kernel[:, :, k] -= np.log(phi)
        mean = self.mean / phi
        mean[:, 0] += (G / phi)[:, 0]
        return replace(
            self,
            reference=code,
            kernel=kernel,
            scale=self.scale / phi,
            shift=(self.shift - G) / phi,
            mean=mean,
        )

    @property
    def n_draws(self) -> int:
        """Number of draws."""
        return len(self.scale)

    def thin(self, n: int) -> Factors:
        """Return at most ``n`` evenly spaced draws."""
        if n < 1:
            raise InputError(f"{n} draws", where="thinning", expected="at least 1")
        if n >= self.n_draws:
            return self
        pick = np.linspace(0, self.n_draws - 1, n).round().astype(int)
        arrays = ("kernel", "scale", "shift", "mean", "syserr", "errscale")
        return replace(self, **{name: getattr(self, name)[pick] for name in arrays})
