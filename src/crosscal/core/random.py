"""Seeds that belong to a place in a problem, not to the order in which it is worked through.

``point_seeds(seed, index)`` gives every grid point its own 64-bit seed, so any part of a grid can be computed
alone, in any order, by any number of workers, with the same bits.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # Finaliser of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA, fig. 15).
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def point_seeds(seed: int, *index: ArrayLike) -> NDArray[np.uint64]:
    """Return one 64-bit seed per broadcast element of the integer arrays ``index``.

    Parameters
    ----------
    seed : int
        The seed of the whole job.
    *index : integer arrays, broadcastable
        The place: for instance grid-point number and realisation number.

    Examples
    --------
    >>> bool(point_seeds(1, [0, 1, 2])[2] == point_seeds(1, 2))
    True
    """
    with np.errstate(over="ignore"):
        state = _mix(np.asarray(seed % 2**64, dtype=np.uint64) + _GAMMA)
        for axis in index:
            state = _mix(state ^ (_mix(np.asarray(axis).astype(np.uint64) + _GAMMA) + _GAMMA))
    return np.asarray(state, dtype=np.uint64)


def generator(seed: int, *key: int | str) -> np.random.Generator:
    """Return a NumPy generator for a named stream of a job: ``generator(seed, "validation", 3)``."""
    text = "/".join([str(int(seed)), *(str(k) for k in key)])
    words = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint32)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words.tolist())))


def integer_seed(seed: int, *key: int | str) -> int:
    """Return a 31-bit seed for a named stream, for libraries that take an integer (JAX, dynesty)."""
    return int(generator(seed, *key).integers(2**31 - 1))
