"""Several arms as one row of pixels: what stars lose is continuous over them, each arm has its own smooth curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from crosscal.fluxcal.curve.curve import Curve
from crosscal.fluxcal.curve.smoothing import Smooth, extrapolate, smooth_throughput
from crosscal.fluxcal.types import CalibrationVector

#: Attributes of vectors and curves whose last axis is that of pixels.
_VECTOR = (
    "wavelength", "value", "variance", "good", "rate", "rate_variance", "model", "model_variance", "modes", "mismatch",
)  # fmt: skip
_CURVE = (
    "wavelength", "value", "variance", "modes", "covered", "bridged", "n_stars", "scatter", "extrapolated",
)  # fmt: skip


def parts(starts: Sequence[int], n: int) -> list[slice]:
    """Pixels of each arm among ``n``, from the number of its first one."""
    return [slice(a, b) for a, b in pairwise((*starts, n))]


def joined(vectors: Sequence[CalibrationVector]) -> CalibrationVector:
    """The vectors of one star in several arms as one; that of a single arm as it is."""
    if len(vectors) == 1:
        return vectors[0]
    starts = np.cumsum([0, *(v.value.size for v in vectors[:-1])])
    # All arms have as many modes: scale and two of the posterior over templates.
    whole: dict[str, Any] = {key: np.concatenate([getattr(v, key) for v in vectors], axis=-1) for key in _VECTOR}
    return replace(vectors[0], **whole, starts=tuple(int(s) for s in starts))


def split_vector(vector: CalibrationVector) -> list[CalibrationVector]:
    """The vectors of a star in each arm."""
    if len(vector.starts) == 1:
        return [vector]
    cuts = parts(vector.starts, vector.value.size)
    return [replace(vector, **{key: getattr(vector, key)[..., cut] for key in _VECTOR}, starts=(0,)) for cut in cuts]


def split_curve(curve: Curve, starts: Sequence[int]) -> list[Curve]:
    """The curve of each arm; coefficients of stars stay those of all arms together."""
    if len(starts) == 1:
        return [curve]
    cuts = parts(starts, curve.value.size)
    return [replace(curve, **{key: getattr(curve, key)[..., cut] for key in _CURVE}) for cut in cuts]


def smooth_arms(
    starts: Sequence[int],
    wavelength: NDArray[np.float64],
    throughput: NDArray[np.float64],
    variance: NDArray[np.float64],
    method: str,
    scale: float,
    *,
    errors: bool = True,
    reach: float = 0.0,
) -> Smooth:
    """Smooth the throughput of each arm by itself (:func:`smooth_throughput`) and extrapolate it by ``reach``."""
    made = []
    for cut in parts(starts, wavelength.size):
        own = smooth_throughput(wavelength[cut], throughput[cut], variance[cut], method, scale, errors=errors)
        made.append(extrapolate(wavelength[cut], own, reach, scale))
    if len(made) == 1:
        return made[0]
    value, spread = (np.concatenate([getattr(m, key) for m in made]) for key in ("value", "variance"))
    return Smooth(value, spread, np.asarray(block_diag(*(m.modes for m in made)), dtype=float))
