"""The likelihood of scale, shift, error model and variability, and its gradient, in O(N).

For each file y_j = phi_c f'_j - G_c (no G in lines) is a Gaussian process with mean q and covariance
C = S + diag(phi_c^2 (b^2 e'_j^2 + eps^2)). With design columns H (ones for q, an indicator for each marginalised
G_c) and Gram matrices a = y'C^-1 y, B = H'C^-1 y, F = H'C^-1 H,

    ln L = -1/2 (a - B'F^-1 B) - 1/2 ln|C| - 1/2 ln|F| + sum_c n_c ln phi_c,

the flat prior of q being improper and without 2 pi, so that values compare with PyCALI's. Each marginalised shift
adds 1/2 ln 2 pi - ln(width of its prior); its posterior is Gaussian and is cut at the prior limits afterwards. A source
described by its running mean has another likelihood, and no shift is integrated out: see `running_mean`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.lightcurves.file_model import FileLikelihood, FileModel
from crosscal.lightcurves.kernels.base import Kernel, Variability
from crosscal.lightcurves.layout import Layout, make_layout
from crosscal.lightcurves.normalise import Normalisation
from crosscal.lightcurves.running_mean import RunningMeanFile
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.types import LightCurve, LightCurves

_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Linear:
    """Gaussian posterior of the mean q and the marginalised shifts of one file, at given other parameters.

    Attributes
    ----------
    mean : array (1 + n_shifts,)
        q first, then the shifts in the order of ``FileModel.shift_codes``.
    covariance : array (1 + n_shifts, 1 + n_shifts)
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def _file(curve: LightCurve, factors: NDArray, kernel: Variability, *rest: Any) -> FileLikelihood:
    if isinstance(kernel, Kernel):
        return FileModel(curve, factors, kernel, *rest)
    return RunningMeanFile(curve, factors, kernel, *rest)


class Model:
    """Likelihood of all files over the full parameter vector of a `Layout`.

    Parameters
    ----------
    curves : LightCurves
    settings : Settings
    normalisation : Normalisation, optional
        By default what ``settings.normalisation`` asks for.
    marginal : sequence of int, optional
        Codes whose shift is integrated out; all free ones by default, none with an empty sequence.

    Raises
    ------
    InputError
        If a shift to integrate out is held, or a choice of the settings is still "auto".

    Examples
    --------
    >>> model = lightcurves.Model(curves, lightcurves.Settings(kernel="drw"))  # doctest: +SKIP
    >>> model.log_likelihood(x)  # doctest: +SKIP
    """

    def __init__(
        self,
        curves: LightCurves,
        settings: Settings | None = None,
        *,
        normalisation: Normalisation | None = None,
        marginal: NDArray[np.int64] | None = None,
    ) -> None:
        self.curves, self.settings = curves, settings or Settings()
        if self.settings.automatic:
            raise InputError(
                'a choice is "auto"', where="model", expected="settings that are chosen: see intercalibrate"
            )
        self.norm = normalisation or Normalisation.of(curves, self.settings.normalisation)
        self.layout: Layout = make_layout(curves, self.settings, self.norm)
        kernel, none = self.settings.process, np.zeros(0, dtype=np.int64)
        # Only a Gaussian process says something of a shift whatever the data: a flat prior without limits needs that.
        default = self.layout.free_shifts if isinstance(kernel, Kernel) else none
        chosen = default if marginal is None else np.asarray(marginal, dtype=np.int64)
        if not set(chosen.tolist()) <= set(self.layout.free_shifts.tolist()):
            raise InputError("a shift to marginalise is held", where="model", expected="codes with a free shift")
        self.marginal = chosen
        #: Places of the elements that a sampler varies.
        self.sampled = np.flatnonzero(
            self.layout.free & ~np.isin(np.arange(self.layout.size), self.layout.shift[chosen])
        )
        self.files = [
            _file(curve, self.norm.factors[i], kernel, chosen if i == 0 else none, curves.n_flags, i == 0)
            for i, curve in enumerate(curves.files)
        ]
        width = self.layout.high[self.layout.shift[chosen]] - self.layout.low[self.layout.shift[chosen]]
        self._constant = float(np.sum(0.5 * _LOG_2PI - np.log(width)))

    def copy(self) -> Model:
        """Return the same model with work arrays of its own."""
        return Model(self.curves, self.settings, normalisation=self.norm, marginal=self.marginal)

    def full(self, sampled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Insert sampled elements (..., n_sampled) into the full vector (..., n); marginalised shifts are zero."""
        values = np.asarray(sampled, dtype=float)
        x = np.broadcast_to(self.layout.fixed, (*values.shape[:-1], self.layout.size)).copy()
        x[..., self.sampled] = values
        return x

    def parts(self, x: NDArray[np.float64], i: int) -> tuple[NDArray[np.float64], ...]:
        """Return (theta, phi, G, eps, b) of file ``i``; marginalised shifts are zero."""
        lay = self.layout
        G = x[lay.shift].copy()
        G[self.marginal] = 0.0
        eps, log_b = x[lay.syserr[i]].ravel(), x[lay.errscale[i]].ravel()
        return x[lay.kernel[i]], np.exp(x[lay.scale]), G, eps, np.exp(log_b)

    def log_likelihood(self, x: NDArray[np.float64]) -> float:
        """Log likelihood at a full vector; the shifts in ``marginal`` are integrated over, whatever x says of them."""
        total = self._constant
        for i, one in enumerate(self.files):
            total += one.evaluate(*self.parts(x, i))[0]
        return total

    def many(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[tuple[NDArray, NDArray]]]:
        """Log likelihoods (S,) at full vectors (S, n), and mean and covariance of each file's `linear` parameters.

        The means are (S, m) and the covariances (S, m, m), NaN where the likelihood is not defined.
        """
        lay = self.layout
        total, linear = np.full(len(x), self._constant), []
        G = x[:, lay.shift].copy()
        G[:, self.marginal] = 0.0
        phi = np.exp(x[:, lay.scale])
        for i, one in enumerate(self.files):
            eps = x[:, lay.syserr[i].ravel()]
            b = np.exp(x[:, lay.errscale[i].ravel()])
            value, beta, inverse = one.evaluate_many(x[:, lay.kernel[i]], phi, G, eps, b)
            total = total + value
            linear.append((beta, inverse))
        return total, linear

    def value_and_gradient(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Log likelihood and its gradient (n,) by the full vector."""
        total, gradient = self._constant, np.zeros(self.layout.size)
        lay = self.layout
        for i, one in enumerate(self.files):
            theta, phi, G, eps, b = self.parts(x, i)
            value, beta, F_inverse = one.evaluate(theta, phi, G, eps, b, keep=True)
            if beta is None or F_inverse is None:
                return -np.inf, np.zeros(lay.size)
            total += value
            one.reverse(beta, F_inverse)
            kernel, scale, shift, syserr, errscale = one.gradient(theta, phi, eps, b)
            gradient[lay.kernel[i]] += kernel
            gradient[lay.scale] += scale
            gradient[lay.shift] += shift
            gradient[lay.syserr[i].ravel()] += syserr
            gradient[lay.errscale[i].ravel()] += errscale
        gradient[lay.shift[self.marginal]] = 0.0
        return total, gradient

    def linear(self, x: NDArray[np.float64]) -> list[Linear]:
        """Gaussian posterior of the mean and the marginalised shifts of each file, given the other parameters.

        Raises
        ------
        InputError
            Where the likelihood is not defined.
        """
        found = []
        for i, one in enumerate(self.files):
            _, beta, F_inverse = one.evaluate(*self.parts(x, i))
            if beta is None or F_inverse is None:
                raise InputError("the likelihood is not defined", where="parameters", expected="finite parameters")
            found.append(Linear(beta, F_inverse))
        return found

    def from_pycali(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn rows of a PyCALI posterior sample (phi and b not in logarithm) into full vectors."""
        x = np.array(row, dtype=float)
        for places in (self.layout.scale, self.layout.errscale):
            x[..., places] = np.log(x[..., places])
        return x

    def to_pycali(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `from_pycali`."""
        row = np.array(x, dtype=float)
        for places in (self.layout.scale, self.layout.errscale):
            row[..., places] = np.exp(row[..., places])
        return row
