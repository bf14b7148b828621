"""Second-order processes: the damped oscillator and CARMA(2,1)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosscal.core.parameter import Parameter
from crosscal.lightcurves.kernels.base import SIGMA, TAU, Kernel, damped_oscillation


def _second_order(theta: NDArray, dt: NDArray[np.float64], damping: complex) -> NDArray:
    """exp(F dt) of x'' + 2 damping x' + x = noise in time units of tau, state (x, x')."""
    F = np.array([[0.0 * damping, 1.0], [-1.0, -2 * damping]])
    return damped_oscillation(-damping, damping**2 - 1, F, dt * np.exp(-theta[1]))


class SHO(Kernel):
    """Stochastically driven damped oscillator of frequency 1 / tau and quality Q.

    S(dt) = sigma^2 tau e^{-x/(2Q)} [cos(n x) + sin(n x) / (2 n Q)], x = |dt| / tau, n = sqrt(1 - 1/(4 Q^2)) (imaginary
    for Q < 1/2). Reference: Foreman-Mackey et al. 2017 (AJ 154, 220), eq. 23.
    """

    parameters: ClassVar = (
        SIGMA,
        TAU,
        Parameter("log_quality", np.log(0.5), np.log(0.02), np.log(50.0), description="ln of the quality factor Q"),
    )
    observation: ClassVar = (1.0, 0.0)

    def transition(self, theta: NDArray, dt: NDArray[np.float64]) -> NDArray:
        """exp(F dt) with damping 1 / (2 Q)."""
        return _second_order(theta, dt, 0.5 * np.exp(-theta[2]))

    def stationary(self, theta: NDArray) -> NDArray:
        """Flux and scaled derivative are uncorrelated and equally large."""
        return np.exp(2 * theta[0] + theta[1]) * np.eye(2)

    def covariance(self, theta: NDArray[np.float64], lag: NDArray[np.float64]) -> NDArray[np.float64]:
        """The damped cosine, with complex frequency where overdamped."""
        x, g = np.abs(lag) * np.exp(-theta[1]), 0.5 * np.exp(-theta[2])
        n = np.sqrt(complex(1 - g * g))
        shape = np.exp((-g + 1j * n) * x) * (1 + g / (1j * n)) + np.exp((-g - 1j * n) * x) * (1 - g / (1j * n))
        return np.exp(2 * theta[0] + theta[1]) * 0.5 * shape.real


class CARMA21(Kernel):
    """CARMA(2,1): x'' + 2 zeta x'/tau + x/tau^2 = noise + beta tau noise', scaled to variance sigma^2 tau.

    zeta > 1 is a sum of two exponentials, zeta < 1 oscillates; beta sets the short-term roughness.
    Reference: Kelly et al. 2014 (ApJ 788, 33), eqs. 1-5.
    """

    parameters: ClassVar = (
        SIGMA,
        TAU,
        Parameter("log_damping", np.log(2.0), np.log(0.05), np.log(50.0), description="ln of the damping zeta"),
        Parameter("log_beta", 0.0, np.log(1e-3), np.log(1e3), description="ln of the moving-average time over tau"),
    )
    observation: ClassVar = (1.0, 0.0)

    def transition(self, theta: NDArray, dt: NDArray[np.float64]) -> NDArray:
        """exp(F dt) for the observer form: dx1 = (-2 zeta x1 + x2) dt + beta dW, dx2 = -x1 dt + dW, time in tau."""
        zeta = np.exp(theta[2])
        F = np.array([[-2 * zeta, 1.0], [-1.0, 0.0 * zeta]])
        return damped_oscillation(-zeta, zeta**2 - 1, F, dt * np.exp(-theta[1]))

    def stationary(self, theta: NDArray) -> NDArray:
        """Solution of F P + P F' + b b' = 0 with b = (beta, 1), scaled to unit variance of the flux."""
        zeta, beta = np.exp(theta[2]), np.exp(theta[3])
        p11 = (1 + beta**2) / (4 * zeta)
        p12 = 0.5 + 0.0 * zeta
        p22 = p11 + 2 * zeta * p12 - beta
        scaled = np.array([[p11, p12], [p12, p22]]) / p11
        return np.exp(2 * theta[0] + theta[1]) * scaled

    def covariance(self, theta: NDArray[np.float64], lag: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of two (complex) exponentials from the roots of the characteristic polynomial."""
        zeta, beta = np.exp(theta[2]), np.exp(theta[3])
        x = np.abs(lag) * np.exp(-theta[1])
        roots = np.roots([1.0, 2 * zeta, 1.0]).astype(complex)

        def weight(r: complex, other: complex) -> complex:
            return (1 + beta * r) * (1 - beta * r) / (-2 * r.real * (other - r) * (np.conj(other) + r))

        total = sum(weight(r, o) * np.exp(r * x) for r, o in (roots, roots[::-1]))
        norm = sum(weight(r, o) for r, o in (roots, roots[::-1]))
        return np.exp(2 * theta[0] + theta[1]) * (total / norm).real
