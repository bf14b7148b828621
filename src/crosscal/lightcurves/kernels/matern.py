"""Matern processes of half-integer smoothness: smoother than a damped random walk."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosscal.lightcurves.kernels.base import SIGMA, TAU, Kernel


class Matern32(Kernel):
    """Matern-3/2: S(dt) = sigma^2 tau (1 + x) exp(-x), x = sqrt(3) |dt| / tau.

    State space: Hartikainen & Sarkka 2010 (IEEE MLSP, 379), eq. 11.
    """

    parameters: ClassVar = (SIGMA, TAU)
    observation: ClassVar = (1.0, 0.0)

    def transition(self, theta: NDArray, dt: NDArray[np.float64]) -> NDArray:
        """State (f, f' / rate): scaled so that both elements have the same size."""
        x = dt * np.sqrt(3.0) * np.exp(-theta[1])
        decay = np.exp(-x)
        A = np.empty((len(dt), 2, 2), dtype=decay.dtype)
        A[:, 0, 0], A[:, 0, 1] = decay * (1 + x), decay * x
        A[:, 1, 0], A[:, 1, 1] = -decay * x, decay * (1 - x)
        return A

    def stationary(self, theta: NDArray) -> NDArray:
        """sigma^2 tau times the identity in the scaled state."""
        return np.exp(2 * theta[0] + theta[1]) * np.eye(2)

    def covariance(self, theta: NDArray[np.float64], lag: NDArray[np.float64]) -> NDArray[np.float64]:
        """sigma^2 tau (1 + x) exp(-x)."""
        x = np.sqrt(3.0) * np.abs(lag) * np.exp(-theta[1])
        return np.exp(2 * theta[0] + theta[1]) * (1 + x) * np.exp(-x)


class Matern52(Kernel):
    """Matern-5/2: S(dt) = sigma^2 tau (1 + x + x^2 / 3) exp(-x), x = sqrt(5) |dt| / tau."""

    parameters: ClassVar = (SIGMA, TAU)
    observation: ClassVar = (1.0, 0.0, 0.0)

    def transition(self, theta: NDArray, dt: NDArray[np.float64]) -> NDArray:
        """exp(F dt) for the triple eigenvalue -rate, state (f, f' / rate, f'' / rate^2)."""
        x = dt * np.sqrt(5.0) * np.exp(-theta[1])
        decay = np.exp(-x)
        A = np.empty((len(dt), 3, 3), dtype=decay.dtype)
        A[:, 0, 0], A[:, 0, 1], A[:, 0, 2] = 1 + x + x * x / 2, x + x * x, x * x / 2
        A[:, 1, 0], A[:, 1, 1], A[:, 1, 2] = -x * x / 2, 1 + x - x * x, x - x * x / 2
        A[:, 2, 0], A[:, 2, 1], A[:, 2, 2] = -x + x * x / 2, -3 * x + x * x, 1 - 2 * x + x * x / 2
        return A * decay[:, None, None]

    def stationary(self, theta: NDArray) -> NDArray:
        """Moments of the process and its scaled derivatives: <f f''> = -<f' f'> = -1/3."""
        third = 1.0 / 3.0
        return np.exp(2 * theta[0] + theta[1]) * np.array([[1, 0, -third], [0, third, 0], [-third, 0, 1]])

    def covariance(self, theta: NDArray[np.float64], lag: NDArray[np.float64]) -> NDArray[np.float64]:
        """sigma^2 tau (1 + x + x^2/3) exp(-x)."""
        x = np.sqrt(5.0) * np.abs(lag) * np.exp(-theta[1])
        return np.exp(2 * theta[0] + theta[1]) * (1 + x + x * x / 3) * np.exp(-x)
