"""Shape-free with a prior: a Gaussian process in log energy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import BasisModifier

# Quadrature points of the expansion: ten per correlation length at the shortest one allowed.
_POINTS = 400
_SHORTEST = 10.0 / _POINTS
# Eigenfunctions of smaller eigenvalues (relative to the largest) are rounding errors of the eigenvalue solver.
_RESOLVED = 1e-10


def _squared_exponential(distance: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * distance**2)


def _matern32(distance: np.ndarray) -> np.ndarray:
    x = np.sqrt(3.0) * np.abs(distance)
    return (1 + x) * np.exp(-x)


KERNELS = {"squared-exponential": _squared_exponential, "matern32": _matern32}


@lru_cache(maxsize=32)
def _expansion(kernel: str, sd: float, length: float, low: float, high: float, n: int | None, share: float):
    """Return quadrature points, weights, eigenvalues and eigenfunctions of the covariance (Nystrom)."""
    edges = np.linspace(np.log(low), np.log(high), _POINTS + 1)
    points, weight = 0.5 * (edges[1:] + edges[:-1]), edges[1] - edges[0]
    covariance = sd**2 * KERNELS[kernel]((points[:, None] - points) / length)
    values, vectors = np.linalg.eigh(covariance * weight)
    values, vectors = values[::-1], vectors[:, ::-1] / np.sqrt(weight)
    if n is None:
        explained = np.cumsum(values) / (sd**2 * (edges[-1] - edges[0]))
        n = int(np.searchsorted(explained, share)) + 1
    resolved = int(np.count_nonzero(values > _RESOLVED * values[0]))
    if n > resolved:
        raise InputError(f"{n} terms", where="modifier 'gaussian-process'", expected=f"at most {resolved}")
    # A fixed sign, so that coefficients mean the same on every machine: LAPACK's depends on processor and threads. The
    # value at the low end is never near zero, as the sum over an odd eigenfunction is.
    vectors = vectors[:, :n] * np.where(vectors[0, :n] < 0, -1.0, 1.0)
    return points, weight, values[:n], vectors


@dataclass(frozen=True)
class GaussianProcess(BasisModifier):
    """Gaussian process in x = ln E as a linear basis: phi = 1 + sum_k z_k sqrt(lambda_k) u_k(x), z_k ~ N(0, 1).

    lambda_k and u_k are eigenvalues and eigenfunctions of the covariance ``sd^2 k(|x - x'| / length)`` on ``low``
    to ``high`` (Karhunen-Loeve expansion), outside which phi keeps its value at the end. With ``log`` the
    process is ln phi instead of phi - 1.

    Parameters
    ----------
    sd : float
        Prior standard deviation of phi - 1 (or ln phi).
    length : float
        Correlation length in ln E.
    low, high : float, keV
    n : int, optional
        Number of terms; by default as many as explain ``share`` of the prior variance.
    share : float
    kernel : "squared-exponential" or "matern32"
    log : bool

    References
    ----------
    Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, Eqs. 4.9, 4.17 and section 4.3.2 (Eq. 4.44).
    """

    name: ClassVar[str] = "gaussian-process"
    sd: float = 0.1
    length: float = 0.7
    low: float = 0.3
    high: float = 10.0
    n: int | None = None
    share: float = 0.999
    kernel: str = "squared-exponential"
    log: bool = False

    def __post_init__(self) -> None:
        where = "modifier 'gaussian-process'"
        if self.kernel not in KERNELS:
            raise UnknownNameError("covariance kernel", self.kernel, KERNELS, where=where)
        if not 0 < self.low < self.high < np.inf:
            raise InputError(f"range {self.low:g} to {self.high:g} keV", where=where, expected="0 < low < high")
        if not 0 < self.sd < np.inf:
            raise InputError(f"standard deviation {self.sd:g}", where=where, expected="a positive number")
        shortest = _SHORTEST * np.log(self.high / self.low)
        if not shortest <= self.length < np.inf:
            raise InputError(
                f"correlation length {self.length:g} in ln E", where=where, expected=f"at least {shortest:.2g}"
            )
        if not 0 < self.share < 1:
            raise InputError(f"share {self.share:g}", where=where, expected="a number between 0 and 1")
        if self.n is not None and not 1 <= self.n <= _POINTS:
            raise InputError(f"{self.n} terms", where=where, expected=f"1 to {_POINTS}")
        self._terms()

    def _terms(self):
        return _expansion(self.kernel, self.sd, self.length, self.low, self.high, self.n, self.share)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``z1``, ``z2``, ...: coefficients, each N(0, 1) a priori, smoothest first."""
        return tuple(
            Parameter(f"z{k + 1}", 0.0, -20.0, 20.0, description="coefficient, N(0, 1) a priori")
            for k in range(self._terms()[2].size)
        )

    def functions(self, energy: np.ndarray) -> np.ndarray:
        """Return sqrt(lambda_k) u_k(ln E), shape (n_terms, n)."""
        points, weight, values, vectors = self._terms()
        x = np.log(np.clip(energy, self.low, self.high))
        covariance = self.sd**2 * KERNELS[self.kernel]((x[:, None] - points) / self.length)
        return (covariance @ vectors * weight / np.sqrt(values)).T

    @property
    def prior_covariance(self) -> np.ndarray:
        """The unit matrix: coefficients are independent N(0, 1)."""
        return np.eye(len(self.names))
