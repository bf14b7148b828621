"""Training of `KernelMLP`: the kernel from the library's fits, then Adam and L-BFGS on what is left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator
from crosscal.emulator.base import Floats
from crosscal.emulator.table import TrainingTable
from crosscal.xray.correction.kernel_mlp import KernelMLP, forward, spline_weights
from crosscal.xray.fitting.templates import evaluate_many

#: Temperatures at which the kernel is worked out.
KERNEL_NODES = 48
#: Energies of the kernel where so few give the same shifts to `SAME` of the smallest error.
FEW_ENERGIES, SAME = 160, 0.02
#: Most principal components of ln phi that the network sees, and the least singular value, of the first, of one.
MOST_COMPONENTS, LEAST_COMPONENT = 10, 1e-3
#: Steps of L-BFGS between looks at the points held out.
PASS = 100


def train_kernel_mlp(
    table: TrainingTable,
    *,
    fits: Any,
    sigma: Floats,
    between: bool = True,
    seed: int = 0,
    hidden: tuple[int, ...] = (64, 64),
    epochs: int = 200,
    polish: int | None = None,
    patience: int = 4,
    batch: int = 128,
    learning_rate: float = 4e-3,
    held_out: float = 0.05,
    progress: Progress = SILENT,
) -> KernelMLP:
    """Minimise the mean square of (emulated - fitted) / sigma over all theta and temperatures of a library.

    Parameters
    ----------
    table : TrainingTable
        theta..., T_true; every theta at the same temperatures.
    fits : object
        ``task`` (LibraryTask, whose modifier changes the area), ``quantities``, ``fixed`` (parameters that do not
        vary) and ``shifts(theta (d,), kT (n,)) -> (n, k)`` by noiseless fits.
    sigma : array (k,)
        Smallest error of each output: the unit of the loss.
    between : bool
        Also fit at temperatures half-way between those of the table, where its values have no noise: fits follow the
        nodes of the plasma table more closely than a library's temperatures do, and these cost little.
    hidden : sequence of int
        Units of the hidden layers.
    epochs : int
        Passes of Adam with cosine decay.
    polish : int
        Largest number of steps of L-BFGS after that, by default 8 for each pass of Adam.
    patience : int
        Hundreds of steps without a smaller error on the thetas held out before training stops.
    held_out : float
        Share of the thetas used for stopping only.

    Raises
    ------
    InputError
        If there is no hidden layer, or the temperatures differ from theta to theta.
    """
    most = 8 * epochs if polish is None else polish
    if not hidden or min(hidden) < 1 or epochs < 1 or most < 0:
        raise InputError(f"hidden layers {tuple(hidden)}, {epochs} epochs", where="mlp", expected="at least 1 each")
    theta, log_T, values = _product(table)
    if between and table.sd is None:
        log_T, values = _refined(fits, theta, log_T, values)
    untrained = _untrained(table, fits, theta, log_T, sigma, hidden)
    first = np.einsum(
        "ts,nsk->ntk", spline_weights(untrained.kernel_nodes, log_T, np), untrained.at_nodes(theta, np)[0]
    )
    target = (values - first) / sigma
    good = np.isfinite(target)
    order = generator(seed, "kernel-mlp").permutation(len(theta))
    n_held = max(1, round(held_out * len(theta)))
    plan = Plan(seed, epochs, most, patience, batch, learning_rate)
    split = (order[n_held:], order[:n_held])
    layers, steps, error = _minimise(untrained, theta, np.where(good, target, 0.0), good, split, plan, progress)
    weights, biases = ([np.asarray(a) for a in part] for part in zip(*layers, strict=True))
    biases[-1] = biases[-1] - forward(layers, np.zeros(untrained.projection.shape[1]), np)
    scale = np.tile(sigma, len(log_T))
    weights[-1], biases[-1] = weights[-1] * scale, biases[-1] * scale
    report = {"hidden": list(hidden), "epochs": epochs, "steps of L-BFGS": steps, "first order": "linear kernel"}
    return replace(untrained, residual_sd=error * sigma, weights=tuple(weights), biases=tuple(biases), report=report)


@dataclass(frozen=True)
class Plan:
    """How long and how fast the network learns; see `train_kernel_mlp`."""

    seed: int
    epochs: int
    polish: int
    patience: int
    batch: int
    learning_rate: float


def _untrained(
    table: TrainingTable, fits: Any, theta: Floats, log_T: Floats, sigma: Floats, hidden: tuple[int, ...]
) -> KernelMLP:
    """Return the emulator of the kernel alone: its network gives zero."""
    task, quantities = fits.task, fits.quantities
    low, high = np.log(table.inputs[-1].low), np.log(table.inputs[-1].high)
    nodes = np.linspace(low, high, KERNEL_NODES)
    kernel_alone = KernelMLP(
        table.inputs,
        table.outputs,
        np.zeros(len(quantities)),
        modifier=task.modifier,
        fixed=fits.fixed,
        energy=task.energy,
        kernel=kernel_of(task, np.exp(nodes), quantities),
        kernel_nodes=nodes,
        nodes=log_T,
        projection=np.zeros((task.energy.size, 1)),
        weights=(np.zeros((1, len(log_T) * len(quantities))),),
        biases=(np.zeros(len(log_T) * len(quantities)),),
        provenance=table.provenance,
    )
    few = _fewer_energies(kernel_alone, theta, sigma)
    projection = _components(few, theta, sigma)
    sizes = [projection.shape[1], *hidden, len(log_T) * len(quantities)]
    return replace(
        few,
        projection=projection,
        weights=tuple(np.zeros(shape) for shape in pairwise(sizes)),
        biases=tuple(np.zeros(n) for n in sizes[1:]),
    )


def _components(emulator: KernelMLP, theta: Floats, sigma: Floats) -> Floats:
    """Return the matrix (n_energy, p) from ln phi to its leading principal components over ``theta``.

    Energies are weighted by what the measured numbers owe to them; components have unit mean square.
    """
    weight = np.sqrt(np.mean((emulator.kernel / sigma[:, None]) ** 2, axis=(0, 1)))
    weight = weight + 1e-3 * weight.mean()
    _, size, vectors = np.linalg.svd(emulator.log_factor(theta, np) * weight, full_matrices=False)
    p = max(1, min(MOST_COMPONENTS, int(np.sum(size > LEAST_COMPONENT * size[0]))))
    # Signs that do not depend on the library of linear algebra.
    signs = np.sign(vectors[np.arange(p), np.argmax(np.abs(vectors[:p]), axis=1)])
    scale = np.where(size[:p] > 0, size[:p], 1.0) / np.sqrt(len(theta))
    return weight[:, None] * (signs[:, None] * vectors[:p]).T / scale


def kernel_of(task: Any, kT: Floats, quantities: tuple[str, ...]) -> Floats:
    """Return d (ln kT, ln norm, Abundanc) / d ln area in each energy bin, at kT (n,): (n, q, n_energy).

    As `linear_kernel`, with the folded templates of a library.
    """
    x, truth = task.truths(kT)
    mean, jacobian = evaluate_many(task.nominal, x, task.matrix.n_channel)
    redistribution = task.matrix.fold(np.eye(task.energy.size))[:, : task.matrix.n_channel]
    photons, names = task.photons(x) * task.weight, list(task.nodes.names)
    out = np.empty((len(kT), len(quantities), task.energy.size))
    for i in range(len(kT)):
        weighted = jacobian[i] / np.maximum(mean[i], 1e-25)
        kernel = np.linalg.solve(weighted @ jacobian[i].T, weighted @ redistribution.T) * photons[i]
        for c, quantity in enumerate(quantities):
            p = names.index(quantity)
            scale = 1.0 if quantity == "Abundanc" else 1.0 / truth[quantity][i]
            if p < len(task.nodes.axes):
                scale = scale * float(task.nodes.axes[p].derivative(truth[quantity][i]))
            out[i, c] = kernel[p] * scale
    return out


def _product(table: TrainingTable) -> tuple[Floats, Floats, Floats]:
    """Return thetas (m, d), ln T (n,) and values (m, n, k), NaN where there is none."""
    theta, at_theta = np.unique(table.points[:, :-1], axis=0, return_inverse=True)
    kT, at_T = np.unique(table.points[:, -1], return_inverse=True)
    if len(theta) * len(kT) > 4 * len(table.points) or len(kT) < 2:
        raise InputError(
            "temperatures that differ from theta to theta", where="mlp emulator", expected="the same for each theta"
        )
    values = np.full((len(theta), len(kT), table.values.shape[1]), np.nan)
    values[at_theta.ravel(), at_T.ravel()] = table.values
    return theta, np.log(kT), values


def _refined(fits: Any, theta: Floats, log_T: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return ln T with the middles between (2 n - 1,), and the values (m, 2 n - 1, k) fitted there as well."""
    middle = 0.5 * (log_T[1:] + log_T[:-1])
    order = np.argsort(np.concatenate([log_T, middle]))
    fresh = np.stack([fits.shifts(one, np.exp(middle)) for one in theta])
    return np.concatenate([log_T, middle])[order], np.concatenate([values, fresh], axis=1)[:, order]


def _fewer_energies(emulator: KernelMLP, theta: Floats, sigma: Floats) -> KernelMLP:
    """Add up neighbouring energies of the kernel where that changes nothing that matters."""
    if emulator.energy.size <= FEW_ENERGIES:
        return emulator
    weight = np.sqrt(np.mean((emulator.kernel / sigma[:, None]) ** 2, axis=(0, 1)))
    total = np.cumsum(weight + 1e-3 * weight.mean())
    starts = np.unique(np.searchsorted(total, np.linspace(0, total[-1], FEW_ENERGIES + 1)[:-1]))
    starts[0] = 0
    share = np.add.reduceat(weight, starts)
    middle = np.add.reduceat(weight * emulator.energy, starts)
    energy = np.where(share > 0, middle / np.where(share > 0, share, 1.0), emulator.energy[starts])
    kernel = np.add.reduceat(emulator.kernel, starts, axis=2)
    few = replace(emulator, energy=energy, kernel=kernel, projection=emulator.projection[starts])
    some = theta[:: max(1, len(theta) // 200)]
    change = (few.at_nodes(some, np)[0] - emulator.at_nodes(some, np)[0]) / sigma
    return few if np.quantile(np.abs(change), 0.99) < SAME else emulator


def _first_layers(sizes: list[int], size: float, rng: np.random.Generator) -> list[tuple[Any, Any]]:
    """Return random weights and no offsets; the last layer's outputs are small beside the targets' ``size``."""
    import jax.numpy as jnp

    layers = []
    for k, (a, b) in enumerate(pairwise(sizes)):
        spread = np.sqrt((2.0 if k else 1.0) / a) * (0.1 * size if k == len(sizes) - 2 else 1.0)
        layers.append((jnp.asarray(spread * rng.standard_normal((a, b))), jnp.zeros(b)))
    return layers


def _epoch(loss: Any, data: tuple[Any, ...], optimiser: Any) -> Any:
    """Return the compiled pass over the rows of ``data`` in the order given, shape (steps, batch)."""
    import jax
    import optax

    @jax.jit
    def epoch(p: Any, state: Any, order: Any) -> Any:
        def step(carry: Any, rows: Any) -> Any:
            p, state = carry
            gradient = jax.grad(loss)(p, *(a[rows] for a in data))
            updates, state = optimiser.update(gradient, state)
            return (optax.apply_updates(p, updates), state), None

        return jax.lax.scan(step, (p, state), order)[0]

    return epoch


def _minimise(
    emulator: KernelMLP,
    theta: Floats,
    target: Floats,
    good: Any,
    split: tuple[Any, Any],
    plan: Plan,
    progress: Progress,
) -> tuple[list[tuple[Any, Any]], int, Floats]:
    """Return the layers that do best on the thetas held out, the steps taken, and their rms error there (k,)."""
    import jax
    import jax.numpy as jnp
    import optax
    from jax.flatten_util import ravel_pytree

    (used, held), epochs = split, plan.epochs
    x = emulator.log_factor(theta, np) @ emulator.projection
    size = float(np.sqrt(np.mean(target[good] ** 2))) or 1.0
    rng = generator(plan.seed, "kernel-mlp-start")
    layers = _first_layers([x.shape[1], *(b.size for b in emulator.biases)], size, rng)
    data = tuple(jnp.asarray(a[used]) for a in (x, target, good.astype(float)))
    outside = tuple(jnp.asarray(a[held]) for a in (x, target, good.astype(float)))

    def difference(p: Any, x: Any, y: Any, good: Any) -> Any:
        net = forward(p, x, jnp) - forward(p, jnp.zeros((1, x.shape[1])), jnp)
        return (net.reshape(y.shape) - y) * good

    def loss(p: Any, *rows: Any) -> Any:
        return jnp.mean(difference(p, *rows) ** 2)

    batch = min(plan.batch, max(8, len(used) // 8), len(used))
    steps, rate = max(1, len(used) // batch), plan.learning_rate
    optimiser = optax.adam(
        optax.warmup_cosine_decay_schedule(rate / 20, rate, min(5, epochs // 2) * steps, epochs * steps, rate / 100)
    )
    epoch = _epoch(loss, data, optimiser)
    with progress.stage("Training the network", total=epochs + plan.polish) as advance:
        state = optimiser.init(layers)
        for _ in range(epochs):
            order = rng.permutation(len(used))[: steps * batch].reshape(steps, batch)
            layers, state = epoch(layers, state, order)
            advance(1)
        vector, unravel = ravel_pytree(layers)
        both = jax.jit(jax.value_and_grad(lambda v: loss(unravel(v), *data)))
        judge = jax.jit(lambda v: jnp.sqrt(jnp.mean(difference(unravel(v), *outside) ** 2, axis=(0, 1))))

        best, error, taken = _polished(both, judge, np.asarray(vector), plan, advance)
    return list(unravel(jnp.asarray(best))), taken, error


def _polished(both: Any, judge: Any, start: Floats, plan: Plan, advance: Any) -> tuple[Floats, Floats, int]:
    """Return the vector of a run of L-BFGS that does best on the thetas held out, its error there, and the steps.

    Parameters
    ----------
    both, judge : callables
        Compiled: loss and gradient of a vector; rms errors (k,) on the thetas held out.
    """
    from scipy.optimize import minimize

    best, error, taken, last = start, np.asarray(judge(start)), 0, 0

    def plain(v: Floats) -> tuple[float, Floats]:
        value, gradient = both(v)
        return float(value), np.asarray(gradient)

    def look(v: Floats) -> None:
        nonlocal best, error, taken, last
        taken += 1
        if taken % PASS == 0:
            advance(PASS)
            now = np.asarray(judge(v))
            if np.mean(now**2) < np.mean(error**2):
                best, error, last = np.array(v), now, taken
            elif taken - last >= plan.patience * PASS:
                raise StopIteration

    if plan.polish:
        options = {"maxiter": plan.polish, "maxfun": 2 * plan.polish, "maxcor": 50, "ftol": 1e-13, "gtol": 1e-9}
        end = minimize(plain, best, jac=True, method="L-BFGS-B", callback=look, options=options).x
        now = np.asarray(judge(end))
        if np.mean(now**2) < np.mean(error**2):
            best, error = end, now
    advance(max(0, plan.polish - taken // PASS * PASS))
    return best, error, taken
