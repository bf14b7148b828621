"""The point estimate of theta: make the two telescopes' posteriors match, in a chosen divergence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import FitError, InputError
from crosscal.core.keywords import keywords
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator
from crosscal.inference.jaxconfig import require_x64
from crosscal.xray.correction.divergence import DIVERGENCES, Cloud
from crosscal.xray.correction.emulate import CalibrationEmulator, matched
from crosscal.xray.correction.pairs import PairedSources


@dataclass(frozen=True, eq=False)
class PointEstimate:
    """theta* = argmin sum_i D[P(x_0i), P(x_1i corrected by theta)].

    Attributes
    ----------
    theta : mapping of name to value
    value : float
        The objective at theta*.
    before : float
        The objective where nothing is corrected.
    per_source : array (N,)
        Its terms at theta*.
    divergence : str
    sd : mapping of name to float
        Bootstrap over sources; empty if it was not asked for.
    others : tuple of (theta, value)
        Further local minima, best first.
    """

    theta: Mapping[str, float]
    value: float
    before: float
    per_source: NDArray[np.float64]
    divergence: str
    sd: Mapping[str, float] = field(default_factory=dict)
    others: tuple[tuple[Mapping[str, float], float], ...] = ()

    def __str__(self) -> str:
        values = ", ".join(
            f"{n} = {v:.4g}" + (f" +/- {self.sd[n]:.2g}" if n in self.sd else "") for n, v in self.theta.items()
        )
        return f"{values}; {self.divergence} {self.before:.4g} -> {self.value:.4g} over {len(self.per_source)} sources"


def corrected_cloud(emulator: CalibrationEmulator, pairs: PairedSources, theta: Any) -> Cloud:
    """Return telescope 1's posteriors as they would be with its calibration corrected by theta (JAX).

    Means and samples go through the inverse of the emulated map, covariances through its slope.
    """
    import jax
    import jax.numpy as jnp

    measured = jnp.asarray(pairs.values[1])
    n, q = measured.shape
    mean = emulator.correct(theta, measured)
    tangents = [jnp.zeros((n, q)).at[:, k].set(1.0) for k in range(q)]
    slope = jnp.stack([jax.jvp(lambda m: emulator.correct(theta, m), (measured,), (t,))[1] for t in tangents], axis=2)
    covariance = slope @ pairs.covariance[1] @ jnp.swapaxes(slope, 1, 2)
    samples = None
    if pairs.samples is not None:
        flat = emulator.correct(theta, jnp.asarray(pairs.samples[1]).reshape(-1, q))
        samples = flat.reshape(n, -1, q)
    return Cloud(mean, covariance, samples)


@keywords
def minimise_divergence(
    pairs: PairedSources,
    emulator: CalibrationEmulator,
    divergence: str = "kl",
    *,
    trusted: str | None = None,
    starts: int = 16,
    bootstrap: int = 0,
    seed: int = 0,
    progress: Progress = SILENT,
) -> PointEstimate:
    """Find the theta that makes the corrected posteriors of telescope 1 match those of telescope 0.

    Bounded quasi-Newton search in the training domain from quasi-random starts. Norms are compared as they are: where
    the telescopes' relative normalisation is not known, match ``pairs.only("kT")`` or use `infer`.

    Parameters
    ----------
    pairs : PairedSources
    emulator : CalibrationEmulator
        Of telescope 1.
    divergence : str
        A name in ``DIVERGENCES``.
    trusted : str, optional
        The reference telescope of the pairs; see `with_roles`.
    starts : int
        Quasi-random starting points of the search.
    bootstrap : int
        Resamplings of the sources, for standard deviations.

    Raises
    ------
    InputError
        If the divergence needs samples and the pairs have none; UnknownNameError for an unknown divergence.
    FitError
        If no start gives a finite objective.

    Examples
    --------
    >>> estimate = xray.minimise_divergence(pairs, emulator, "wasserstein2")  # doctest: +SKIP
    """
    import jax
    import jax.numpy as jnp
    from scipy.optimize import minimize

    require_x64()
    emulator, pairs = matched(emulator, pairs, trusted)
    term = DIVERGENCES.get(divergence)
    if getattr(term, "needs_samples", False) and pairs.samples is None:
        raise InputError(f"no posterior samples for {divergence}", where="pairs", expected="samples, or another name")
    samples = None if pairs.samples is None else jnp.asarray(pairs.samples[0])
    reference = Cloud(jnp.asarray(pairs.values[0]), jnp.asarray(pairs.covariance[0]), samples)
    low, high = np.array([emulator.domain[n] for n in emulator.names]).T

    def terms(theta: Any) -> Any:
        return term(reference, corrected_cloud(emulator, pairs, theta))

    objective = jax.jit(jax.value_and_grad(lambda unit, weight: jnp.sum(weight * terms(low + unit * (high - low)))))

    def search(unit: NDArray[np.float64], weight: NDArray[np.float64]) -> Any:
        def both(u: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            value, gradient = objective(u, weight)
            return (float(value), np.asarray(gradient)) if np.isfinite(value) else (1e300, np.zeros_like(u))

        return minimize(both, unit, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * len(unit))

    rng, ones = generator(seed, "divergence"), np.ones(len(pairs))
    points = [*_spread(len(low), starts, seed)]
    found = []
    with progress.stage("Matching posteriors", total=len(points) + bootstrap) as advance:
        for point in points:
            found.append(search(point, ones))
            advance(1)
        found = sorted((f for f in found if np.isfinite(f.fun) and f.fun < 1e299), key=lambda f: f.fun)
        if not found:
            raise FitError("No start of the divergence search has a finite objective.")
        resampled = []
        for _ in range(bootstrap):
            weight = rng.multinomial(len(pairs), ones / len(pairs)).astype(float)
            resampled.append(low + search(found[0].x, weight).x * (high - low))
            advance(1)

    def named(values: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(emulator.names, values.tolist(), strict=True))

    best = low + found[0].x * (high - low)
    nothing, per_source = _null(emulator, low, high), jax.jit(terms)
    return PointEstimate(
        named(best),
        float(found[0].fun),
        float(np.sum(per_source(nothing))),
        np.asarray(per_source(best)),
        divergence,
        named(np.std(resampled, axis=0, ddof=1)) if bootstrap > 1 else {},
        tuple((named(low + f.x * (high - low)), float(f.fun)) for f in _distinct(found)[1:]),
    )


def _distinct(found: list[Any]) -> list[Any]:
    """Keep the best of the minima that lie together: within 0.02 of the domain in every parameter."""
    kept: list[Any] = []
    for f in found:
        if all(np.max(np.abs(f.x - g.x)) > 0.02 for g in kept):
            kept.append(f)
    return kept


def _spread(d: int, n: int, seed: int) -> NDArray[np.float64]:
    """Return n quasi-random points of the unit cube, away from its faces."""
    import warnings

    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Sobol's note on sizes that are no power of two
        return 0.05 + 0.9 * qmc.Sobol(d, rng=np.random.default_rng(seed)).random(n)


def _null(emulator: CalibrationEmulator, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the parameters at which nothing changes, moved into the domain."""
    if emulator.modifier is None:
        return np.clip(np.zeros(len(low)), low, high)
    null = dict(zip(emulator.modifier.names, emulator.modifier.null, strict=True))
    return np.clip([null[name] for name in emulator.names], low, high)
