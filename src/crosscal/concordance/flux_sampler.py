"""Compiled sampler for fluxes with Gaussian errors.

One sweep draws the areas with all fluxes integrated out (an independence step with the Gaussian that one Newton step
from a fixed point gives, which nearly is the conditional), then each flux, then the excess variances.
"""

# ruff: noqa: NPY002 - inside compiled code np.random is numba's own generator, seeded in each entry point

from __future__ import annotations

import numpy as np
from numba import njit

from crosscal.concordance.elimination import cholesky, set_row, solve_lower, solve_upper
from crosscal.concordance.flux_density import cell_value, column_log_density, log_marginal
from crosscal.concordance.prior_sampler import NARROWEST, draw_area_prior, draw_scales

#: Degrees of freedom and width of the proposal, both a little wider than the Gaussian that it follows.
_NU, _WIDER = 12.0, 1.1


@njit(cache=True, nogil=True)
def log_prior(theta, precision, information):
    """Log density of the Gaussian prior of the areas, up to a constant."""
    value = 0.0
    for i in range(len(theta)):
        row = 0.0
        for k in range(len(theta)):
            row += precision[i, k] * theta[k]
        value += theta[i] * (information[i] - 0.5 * row)
    return value


@njit(cache=True, nogil=True)
def newton(theta, gradient, curvature, precision, information):
    """Mean of the Gaussian after one Newton step from ``theta`` and the root of its precision; False if singular."""
    root, good = cholesky(precision + curvature)
    if not good:
        return theta, root, False
    slope = gradient + information
    for i in range(len(theta)):
        for k in range(len(theta)):
            slope[i] -= precision[i, k] * theta[k]
    return theta + solve_upper(root, solve_lower(root, slope)), root, True


@njit(cache=True, nogil=True)
def _log_proposal(theta, centre, root):
    """Log density of the Student-t proposal, up to what both directions share."""
    n = len(theta)
    distance = 0.0
    for i in range(n):
        # root' (theta - centre) has independent unit components.
        total = 0.0
        for k in range(i, n):
            total += root[k, i] * (theta[k] - centre[k])
        distance += total * total
    return -0.5 * (_NU + n) * np.log1p(distance / (_NU * _WIDER * _WIDER))


@njit(cache=True, nogil=True)
def _draw_proposal(centre, root):
    noise = np.empty(len(centre))
    for i in range(len(noise)):
        noise[i] = np.random.standard_normal()
    return centre + _WIDER * np.sqrt(_NU / np.random.chisquare(_NU)) * solve_upper(root, noise)


@njit(cache=True, nogil=True)
def _draw_flux(mode, unit, width, first, last, row, area, f, low, high, variance, limit, s):
    """Draw u > 0 from its conditional by rejection from a Student-t about the mode.

    The draw must not depend on the last one, as the areas were drawn with the flux integrated out.
    """
    scale = 1.25 * width
    bound = -np.inf
    # Far from zero flux the density is close to a Gaussian, and few points find the largest ratio.
    step = 1 if mode < 8.0 * width else 2
    for k in range(-4, 5, step):
        x = mode + k * width
        if x > 0.0:
            h = column_log_density(x, unit, first, last, row, area, f, low, high, variance, limit, s)
            bound = max(bound, h + 2.0 * np.log1p(((x - mode) / scale) ** 2 / 3.0))
    if not np.isfinite(bound):
        return np.nan  # rejection would never end
    # Between the points the ratio is higher by less than this.
    bound += 0.15
    while True:
        d = np.random.standard_normal() / np.sqrt(np.random.chisquare(3.0) / 3.0)
        x = mode + scale * d
        if x > 0.0:
            h = column_log_density(x, unit, first, last, row, area, f, low, high, variance, limit, s)
            if np.log(1.0 - np.random.random()) < h + 2.0 * np.log1p(d * d / 3.0) - bound:
                return x


@njit(cache=True, nogil=True)
def excess_log_density(v, order, first, last, mu, f, low, high, variance, limit, df, beta):
    """Log conditional density of v = ln s_i given the means ``mu`` of the cells."""
    s = np.exp(v)
    total = 0.0
    for k in range(first, last):
        c = order[k]
        total += cell_value(mu[c], s, f[c], low[c], high[c], variance[c], limit[c])
    return -df * v - beta / s - 0.5 * total


@njit(cache=True, nogil=True)
def _draw_excess(v, order, first, last, mu, f, low, high, variance, limit, df, beta):
    level = excess_log_density(v, order, first, last, mu, f, low, high, variance, limit, df, beta)
    level += np.log(1.0 - np.random.random())
    a = v - 1.5 * np.random.random()
    b = a + 1.5
    for _ in range(60):
        if excess_log_density(a, order, first, last, mu, f, low, high, variance, limit, df, beta) <= level:
            break
        a -= 1.5
    for _ in range(60):
        if excess_log_density(b, order, first, last, mu, f, low, high, variance, limit, df, beta) <= level:
            break
        b += 1.5
    while True:
        x = a + np.random.random() * (b - a)
        density = excess_log_density(x, order, first, last, mu, f, low, high, variance, limit, df, beta)
        if density > level or b - a < NARROWEST:
            return x
        if x < v:
            a = x
        else:
            b = x


@njit(cache=True, nogil=True)
def flux_chain(indptr, row, column, order, start, t, f, low, high, variance, limit, excess, df, beta, scale, precision,
               information, area_mean, tau, nu, tau_scale, reference, theta, s, u, state, sweeps, store, seed,
               keep_areas, keep_s, wanted, keep_g, g_sum, g_square):  # fmt: skip
    """Run ``sweeps`` sweeps from (theta, s, u, state), changed in place; store draws and flux moments if ``store``.

    ``excess`` says whether there are variances to draw. Returns the number of accepted steps, -1 where the precision
    of the areas was not positive definite.
    """
    np.random.seed(seed)
    size, m, n_cells = len(theta), len(indptr) - 1, len(row)
    area, mu, unit, width = np.empty(n_cells), np.empty(n_cells), np.empty(m), np.empty(m)
    other_area, other_unit, other_width = np.empty(n_cells), np.empty(m), np.empty(m)
    mean, square, other_mean, other_square = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    gradient, curvature = np.empty(size), np.empty((size, size))
    mode_ref, mode, other_mode = u.copy(), u.copy(), u.copy()
    nothing, none = np.empty(0), np.empty((0, 0))
    centre, root, value = reference, none, 0.0
    prior = nu > 0.0 or tau_scale > 0.0
    accepted = 0
    for k in range(sweeps):
        if k == 0 or excess:
            log_marginal(indptr, row, t, f, low, high, variance, limit, reference, s, True, area, mode_ref, width, unit,
                         mean, square, gradient, curvature)  # fmt: skip
            value = log_marginal(indptr, row, t, f, low, high, variance, limit, theta, s, False, area, mode, width,
                                 unit, mean, square, nothing, none)  # fmt: skip
        if k == 0 or excess or prior:
            centre, root, good = newton(reference, gradient, curvature, precision, information)
            if not good:
                return -1
        step = _draw_proposal(centre, root)
        proposed = log_marginal(indptr, row, t, f, low, high, variance, limit, step, s, False, other_area, other_mode,
                                other_width, other_unit, other_mean, other_square, nothing, none)  # fmt: skip
        ratio = proposed + log_prior(step, precision, information) - _log_proposal(step, centre, root)
        ratio -= value + log_prior(theta, precision, information) - _log_proposal(theta, centre, root)
        if np.log(1.0 - np.random.random()) < ratio:
            accepted += 1
            theta[:] = step
            value = proposed
            area[:], unit[:], width[:] = other_area, other_unit, other_width
            mean[:], square[:], mode[:] = other_mean, other_square, other_mode
        if store:
            for j in range(m):
                g_sum[j] += mean[j]
                g_square[j] += square[j]
        if excess or len(wanted) > 0:
            for j in range(m):
                first, last = indptr[j], indptr[j + 1]
                u[j] = _draw_flux(mode[j], unit[j], width[j], first, last, row, area, f, low, high, variance, limit, s)
                flux = np.sinh(u[j]) * unit[j]
                for c in range(first, last):
                    mu[c] = area[c] * flux
        if excess:
            for i in range(len(s)):
                s[i] = np.exp(_draw_excess(np.log(s[i]), order, start[i], start[i + 1], mu, f, low, high,
                                           variance, limit, df[i], beta[i]))  # fmt: skip
            draw_scales(df, scale, s, beta)
        if prior:
            draw_area_prior(theta, area_mean, tau, nu, tau_scale, state, precision, information)
        if store:
            set_row(keep_areas, k, theta)
            set_row(keep_s, k, s)
            for e in range(len(wanted)):
                keep_g[k, e] = np.log(np.sinh(u[wanted[e]]) * unit[wanted[e]])
    return accepted
