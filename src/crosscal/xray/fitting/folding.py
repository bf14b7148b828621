"""Folding many spectra through one redistribution, with the same bits on any number of threads.

A BLAS product may round differently with another number of threads; these loops do not, and they skip the channels
that a group of energies never reaches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csc_array

from crosscal.xray.fitting.table import aligned_zeros

Array = NDArray[np.float64]

_GROUP = 4  # energies whose products are added in one pass over the channels
_BLOCK = 4  # groups that stay in the cache while all spectra pass


@dataclass(frozen=True)
class PackedMatrix:
    """A redistribution in groups of four energies: each keeps the contiguous channels that any of them reaches.

    Attributes
    ----------
    values : the group's four rows, one after another, for all groups
    first, width, offset : (n_group,) first channel, number of channels, start in ``values``
    """

    values: Array
    first: NDArray[np.int64]
    width: NDArray[np.int64]
    offset: NDArray[np.int64]
    n_energy: int
    n_channel: int

    @classmethod
    def pack(cls, matrix) -> PackedMatrix:
        """Pack a sparse (n_channel, n_energy) matrix."""
        columns = csc_array(matrix)
        columns.sort_indices()
        n_channel, n_energy = columns.shape
        n_group = -(-n_energy // _GROUP)
        first, width = np.zeros(n_group, np.int64), np.zeros(n_group, np.int64)
        for g in range(n_group):
            used = columns.indices[columns.indptr[g * _GROUP] : columns.indptr[min((g + 1) * _GROUP, n_energy)]]
            if used.size:
                # From a multiple of 8, so that no SIMD load is split.
                first[g] = used.min() // 8 * 8
                width[g] = (int(used.max()) + 8) // 8 * 8 - first[g]
        offset = np.concatenate([[0], np.cumsum(width * _GROUP)])
        values = aligned_zeros(1, int(offset[-1]) + 8)[0]
        for g in range(n_group):
            for j, e in enumerate(range(g * _GROUP, min((g + 1) * _GROUP, n_energy))):
                part = slice(columns.indptr[e], columns.indptr[e + 1])
                values[offset[g] + j * width[g] + columns.indices[part] - first[g]] = columns.data[part]
        return cls(values, first, width, offset[:-1], n_energy, n_channel)

    def fold(self, spectra: Array, factor: Array | None = None, *, out: Array | None = None) -> Array:
        """Return ``out[s, c] = sum_e matrix[c, e] spectra[s, e] factor[e]``.

        Parameters
        ----------
        spectra : (n_spectrum, n_energy)
        factor : (n_energy,), optional
        out : (n_spectrum, n_channel rounded up to 8), optional

        Returns
        -------
        array, (n_spectrum, n_channel rounded up to 8); the added channels hold zeros
        """
        if factor is None:
            factor = np.ones(self.n_energy)
        if out is None:
            out = aligned_zeros(spectra.shape[0], self.n_channel)
        _fold(
            self.values, self.first, self.width, self.offset,
            np.ascontiguousarray(spectra, dtype=float), np.ascontiguousarray(factor, dtype=float), out,
        )  # fmt: skip
        return out


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _two(values, o, w, c, a0, a1, a2, a3, b0, b1, b2, b3, out, s):
    # Unsigned indices cannot be negative; the test for that would make the loads gathers (5 times slower).
    o0, o1, o2, o3 = np.uint64(o), np.uint64(o + w), np.uint64(o + 2 * w), np.uint64(o + 3 * w)
    c = np.uint64(c)
    for i in range(np.uint64(w)):
        m0, m1, m2, m3 = values[o0 + i], values[o1 + i], values[o2 + i], values[o3 + i]
        out[s, c + i] += a0 * m0 + a1 * m1 + a2 * m2 + a3 * m3
        out[s + 1, c + i] += b0 * m0 + b1 * m1 + b2 * m2 + b3 * m3


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _one(values, o, w, c, a0, a1, a2, a3, out, s):
    o0, o1, o2, o3 = np.uint64(o), np.uint64(o + w), np.uint64(o + 2 * w), np.uint64(o + 3 * w)
    c = np.uint64(c)
    for i in range(np.uint64(w)):
        out[s, c + i] += a0 * values[o0 + i] + a1 * values[o1 + i] + a2 * values[o2 + i] + a3 * values[o3 + i]


@njit(cache=True, nogil=True, error_model="numpy")
def _fold(values, first, width, offset, spectra, factor, out):
    n_spectrum, n_energy = spectra.shape
    n_group = first.size
    a, b = np.zeros(4), np.zeros(4)
    for s in range(n_spectrum):
        for i in range(out.shape[1]):
            out[s, i] = 0.0
    for block in range(0, n_group, _BLOCK):
        for s in range(0, n_spectrum, 2):
            paired = s + 1 < n_spectrum
            for g in range(block, min(block + _BLOCK, n_group)):
                for j in range(4):
                    e = 4 * g + j
                    inside = e < n_energy
                    a[j] = spectra[s, e] * factor[e] if inside else 0.0
                    b[j] = spectra[s + 1, e] * factor[e] if inside and paired else 0.0
                if paired:
                    _two(
                        values, offset[g], width[g], first[g],
                        a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], out, s,
                    )  # fmt: skip
                else:
                    _one(values, offset[g], width[g], first[g], a[0], a[1], a[2], a[3], out, s)
