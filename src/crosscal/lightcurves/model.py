"""The likelihood of scale, shift, error model and variability, and its gradient, in O(N).

For each file y_j = phi_c f'_j - G_c (no G in lines) is a Gaussian process with mean q and covariance
C = S + diag(phi_c^2 (b^2 e'_j^2 + eps^2)). With design columns H (ones for q, an indicator for each marginalised
G_c) and Gram matrices a = y'C^-1 y, B = H'C^-1 y, F = H'C^-1 H,

    ln L = -1/2 (a - B'F^-1 B) - 1/2 ln|C| - 1/2 ln|F| + sum_c n_c ln phi_c,

the flat prior of q being improper and without 2 pi, so that values compare with PyCALI's. Each marginalised shift
adds 1/2 ln 2 pi - ln(width of its prior); its posterior is Gaussian and is cut at the prior limits afterwards.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.lightcurves.integrate import integrate_linear, integrate_many
from crosscal.lightcurves.kalman import _OPTIONS, _SCALAR, Workspace
from crosscal.lightcurves.kalman_batch import LANES, grams, grams_of_states
from crosscal.lightcurves.kernels.base import Kernel
from crosscal.lightcurves.layout import Layout, make_layout
from crosscal.lightcurves.normalise import Normalisation
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.types import LightCurve, LightCurves

_LOG_2PI = float(np.log(2 * np.pi))
#: Points of a light curve whose transitions are held at once, where a state has several elements.
PIECE = 2048


@njit(**_OPTIONS)
def _observe(f, e2, code, group, phi, G, eps, b, white, inflation, W, R):
    """Fill the flux column of W and the variances R."""
    for j in range(len(f)):
        c, g = code[j], group[j]
        W[j, 0] = phi[c] * f[j] - G[c]
        R[j] = phi[c] * phi[c] * (b[g] * b[g] * e2[j] + eps[g] * eps[g]) * inflation[j] + white


@njit(**_OPTIONS)
def _collect(f, e2, code, group, phi, eps, b2, inflation, y_bar, R_bar, scale, shift, syserr, errscale):
    """Add the derivatives by ln phi, G, eps, ln b; return the derivative by the white variance."""
    total = 0.0
    for j in range(len(f)):
        c, g = code[j], group[j]
        p2 = phi[c] * phi[c] * inflation[j]
        r = R_bar[j]
        from_errors = p2 * b2[g] * e2[j]
        scale[c] += y_bar[j] * phi[c] * f[j] + 2.0 * r * (from_errors + p2 * eps[g] * eps[g])
        shift[c] -= y_bar[j]
        syserr[g] += 2.0 * r * p2 * eps[g]
        errscale[g] += 2.0 * r * from_errors
        total += r
    return total


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


class FileModel:
    """Likelihood of one file; data are prepared once, evaluations reuse one workspace."""

    def __init__(
        self,
        curve: LightCurve,
        factors: NDArray[np.float64],
        kernel: Kernel,
        shift_codes: NDArray[np.int64],
        n_flags: int,
        with_shift: bool,
    ) -> None:
        self.curve, self.kernel, self.shift_codes, self.with_shift = curve, kernel, shift_codes, with_shift
        self.flux = curve.flux / factors[curve.code]
        self.error2 = (curve.error / factors[curve.code]) ** 2
        self.code = np.ascontiguousarray(curve.code)
        self.group = curve.code * n_flags + curve.flag
        self.dt = np.diff(curve.time, prepend=curve.time[0])
        self.counts = curve.counts.astype(float)
        self.inflation = np.ones(len(curve))
        n, r = len(curve), 2 + len(shift_codes)
        self.W = np.zeros((n, r))
        self.W[:, 1] = 1.0
        for column, code in enumerate(shift_codes):
            self.W[:, 2 + column] = curve.code == code
        self.R = np.empty(n)
        self.work = Workspace(n, kernel.dimension, r)

    def only(self, keep: NDArray[np.bool_]) -> FileModel:
        """Return the model of some points alone, without shifts."""
        part = copy(self)
        for name in ("flux", "error2", "code", "group", "inflation"):
            setattr(part, name, np.ascontiguousarray(getattr(self, name)[keep]))
        time = self.curve.time[keep]
        part.dt = np.diff(time, prepend=time[0])
        part.counts = np.bincount(part.code, minlength=len(self.counts)).astype(float)
        part.shift_codes = self.shift_codes[:0]
        part.W, part.R = np.ones((len(time), 2)), np.empty(len(time))
        part.work = Workspace(len(time), self.kernel.dimension, 2)
        return part

    def with_inflation(self, inflation: NDArray[np.float64]) -> None:
        """Multiply the measurement variances point by point (latent scales of Student-t errors)."""
        self.inflation = np.ascontiguousarray(inflation, dtype=float)

    def set_up(
        self, theta: NDArray, phi: NDArray, G: NDArray, eps: NDArray, b: NDArray
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fill W and R for the parameters; return the kernel's (A, P0)."""
        white = float(np.real(self.kernel.white(theta)))
        shift = G if self.with_shift else np.zeros_like(G)
        _observe(
            self.flux, self.error2, self.code, self.group, phi, shift, eps, b, white, self.inflation, self.W, self.R,
        )  # fmt: skip
        return self.kernel.transition(theta, self.dt), self.kernel.stationary(theta)

    def evaluate(
        self, theta: NDArray, phi: NDArray, G: NDArray, eps: NDArray, b: NDArray, *, keep: bool = False
    ) -> tuple[float, NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """Return (ln L, coefficients beta = F^-1 B, F^-1), or (-inf, None, None) where it is not defined."""
        A, P0 = self.set_up(theta, phi, G, eps, b)
        logdet = self.work.forward(self.kernel.observation, A, P0, self.R, self.W, keep)
        m = self.W.shape[1] - 1
        beta, F_inverse = np.empty(m), np.empty((m, m))
        value = integrate_linear(self.work.gram, beta, F_inverse) - 0.5 * logdet + self.counts @ np.log(phi)
        if not np.isfinite(value):
            return -np.inf, None, None
        self._transition = A, P0
        return float(value), beta, F_inverse

    def evaluate_many(
        self, theta: NDArray, phi: NDArray, G: NDArray, eps: NDArray, b: NDArray
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return (ln L, beta, F^-1) of S parameter sets, (S,), (S, m) and (S, m, m); -inf and NaN where not defined.

        The parameters are those of `evaluate` with a leading axis.
        """
        n, m = len(theta), self.W.shape[1] - 1
        value, beta, inverse = np.full(n, -np.inf), np.full((n, m), np.nan), np.full((n, m, m), np.nan)
        shift = G if self.with_shift else np.zeros_like(G)
        column = np.zeros(phi.shape[1], dtype=np.int64)
        column[self.shift_codes] = 2 + np.arange(len(self.shift_codes))
        gram, logdet = np.empty((m + 1, m + 1, LANES)), np.empty(LANES)
        rest = self.counts @ np.log(phi).T
        one_element = self.kernel.observation == _SCALAR
        decay = np.empty((len(self.dt) if one_element else 0, LANES))
        for first in range(0, n, LANES):
            rows = np.minimum(np.arange(first, first + LANES), n - 1)
            sets = [np.ascontiguousarray(a[rows].T) for a in (phi, shift, eps**2, b**2)]
            white = np.array([float(np.real(self.kernel.white(t))) for t in theta[rows]])
            P0 = np.stack([self.kernel.stationary(t) for t in theta[rows]], axis=-1)
            if one_element:
                self.kernel.decays(theta[rows], self.dt, decay)
                data = self.flux, self.error2, self.code, self.group, self.inflation
                grams(*data, decay, column, np.ascontiguousarray(P0[0, 0]), white, *sets, gram, logdet)
            else:
                self._grams_of_states(theta[rows], column, P0, white, sets, gram, logdet)
            integrate_many(gram, logdet, rest, first, value, beta, inverse)
        return value, beta, inverse

    def _grams_of_states(
        self, thetas: NDArray, column: NDArray, P0: NDArray, white: NDArray, sets: list[NDArray], gram: NDArray,
        logdet: NDArray,
    ) -> None:  # fmt: skip
        """Filter states of several elements, a piece of the light curve at a time: transitions are large."""
        h, d, r = np.array(self.kernel.observation), self.kernel.dimension, len(gram)
        P, M = P0.copy(), np.zeros((d, r, LANES))
        gram[:], logdet[:] = 0.0, 0.0
        A = np.empty((min(PIECE, len(self.dt)), d, d, LANES))
        for start in range(0, len(self.dt), PIECE):
            at = slice(start, start + PIECE)
            dt = self.dt[at]
            self.kernel.transitions(thetas, dt, A[: len(dt)])
            data = (a[at] for a in (self.flux, self.error2, self.code, self.group, self.inflation))
            grams_of_states(h, *data, A[: len(dt)], column, P0, white, *sets, P, M, gram, logdet)

    def reverse(self, beta: NDArray, F_inverse: NDArray) -> None:
        """Run the adjoint after ``evaluate(..., keep=True)``; derivatives are left in the workspace."""
        direction = np.concatenate([[1.0], -beta])
        weights = -0.5 * np.outer(direction, direction)
        weights[1:, 1:] -= 0.5 * F_inverse
        A, P0 = self._transition
        self.work.backward(self.kernel.observation, A, P0, weights)

    def gradient(self, theta: NDArray, phi: NDArray, eps: NDArray, b: NDArray) -> tuple[NDArray, ...]:
        """Return derivatives by (theta, ln phi, G, eps, ln b) after `reverse`."""
        scale, shift = self.counts.copy(), np.zeros_like(phi)
        syserr, errscale = np.zeros_like(eps), np.zeros_like(b)
        work = self.work
        white = _collect(
            self.flux, self.error2, self.code, self.group, phi, eps, b**2, self.inflation, work.y_bar, work.R_bar,
            scale, shift, syserr, errscale,
        )  # fmt: skip
        kernel = self.kernel.transition_adjoint(theta, self.dt, self._transition[0], work.A_bar)
        kernel += np.tensordot(self.kernel.stationary_gradient(theta), work.P0_bar, axes=2)
        kernel += white * self.kernel.white_gradient(theta)
        return kernel, scale, shift if self.with_shift else np.zeros_like(shift), syserr, errscale


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
        chosen = self.layout.free_shifts if marginal is None else np.asarray(marginal, dtype=np.int64)
        if not set(chosen.tolist()) <= set(self.layout.free_shifts.tolist()):
            raise InputError("a shift to marginalise is held", where="model", expected="codes with a free shift")
        self.marginal = chosen
        #: Places of the elements that a sampler varies.
        self.sampled = np.flatnonzero(
            self.layout.free & ~np.isin(np.arange(self.layout.size), self.layout.shift[chosen])
        )
        kernel = self.settings.process
        none = np.zeros(0, dtype=np.int64)
        self.files = [
            FileModel(curve, self.norm.factors[i], kernel, chosen if i == 0 else none, curves.n_flags, i == 0)
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
