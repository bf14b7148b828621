"""Gaussian bumps and dips."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import Modifier

# Denominator of (E - mu)^2 / sigma^2 in the exponent.
CONVENTIONS = {"standard": 2.0, "xcalforge": 1.0}


@dataclass(frozen=True)
class Gaussian(Modifier):
    """Gaussian bumps: phi = 1 + sum_k A_k exp(-(E - mu_k)^2 / (2 sigma_k^2)).

    Parameters
    ----------
    n : int
        Number of Gaussians. Their parameters are A, mu, sigma, or A1, mu1, sigma1, A2, ... for n > 1.
    convention : "standard" or "xcalforge"
        XCalForge's code leaves out the factor 2 in the exponent; "xcalforge" reproduces it, so that a sigma of
        its libraries means the same here. sigma(standard) = sigma(xcalforge) / sqrt(2).

    Examples
    --------
    >>> bump = xray.Gaussian()  # doctest: +SKIP
    >>> bump.factor([1.0, 2.0], [0.1, 1.8, 0.9])  # doctest: +SKIP
    >>> xray.Gaussian.grid(A=(-0.15, 0.15, 11), mu=(0.7, 5.0, 17), sigma=0.9)  # doctest: +SKIP
    """

    name: ClassVar[str] = "gaussian"
    n: int = 1
    convention: str = "standard"

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            raise UnknownNameError("Gaussian convention", self.convention, CONVENTIONS)
        if self.n < 1:
            raise InputError(f"{self.n} Gaussians", where="modifier 'gaussian'", expected="at least 1")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """``A`` (amplitude), ``mu`` (keV), ``sigma`` (keV) of each Gaussian."""
        parameters = []
        for k in range(1, self.n + 1):
            tag = str(k) if self.n > 1 else ""
            parameters += [
                Parameter("A" + tag, 0.0, -1.0, 10.0, description="amplitude"),
                Parameter("mu" + tag, 2.0, 0.0, 100.0, "keV", "centre"),
                Parameter("sigma" + tag, 1.0, 1e-3, 100.0, "keV", "width"),
            ]
        return tuple(parameters)

    @property
    def amplitude(self) -> str | None:
        """``A`` of a single Gaussian."""
        return "A" if self.n == 1 else None

    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        denominator = CONVENTIONS[self.convention]
        total = 1.0
        for k in range(self.n):
            amplitude, mu, sigma = (theta[..., 3 * k + i, None] for i in range(3))
            total = total + amplitude * xp.exp(-(((energy - mu) / sigma) ** 2) / denominator)
        return total
