"""Compiled likelihood of fluxes with Gaussian errors: limits, asymmetric errors, fluxes at or below zero.

A cell of channel i and column j has mean mu = A_i F_j and variance V = sd^2 + s_i mu^2: the quoted error in flux, and
the excess at the model's flux, never at the measured one. F_j is integrated out by quadrature in u = asinh(lambda),
lambda = F_j sqrt(P_j), P_j = sum_i A_i^2 / sd_ij^2, under a flat prior of u > 0. That prior is flat in ln F for sources
well above their errors, as in the log-normal model, and flat in F for the others; it does not depend on the unit of
the flux, and gives the areas no preference: d ln L / dB then has zero mean at the truth for any S/N.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

#: Nodes about a mode that lies many widths from zero flux, in widths, and the logarithms of their weights.
_HERMITE = np.polynomial.hermite.hermgauss(9)
_NEAR, _NEAR_WEIGHTS = np.sqrt(2.0) * _HERMITE[0], np.log(np.sqrt(2.0) * _HERMITE[1]) + _HERMITE[0] ** 2
#: Widths from zero flux beyond which these nodes serve, as the integrand is close to a Gaussian there.
_CLEAR = 8.0
#: Nodes of an interval that zero flux may end, for the others.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
#: The interval of the quadrature ends between these drops of the log density.
_ENOUGH, _TOO_MUCH = 20.0, 45.0
#: Below this argument the asymptotic series of the normal distribution function is used.
_FAR = -6.0


@njit(cache=True, nogil=True)
def log_normal_cdf(x):
    """Logarithm of the standard normal distribution function."""
    if x > _FAR:
        return math.log(0.5 * math.erfc(-x / math.sqrt(2.0)))
    square = 1.0 / (x * x)
    series = 1.0 - square * (1.0 - 3.0 * square * (1.0 - 5.0 * square * (1.0 - 7.0 * square)))
    return -0.5 * x * x - math.log(-x * math.sqrt(2.0 * math.pi)) + math.log(series)


@njit(cache=True, nogil=True)
def _hazard(x):
    """Density over distribution function of the standard normal."""
    return math.exp(-0.5 * x * x - 0.5 * math.log(2.0 * math.pi) - log_normal_cdf(x))


@njit(cache=True, nogil=True)
def cell_value(mu, excess, f, low, high, variance, limit):
    """Twice the negative log likelihood of one cell, without the log of its quoted variance.

    ``low`` and ``high`` are the errors below and above the flux ``f``; ``variance`` is their mean square. ``limit`` is
    1 where f is an upper limit (the measured flux was below it), -1 for a lower one, else 0.
    """
    residual = f - mu
    extra = excess * mu * mu
    if limit != 0:
        return -2.0 * log_normal_cdf(limit * residual / math.sqrt(variance + extra))
    sd = low if residual > 0.0 else high
    return residual * residual / (sd * sd + extra) + math.log1p(extra / variance)


@njit(cache=True, nogil=True, fastmath={"contract", "arcp", "reassoc"})
def _column_value(flux, first, last, row, area, f, low, high, variance, limit, s):
    total = 0.0
    product = 1.0
    for c in range(first, last):
        mu = area[c] * flux
        residual = f[c] - mu
        extra = s[row[c]] * mu * mu
        if limit[c] != 0:
            total -= 2.0 * log_normal_cdf(limit[c] * residual / math.sqrt(variance[c] + extra))
            continue
        sd = low[c] if residual > 0.0 else high[c]
        total += residual * residual / (sd * sd + extra)
        # One logarithm for many factors.
        product *= 1.0 + extra / variance[c]
        if product > 1e200:
            total += math.log(product)
            product = 1.0
    return -0.5 * (total + math.log(product))


@njit(cache=True, nogil=True)
def _slopes(mu, excess, f, low, high, variance, limit):
    """Return d ln L / d ln mu of a cell, and the expected information on ln mu."""
    residual = f - mu
    extra = excess * mu * mu
    if limit != 0:
        total = variance + extra
        sd = math.sqrt(total)
        x = limit * residual / sd
        h = _hazard(x)
        slope = -h * (limit * mu / sd + x * extra / total)
        return slope, max(h * (h + x), 0.0) * mu * mu / total
    sd = low if residual > 0.0 else high
    v = sd * sd + extra
    return residual * mu / v - extra / (variance + extra) + residual * residual * extra / (v * v), mu * mu / v


@njit(cache=True, nogil=True)
def _mode(u, unit, first, last, row, area, f, low, high, variance, limit, s):
    """Return the maximum over u > 0 near ``u``, and the curvature there, by guarded Newton steps."""
    curvature = 1.0
    for _ in range(30):
        flux, per_u = math.sinh(u) * unit, math.cosh(u) * unit
        slope, curvature = 0.0, 0.0
        for c in range(first, last):
            mu = area[c] * flux
            one, information = _slopes(mu, s[row[c]], f[c], low[c], high[c], variance[c], limit[c])
            slope += one * per_u / flux
            curvature += information * (per_u / flux) ** 2
        curvature = max(curvature, 0.05)
        step = min(max(slope / curvature, -0.7 * u), 1.5)
        u += step
        if abs(step) * math.sqrt(curvature) < 0.05 or u < 1e-3:
            break
    return max(u, 1e-3), curvature


@njit(cache=True, nogil=True)
def _edge(u, step, top, unit, first, last, row, area, f, low, high, variance, limit, s):
    """Where the log density has fallen by about 20 to 45 from ``top``, in the direction of ``step``; not below 0."""
    for _ in range(40):
        x = u + step
        if x <= 0.0:
            x = 0.0
        drop = top - _column_value(math.sinh(x) * unit, first, last, row, area, f, low, high, variance, limit, s)
        if drop > _TOO_MUCH:
            step *= 0.75
        elif drop < _ENOUGH and x > 0.0:
            step *= 1.35
        else:
            break
    return x


@njit(cache=True, nogil=True)
def log_areas(row, t, theta, area):
    """Fill ``area`` (n_cells,) with A = exp(B + D t)."""
    drift = len(t) > 0
    n = len(theta) // 2 if drift else len(theta)
    for c in range(len(row)):
        value = theta[row[c]]
        if drift:
            value += t[c] * theta[n + row[c]]
        area[c] = math.exp(value)


#: Columns treated at a time, so that calls of functions cost nothing.
_BLOCK = 64


@njit(cache=True, nogil=True)
def _integrate(value, start, end, indptr, row, area, f, low, high, variance, limit, s, mode, width, unit, fluxes, p,
               used):  # fmt: skip
    """Add to ``value`` the logarithms of the integrals over the fluxes of columns ``start`` to ``end``.

    Fills mode, width and unit of each column (see `log_marginal`), and how many nodes of the quadrature are ``used``:
    ``fluxes`` and their normalised weights ``p``, a row a column.
    """
    for j in range(start, end):
        first, last, row_of = indptr[j], indptr[j + 1], j - start
        power = 0.0
        for c in range(first, last):
            power += area[c] * area[c] / variance[c]
        one = 1.0 / math.sqrt(power)
        unit[j] = one
        u, curvature = _mode(mode[j], one, first, last, row, area, f, low, high, variance, limit, s)
        mode[j], width[j] = u, 1.0 / math.sqrt(curvature)
        top = _column_value(math.sinh(u) * one, first, last, row, area, f, low, high, variance, limit, s)
        near = u > _CLEAR * width[j]
        n_nodes, total = (len(_NEAR) if near else len(_NODES)), 0.0
        half, middle = width[j], u
        if not near:
            a = _edge(u, -7.0 * half, top, one, first, last, row, area, f, low, high, variance, limit, s)
            b = _edge(u, 7.0 * half, top, one, first, last, row, area, f, low, high, variance, limit, s)
            half, middle = 0.5 * (b - a), 0.5 * (a + b)
        for k in range(n_nodes):
            flux = math.sinh(middle + half * (_NEAR[k] if near else _NODES[k])) * one
            drop = _column_value(flux, first, last, row, area, f, low, high, variance, limit, s) - top
            weight = math.exp(drop + _NEAR_WEIGHTS[k]) if near else _WEIGHTS[k] * math.exp(drop)
            fluxes[row_of, k], p[row_of, k] = flux, weight
            total += weight
        for k in range(n_nodes):
            p[row_of, k] /= total
        used[row_of] = n_nodes
        value += top + math.log(half * total)
    return value


@njit(cache=True, nogil=True)
def _add_slopes(start, end, indptr, row, t, area, f, low, high, variance, limit, s, fluxes, p, used, each, weight,
                direction, n, gradient, information):  # fmt: skip
    """Add gradient and expected information of columns ``start`` to ``end``."""
    drift = len(t) > 0
    for j in range(start, end):
        first, last, row_of = indptr[j], indptr[j + 1], j - start
        power = 0.0
        for c in range(first, last):
            direction[c - first] = area[c] * area[c] / variance[c]
            power += direction[c - first]
        each[: last - first] = 0.0
        weight[: last - first] = 0.0
        for k in range(used[row_of]):
            share, flux = p[row_of, k], fluxes[row_of, k]
            if share < 1e-9:
                continue
            for c in range(first, last):
                slope, info = _slopes(
                    area[c] * flux, s[row[c]], f[c], low[c], high[c], variance[c], limit[c]
                )  # fmt: skip
                each[c - first] += share * slope
                weight[c - first] += share * info
        everything, shared = 0.0, 0.0
        for k in range(last - first):
            everything += weight[k]
            shared += each[k]
        everything = max(everything, 1e-300)
        for c in range(first, last):
            # At fixed u the flux moves with the areas: d ln F / d ln A_c = -direction_c / power.
            along = each[c - first] - shared * direction[c - first] / power
            gradient[row[c]] += along
            if drift:
                gradient[n + row[c]] += t[c] * along
            scaled = weight[c - first] / everything
            for e in range(first, c + 1):
                q = -scaled * weight[e - first]
                if e == c:
                    q += weight[c - first]
                _spread_information(information, row[c], row[e], t, c, e, n, q, drift)


@njit(cache=True, nogil=True)
def log_marginal(indptr, row, t, f, low, high, variance, limit, theta, s, slopes, area, mode, width, unit, mean,
                 square, gradient, information):  # fmt: skip
    """Log likelihood of areas ``theta`` (B, or B and drifts) and excess variances ``s``, all fluxes integrated out.

    Fills ``area`` (n_cells,) and, for each column, the mode of u (a guess on entry) and the width of its density, the
    factor ``unit`` from sinh(u) to flux, and mean and mean square of ln F. With ``slopes``, fills the gradient (K,)
    and the expected information (K, K; lower triangle) too.
    """
    log_areas(row, t, theta, area)
    m, n = len(indptr) - 1, len(theta) // 2 if len(t) > 0 else len(theta)
    fluxes, p = np.empty((_BLOCK, len(_NODES))), np.empty((_BLOCK, len(_NODES)))
    used, longest = np.empty(_BLOCK, np.int64), 0
    for j in range(m):
        longest = max(longest, indptr[j + 1] - indptr[j])
    each, weight, direction = np.empty(longest), np.empty(longest), np.empty(longest)
    if slopes:
        gradient[:] = 0.0
        information[:] = 0.0
    value = 0.0
    for start in range(0, m, _BLOCK):
        end = min(start + _BLOCK, m)
        value = _integrate(value, start, end, indptr, row, area, f, low, high, variance, limit, s, mode, width, unit,
                           fluxes, p, used)  # fmt: skip
        for j in range(start, end):
            mean[j], square[j] = 0.0, 0.0
            for k in range(used[j - start]):
                g = math.log(fluxes[j - start, k])
                mean[j] += p[j - start, k] * g
                square[j] += p[j - start, k] * g * g
        if slopes:
            _add_slopes(start, end, indptr, row, t, area, f, low, high, variance, limit, s, fluxes, p, used, each,
                        weight, direction, n, gradient, information)  # fmt: skip
    return value


@njit(cache=True, nogil=True)
def _spread_information(information, i, k, t, c, e, n, q, drift):
    """Add information ``q`` on the pair of cells (c, e) to areas and drifts, lower triangle (cells sorted by row)."""
    # Repeated cells of one channel meet on the diagonal from both sides.
    twice = 2.0 if i == k and c != e else 1.0
    information[i, k] += twice * q
    if drift:
        information[n + i, n + k] += twice * t[c] * t[e] * q
        information[n + i, k] += t[c] * q
        if c != e:
            information[n + k, i] += t[e] * q


@njit(cache=True, nogil=True)
def column_log_density(u, unit, first, last, row, area, f, low, high, variance, limit, s):
    """Log conditional density of u of one column, up to a constant."""
    return _column_value(math.sinh(u) * unit, first, last, row, area, f, low, high, variance, limit, s)
