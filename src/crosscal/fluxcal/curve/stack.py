"""Vectors of several stars as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.fluxcal.types import CalibrationVector


@dataclass(frozen=True, eq=False)
class Stack:
    """Vectors as arrays (n_star, n_pix); ``mismatch`` has the shape (n_star, 2, n_pix), ``starts`` those of vectors."""

    wavelength: NDArray[np.float64]
    rate: NDArray[np.float64]
    rate_variance: NDArray[np.float64]
    model: NDArray[np.float64]
    model_variance: NDArray[np.float64]
    modes: NDArray[np.float64]
    good: NDArray[np.bool_]
    value: NDArray[np.float64]
    variance: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    names: tuple[str, ...]
    mismatch: NDArray[np.float64]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, vectors: Sequence[CalibrationVector]) -> Stack:
        """Stack vectors that share a grid; the variances of counts are smoothed over 31 pixels.

        A variance made from the counts themselves is low where they are low; used as a weight pixel by pixel it would
        bias the mean.
        """
        from scipy.ndimage import uniform_filter1d

        good = np.stack([v.good for v in vectors])

        def clean(key: str, fill: float) -> NDArray[np.float64]:
            return np.where(good, np.stack([getattr(v, key) for v in vectors]), fill)

        variance = clean("rate_variance", 0.0)
        share = uniform_filter1d(good.astype(float), 31, axis=1, mode="nearest")
        smooth = uniform_filter1d(variance, 31, axis=1, mode="nearest") / np.maximum(share, 1 / 62)
        smooth = np.maximum(smooth, 0.3 * variance)
        return cls(
            vectors[0].wavelength,
            clean("rate", 0.0),
            np.where(good, smooth, 1.0),
            clean("model", 1.0),
            clean("model_variance", 0.0),
            np.stack([v.modes for v in vectors]),
            good,
            clean("value", 1.0),
            clean("variance", 1.0),
            np.array([v.x for v in vectors]),
            np.array([v.y for v in vectors]),
            tuple(v.star for v in vectors),
            np.stack([np.asarray(v.mismatch) for v in vectors]),
            vectors[0].starts,
        )
