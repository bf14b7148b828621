"""How a sweep is cut into chunks: pure arithmetic, shared by tasks (no store needed) and the store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError, UnknownNameError


@dataclass(frozen=True)
class ChunkLayout:
    """A box of points cut into chunks of equal shape (the last one along each dimension may be shorter).

    Chunks are numbered in C order (the last dimension varies fastest), as are the points of a
    :class:`~crosscal.core.grid.Grid`.

    Parameters
    ----------
    dims : tuple of str
        Names of the swept dimensions, usually ``("point",)``.
    sizes : tuple of int
        Number of points along each.
    lengths : tuple of int
        Number of points of one chunk along each.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.dims or len(set(self.dims)) != len(self.dims):
            raise InputError(
                f"swept dimensions {self.dims}", where="chunk layout", expected="different names, at least one"
            )
        if not len(self.dims) == len(self.sizes) == len(self.lengths):
            raise InputError(
                f"{len(self.dims)} dimensions, {len(self.sizes)} sizes, {len(self.lengths)} chunk lengths",
                where="chunk layout",
                expected="equal numbers",
            )
        for name, size, length in zip(self.dims, self.sizes, self.lengths, strict=True):
            if size < 1 or length < 1:
                raise InputError(
                    f"{size} points in chunks of {length}",
                    where=f"dimension {name!r}",
                    expected="at least 1 of both",
                )

    @classmethod
    def of(cls, sizes: Mapping[str, int], chunk: Mapping[str, int] | int) -> ChunkLayout:
        """Make a layout from ``{dim: size}`` of all dimensions and ``{dim: chunk length}`` of the swept ones.

        A bare number cuts the first dimension of ``sizes``. Chunk lengths above the size are cut to it.
        """
        if not isinstance(chunk, Mapping):
            if not sizes:
                raise InputError("no dimensions", where="chunk layout", expected="at least one")
            chunk = {next(iter(sizes)): int(chunk)}
        for name in chunk:
            if name not in sizes:
                raise UnknownNameError("dimension", name, sizes, where="chunk lengths")
        dims = tuple(chunk)
        return cls(
            dims,
            tuple(int(sizes[d]) for d in dims),
            tuple(min(int(chunk[d]), max(int(sizes[d]), 1)) for d in dims),
        )

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of chunks along each dimension."""
        return tuple(-(-size // length) for size, length in zip(self.sizes, self.lengths, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    @property
    def points(self) -> int:
        """Number of points in all."""
        return math.prod(self.sizes)

    def block(self, chunk: int) -> tuple[int, ...]:
        """Return the position of a chunk along each dimension, in units of chunks."""
        if not 0 <= chunk < len(self):
            raise InputError(f"chunk {chunk}", where="chunk layout", expected=f"0 to {len(self) - 1}")
        return tuple(int(k) for k in np.unravel_index(chunk, self.counts))

    def slices(self, chunk: int) -> tuple[slice, ...]:
        """Return the index ranges of a chunk, one slice a swept dimension."""
        return tuple(
            slice(k * length, min((k + 1) * length, size))
            for k, length, size in zip(self.block(chunk), self.lengths, self.sizes, strict=True)
        )

    def shape(self, chunk: int) -> tuple[int, ...]:
        """Return the number of points of a chunk along each swept dimension."""
        return tuple(s.stop - s.start for s in self.slices(chunk))

    def flat(self, chunk: int) -> NDArray[np.int64]:
        """Return the flat (C order) numbers of the points of a chunk, shape ``shape(chunk)``.

        They index a :class:`~crosscal.core.grid.Grid` (``grid.take``) or ``core.random.point_seeds``.
        """
        ranges = [np.arange(s.start, s.stop) for s in self.slices(chunk)]
        return np.ravel_multi_index(np.ix_(*ranges), self.sizes).astype(np.int64)
