"""Sufficient statistics per missing pattern: after one pass over the data, no cost depends on M."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crosscal.concordance.types import Comparison

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Patterns:
    """Columns grouped by which channels see them; ragged arrays, pattern k has n_k channels and m_k columns.

    Attributes
    ----------
    offset : int array (K + 1,)
        Channels of pattern k are ``index[offset[k]:offset[k + 1]]``.
    index : int array
        Channels, increasing within a pattern.
    count : array (K,)
        m_k.
    mean : array
        Mean of y over the pattern's columns, beside ``index``.
    square : int array (K + 1,)
        Where the n_k x n_k matrices start in ``scatter`` and ``root``; empty for m_k = 1.
    scatter : array
        C_k = sum_j (y_j - ybar)(y_j - ybar)'.
    root : array
        R_k with R R' = C.
    rank : int array (K,)
        Rank of C_k, at most min(n_k, m_k - 1).
    member : int array (M,)
        Pattern of each column.
    """

    offset: NDArray[np.int64]
    index: NDArray[np.int64]
    count: NDArray[np.int64]
    mean: Floats
    square: NDArray[np.int64]
    scatter: Floats
    root: Floats
    rank: NDArray[np.int64]
    member: NDArray[np.int64]
    n_channels: int

    @property
    def size(self) -> int:
        """K."""
        return len(self.count)

    @property
    def arrays(self) -> tuple[NDArray, ...]:
        """The arrays that compiled code takes, in its order."""
        return self.offset, self.index, self.count, self.mean, self.square, self.scatter, self.root, self.rank

    @property
    def work(self) -> int:
        """Products of one evaluation of the collapsed density."""
        return int(np.sum(np.diff(self.offset) ** 2))

    def per_channel(self) -> NDArray[np.int64]:
        """Number of cells per channel."""
        repeated = np.repeat(self.count, np.diff(self.offset))
        return np.bincount(self.index, repeated, self.n_channels).astype(np.int64)


@njit(cache=True, nogil=True)
def _pattern_keys(indptr, row):
    """Two 64-bit hashes of each column's set of channels (and they are compared exactly afterwards)."""
    m = len(indptr) - 1
    keys = np.empty(m, np.uint64)
    for j in range(m):
        value = np.uint64(14695981039346656037)
        for c in range(indptr[j], indptr[j + 1]):
            value = (value ^ np.uint64(row[c] + 1)) * np.uint64(1099511628211)
            value ^= value >> np.uint64(29)
        keys[j] = value
    return keys


@njit(cache=True, nogil=True)
def _same_as_first(indptr, row, member, first):
    for j in range(len(member)):
        f = first[member[j]]
        if indptr[j + 1] - indptr[j] != indptr[f + 1] - indptr[f]:
            return False
        for c in range(indptr[j + 1] - indptr[j]):
            if row[indptr[j] + c] != row[indptr[f] + c]:
                return False
    return True


def summarise(data: Comparison) -> Patterns:
    """Return the sufficient statistics of log-normal data whose variances are per channel."""
    keys = _pattern_keys(data.indptr, data.row)
    _, first, member, count = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    member = member.ravel()
    if not _same_as_first(data.indptr, data.row, member, first):
        # A collision of hashes (probability below 1e-9 for 1e5 patterns): group by the exact sets instead.
        sets = [data.row[data.indptr[j] : data.indptr[j + 1]].tobytes() for j in range(data.n_columns)]
        _, first, member, count = np.unique(
            np.array(sets, dtype=object).astype("S"), return_index=True, return_inverse=True, return_counts=True
        )
    widths = np.diff(data.indptr)[first]
    offset = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
    spans = np.concatenate([np.arange(data.indptr[f], data.indptr[f + 1]) for f in first])
    index, mean = data.row[spans].astype(np.int64), data.log_rate[spans].copy()
    sizes = np.where(count > 1, widths**2, 0)
    square = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    scatter, root, rank = np.zeros(square[-1]), np.zeros(square[-1]), np.zeros(len(count), np.int64)
    order = np.argsort(member, kind="stable")
    start = np.concatenate([[0], np.cumsum(count)])
    for k in np.flatnonzero(count > 1):
        columns = order[start[k] : start[k + 1]]
        n = int(widths[k])
        block = data.log_rate[data.indptr[columns][:, None] + np.arange(n)]
        mean[offset[k] : offset[k + 1]] = block.mean(axis=0)
        block -= block.mean(axis=0)
        matrix = block.T @ block
        values, vectors = np.linalg.eigh(matrix)
        # Rank counts directions of real scatter; rounding leaves others at about 1e-16 of the largest.
        used = values > 1e-13 * max(values[-1], 1e-300) * n
        limit = min(n, int(count[k]) - 1)
        used[: n - limit] = False
        span = slice(square[k], square[k + 1])
        scatter[span] = matrix.ravel()
        root[span] = (vectors * np.sqrt(np.where(used, values, 0.0)))[:, ::-1].ravel()
        rank[k] = used.sum()
    return Patterns(offset, index, count.astype(np.int64), mean, square, scatter, root, rank, member, data.n_channels)
