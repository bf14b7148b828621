"""Compiled conditionals of what stands above areas and variances: half-t scales, t-distributed areas, a common tau.

Each is a scale mixture, so that the Gaussian and inverse-gamma steps of the samplers stay as they are.
"""

# ruff: noqa: NPY002 - inside compiled code np.random is numba's own generator, seeded in each entry point

from __future__ import annotations

import numpy as np
from numba import njit

#: A slice of ln s that has shrunk to this holds nothing but the current value and rounding.
NARROWEST = 1e-9


@njit(cache=True, nogil=True)
def draw_scales(df, scale, s, beta):
    """Draw beta_i given s_i where sigma_i is half-t: in place; ``scale`` 0 leaves InverseGamma(df, beta) as it is.

    sigma ~ half-t(nu, a) is s | beta ~ InverseGamma(nu / 2, beta), beta ~ Gamma(1/2, rate 1 / (nu a^2)): Huang & Wand
    2013 (Bayesian Analysis 8, 439), with nu = 2 df.
    """
    for i in range(len(s)):
        if scale[i] > 0.0:
            nu = 2.0 * df[i]
            rate = 1.0 / s[i] + 1.0 / (nu * scale[i] ** 2)
            beta[i] = np.random.gamma(0.5 * (nu + 1.0), 1.0 / rate)


@njit(cache=True, nogil=True)
def log_variance_prior(s, df, beta, scale):
    """Log density of ln s, up to constants: InverseGamma(df, beta), or half-t of sigma where ``scale`` > 0."""
    if scale > 0.0:
        nu = 2.0 * df
        return 0.5 * np.log(s) - 0.5 * (nu + 1.0) * np.log1p(s / (nu * scale * scale))
    return -df * np.log(s) - beta / s


@njit(cache=True, nogil=True)
def draw_area_prior(areas, mean, tau, nu, tau_scale, state, precision, information):
    """Draw the latent widths of the areas' prior and put them into ``precision`` and ``information``, in place.

    With ``nu`` > 0, B_i - b_i is Student-t of scale tau_i: each width is tau_i^2 / w_i, w_i ~ Gamma(nu / 2, nu / 2).
    With ``tau_scale`` > 0 one tau is common to all finite channels, half-t with 4 degrees of freedom and this scale.
    ``state`` (2,) holds the common tau^2 and its mixing variable; flat channels (infinite tau) stay flat.
    """
    n = len(mean)
    weight = np.ones(n)
    if nu > 0.0:
        for i in range(n):
            if np.isfinite(tau[i]):
                width = state[0] if tau_scale > 0.0 else tau[i] ** 2
                rate = 0.5 * (nu + (areas[i] - mean[i]) ** 2 / width)
                weight[i] = np.random.gamma(0.5 * (nu + 1.0), 1.0 / rate)
    if tau_scale > 0.0:
        total, number = 0.0, 0
        for i in range(n):
            if np.isfinite(tau[i]):
                total += weight[i] * (areas[i] - mean[i]) ** 2
                number += 1
        shape = 2.0 + 0.5 * number
        state[0] = (state[1] + 0.5 * total) / np.random.gamma(shape, 1.0)
        state[1] = np.random.gamma(2.5, 1.0 / (1.0 / state[0] + 1.0 / (4.0 * tau_scale**2)))
    for i in range(n):
        if np.isfinite(tau[i]):
            width = state[0] if tau_scale > 0.0 else tau[i] ** 2
            precision[i, i] = weight[i] / width
            information[i] = precision[i, i] * mean[i]
