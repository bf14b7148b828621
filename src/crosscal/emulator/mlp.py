"""Multi-layer perceptrons: for scattered designs and for many inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.progress import SILENT, Advance, Progress
from crosscal.core.random import generator, integer_seed
from crosscal.emulator.base import Emulator, Floats
from crosscal.emulator.table import TrainingTable

ACTIVATIONS = ("gelu", "relu")


@dataclass(frozen=True, eq=False)
class MLP(Emulator):
    """The mean of an ensemble of perceptrons: h <- act(h W^T + b), linear last layer.

    Attributes
    ----------
    weights, biases : tuple of arrays (members, n_out, n_in), (members, n_out)
        One pair per layer; standardisation of inputs and outputs is folded in.
    activation : "gelu" or "relu"
        GELU in its tanh form (Hendrycks & Gimpel 2016, arXiv:1606.08415, sect. 2).
    """

    weights: tuple[Floats, ...] = field(kw_only=True)
    biases: tuple[Floats, ...] = field(kw_only=True)
    activation: str = field(kw_only=True, default="gelu")

    kind = "mlp"

    def _members(self, unit: Any, xp: Any) -> list[Any]:
        results = []
        for m in range(len(self.weights[0])):
            h = unit
            for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
                h = activate(h @ xp.asarray(w[m].T) + xp.asarray(b[m]), self.activation, xp)
            results.append(h @ xp.asarray(self.weights[-1][m].T) + xp.asarray(self.biases[-1][m]))
        return results

    def _evaluate(self, unit: Any, xp: Any) -> Any:
        members = self._members(unit, xp)
        return sum(members[1:], members[0]) / len(members)

    def spread(self, points: Any) -> Floats:
        """Return the standard deviation among the ensemble's members at points (..., d): (..., k).

        Raises
        ------
        InputError
            If there is one member only.
        """
        if len(self.weights[0]) < 2:
            raise InputError("one network has no spread", where="mlp emulator", expected="ensemble >= 2 in training")
        array = self.stack(points)
        flat = self._unit(array.reshape(-1, len(self.names)), np)
        return np.std(self._members(flat, np), axis=0, ddof=1).reshape(*array.shape[:-1], -1)

    def arrays(self) -> dict[str, Floats]:
        """Return weights and biases by layer."""
        found = {f"weight_{j}": w for j, w in enumerate(self.weights)}
        return found | {f"bias_{j}": b for j, b in enumerate(self.biases)}

    def settings(self) -> dict[str, Any]:
        """Return the activation."""
        return {"activation": self.activation}

    def select(self, columns: Sequence[int]) -> Emulator:
        """Return the emulator of some outputs, by their numbers."""
        weights = (*self.weights[:-1], self.weights[-1][:, list(columns)])
        biases = (*self.biases[:-1], self.biases[-1][:, list(columns)])
        return self._selected(columns, weights=weights, biases=biases)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], settings: Mapping[str, Any], **facts: Any) -> MLP:
        """Rebuild from `arrays` and `settings`.

        Raises
        ------
        InputError
            If the layers do not follow one another; UnknownNameError for an activation.
        """
        weights, biases = (tuple(arrays[f"{name}_{j}"] for j in range(len(arrays) // 2)) for name in ("weight", "bias"))
        activation = settings["activation"]
        if activation not in ACTIVATIONS:
            raise UnknownNameError("activation", str(activation), ACTIVATIONS, where="mlp emulator")
        members, width = len(weights[0]), len(facts["inputs"])
        for w, b in zip(weights, biases, strict=True):
            if w.ndim != 3 or members == 0 or w.shape[::2] != (members, width) or b.shape != w.shape[:2]:
                raise InputError(
                    f"weights of shape {w.shape}", where="mlp emulator", expected=f"({members}, n, {width})"
                )
            width = w.shape[1]
        return cls(weights=weights, biases=biases, activation=activation, **facts)


def activate(x: Any, name: str, xp: Any) -> Any:
    """Apply an activation function with ``xp``."""
    if name == "relu":
        return xp.maximum(x, 0.0)
    return 0.5 * x * (1.0 + xp.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


def train_mlp(
    table: TrainingTable,
    *,
    seed: int = 0,
    hidden: Sequence[int] = (64, 64),
    activation: str = "gelu",
    ensemble: int = 1,
    epochs: int = 400,
    patience: int = 60,
    batch: int = 512,
    learning_rate: float = 4e-3,
    held_out: float = 0.1,
    progress: Progress = SILENT,
) -> MLP:
    """Minimise the mean squared error of standardised outputs with Adam, cosine decay and early stopping.

    Parameters
    ----------
    hidden : sequence of int
        Units per hidden layer.
    ensemble : int
        Networks with different starts and held-out points; their mean is the prediction.
    patience : int
        Epochs without improvement on the held-out points before training stops.
    held_out : float
        Fraction of points used for stopping only.

    Raises
    ------
    InputError
        If there is no hidden layer, or no member; UnknownNameError for an activation.
    """
    if activation not in ACTIVATIONS:
        raise UnknownNameError("activation", activation, ACTIVATIONS)
    if not hidden or min(hidden) < 1 or ensemble < 1 or epochs < 1:
        raise InputError(
            f"hidden layers {tuple(hidden)}, {ensemble} networks, {epochs} epochs",
            where="mlp",
            expected="at least 1 each",
        )
    good = table.good
    x, y = table.unit_points[good], table.values[good]
    centre, scale = y.mean(axis=0), np.where(y.std(axis=0) > 0, y.std(axis=0), 1.0)
    members, residuals, stopped = [], [], []
    with progress.stage("Training networks", total=ensemble * epochs) as advance:
        for m in range(ensemble):
            rng = generator(seed, "mlp-split", m)
            order = rng.permutation(len(x))
            n_held = max(1, round(held_out * len(x)))
            held, used = order[:n_held], order[n_held:]
            parameters, error, epoch = _train_one(
                (x[used], (y[used] - centre) / scale),
                (x[held], (y[held] - centre) / scale),
                [x.shape[1], *hidden, y.shape[1]],
                (activation, integer_seed(seed, "mlp", m), epochs, patience, batch, learning_rate),
                advance,
            )
            members.append(parameters)
            residuals.append(error * scale)
            stopped.append(epoch)
    layers = len(members[0])
    weights = [np.stack([np.asarray(p[j][0]) for p in members]) for j in range(layers)]
    biases = [np.stack([np.asarray(p[j][1]) for p in members]) for j in range(layers)]
    weights[-1] = weights[-1] * scale[:, None]
    biases[-1] = biases[-1] * scale + centre
    return MLP(
        table.inputs,
        table.outputs,
        np.sqrt(np.mean(np.square(residuals), axis=0)),
        weights=tuple(weights),
        biases=tuple(biases),
        activation=activation,
        report={"hidden": list(hidden), "activation": activation, "ensemble": ensemble, "epochs": stopped},
        provenance=table.provenance,
    )


def _train_one(
    train: tuple[Floats, Floats],
    held: tuple[Floats, Floats],
    sizes: list[int],
    options: tuple[str, int, int, int, int, float],
    advance: Advance,
) -> tuple[list[tuple[Any, Any]], Floats, int]:
    """Train one network; return the parameters of the best epoch, its held-out rms per output, and its number."""
    import jax
    import jax.numpy as jnp
    import optax

    activation, seed, epochs, patience, batch, rate = options
    # NumPy's numbers: each of JAX's random functions would be compiled for each shape, longer than a short training.
    rng = np.random.default_rng(seed)
    parameters = [
        (jnp.asarray(rng.standard_normal((b, a)) * np.sqrt((2.0 if i else 1.0) / a)), jnp.zeros(b))
        for i, (a, b) in enumerate(pairwise(sizes))
    ]
    batch = min(batch, max(8, len(train[0]) // 8))
    steps = max(1, len(train[0]) // batch)
    rise = min(5, epochs // 2) * steps
    schedule = optax.warmup_cosine_decay_schedule(rate / 20, rate, rise, epochs * steps, rate / 1000)
    optimiser = optax.adam(schedule)

    def forward(p: Any, x: Any) -> Any:
        for w, b in p[:-1]:
            x = activate(x @ w.T + b, activation, jnp)
        return x @ p[-1][0].T + p[-1][1]

    def loss(p: Any, x: Any, y: Any) -> Any:
        return jnp.mean((forward(p, x) - y) ** 2)

    x, y, held_x, held_y = (jnp.asarray(a) for a in (*train, *held))

    @jax.jit
    def epoch(p: Any, state: Any, order: Any) -> Any:
        def step(carry: Any, rows: Any) -> Any:
            p, state = carry
            gradient = jax.grad(loss)(p, x[rows], y[rows])
            updates, state = optimiser.update(gradient, state)
            return (optax.apply_updates(p, updates), state), None

        (p, state), _ = jax.lax.scan(step, (p, state), order)
        return p, state, jnp.sqrt(jnp.mean((forward(p, held_x) - held_y) ** 2, axis=0))

    state = optimiser.init(parameters)
    best: Any = None
    for number in range(epochs):
        order = rng.permutation(len(x))[: steps * batch].reshape(steps, batch)
        parameters, state, error = epoch(parameters, state, order)
        error = np.asarray(error)
        if best is None or np.mean(error**2) < best[0]:
            best = (np.mean(error**2), parameters, error, number + 1)
        advance(1)
        if number + 1 - best[3] >= patience:
            advance(epochs - number - 1)
            break
    return best[1], best[2], best[3]
