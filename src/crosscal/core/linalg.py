"""Small dense algebra that several parts need."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError


def nearest_precision(matrix: ArrayLike, *, floor: float = 1e-10) -> tuple[NDArray[np.float64], bool]:
    """Symmetrise a Hessian and lift eigenvalues below ``floor`` times the largest.

    Returns
    -------
    precision : array (n, n), positive definite
    unchanged : bool
        True if no eigenvalue had to be lifted.
    """
    symmetric = np.asarray(matrix, dtype=float)
    symmetric = 0.5 * (symmetric + symmetric.T)
    if not np.all(np.isfinite(symmetric)):
        return np.eye(len(symmetric)), False
    # Judge curvature after scaling to unit diagonal, so that units do not decide what is flat.
    scale = np.sqrt(np.abs(np.diag(symmetric)))
    scale[scale == 0] = 1.0
    values, vectors = np.linalg.eigh(symmetric / np.outer(scale, scale))
    least = floor * max(values[-1], floor)
    unchanged = bool(values[0] >= least)
    if unchanged:
        return symmetric, True
    lifted = (vectors * np.maximum(np.abs(values), least)) @ vectors.T
    return lifted * np.outer(scale, scale), False


def oas_covariance(draws: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Covariance of few draws with oracle-approximating shrinkage towards a scaled identity.

    Parameters
    ----------
    draws : array, shape (n, p), n >= 2

    Returns
    -------
    covariance : array (p, p)
    shrinkage : float in [0, 1]

    Raises
    ------
    InputError
        If there are fewer than two draws.

    Notes
    -----
    Chen, Wiesel, Eldar & Hero 2010 (IEEE Trans. Signal Process. 58, 5016), eq. 23.
    """
    x = np.atleast_2d(np.asarray(draws, dtype=float))
    n, p = x.shape
    if n < 2:
        raise InputError(f"{n} draw(s)", where="covariance with shrinkage", expected="at least 2 draws")
    sample = np.cov(x, rowvar=False, ddof=1).reshape(p, p)
    mean_variance = np.trace(sample) / p
    square = np.sum(sample**2)
    numerator = (1 - 2 / p) * square + np.trace(sample) ** 2
    denominator = (n + 1 - 2 / p) * (square - np.trace(sample) ** 2 / p)
    shrinkage = 1.0 if denominator <= 0 else float(min(1.0, numerator / denominator))
    return (1 - shrinkage) * sample + shrinkage * mean_variance * np.eye(p), shrinkage
