"""A perceptron for what the linear kernel of the fold leaves, as a function of the principal components of ln phi."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from crosscal.core.errors import InputError
from crosscal.emulator.base import Emulator, Floats
from crosscal.emulator.mlp import activate
from crosscal.emulator.registry import CLASSES
from crosscal.xray.modifiers.describe import build_modifier, describe_modifier

KIND = "kernel-mlp"
#: ln phi is taken of no smaller phi, since areas near zero are far from first order anyway.
LEAST_FACTOR = 1e-3


@dataclass(frozen=True, eq=False)
class KernelMLP(Emulator):
    """y(theta, T) = sum_E K(T, E) ln phi_theta(E) + net(z, T).

    K is the first-order response of a fit to ln area (`linear_kernel`). The network sees theta only through phi: z are
    the leading principal components of ln phi over the training thetas, so that different theta with one phi are one
    point, and net(0, T) = 0. It gives values at nodes in ln T; between them, as for K, a cubic spline.

    Attributes
    ----------
    modifier : Modifier
    fixed : mapping
        Parameters of the modifier that do not vary.
    energy : array (n_energy,), keV
    kernel : array (n_kernel, k, n_energy)
    kernel_nodes, nodes : arrays
        ln T of the kernel and of the network's outputs.
    projection : array (n_energy, p)
        From ln phi to z, of unit variance over the training thetas.
    weights, biases : tuple of arrays
        One pair a layer, (n_in, n_out) and (n_out,); the last gives (n_node, k).
    """

    modifier: Any = field(kw_only=True)
    fixed: Mapping[str, float] = field(kw_only=True)
    energy: Floats = field(kw_only=True)
    kernel: Floats = field(kw_only=True)
    kernel_nodes: Floats = field(kw_only=True)
    nodes: Floats = field(kw_only=True)
    projection: Floats = field(kw_only=True)
    weights: tuple[Floats, ...] = field(kw_only=True)
    biases: tuple[Floats, ...] = field(kw_only=True)

    kind = KIND

    def log_factor(self, theta: Any, xp: Any) -> Any:
        """Return ln phi at ``energy`` for theta (..., d): (..., n_energy)."""
        columns = []
        for name in self.modifier.names:
            if name in self.names:
                columns.append(theta[..., self.names.index(name)])
            else:
                columns.append(xp.full(theta.shape[:-1], self.fixed[name]))
        factor = self.modifier.factor(self.energy, xp.stack(columns, axis=-1), xp)
        return xp.log(xp.maximum(xp.asarray(factor), LEAST_FACTOR))

    def at_nodes(self, theta: Any, xp: Any) -> tuple[Any, Any]:
        """Return the first-order part (..., n_kernel, k) and the network's (..., n_node, k) for theta (..., d)."""
        log_factor = self.log_factor(theta, xp)
        flat = log_factor @ xp.asarray(self.kernel.reshape(-1, self.energy.size).T)
        first = flat.reshape(*theta.shape[:-1], len(self.kernel_nodes), len(self.outputs))
        z = log_factor @ xp.asarray(self.projection)
        net = forward(list(zip(self.weights, self.biases, strict=True)), z, xp)
        return first, net.reshape(*theta.shape[:-1], len(self.nodes), len(self.outputs))

    def _physical(self, unit: Any, xp: Any) -> tuple[Any, Any]:
        columns = []
        for j, item in enumerate(self.inputs):
            low, high = (np.log(item.low), np.log(item.high)) if item.scale == "log" else (item.low, item.high)
            x = 0.5 * (low + high) + 0.5 * (high - low) * unit[:, j]
            columns.append(xp.exp(x) if item.scale == "log" else x)
        return xp.stack(columns[:-1], axis=-1), xp.log(columns[-1])

    def _evaluate(self, unit: Any, xp: Any) -> Any:
        theta, log_T = self._physical(unit, xp)
        first, net = self.at_nodes(theta, xp)
        parts = zip((self.kernel_nodes, self.nodes), (first, net), strict=True)
        # Sums of products, since compiled batches of small matrix products are several times slower.
        one, two = ((spline_weights(nodes, log_T, xp)[:, :, None] * v).sum(axis=1) for nodes, v in parts)
        return one + two

    def at(self, first: Any, last: Any) -> Any:
        """Evaluate with JAX at many temperatures of one theta: (d,), (n,) -> (n, k)."""
        import jax.numpy as jnp

        low, high = np.array([(i.low, i.high) for i in self.inputs[:-1]]).T
        linear, net = self.at_nodes(jnp.clip(jnp.asarray(first), low, high), jnp)
        log_T = jnp.log(jnp.clip(last, self.inputs[-1].low, self.inputs[-1].high))
        return spline_weights(self.kernel_nodes, log_T, jnp) @ linear + spline_weights(self.nodes, log_T, jnp) @ net

    def select(self, columns: Sequence[int]) -> Emulator:
        """Return the emulator of some outputs, by their numbers."""
        chosen, shape = list(columns), (len(self.nodes), len(self.outputs))
        weight = self.weights[-1].reshape(-1, *shape)[..., chosen].reshape(len(self.weights[-1]), -1)
        bias = self.biases[-1].reshape(shape)[..., chosen].ravel()
        return self._selected(
            columns,
            kernel=self.kernel[:, chosen],
            weights=(*self.weights[:-1], weight),
            biases=(*self.biases[:-1], bias),
        )

    def arrays(self) -> dict[str, Floats]:
        """Return kernel, nodes, weights and biases by name."""
        found = {n: getattr(self, n) for n in ("energy", "kernel", "kernel_nodes", "nodes", "projection")}
        found |= {f"weight_{j}": w for j, w in enumerate(self.weights)}
        return found | {f"bias_{j}": b for j, b in enumerate(self.biases)}

    def settings(self) -> dict[str, Any]:
        """Return the modifier and its parameters that do not vary."""
        return {"modifier": describe_modifier(self.modifier), "fixed": dict(self.fixed)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], settings: Mapping[str, Any], **facts: Any) -> KernelMLP:
        """Rebuild from `arrays` and `settings`.

        Raises
        ------
        InputError
            If the layers do not follow one another, or the modifier cannot be rebuilt.
        """
        n_layer = sum(name.startswith("weight_") for name in arrays)
        weights, biases = (tuple(arrays[f"{name}_{j}"] for j in range(n_layer)) for name in ("weight", "bias"))
        where, wanted = "kernel-mlp emulator", "a file that save wrote"
        if "projection" not in arrays:
            raise InputError("no principal components", where=where, expected=f"{wanted} in this version")
        kernel, projection, k = arrays["kernel"], arrays["projection"], len(facts["outputs"])
        sizes = [projection.shape[-1], *(w.shape[-1] for w in weights)]
        fits = all(
            w.shape == (a, b) == (a, *c.shape) for w, c, (a, b) in zip(weights, biases, pairwise(sizes), strict=True)
        )
        fits &= kernel.shape == (len(arrays["kernel_nodes"]), k, len(arrays["energy"]))
        fits &= projection.shape == (len(arrays["energy"]), sizes[0])
        if not fits or sizes[-1] != len(arrays["nodes"]) * k:
            raise InputError("layers that do not fit", where=where, expected=wanted)
        modifier = build_modifier(settings["modifier"])
        if modifier is None:
            raise InputError("an unknown modifier", where=where, expected="kind 'spline' or 'exact'")
        others: dict[str, Any] = {n: arrays[n] for n in ("energy", "kernel", "kernel_nodes", "nodes", "projection")}
        return cls(modifier=modifier, fixed=settings["fixed"], weights=weights, biases=biases, **others, **facts)


def forward(layers: Sequence[tuple[Any, Any]], x: Any, xp: Any) -> Any:
    """Return the network's outputs (..., n_out) of components (..., p): GELU between layers."""
    for w, b in layers[:-1]:
        x = activate(x @ xp.asarray(w) + xp.asarray(b), "gelu", xp)
    return x @ xp.asarray(layers[-1][0]) + xp.asarray(layers[-1][1])


def spline_weights(nodes: Floats, x: Any, xp: Any) -> Any:
    """Return the weights (n, n_node) by which values at ``nodes`` give the cubic spline at x (n,), linear for < 4."""
    from scipy.interpolate import CubicSpline

    n = len(nodes)
    eye = np.eye(n)
    slopes = CubicSpline(nodes, eye)(nodes, 1) if n > 3 else None
    k = xp.clip(xp.searchsorted(xp.asarray(nodes), x, side="right") - 1, 0, n - 2)
    step = xp.asarray(np.diff(nodes))[k]
    t = ((x - xp.asarray(nodes)[k]) / step)[:, None]
    left, right = xp.asarray(eye)[k], xp.asarray(eye)[k + 1]
    if slopes is None:
        return left * (1 - t) + right * t
    at_left, at_right = xp.asarray(slopes)[k], xp.asarray(slopes)[k + 1]
    square, cube = t * t, t * t * t
    value = (2 * cube - 3 * square + 1) * left + (3 * square - 2 * cube) * right
    return value + step[:, None] * ((cube - 2 * square + t) * at_left + (cube - square) * at_right)


CLASSES.register(KIND, KernelMLP)
