"""Integrate tabulated emission over the bins of any energy grid, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Array = NDArray[np.float64]


def integrate_linear(energy: Array, density: Array, edges: Array) -> Array:
    """Integrate a piecewise-linear density over bins.

    ``out[i] = integral of f(E) dE from edges[i] to edges[i+1]``, f linear between the nodes and zero outside.

    Parameters
    ----------
    energy, density : arrays, shape (m,), m >= 2
        Nodes (increasing; equal neighbours make a step) and values per unit energy.
    edges : array, shape (n + 1,)

    Returns
    -------
    array, shape (n,)
    """
    width = np.diff(energy)
    area = 0.5 * width * (density[1:] + density[:-1])
    # Summed from the high end: thermal spectra fall steeply, and the difference of two sums that
    # contain the bright low end would lose the faint high end to rounding.
    above = np.concatenate([np.cumsum(area[::-1])[::-1], [0.0]])
    x = np.clip(edges, energy[0], energy[-1])
    k = np.clip(np.searchsorted(energy, x, side="right") - 1, 0, energy.size - 2)
    slope = np.divide(density[k + 1] - density[k], width[k], out=np.zeros_like(x, dtype=float), where=width[k] > 0)
    t = energy[k + 1] - x
    tail = above[k + 1] + t * (density[k + 1] - 0.5 * slope * t)
    return tail[:-1] - tail[1:]


def overlap_matrices(source: Array, target: Array) -> tuple[csr_array, csr_array]:
    """Return matrices that rebin piecewise-linear densities from ``source`` bins to ``target`` bins.

    With bin contents c and, per bin, the excess b of the right end over the mean (as content), the density is
    ``(c + b * s) / width`` with s from -1 to 1 across the bin, and ``out = A @ c + B @ b``.

    Parameters
    ----------
    source : array, shape (m + 1,)
    target : array, shape (n + 1,)

    Returns
    -------
    A, B : csr_array, shape (n, m)
    """
    n, m = target.size - 1, source.size - 1
    cuts = np.union1d(source, target)
    lo, hi = cuts[:-1], cuts[1:]
    middle = 0.5 * (lo + hi)
    row = np.searchsorted(target, middle, side="right") - 1
    column = np.searchsorted(source, middle, side="right") - 1
    keep = (row >= 0) & (row < n) & (column >= 0) & (column < m)
    row, column, lo, hi = row[keep], column[keep], lo[keep], hi[keep]
    width = np.diff(source)[column]
    fraction = (hi - lo) / width
    # Mean of s over the piece, times the piece's share of the bin.
    position = (lo + hi - source[column] - source[column + 1]) / width
    shape = (n, m)
    return (
        csr_array((fraction, (row, column)), shape=shape),
        csr_array((fraction * position, (row, column)), shape=shape),
    )


def limited_slopes(content: Array, edges: Array) -> Array:
    """Return per-bin slopes that stay monotone between neighbours and never make a density negative.

    The minmod limiter of finite-volume schemes (LeVeque 2002, Finite Volume Methods for Hyperbolic Problems,
    eq. 6.26), so that steps such as recombination edges stay steps.

    Parameters
    ----------
    content : array, shape (..., m)
    edges : array, shape (m + 1,)

    Returns
    -------
    array, shape (..., m)
        Half the change of content across the bin, as ``overlap_matrices`` wants it.
    """
    width = np.diff(edges)
    centre = 0.5 * (edges[1:] + edges[:-1])
    density = content / width
    gradient = np.diff(density, axis=-1) / np.diff(centre)
    left, right = gradient[..., :-1], gradient[..., 1:]
    inner = np.where(left * right > 0, np.where(np.abs(left) < np.abs(right), left, right), 0.0)
    slopes = np.zeros_like(density)
    slopes[..., 1:-1] = inner
    half = 0.5 * slopes * width**2
    return np.clip(half, -content, content)


def limits_at(knots: Array, energy: Array, density: Array) -> Array:
    """Return the left and right limits (n, 2) of a piecewise-linear function, zero outside its nodes."""
    found = np.zeros((knots.size, 2))
    for side, k in enumerate((np.searchsorted(energy, knots), np.searchsorted(energy, knots, side="right"))):
        k = k - 1
        inside = (k >= 0) & (k < energy.size - 1)
        j = k[inside]
        t = (knots[inside] - energy[j]) / (energy[j + 1] - energy[j])
        found[inside, side] = (1.0 - t) * density[j] + t * density[j + 1]
    return found
