"""Compiled block Gibbs with one variance per cell: quoted errors, excess variance, log-t, drift, source variability.

One sweep draws the areas (and drifts) with all G integrated out, then G, then the variances, the log-t weights xi and
the variability given the residuals. Cost O(cells x channels per column); nothing of size M x draws is stored.
"""

# ruff: noqa: NPY002 - inside compiled code np.random is numba's own generator, seeded in each entry point

from __future__ import annotations

import numpy as np
from numba import njit

from crosscal.concordance.elimination import (
    column_variances,
    draw_areas,
    eliminate,
    factor_columns,
    set_row,
    solve_columns,
)
from crosscal.concordance.gig import draw_gig
from crosscal.concordance.prior_sampler import NARROWEST, draw_area_prior, draw_scales

#: Kinds of variance: quoted v_ij; unknown s_i; quoted + excess v_ij + s_i.
QUOTED, UNKNOWN, EXCESS = 0, 1, 2


@njit(cache=True, nogil=True)
def _scale(kind, v, s, stretch):
    if kind == 0:
        return v * stretch
    if kind == 1:
        return s
    return (v + s) * stretch


@njit(cache=True, nogil=True)
def excess_log_density(u, order, first, last, v, half, stretch, xi, r, df, beta):
    """Log conditional density of u = ln s_i for variance (v + e^u) stretch / xi, at raw residuals r = y - B - G."""
    s = np.exp(u)
    value = -df * u - beta / s
    for k in range(first, last):
        c = order[k]
        total = (v[c] + s) * stretch / xi[c]
        e = r[c] + half * total
        value -= 0.5 * (np.log(total) + e * e / total)
    return value


@njit(cache=True, nogil=True)
def _slice_excess(u, order, first, last, v, half, stretch, xi, r, df, beta):
    level = excess_log_density(u, order, first, last, v, half, stretch, xi, r, df, beta)
    level += np.log(1.0 - np.random.random())
    # The width fits a variance known from some tens of cells; stepping out makes any width valid.
    width = 1.0
    low = u - width * np.random.random()
    high = low + width
    for _ in range(60):
        if excess_log_density(low, order, first, last, v, half, stretch, xi, r, df, beta) <= level:
            break
        low -= width
    for _ in range(60):
        if excess_log_density(high, order, first, last, v, half, stretch, xi, r, df, beta) <= level:
            break
        high += width
    while True:
        x = low + np.random.random() * (high - low)
        density = excess_log_density(x, order, first, last, v, half, stretch, xi, r, df, beta)
        if density > level or high - low < NARROWEST:
            return x
        if x < u:
            low = x
        else:
            high = x


@njit(cache=True, nogil=True)
def _residuals(row, column, y, t, areas, g, r):
    drift = len(t) > 0
    n = len(areas) // 2 if drift else len(areas)
    for c in range(len(row)):
        r[c] = y[c] - areas[row[c]] - g[column[c]]
        if drift:
            r[c] -= t[c] * areas[n + row[c]]


@njit(cache=True, nogil=True)
def _draw_weights(nu, kind, row, v, s, half, stretch, r, xi):
    """Log-t: xi ~ GIG((nu + 1) / 2, scale / 4, 1 + r^2 / scale) (Chen et al. 2019, section 5.2)."""
    for c in range(len(row)):
        scale = _scale(kind, v[c], s[row[c]], stretch)
        xi[c] = draw_gig(0.5 * (nu + 1.0), half * half * scale, 1.0 + r[c] * r[c] / scale)


@njit(cache=True, nogil=True)
def _draw_variances(kind, order, start, v, half, stretch, xi, r, df, beta, s):
    for i in range(len(s)):
        first, last = start[i], start[i + 1]
        if kind == 1:
            chi, psi = 2.0 * beta[i], 0.0
            for k in range(first, last):
                c = order[k]
                chi += xi[c] * r[c] * r[c]
                psi += half * half / xi[c]
            s[i] = draw_gig(-(df[i] + 0.5 * (last - first)), chi, psi)
        elif kind == 2:
            s[i] = np.exp(_slice_excess(np.log(s[i]), order, first, last, v, half, stretch, xi, r, df[i], beta[i]))


@njit(cache=True, nogil=True)
def _draw_walk(gap, group, g, rates):
    """Variance rate of each group's random walk, with a flat prior of its square root (Gelman 2006)."""
    n_groups = len(rates)
    squares, number = np.zeros(n_groups), np.zeros(n_groups)
    for j in range(len(g)):
        if gap[j] > 0.0:
            step = g[j] - g[j - 1]
            squares[group[j]] += step * step / gap[j]
            number[group[j]] += 1.0
    for k in range(n_groups):
        if number[k] > 1.0:
            rates[k] = 0.5 * squares[k] / np.random.gamma(0.5 * (number[k] - 1.0), 1.0)


@njit(cache=True, nogil=True)
def gibbs_chain(indptr, row, column, order, start, y, v, t, gap, group, kind, nu, half, stretch, df,
                beta, scale, precision, information, area_mean, tau, nu_area, tau_scale, fixed_walk, s, xi, rates,
                state, sweeps, store, seed, keep_areas, keep_s, keep_rates, wanted, keep_g, g_sum, g_square,
                g_variance):  # fmt: skip
    """Run ``sweeps`` sweeps from (s, xi, rates), changed in place; store draws and flux moments if ``store``.

    So are ``beta``, ``state``, ``precision`` and ``information`` where a prior has latent scales.

    ``gap[j]`` is the time from column j - 1 to j inside a campaign, else 0; ``wanted`` lists columns whose G is kept.
    Returns False where the precision of the areas was not positive definite.
    """
    np.random.seed(seed)
    n_cells, m = len(row), len(indptr) - 1
    p, z, r = np.empty(n_cells), np.empty(n_cells), np.empty(n_cells)
    g, mean, forward, own, link = np.empty(m), np.empty(m), np.empty(m), np.empty(m), np.zeros(m)
    for k in range(sweeps):
        for c in range(n_cells):
            variance = _scale(kind, v[c], s[row[c]], stretch) / xi[c]
            p[c] = 1.0 / variance
            z[c] = y[c] + half * variance
        for j in range(m):
            if gap[j] > 0.0:
                link[j] = 1.0 / (gap[j] * rates[group[j]])
        d, l = factor_columns(indptr, p, link)
        a, h, _ = eliminate(indptr, row, t, p, z, d, l, precision, information)
        areas, good = draw_areas(a, h)
        if not good:
            return False
        if store:
            # Rao-Blackwell: the conditional mean and variance of G, averaged over draws of the rest.
            solve_columns(indptr, row, t, p, z, d, l, areas, False, mean, forward)
            column_variances(d, l, own)
            for j in range(m):
                g_sum[j] += mean[j]
                g_square[j] += mean[j] * mean[j]
                g_variance[j] += own[j]
        solve_columns(indptr, row, t, p, z, d, l, areas, True, g, forward)
        _residuals(row, column, y, t, areas, g, r)
        _draw_variances(kind, order, start, v, half, stretch, xi, r, df, beta, s)
        if kind > 0:
            draw_scales(df, scale, s, beta)
        if nu_area > 0.0 or tau_scale > 0.0:
            draw_area_prior(areas, area_mean, tau, nu_area, tau_scale, state, precision, information)
        if nu > 0.0:
            _draw_weights(nu, kind, row, v, s, half, stretch, r, xi)
        if not fixed_walk:
            _draw_walk(gap, group, g, rates)
        if store:
            set_row(keep_areas, k, areas)
            set_row(keep_s, k, s)
            set_row(keep_rates, k, rates)
            for e in range(len(wanted)):
                keep_g[k, e] = g[wanted[e]]
    return True
