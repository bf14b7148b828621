"""Draws of a Gaussian: the posterior of answers that are a best value with a covariance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from crosscal.core.errors import InputError
from crosscal.core.random import generator
from crosscal.inference.posterior import Posterior

#: Draws of a Gaussian: its standard deviations are then good to 2 per cent.
DRAWS = 1000
#: Share of the largest eigenvalue of a covariance by which rounding may make one negative.
ROUNDING = 1e-9


def gaussian_posterior(
    mean: Mapping[str, ArrayLike], covariance: ArrayLike, *, draws: int = DRAWS, seed: int = 0, **facts: Any
) -> Posterior:
    """Return draws ``x = mean + V sqrt(w) z`` with ``covariance = V diag(w) V^T`` and standard normal ``z``.

    Parameters
    ----------
    mean : mapping of name to number or array
        Their elements in this order are the rows of the covariance.
    covariance : array (n, n)
    draws, seed : int
    **facts
        ``dims``, ``coords``, ``units``, ``messages``, ``provenance`` of `Posterior.from_draws`.

    Raises
    ------
    InputError
        If the covariance has another shape, or is not finite or not positive semi-definite.
    """
    means = {name: np.asarray(value, dtype=float) for name, value in mean.items()}
    centre = np.concatenate([value.ravel() for value in means.values()])
    matrix = np.asarray(covariance, dtype=float)
    if matrix.shape != (centre.size, centre.size):
        raise InputError(
            f"a covariance of shape {matrix.shape}", where="Gaussian", expected=f"({centre.size}, {centre.size})"
        )
    if not np.all(np.isfinite(matrix)):
        raise InputError("the covariance is not finite", where="Gaussian", expected="finite numbers")
    # Parameters of very different size (kT and norm) are put on one scale before the decomposition.
    scale = np.sqrt(np.clip(np.diag(matrix), 0.0, None))
    unit = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(matrix / np.outer(unit, unit))
    if values[0] < -ROUNDING * max(float(values[-1]), 1.0):
        raise InputError("the covariance has a negative eigenvalue", where="Gaussian", expected="a covariance matrix")
    z = generator(seed, "gaussian").standard_normal((draws, centre.size))
    rows = centre + unit * ((z * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T)
    arrays, start = {}, 0
    for name, value in means.items():
        arrays[name] = rows[:, start : start + value.size].reshape(1, draws, *value.shape)
        start += value.size
    return Posterior.from_draws(arrays, method="gaussian", **facts)
