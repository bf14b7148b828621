"""A Gaussian process with Student's t noise and a lower bound of its evidence, by variational inference.

Student's t is a Gaussian whose precision tau_i / s_i is drawn from Gamma(nu / 2, nu / 2). With a factorised posterior
q(f) prod q(tau_i) the weights <tau_i> are those of iteratively reweighted least squares, but for residuals that include
the posterior variance of f. Given the weights all is Gaussian, so that strengths can be compared by the marginal
likelihood of the Gaussian process less what the weights cost (Tipping & Lawrence 2005, Neurocomputing 69, 123).
Laplace's approximation, which expands about the mode, takes a field that passes through the data for scatter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor
from scipy.linalg.lapack import dpotri
from scipy.special import gammaln, psi

from crosscal.fluxcal.curve.position import FREEDOM

#: Updates of the weights: the bound holds after any number, and after eight it is within 0.1 of its limit.
UPDATES = 8


def variational_process(
    covariance: NDArray[np.float64], value: NDArray[np.float64], noise: NDArray[np.float64], updates: int = UPDATES
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Lower bound of ln p(value), weights alpha (n,) and inverse covariance (n, n).

    With a = (nu + 1) / 2, b_i = (nu + <r_i^2> / s_i) / 2 and W = diag(s_i b_i / a),

        ln p >= ln N(value; 0, K + W) - sum_i KL(q(tau_i) | p(tau_i)) + sum_i (<ln tau_i> - ln <tau_i>) / 2.

    Parameters
    ----------
    covariance : array (n, n)
        K, of the process.
    value : array (n,)
    noise : array (n,)
        s, the squared scale of Student's t with 3 degrees of freedom; positive.
    updates : int
        Of the weights, at least one.
    """
    prior, shape = FREEDOM / 2, (FREEDOM + 1) / 2
    variance = noise
    for _ in range(updates):
        _, inverse = _invert(covariance + np.diag(variance))
        # r = W alpha, and the posterior variance of f is W - W (K + W)^-1 W.
        spread = np.clip(variance - variance**2 * np.diag(inverse), 0, None)
        rate = (FREEDOM + ((variance * (inverse @ value)) ** 2 + spread) / noise) / 2
        variance = noise * rate / shape
    determinant, inverse = _invert(covariance + np.diag(variance))
    alpha = inverse @ value
    gaussian = -0.5 * (value @ alpha + determinant + value.size * np.log(2 * np.pi))
    divergence = (
        (shape - prior) * psi(shape)
        - gammaln(shape)
        + gammaln(prior)
        + prior * np.log(rate / prior)
        + shape * (prior - rate) / rate
    )
    return float(gaussian - np.sum(divergence) + value.size * (psi(shape) - np.log(shape)) / 2), alpha, inverse


def _invert(matrix: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """ln det and inverse of a positive definite matrix."""
    factor, _ = cho_factor(matrix, lower=True)
    half = np.tril(dpotri(factor, lower=1)[0])
    return 2 * float(np.sum(np.log(np.diag(factor)))), half + np.tril(half, -1).T
