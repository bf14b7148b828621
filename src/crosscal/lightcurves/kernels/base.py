"""What a variability kernel is: a stationary Gaussian process in state-space form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosscal.core.parameter import Parameter

#: Imaginary step; derivatives by it are exact to rounding (Squire & Trapp 1998, SIAM Rev. 40, 110).
_STEP = 1e-30


class Variability:
    """What describes the source between the points: a Gaussian process (`Kernel`), or the running mean of the data.

    Attributes
    ----------
    parameters : tuple of Parameter
        Sampled coordinates. Those called ``log_sigma``, ``log_tau`` and ``log_width`` have the prior ranges of the
        settings, others carry theirs in ``low`` and ``high``.
    timescale : str
        The parameter that is a logarithm of time.
    near : float
        Points within this share of the time scale see nearly the same flux.
    moves : tuple of mapping
        Changes of parameters that make the source stiffer, and looser.
    caution : str
        What every result with it warns of; empty if there is nothing.
    """

    parameters: ClassVar[tuple[Parameter, ...]]
    timescale: ClassVar[str] = "log_tau"
    near: ClassVar[float] = 0.1
    moves: ClassVar[tuple[Mapping[str, float], ...]] = ()
    caution: ClassVar[str] = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names in order."""
        return tuple(p.name for p in self.parameters)


_HALF, _TWICE = float(np.log(0.5)), float(np.log(2.0))


class Kernel(Variability, ABC):
    """A stationary process with covariance S(dt) = h' A(dt) P0 h of time lags dt >= 0.

    Every kernel starts with ``log_sigma`` and ``log_tau`` (natural logs) and has variance S(0) = sigma^2 tau in the
    convention of damped random walks: sigma^2 is the short-term variance per unit time, tau the time scale.
    A member defines `parameters`, `observation`, `transition` and `stationary`, written so that complex parameters
    pass through (no abs, no comparison of parameters except of their real part).

    Attributes
    ----------
    parameters : tuple of Parameter
        Sampled coordinates; those beyond the first two carry their uniform prior range in ``low`` and ``high``.
    observation : tuple of float, length d
        h.

    Examples
    --------
    >>> from crosscal.lightcurves.kernels.registry import KERNELS  # doctest: +SKIP
    >>> kernel = KERNELS.get("matern32")()  # doctest: +SKIP
    >>> kernel.names, kernel.dimension  # doctest: +SKIP
    """

    observation: ClassVar[tuple[float, ...]]
    # Twice or half the time scale at the same variance; within a tenth a damped random walk keeps 90 % of its
    # correlation.
    moves = (
        {"log_sigma": 0.5 * _HALF, "log_tau": _TWICE},
        {"log_sigma": 0.5 * _TWICE, "log_tau": _HALF},
    )

    @property
    def dimension(self) -> int:
        """State dimension d."""
        return len(self.observation)

    @abstractmethod
    def transition(self, theta: NDArray, dt: NDArray[np.float64]) -> NDArray:
        """Transition matrices A(dt), shape (len(dt), d, d)."""

    @abstractmethod
    def stationary(self, theta: NDArray) -> NDArray:
        """Stationary covariance P0 of the state, shape (d, d)."""

    @abstractmethod
    def covariance(self, theta: NDArray[np.float64], lag: NDArray[np.float64]) -> NDArray[np.float64]:
        """Covariance of the process at time lags, in closed form (for dense checks and plots); no white noise."""

    def white(self, theta: NDArray) -> complex | float:
        """Variance of white noise that belongs to the source (zero for most kernels)."""
        return 0.0 * theta[0]

    def decays(self, thetas: NDArray[np.float64], dt: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """Write the transitions of a state of one element to ``out`` (len(dt), S), for parameters (S, n)."""
        self.transitions(thetas, dt, out[:, None, None])

    def transitions(self, thetas: NDArray[np.float64], dt: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """Write the transitions to ``out`` (len(dt), d, d, S), for parameters (S, n)."""
        for s, theta in enumerate(thetas):
            out[..., s] = self.transition(theta, dt)

    def transition_gradient(self, theta: NDArray[np.float64], dt: NDArray[np.float64]) -> NDArray[np.float64]:
        """dA/dtheta, shape (n_parameters, len(dt), d, d)."""
        return np.stack([self.transition(t, dt).imag / _STEP for t in _perturbed(theta)])

    def transition_adjoint(
        self, theta: NDArray[np.float64], dt: NDArray[np.float64], A: NDArray, A_bar: NDArray
    ) -> NDArray[np.float64]:
        """Derivatives by theta, sum_j A_bar_j : dA_j/dtheta, of a function with derivatives ``A_bar`` by ``A`` = A(dt).

        ``A`` is what `transition` returned for the same theta and dt; a kernel may use it again.
        """
        return self.transition_gradient(theta, dt).reshape(len(theta), -1) @ A_bar.ravel()

    def stationary_gradient(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """dP0/dtheta, shape (n_parameters, d, d)."""
        return np.stack([self.stationary(t).imag / _STEP for t in _perturbed(theta)])

    def white_gradient(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Derivatives of `white`, shape (n_parameters,)."""
        return np.array([np.imag(self.white(t)) / _STEP for t in _perturbed(theta)])


def _perturbed(theta: NDArray[np.float64]) -> NDArray[np.complex128]:
    return np.asarray(theta)[None, :] + 1j * _STEP * np.eye(len(theta))


SIGMA = Parameter("log_sigma", np.log(0.01), description="ln of the amplitude sigma_d; variance is sigma_d^2 tau")
TAU = Parameter("log_tau", np.log(100.0), description="ln of the time scale tau, in units of time")


def damped_oscillation(slow: complex, squared: complex, F: NDArray, dt: NDArray[np.float64]) -> NDArray:
    """Return exp(F dt) for a 2x2 matrix F with eigenvalues slow +- sqrt(squared), shape (len(dt), 2, 2).

    exp(F t) = e^{s t} [c(t) I + w(t) (F - s I)], c = cosh(q t), w = sinh(q t) / q with q^2 = ``squared`` of any sign.
    """
    identity = np.eye(2)
    centred = F - slow * identity
    if np.real(squared) > 0:
        q = np.sqrt(squared)
        # Written with decaying exponentials only: cosh overflows where the product is tiny.
        fast, lazy = np.exp((slow - q) * dt), np.exp((slow + q) * dt)
        c, w = 0.5 * (lazy + fast), 0.5 * (lazy - fast) / q
        small = np.abs(np.real(q) * dt) < 1e-3
    else:
        q = np.sqrt(-squared)
        envelope = np.exp(slow * dt)
        c, w = envelope * np.cos(q * dt), envelope * np.sin(q * dt) / np.where(q == 0, 1.0, q)
        small = np.abs(np.real(q) * dt) < 1e-3
    if np.any(small):
        x = squared * dt[small] ** 2
        base = np.exp(slow * dt[small])
        c[small] = base * (1 + x / 2 + x * x / 24)
        w[small] = base * dt[small] * (1 + x / 6 + x * x / 120)
    return c[:, None, None] * identity + w[:, None, None] * centred
