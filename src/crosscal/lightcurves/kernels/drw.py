"""Damped random walk (Ornstein-Uhlenbeck process), alone, with jitter, and as a sum of two."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosscal.core.parameter import Parameter
from crosscal.lightcurves.kernels.base import SIGMA, TAU, Kernel


class DRW(Kernel):
    """Damped random walk: S(dt) = sigma^2 tau exp(-|dt| / tau).

    Reference: Kelly, Bechtold & Siemiginowska 2009 (ApJ 698, 895), eq. 5, with sigma^2 in place of sigma^2 / 2.
    """

    parameters: ClassVar[tuple[Parameter, ...]] = (SIGMA, TAU)
    observation: ClassVar[tuple[float, ...]] = (1.0,)

    def transition(self, theta: NDArray, dt: NDArray[np.float64]) -> NDArray:
        """exp(-dt / tau)."""
        return np.exp(-dt * np.exp(-theta[1])).reshape(-1, 1, 1)

    def decays(self, thetas: NDArray[np.float64], dt: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """exp(-dt / tau), in one call for all parameters."""
        np.exp(np.multiply(dt[:, None], -np.exp(-thetas[:, 1]), out=out), out=out)

    def stationary(self, theta: NDArray) -> NDArray:
        """sigma^2 tau."""
        return np.exp(2 * theta[0] + theta[1]).reshape(1, 1)

    def transition_adjoint(
        self, theta: NDArray[np.float64], dt: NDArray[np.float64], A: NDArray, A_bar: NDArray
    ) -> NDArray[np.float64]:
        """From dA / dln tau = A dt / tau, by hand: complex exponentials would cost more than the whole recursion."""
        gradient = np.zeros(len(theta))
        gradient[1] = np.exp(-theta[1]) * (dt @ (A * A_bar).ravel())
        return gradient

    def covariance(self, theta: NDArray[np.float64], lag: NDArray[np.float64]) -> NDArray[np.float64]:
        """sigma^2 tau exp(-|lag| / tau)."""
        return np.exp(2 * theta[0] + theta[1]) * np.exp(-np.abs(lag) * np.exp(-theta[1]))


class JitteredDRW(DRW):
    """Damped random walk plus white variability of the source: S(dt) + jitter^2 delta(dt).

    The jitter is common to all telescopes, in normalised flux; a telescope's own excess noise is its systematic error.
    """

    parameters: ClassVar = (
        SIGMA,
        TAU,
        Parameter("log_jitter", np.log(1e-2), np.log(1e-4), 0.0, description="ln of the white sd, normalised flux"),
    )

    def white(self, theta: NDArray) -> complex | float:
        """jitter^2."""
        return np.exp(2 * theta[2])


class TwoDRW(Kernel):
    """Sum of two damped random walks with time scales tau and tau * ratio, ratio < 1/2.

    S(dt) = sigma^2 tau [(1 - f) exp(-|dt| / tau) + f exp(-|dt| / (ratio tau))], with f the fast share of the variance.
    """

    parameters: ClassVar = (
        SIGMA,
        TAU,
        Parameter("log_ratio", np.log(0.1), np.log(1e-3), np.log(0.5), description="ln of fast over slow time scale"),
        Parameter("fast_share", 0.1, 0.0, 1.0, description="share of the variance in the fast process"),
    )
    observation: ClassVar = (1.0, 1.0)

    def transition(self, theta: NDArray, dt: NDArray[np.float64]) -> NDArray:
        """Two independent decays."""
        rate = np.exp(-theta[1])
        slow, fast = np.exp(-dt * rate), np.exp(-dt * rate * np.exp(-theta[2]))
        A = np.zeros((len(dt), 2, 2), dtype=slow.dtype)
        A[:, 0, 0], A[:, 1, 1] = slow, fast
        return A

    def stationary(self, theta: NDArray) -> NDArray:
        """The variance shared between the two."""
        return np.exp(2 * theta[0] + theta[1]) * np.diag(np.array([1 - theta[3], theta[3]]))

    def covariance(self, theta: NDArray[np.float64], lag: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of the two exponentials."""
        x = np.abs(lag) * np.exp(-theta[1])
        mixed = (1 - theta[3]) * np.exp(-x) + theta[3] * np.exp(-x * np.exp(-theta[2]))
        return np.exp(2 * theta[0] + theta[1]) * mixed
