"""Algebra of many small positive definite matrices, written out: it compiles in a fraction of the time of LAPACK calls.

Matrices are (n, q, q) with q of a few; loops over q are unrolled into operations on arrays (n,).
"""

from __future__ import annotations

from typing import Any


def cholesky(matrix: Any) -> Any:
    """Return the lower Cholesky factor (n, q, q)."""
    import jax.numpy as jnp

    q = matrix.shape[-1]
    rows: list[list[Any]] = [[jnp.zeros(matrix.shape[:-2])] * q for _ in range(q)]
    for i in range(q):
        for j in range(i + 1):
            value = matrix[..., i, j] - sum(rows[i][k] * rows[j][k] for k in range(j))
            rows[i][j] = jnp.sqrt(value) if i == j else value / rows[j][j]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def solve_lower(root: Any, right: Any) -> Any:
    """Solve L X = B for B (n, q, m)."""
    import jax.numpy as jnp

    found: list[Any] = []
    for i in range(root.shape[-1]):
        value = right[..., i, :] - sum(root[..., i, k, None] * found[k] for k in range(i))
        found.append(value / root[..., i, i, None])
    return jnp.stack(found, axis=-2)


def solve_upper(root: Any, right: Any) -> Any:
    """Solve L' X = B for B (n, q, m)."""
    import jax.numpy as jnp

    q = root.shape[-1]
    found: list[Any] = [None] * q
    for i in reversed(range(q)):
        value = right[..., i, :] - sum(root[..., k, i, None] * found[k] for k in range(i + 1, q))
        found[i] = value / root[..., i, i, None]
    return jnp.stack(found, axis=-2)


def solve(root: Any, vector: Any) -> Any:
    """Solve L L' x = b for b (n, q)."""
    return solve_upper(root, solve_lower(root, vector[..., None]))[..., 0]


def log_det(root: Any) -> Any:
    """Return ln det(L L') (n,)."""
    import jax.numpy as jnp

    return 2.0 * sum(jnp.log(root[..., i, i]) for i in range(root.shape[-1]))
