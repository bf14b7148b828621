"""How far apart two posteriors of the same source are: the terms of the matching objective.

Every member takes two `Cloud`s and returns one number a source, written with ``jax.numpy`` so that the objective can
be differentiated with respect to the correction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from crosscal.core.registry import Registry

_HERE = "crosscal.xray.correction.divergence"

DIVERGENCES = Registry(
    "divergence",
    {
        "squared-means": f"{_HERE}:squared_means",
        "kl": f"{_HERE}:kullback_leibler",
        "jeffreys": f"{_HERE}:jeffreys",
        "wasserstein2": f"{_HERE}:wasserstein2",
        "sliced-wasserstein": f"{_HERE}:sliced_wasserstein",
    },
)

#: Directions of the sliced Wasserstein distance; fixed, so that the objective is smooth and repeatable.
N_DIRECTIONS = 32


class Cloud(NamedTuple):
    """Posteriors of N sources.

    mean : (N, q); covariance : (N, q, q); samples : (N, n_samples, q) or None
    """

    mean: Any
    covariance: Any
    samples: Any = None


def squared_means(p: Cloud, q: Cloud) -> Any:
    """Squared difference of the means, each quantity in units of p's rms error over the sources.

    D = sum_k (m_p - m_q)_k^2 / s_k^2; for temperatures alone this is proportional to the plain sum of
    (T_0 - T_1)^2, in which hot sources dominate.
    """
    import jax.numpy as jnp

    return jnp.sum(((p.mean - q.mean) / _scale(p)) ** 2, axis=1)


def kullback_leibler(p: Cloud, q: Cloud) -> Any:
    """Kullback-Leibler divergence KL(p || q) of the Gaussian approximations.

    D = 1/2 [tr(C_q^-1 C_p) + (m_q - m_p)' C_q^-1 (m_q - m_p) - k + ln det C_q / det C_p] (Kullback & Leibler 1951).
    """
    import jax.numpy as jnp

    k = p.mean.shape[-1]
    delta = (q.mean - p.mean)[..., None]
    trace = jnp.trace(jnp.linalg.solve(q.covariance, p.covariance), axis1=1, axis2=2)
    square = jnp.sum(delta * jnp.linalg.solve(q.covariance, delta), axis=(1, 2))
    return 0.5 * (trace + square - k + jnp.linalg.slogdet(q.covariance)[1] - jnp.linalg.slogdet(p.covariance)[1])


def jeffreys(p: Cloud, q: Cloud) -> Any:
    """Jeffreys divergence KL(p || q) + KL(q || p) of the Gaussian approximations (Jeffreys 1946)."""
    return kullback_leibler(p, q) + kullback_leibler(q, p)


def wasserstein2(p: Cloud, q: Cloud) -> Any:
    """Squared 2-Wasserstein distance of the joint Gaussian approximations, in units of the errors.

    D = |m_p - m_q|^2 + tr(C_p + C_q - 2 (C_p^1/2 C_q C_p^1/2)^1/2) (Dowson & Landau 1982, eq. 4) after dividing
    each quantity by p's rms error over the sources.
    """
    import jax.numpy as jnp

    scale = _scale(p)
    cp, cq = (c.covariance / (scale[:, None] * scale) for c in (p, q))
    root = _sqrt(cp)
    cross = _sqrt(root @ cq @ root)
    means = jnp.sum(((p.mean - q.mean) / scale) ** 2, axis=1)
    return means + jnp.trace(cp + cq - 2 * cross, axis1=1, axis2=2)


def sliced_wasserstein(p: Cloud, q: Cloud) -> Any:
    """Squared sliced 2-Wasserstein distance of posterior samples, in units of the errors.

    The mean over fixed directions of the 1-D distance between sorted projections (Bonneel et al. 2015, eq. 4).
    Needs samples; the numbers of samples may differ.
    """
    import jax.numpy as jnp

    scale, directions = _scale(p), _directions(p.mean.shape[-1])
    m = min(p.samples.shape[1], q.samples.shape[1])
    levels = (np.arange(m) + 0.5) / m
    # Where one set is larger, its order statistics at the other's mid-levels.
    a, b = (
        jnp.sort((c.samples / scale) @ directions, axis=1)[:, (levels * c.samples.shape[1]).astype(int)] for c in (p, q)
    )
    return jnp.mean((a - b) ** 2, axis=(1, 2)) * p.mean.shape[-1]


sliced_wasserstein.needs_samples = True  # type: ignore[attr-defined]


def _scale(p: Cloud) -> Any:
    """One unit per quantity (k,): the rms error of p, which theta does not change (else larger errors would pay)."""
    import jax.numpy as jnp

    return jnp.sqrt(jnp.mean(jnp.diagonal(p.covariance, axis1=1, axis2=2), axis=0))


def _sqrt(matrix: Any) -> Any:
    """Square root of symmetric matrices (..., k, k); closed form up to k = 2, so that gradients are safe."""
    import jax.numpy as jnp

    k = matrix.shape[-1]
    if k == 1:
        return jnp.sqrt(matrix)
    if k == 2:
        s = jnp.sqrt(jnp.linalg.det(matrix))[..., None, None]
        t = jnp.sqrt(jnp.trace(matrix, axis1=-2, axis2=-1)[..., None, None] + 2 * s)
        return (matrix + s * jnp.eye(2)) / t
    # Denman & Beavers 1976: a fixed number of steps has well-behaved derivatives even for equal eigenvalues.
    size = jnp.trace(matrix, axis1=-2, axis2=-1)[..., None, None]
    y, z = matrix / size, jnp.broadcast_to(jnp.eye(k), matrix.shape)
    for _ in range(12):
        y, z = 0.5 * (y + jnp.linalg.inv(z)), 0.5 * (z + jnp.linalg.inv(y))
    return y * jnp.sqrt(size)


def _directions(k: int) -> np.ndarray:
    if k == 1:
        return np.ones((1, 1))
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((k, N_DIRECTIONS))
    return vectors / np.linalg.norm(vectors, axis=0)
