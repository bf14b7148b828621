"""The log likelihood of very many pairs, their truths integrated out, in compiled code without derivatives.

The map from true to measured values depends on the temperature alone, so that for each theta it is tabulated once and
every source looks it up: cubic Hermite polynomials between temperatures 2^e (1 + j / 32), whose number is found from
the bits of the temperature. They are 1.6 to 3 % apart, which leaves relative errors of 1e-7 where the map changes as
temperatures do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.random import generator
from crosscal.xray.correction.pair_blocks import BLOCK, SHIFT, log_likelihoods
from crosscal.xray.correction.pairs import POSITIVE, QUANTITIES

Floats = NDArray[np.float64]

#: With more sources than these, searches and samplers begin with some of them, picked at random.
MANY_SOURCES, FIRST_SOURCES = 1500, 500


def temperatures(low: float, high: float) -> Floats:
    """Return low, all 2^e (1 + j / 32) between, and high, the two ends a little inside, where the map has a slope."""
    first, last = _place(np.array([low, high]))
    inner = (np.arange(first + 1, last + 1) << SHIFT).view(np.float64)
    return np.concatenate([[low * (1 + 1e-9)], inner[(inner > low) & (inner < high)], [high * (1 - 1e-9)]])


def _place(kT: Floats) -> NDArray[np.int64]:
    return np.ascontiguousarray(kT, dtype=float).view(np.int64) >> SHIFT


class PairSums:
    """``sums(params) -> log likelihood`` of all pairs of a `HierarchicalModel` with its truths integrated out.

    The same numbers as ``model.pointwise(params).sum()`` to some 1e-7 a source, 20 times faster, and usable inside
    programs of JAX, but without derivatives.

    Parameters
    ----------
    model : HierarchicalModel
        With ``latent="marginal"``, and one map for all sources.
    steps : int
        Gauss-Newton steps towards the most probable truth of each source.
    """

    def __init__(self, model: Any, steps: int) -> None:
        self.model, self.steps = model, steps
        self.nodes = temperatures(*model.emulator.domain["T_true"])
        self.first = int(_place(self.nodes[:1])[0])
        names = model.pairs.quantities
        #: Names of the slots of `pair_blocks`, those in use, and their places.
        self.slots = names if len(names) == 1 else tuple(QUANTITIES)
        self.measured = np.array([q in names for q in self.slots])
        self.places = np.array([self.slots.index(q) for q in names])
        self.positive = np.array([q in POSITIVE for q in self.slots])
        self.own = np.zeros(len(self.slots))
        self.own[self.places] = np.asarray(model.emulator.error_sd, dtype=float)
        self.data = self._blocks(*model.pairs.values, *model.pairs.covariance)

    def _blocks(self, x0: Floats, x1: Floats, c0: Floats, c1: Floats) -> Floats:
        """Return the data of `log_likelihoods`; slots that are not in use hold 1 (0 for the abundance), without errors
        in telescope 0 and of size 1 in telescope 1."""
        n, q = len(x0), len(self.slots)
        values, covariance = np.empty((2, q, n)), np.zeros((2, q, q, n))
        values[:] = np.where(self.positive, 1.0, 0.0)[:, None]
        covariance[1] = np.eye(q)[:, :, None]
        values[:, self.places] = np.stack([x0.T, x1.T])
        inside = np.ix_(self.places, self.places)
        covariance[0][inside], covariance[1][inside] = np.moveaxis(c0, 0, -1), np.moveaxis(c1, 0, -1)
        lower = np.tril_indices(q)
        rows = np.concatenate([*values, covariance[0][lower], covariance[1][lower]])
        # The last source fills up the last block.
        index = np.minimum(np.arange(-(-n // BLOCK) * BLOCK), n - 1).reshape(-1, BLOCK)
        return np.ascontiguousarray(np.moveaxis(rows[:, index], 0, 1)).reshape(len(index), -1)

    def table(self, params: Mapping[str, Any]) -> Any:
        """Return factors (shifts of the abundance) at `nodes` and their derivatives by kT, with JAX: (2, n, q)."""
        import jax
        import jax.numpy as jnp

        model, nodes = self.model, jnp.asarray(self.nodes)
        theta = model.theta(params)
        shift, slope = jax.jvp(lambda kT: model.emulator.shift(theta, kT), (nodes,), (jnp.ones_like(nodes),))
        used = self.model.pairs.quantities
        shift, slope = shift[:, : len(used)], slope[:, : len(used)]
        if "norm" in used and "ln_cross_norm" in params:
            shift = shift.at[:, used.index("norm")].add(params["ln_cross_norm"])
        every = jnp.zeros((len(nodes), len(self.slots)))
        shift, slope = every.at[:, self.places].set(shift), every.at[:, self.places].set(slope)
        factor = jnp.exp(shift)
        return jnp.stack([jnp.where(self.positive, factor, shift), jnp.where(self.positive, factor * slope, slope)])

    def __call__(self, params: Mapping[str, Any], *, each: bool = False) -> Any:
        """Return the log likelihood, or with ``each`` that of each source (N,)."""
        import jax
        import jax.numpy as jnp

        shape = jax.ShapeDtypeStruct((len(self.model.pairs),) if each else (), jnp.result_type(float))
        scatter = jnp.asarray(params.get("scatter", 0.0))

        def run(table: Any, scatter: Any) -> Floats:
            return self._run(np.asarray(table), np.asarray(scatter), each)

        values = jax.pure_callback(run, shape, self.table(params), scatter, vmap_method="broadcast_all")
        # Not as it is: jaxlib 0.6 and 0.7 abort where a callback is the result of a program with products of matrices.
        return jnp.where(jnp.isnan(values), jnp.nan, values)

    def _run(self, table: Floats, scatter: Floats, each: bool) -> Floats:
        batch = scatter.shape
        tables = np.ascontiguousarray(table.reshape(-1, *table.shape[-3:]))
        out = np.empty((len(tables), len(self.model.pairs) if each else 1))
        log_likelihoods(
            tables, np.ascontiguousarray(scatter).reshape(-1), self.nodes, self.first, self.data,
            len(self.model.pairs), self.measured, self.own, self.steps, out,
        )  # fmt: skip
        return out.reshape(*batch, *out.shape[1:]) if each else out.reshape(batch)


def parts_of(model: Any, seed: int) -> list[Any]:
    """Return a `HierarchicalModel` with growing numbers of its sources, picked at random; none where all are few.

    Each has about four times those before, so that what it says is half as wide.
    """
    n, parts = len(model.pairs), []
    order = generator(seed, "some sources").permutation(n)
    size = FIRST_SOURCES
    while n > MANY_SOURCES and size <= n // 3:
        parts.append(replace(model, pairs=model.pairs.take(np.sort(order[:size]))))
        size *= 4
    return parts
