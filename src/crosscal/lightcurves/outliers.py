"""Exact leave-one-out residuals: how far each point is from what all others predict."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError
from crosscal.core.keywords import keywords
from crosscal.lightcurves.model import Model
from crosscal.lightcurves.types import LightCurves


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Leave-one-out predictions of one file, averaged over posterior draws.

    Attributes
    ----------
    residual : array (N,)
        Calibrated flux minus its prediction from all other points, normalised units.
    sd : array (N,)
        Standard deviation of that residual: prediction and the point's own error.
    z : array (N,)
        residual / sd; NaN for a point that no other constrains (the only one of a telescope with a free shift).

    Examples
    --------
    >>> left_out = result.leave_one_out()  # doctest: +SKIP
    >>> left_out.z  # doctest: +SKIP
    """

    residual: NDArray[np.float64]
    sd: NDArray[np.float64]
    z: NDArray[np.float64]


def leave_one_out(model: Model, vectors: NDArray[np.float64], i: int = 0) -> LeaveOneOut:
    """Compute leave-one-out residuals of file ``i``: of a Gaussian process in O(N) per draw (`FileModel.left_out`).

    ``vectors`` (n_draws, n) are posterior draws of the full normalised vector, over which the residuals are averaged.

    Raises
    ------
    InputError
        If the likelihood is not defined at a draw.
    """
    residual, square, variance = (np.zeros(len(model.curves.files[i])) for _ in range(3))
    for x in vectors:
        found = model.files[i].left_out(model.parts(x, i))
        if found is None:
            raise InputError("the likelihood is not defined", where="leave-one-out", expected="finite parameters")
        r, v = found.residual, found.variance
        residual += r
        square += r**2
        variance += v
    n = len(vectors)
    mean = residual / n
    sd = np.sqrt(variance / n + np.maximum(square / n - mean**2, 0.0))
    return LeaveOneOut(mean, sd, mean / sd)


@keywords
def remove_outliers(
    curves: LightCurves, model: Model, vectors: NDArray[np.float64], threshold: float = 5.0
) -> tuple[LightCurves, list[NDArray[np.int64]]]:
    """Drop points whose leave-one-out residual exceeds ``threshold`` sigma; flags are kept.

    Parameters
    ----------
    vectors : array (n_draws, n)
        Posterior draws of the full normalised vector.

    Returns
    -------
    curves : LightCurves
    removed : list of int arrays, per file
        Indices of the dropped points (time order).

    Raises
    ------
    InputError
        If the threshold is not positive.

    Examples
    --------
    >>> model, vectors = result.model, result.draws.vectors  # doctest: +SKIP
    >>> cleaned = lightcurves.remove_outliers(curves, model, vectors, threshold=5.0)  # doctest: +SKIP
    """
    if not threshold > 0:
        raise InputError(f"threshold {threshold:g}", where="outliers", expected="a number > 0")
    kept, removed = [], []
    for i, curve in enumerate(curves.files):
        z = leave_one_out(model, vectors, i).z
        bad = np.abs(z) > threshold  # NaN compares false: such a point cannot be judged and stays
        kept.append(curve.take(~bad))
        removed.append(np.flatnonzero(bad))
    return replace(curves, continuum=kept[0], lines=tuple(kept[1:])), removed
