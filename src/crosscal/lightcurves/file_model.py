"""The likelihood of one light curve under a process in state-space form, and what follows from it, in O(N)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosscal.lightcurves.integrate import integrate_linear, integrate_many
from crosscal.lightcurves.kalman import _OPTIONS, _SCALAR, Workspace
from crosscal.lightcurves.kalman_batch import LANES, grams, grams_of_states
from crosscal.lightcurves.kernels.base import Kernel, Variability
from crosscal.lightcurves.types import LightCurve

#: Points of a light curve whose transitions are held at once, where a state has several elements.
PIECE = 2048
#: Step in ln phi of second differences.
_STEP = 1e-2


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


class FileLikelihood(ABC):
    """What a likelihood of one light curve offers to `Model`, whatever describes the source.

    Parameters are (theta, phi, G, eps, b): those of the source, scales and shifts of all telescopes, systematic errors
    and error scales by telescope and flag; fluxes are normalised.
    """

    curve: LightCurve
    kernel: Variability
    inflation: NDArray[np.float64]

    def __init__(
        self,
        curve: LightCurve,
        factors: NDArray[np.float64],
        kernel: Variability,
        shift_codes: NDArray[np.int64],
        n_flags: int,
        with_shift: bool,
    ) -> None:
        self.curve, self.kernel, self.shift_codes, self.with_shift = curve, kernel, shift_codes, with_shift
        self.flux = curve.flux / factors[curve.code]
        self.error2 = (curve.error / factors[curve.code]) ** 2
        self.code = np.ascontiguousarray(curve.code)
        self.group = curve.code * n_flags + curve.flag
        self.counts = curve.counts.astype(float)
        self.inflation = np.ones(len(curve))

    def with_inflation(self, inflation: NDArray[np.float64]) -> None:
        """Multiply the measurement variances point by point (latent scales of Student-t errors)."""
        self.inflation = np.ascontiguousarray(inflation, dtype=float)

    @abstractmethod
    def evaluate(
        self, theta: NDArray, phi: NDArray, G: NDArray, eps: NDArray, b: NDArray, *, keep: bool = False
    ) -> tuple[float, NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """Return ln L, mean and covariance of q and the marginalised shifts, or (-inf, None, None) where undefined.

        With ``keep``, what `reverse` and `left_out` need is kept.
        """

    @abstractmethod
    def evaluate_many(
        self, theta: NDArray, phi: NDArray, G: NDArray, eps: NDArray, b: NDArray
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return what `evaluate` does of S parameter sets: (S,), (S, m) and (S, m, m)."""

    @abstractmethod
    def reverse(self, beta: NDArray, F_inverse: NDArray) -> None:
        """Run the adjoint after ``evaluate(..., keep=True)``."""

    @abstractmethod
    def gradient(self, theta: NDArray, phi: NDArray, eps: NDArray, b: NDArray) -> tuple[NDArray, ...]:
        """Return derivatives by (theta, ln phi, G, eps, ln b) after `reverse`."""

    @abstractmethod
    def left_out(self, parts: tuple[NDArray[np.float64], ...]) -> LeftOut | None:
        """Predict every point from all others; nothing where the likelihood is not defined."""

    @abstractmethod
    def predict(
        self, parts: tuple[NDArray[np.float64], ...], times: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance of the source at ``times`` (sorted), at given parameters and shifts."""

    @abstractmethod
    def offsets(
        self, parts: tuple[NDArray[np.float64], ...], extra: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return coefficients of further design columns (N, n), and their covariance; nothing where they have none."""

    @abstractmethod
    def alone(self, parts: tuple[NDArray[np.float64], ...], code: int) -> tuple[float, float]:
        """Return what one telescope's own data say of ln phi, and of G at given phi: inverse variances."""


class LeftOut(NamedTuple):
    """Residuals (N,) of points predicted from all others, their variance, and the part that is the point's own."""

    residual: NDArray[np.float64]
    variance: NDArray[np.float64]
    noise: NDArray[np.float64]


class FileModel(FileLikelihood):
    """Likelihood of one file; data are prepared once, evaluations reuse one workspace."""

    kernel: Kernel

    def __init__(
        self,
        curve: LightCurve,
        factors: NDArray[np.float64],
        kernel: Kernel,
        shift_codes: NDArray[np.int64],
        n_flags: int,
        with_shift: bool,
    ) -> None:
        super().__init__(curve, factors, kernel, shift_codes, n_flags, with_shift)
        self.dt = np.diff(curve.time, prepend=curve.time[0])
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

    def left_out(self, parts: tuple[NDArray[np.float64], ...]) -> LeftOut | None:
        """Predict every point from all others.

        With L = C^-1 - C^-1 H (H'C^-1 H)^-1 H'C^-1 (mean and marginalised shifts integrated over), the residual is
        (L y)_j / L_jj with variance 1 / L_jj (Sundararajan & Keerthi 2001, Neural Comp. 13, 1103, eqs. 10-11). Both
        come from the reverse pass: d lnL/dy = -L y and d lnL/dR_j = ((L y)_j^2 - L_jj) / 2.
        """
        _, beta, F_inverse = self.evaluate(*parts, keep=True)
        if beta is None or F_inverse is None:
            return None
        self.reverse(beta, F_inverse)
        pull = -self.work.y_bar
        diagonal = pull**2 - 2 * self.work.R_bar
        # A point alone with its shift has L_jj = 0 up to rounding.
        diagonal = np.where(diagonal < 1e-9 / self.R, np.nan, diagonal)
        return LeftOut(pull / diagonal, 1.0 / diagonal, self.R - float(np.real(self.kernel.white(parts[0]))))

    def predict(
        self, parts: tuple[NDArray[np.float64], ...], times: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance of q + process at ``times`` (sorted), given (theta, phi, G, eps, b) with G known.

        The mean q has a flat prior and is integrated over: E = s_y + (1 - s_1) q^, Var = s^2 + (1 - s_1)^2 / F, with
        s_y, s_1 the smoothed values of the flux column and of the column of ones (Rasmussen & Williams 2006, eq. 2.41).
        """
        self.set_up(*parts)
        theta, n = parts[0], len(self.dt)
        joined = np.concatenate([self.curve.time, times])
        order = np.argsort(joined, kind="stable")
        asked = np.argsort(order, kind="stable")[n:]
        W, R = np.zeros((len(joined), 2)), np.full(len(joined), np.inf)
        W[:n], R[:n] = self.W[:, :2], self.R
        W, R = W[order], R[order]
        sorted_times = joined[order]
        A = self.kernel.transition(theta, np.diff(sorted_times, prepend=sorted_times[0]))
        work = Workspace(len(joined), self.kernel.dimension, 2)
        h = self.kernel.observation
        work.forward(h, A, self.kernel.stationary(theta), R, W, True)
        smoothed, variance = work.smooth(h, A)
        level = work.gram[0, 1] / work.gram[1, 1]
        rest = 1.0 - smoothed[asked, 1]
        return smoothed[asked, 0] + rest * level, variance[asked] + rest**2 / work.gram[1, 1]

    def offsets(
        self, parts: tuple[NDArray[np.float64], ...], extra: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return coefficients of further design columns by generalised least squares, and their covariance."""
        A, P0 = self.set_up(*parts)
        W = np.ascontiguousarray(np.concatenate([self.W, extra], axis=1))
        work = Workspace(len(W), self.kernel.dimension, W.shape[1])
        work.forward(self.kernel.observation, A, P0, self.R, W, False)
        m, n = W.shape[1] - 1, extra.shape[1]
        beta, inverse = np.empty(m), np.empty((m, m))
        if not np.isfinite(integrate_linear(work.gram, beta, inverse)):
            return None
        return beta[-n:], inverse[-n:, -n:]

    def alone(self, parts: tuple[NDArray[np.float64], ...], code: int) -> tuple[float, float]:
        """The curvature of a telescope's own likelihood by ln phi, and the inverse variance of its mean."""
        theta, phi, G, eps, b = parts
        part, values = self.only(self.code == code), []
        for step in (-_STEP, 0.0, _STEP):
            size = phi.copy()
            size[code] *= np.exp(step)
            values.append(part.evaluate(theta, size, np.zeros_like(G), eps, b))
        curved = -(values[0][0] - 2 * values[1][0] + values[2][0]) / _STEP**2
        return curved, 0.0 if values[1][2] is None else 1.0 / float(values[1][2][0, 0])
