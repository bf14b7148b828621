"""Compiled samplers on sufficient statistics: block Gibbs and collapsed slice for one variance per channel.

Both are exact. The Gibbs sweep draws B with G integrated out, then the residual sums of squares that a draw of all G
would give, then the variances; G itself is never drawn. With e_j = G_j - E[G_j | B, s] ~ N(0, 1 / p.), the sums over
columns of e_j, e_j^2 and e_j y_ij are jointly the image of n + 2 independent variates.
"""

# ruff: noqa: NPY002 - inside compiled code np.random is numba's own generator, seeded in each entry point

from __future__ import annotations

import numpy as np
from numba import njit

from crosscal.concordance.elimination import cholesky, draw_areas, set_row, solve_lower
from crosscal.concordance.gig import draw_gig
from crosscal.concordance.prior_sampler import NARROWEST, draw_area_prior, draw_scales, log_variance_prior


@njit(cache=True, nogil=True)
def areas_given(offset, index, count, mean, half, s, precision, information):
    """Precision (N, N; lower triangle) and information vector (N,) of B given the variances s (N,).

    ``half`` is 0.5 where the mean of y is B + G - s / 2, and 0 for additive data.
    """
    a, h, inverse = precision.copy(), information.copy(), 1.0 / s
    diagonal = np.zeros(len(s))
    for k in range(len(count)):
        first, last, m = offset[k], offset[k + 1], float(count[k])
        total = 0.0
        for c in range(first, last):
            total += inverse[index[c]]
        # Pair by pair, because p_i - p_i^2 / total is rounding where one variance is far smaller than the others.
        for c in range(first, last):
            i = index[c]
            scaled, z = m * inverse[i] / total, mean[c] + half * s[i]
            weights, steps = 0.0, 0.0
            for e in range(first, c):
                j = index[e]
                if j != i:
                    weight = scaled * inverse[j]
                    step = weight * (z - mean[e] - half * s[j])
                    a[i, j] -= weight
                    diagonal[j] += weight
                    h[j] -= step
                    weights += weight
                    steps += step
            diagonal[i] += weights
            h[i] += steps
    for i in range(len(s)):
        a[i, i] += diagonal[i]
    return a, h


@njit(cache=True, nogil=True)
def residual_squares(offset, index, count, mean, square, scatter, root, rank, half, s, b, out):
    """Fill ``out`` (N,) with a draw of sum_j (y_ij - B_i - G_j)^2 given B and s, G drawn from its conditional."""
    out[:] = 0.0
    inverse = 1.0 / s
    longest = 0
    for k in range(len(count)):
        longest = max(longest, offset[k + 1] - offset[k])
    noise, project, q = np.empty(longest), np.empty(longest), np.empty(longest)
    for k in range(len(count)):
        first, last, m = offset[k], offset[k + 1], count[k]
        n = last - first
        total, average = 0.0, 0.0
        for c in range(first, last):
            i = index[c]
            total += inverse[i]
            average += half + (mean[c] - b[i]) * inverse[i]
        average /= total
        common = np.random.standard_normal() / np.sqrt(m * total)
        if m == 1:
            for c in range(first, last):
                level = mean[c] - b[index[c]] - average - common
                out[index[c]] += level * level
            continue
        noise[:n] = 0.0
        squares, spread, tilt = 0.0, 0.0, 0.0
        base, r = square[k], rank[k]
        for a in range(r):
            u = np.random.standard_normal()
            squares += u * u
            for c in range(n):
                noise[c] += root[base + c * n + a] * u
        if m - 1 - r > 0:
            squares += np.random.chisquare(float(m - 1 - r))
        squares /= total
        for c in range(n):
            noise[c] /= np.sqrt(total)
            tilt += noise[c] * inverse[index[first + c]] / total
        for c in range(n):
            noise[c] -= tilt
            value = 0.0
            for e in range(n):
                value += scatter[base + c * n + e] * inverse[index[first + e]]
            project[c] = value / total
            spread += project[c] * inverse[index[first + c]] / total
        for c in range(n):
            q[c] = max(0.0, scatter[base + c * n + c] - 2.0 * project[c] + spread)
        for c in range(n):
            i = index[first + c]
            # Mean over columns of y - B - E[G], less the common deviation of G.
            level = mean[first + c] - b[i] - average - common
            out[i] += q[c] - 2.0 * noise[c] + squares + m * level * level


@njit(cache=True, nogil=True)
def gibbs_chain(offset, index, count, mean, square, scatter, root, rank, half, cells, precision, information, df, beta,
                scale, area_mean, tau, nu_area, tau_scale, s, state, sweeps, seed, keep_b, keep_s):  # fmt: skip
    """Run ``sweeps`` block-Gibbs sweeps from ``s``, storing B and s; False if numerics failed.

    ``s``, ``beta``, ``state`` and, where the areas' prior has latent widths, ``precision`` and ``information`` are
    changed in place.
    """
    np.random.seed(seed)
    out = np.empty(len(s))
    for k in range(sweeps):
        a, h = areas_given(offset, index, count, mean, half, s, precision, information)
        b, good = draw_areas(a, h)
        if not good:
            return False
        residual_squares(offset, index, count, mean, square, scatter, root, rank, half, s, b, out)
        for i in range(len(s)):
            s[i] = draw_gig(-(df[i] + 0.5 * cells[i]), 2.0 * beta[i] + out[i], half * half * cells[i])
        draw_scales(df, scale, s, beta)
        if nu_area > 0.0 or tau_scale > 0.0:
            draw_area_prior(b, area_mean, tau, nu_area, tau_scale, state, precision, information)
        set_row(keep_b, k, b)
        set_row(keep_s, k, s)
    return True


@njit(cache=True, nogil=True)
def collapsed_log_density(offset, index, count, mean, square, scatter, half, cells, precision, information, df, beta,
                          scale, s):  # fmt: skip
    """log p(log s | y) with B and G integrated out, up to a constant; -inf where numerics fail."""
    a, h = areas_given(offset, index, count, mean, half, s, precision, information)
    root, good = cholesky(a)
    if not good:
        return -np.inf
    value = 0.0
    x = solve_lower(root, h)
    for i in range(len(s)):
        value += 0.5 * x[i] * x[i] - np.log(root[i, i])
        value += log_variance_prior(s[i], df[i], beta[i], scale[i]) - 0.5 * cells[i] * np.log(s[i])
    for k in range(len(count)):
        first, last, m = offset[k], offset[k + 1], float(count[k])
        n = last - first
        total = 0.0
        for c in range(first, last):
            total += 1.0 / s[index[c]]
        # Sum of squares about the weighted mean, pair by pair as in `areas_given`.
        part, base = m * np.log(total), square[k]
        for c in range(n):
            i = index[first + c]
            scaled, z = 1.0 / (s[i] * total), mean[first + c] + half * s[i]
            for e in range(c):
                j = index[first + e]
                d = z - mean[first + e] - half * s[j]
                squares = m * d * d
                if count[k] > 1:
                    row = base + c * n
                    squares += max(0.0, scatter[row + c] + scatter[base + e * n + e] - 2.0 * scatter[row + e])
                part += scaled / s[j] * squares
        value -= 0.5 * part
    return value


@njit(cache=True, nogil=True)
def slice_chain(offset, index, count, mean, square, scatter, half, cells, precision, information, df, beta, scale,
                width, s, sweeps, seed, keep_b, keep_s):  # fmt: skip
    """Slice sampling (Neal 2003, Ann. Stat. 31, 705) of log s by coordinates, then an exact draw of B."""
    np.random.seed(seed)
    n = len(s)
    for k in range(sweeps):
        now = collapsed_log_density(
            offset, index, count, mean, square, scatter, half, cells, precision, information, df, beta, scale, s
        )  # fmt: skip
        for i in range(n):
            level = now + np.log(1.0 - np.random.random())
            centre = np.log(s[i])
            low = centre - width[i] * np.random.random()
            high = low + width[i]
            for side in range(2):
                for _ in range(50):
                    s[i] = np.exp(low if side == 0 else high)
                    if collapsed_log_density(
                        offset, index, count, mean, square, scatter, half, cells, precision, information, df, beta,
                        scale, s,
                    ) <= level:  # fmt: skip
                        break
                    if side == 0:
                        low -= width[i]
                    else:
                        high += width[i]
            while True:
                x = low + np.random.random() * (high - low)
                s[i] = np.exp(x)
                now = collapsed_log_density(
                    offset, index, count, mean, square, scatter, half, cells, precision, information, df, beta, scale, s
                )  # fmt: skip
                if now > level or high - low < NARROWEST:
                    break
                if x < centre:
                    low = x
                else:
                    high = x
        a, h = areas_given(offset, index, count, mean, half, s, precision, information)
        b, good = draw_areas(a, h)
        if not good:
            return False
        set_row(keep_b, k, b)
        set_row(keep_s, k, s)
    return True
