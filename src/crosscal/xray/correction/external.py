"""What is known of phi(E) from elsewhere: a correction measured by another method, as a factor of the prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.correction import NEGLIGIBLE_VARIANCE, Correction
from crosscal.core.errors import InputError


@dataclass(frozen=True, eq=False)
class ExternalCorrection:
    """An independent measurement of phi at a few energies (a concordance, a ground calibration).

    ::

        ln p(theta) = ln prior(theta) - 1/2 d' C^-1 d,     d_j = ln phi_theta(E_j) - ln f_j

    with f and C the factor and the covariance of ln factor, over the directions that have a variance.

    Attributes
    ----------
    energy : array (n,), keV
    log_factor : array (n,)
    whitening : array (k, n)
        Rows that turn d into k standard normal numbers.
    """

    energy: NDArray[np.float64]
    log_factor: NDArray[np.float64]
    whitening: NDArray[np.float64]

    @classmethod
    def of(cls, correction: Correction) -> ExternalCorrection:
        """Prepare a correction against energy in keV.

        Raises
        ------
        InputError
            If the correction is against something else, or has no variance at all.
        """
        where = f"correction of {correction.target or 'unnamed target'}"
        if (correction.axis, correction.unit) != ("energy", "keV"):
            raise InputError(
                f"it is against {correction.axis} [{correction.unit}]", where=where, expected="a correction in keV"
            )
        values, vectors = np.linalg.eigh(correction.covariance)
        used = values > max(NEGLIGIBLE_VARIANCE * values[-1], 1e-300)
        if not used.any():
            raise InputError("it has no uncertainty", where=where, expected="a correction with a covariance")
        whitening = (vectors[:, used] / np.sqrt(values[used])).T
        return cls(np.asarray(correction.coordinate, dtype=float), np.log(correction.factor), whitening)

    def log_density(self, factor: Callable[..., Any], theta: Any) -> Any:
        """Return ``-1/2 d' C^-1 d`` of one theta (d,), differentiable; ``factor(energy, theta, xp)`` is phi."""
        import jax.numpy as jnp

        phi = factor(self.energy, theta, jnp)
        # Proposals far out may give phi <= 0, where the density vanishes.
        residual = self.whitening @ (jnp.log(jnp.maximum(phi, 1e-6)) - self.log_factor)
        return -0.5 * jnp.sum(residual**2)


def described(correction: Correction | None) -> dict[str, Any] | None:
    """Return what provenance keeps of a correction that was used: target, energies, factors and errors."""
    if correction is None:
        return None
    return {
        "target": correction.target,
        "energy": np.asarray(correction.coordinate, dtype=float).tolist(),
        "factor": correction.factor.tolist(),
        "sd_ln": correction.sd.tolist(),
    }
