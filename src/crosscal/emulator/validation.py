"""Error of an emulator against newly simulated values, in units of the statistical error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError
from crosscal.core.random import integer_seed
from crosscal.emulator.base import Emulator
from crosscal.emulator.table import Input


@dataclass(frozen=True, eq=False)
class Validation:
    """Errors (emulated - simulated) / sigma on newly simulated points.

    Attributes
    ----------
    outputs : tuple of str
    points : array (n, d)
    errors : array (n, k)
        In units of ``sigma``.
    sigma : array (k,)
        The smallest statistical error of each output.
    failed : int
        Fresh points whose simulation failed; they are left out.
    """

    outputs: tuple[str, ...]
    points: NDArray[np.float64]
    errors: NDArray[np.float64]
    sigma: NDArray[np.float64]
    failed: int = 0

    @property
    def rms(self) -> NDArray[np.float64]:
        """Root mean square error per output, in sigma."""
        return np.sqrt(np.mean(self.errors**2, axis=0))

    @property
    def percentile_99(self) -> NDArray[np.float64]:
        """99 % quantile of the absolute error per output, in sigma."""
        return np.quantile(np.abs(self.errors), 0.99, axis=0)

    @property
    def maximum(self) -> NDArray[np.float64]:
        """Largest absolute error per output, in sigma."""
        return np.abs(self.errors).max(axis=0)

    def good_enough(self, limit: float = 0.1) -> bool:
        """Whether the 99 % error of each output is below ``limit`` sigma."""
        return bool(np.all(self.percentile_99 < limit))

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, JSON-like."""
        facts = asdict(self)
        return {
            "outputs": list(self.outputs),
            "n": len(self.errors),
            "failed": facts["failed"],
            "sigma": self.sigma.tolist(),
            "rms": self.rms.tolist(),
            "percentile_99": self.percentile_99.tolist(),
            "maximum": self.maximum.tolist(),
        }

    def __str__(self) -> str:
        lines = [
            f"{len(self.errors)} new points ({self.failed} failed); error in units of the statistical error (sigma)"
        ]
        for k, name in enumerate(self.outputs):
            lines.append(
                f"  {name}: rms {self.rms[k]:.3g}, 99 % {self.percentile_99[k]:.3g}, max {self.maximum[k]:.3g} "
                f"(sigma {self.sigma[k]:.3g})"
            )
        return "\n".join(lines)


def draw_points(inputs: Sequence[Input], n: int, *, seed: int = 0) -> NDArray[np.float64]:
    """Spread ``n`` quasi-random points over the training domain, evenly in each input's scale: (n, d)."""
    import warnings

    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Sobol's note on sizes that are no power of two
        rng = np.random.default_rng(integer_seed(seed, "validation"))
        unit = 2.0 * qmc.Sobol(len(inputs), rng=rng).random(n) - 1.0
    return np.stack([i.from_unit(c) for i, c in zip(inputs, unit.T, strict=True)], axis=1)


def validate(
    emulator: Emulator,
    simulate: Callable[[NDArray[np.float64]], ArrayLike],
    sigma: ArrayLike | Mapping[str, float],
    *,
    n: int = 2000,
    seed: int = 0,
) -> Validation:
    """Compare an emulator with newly simulated values at off-grid points.

    Parameters
    ----------
    simulate : callable
        Points (n, d) in physical units -> values (n, k); NaN rows are failures.
    sigma : array (k,), or mapping of output name to number
        Smallest statistical error of each output: the unit of the errors.

    Raises
    ------
    InputError
        If a sigma is not positive, the simulation has a wrong shape, or every point failed.
    """
    if isinstance(sigma, Mapping):
        sigma = [sigma[name] for name in emulator.outputs]
    unit = np.asarray(sigma, dtype=float)
    if unit.shape != (len(emulator.outputs),) or np.any(~(unit > 0)):
        raise InputError(f"sigma {unit}", where="validation", expected=f"{len(emulator.outputs)} positive numbers")
    points = draw_points(emulator.inputs, n, seed=seed)
    truth = np.asarray(simulate(points), dtype=float)
    if truth.shape != (n, len(unit)):
        raise InputError(f"simulated values of shape {truth.shape}", where="validation", expected=f"({n}, {len(unit)})")
    good = np.all(np.isfinite(truth), axis=1)
    if not good.any():
        raise InputError("every validation simulation failed", where="validation", expected="finite values")
    errors = (emulator.predict(points[good]) - truth[good]) / unit
    return Validation(emulator.outputs, points[good], errors, unit, int((~good).sum()))
