"""The model as a `Problem` that every sampler understands.

The compiled likelihood runs on the host behind ``jax.pure_callback``; its gradient is the hand-written adjoint.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.inference.problem import Problem
from crosscal.lightcurves.model import Model


def blocks(model: Model) -> dict[str, NDArray[np.int64]]:
    """Return the sampled places of the full vector by kind, in the order of the problem's parameters."""
    lay = model.layout
    sampled = set(model.sampled.tolist())
    syserr = lay.syserr.ravel()
    few = np.isfinite(lay.half_normal[syserr])
    groups = {
        "kernel": lay.kernel.ravel(),
        "log_scale": lay.scale,
        "shift": lay.shift,
        "syserr": syserr[~few],
        "syserr_few": syserr[few],
        "log_errscale": lay.errscale.ravel(),
    }
    chosen = {name: np.array([p for p in places if p in sampled], dtype=np.int64) for name, places in groups.items()}
    return {name: places for name, places in chosen.items() if len(places)}


def make_problem(model: Model) -> Problem:
    """State the posterior over ``model.sampled``: uniform priors inside the limits, half-normal where few points."""
    import jax.numpy as jnp
    from numpyro import distributions as dist

    lay, groups = model.layout, blocks(model)
    priors: dict[str, Any] = {}
    for name, places in groups.items():
        low, high = lay.low[places], lay.high[places]
        if name == "syserr_few":
            priors[name] = dist.TruncatedNormal(low, lay.half_normal[places], low=low, high=high)
        else:
            priors[name] = dist.Uniform(low, high)
    joined = np.concatenate(list(groups.values()))
    to_sampled = np.argsort(joined)  # model.sampled is sorted by place
    log_likelihood = host_log_likelihood(model)

    def of_params(params: Any) -> Any:
        vector = jnp.concatenate([params[name] for name in groups])
        return log_likelihood(vector[to_sampled])

    named = {f"{name}_dim": [_called(lay.labels[k], name) for k in places] for name, places in groups.items()}
    return Problem(priors, of_params, dims={name: (f"{name}_dim",) for name in groups}, coords=named)


def _called(label: str, group: str) -> str:
    """Return the telescope or file in a label such as ``shift[B]``; parameters of the process keep their name too."""
    parameter, _, inside = label.removesuffix("]").partition("[")
    return f"{parameter}, {inside}" if group == "kernel" else inside


def full_vectors(model: Model, posterior: Any) -> NDArray[np.float64]:
    """Return the full vectors (n_draws, n) of a posterior of `make_problem`; marginalised shifts are zero."""
    x = np.tile(model.layout.fixed, (posterior.n_draws, 1))
    for name, places in blocks(model).items():
        x[:, places] = posterior.draws(name)
    return x


def host_log_likelihood(model: Model) -> Callable[[Any], Any]:
    """Wrap the compiled likelihood for JAX: differentiable once, batched, safe in threads."""
    import jax

    local = threading.local()

    def mine() -> Model:
        # The model reuses its work arrays, so every thread has its own.
        if not hasattr(local, "model"):
            local.model = model.copy()
        return local.model

    def host_value(vectors: Any) -> NDArray[np.float64]:
        v = np.asarray(vectors, dtype=float)
        flat = mine().full(v.reshape(-1, v.shape[-1]))
        return mine().many(flat)[0].reshape(v.shape[:-1])

    def host_gradient(vectors: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        v = np.asarray(vectors, dtype=float)
        flat = mine().full(v.reshape(-1, v.shape[-1]))
        values, gradients = np.empty(len(flat)), np.empty((len(flat), v.shape[-1]))
        for k, x in enumerate(flat):
            values[k], gradient = mine().value_and_gradient(x)
            gradients[k] = gradient[model.sampled]
        return values.reshape(v.shape[:-1]), gradients.reshape(v.shape)

    def scalar(v: Any) -> Any:
        return jax.ShapeDtypeStruct(v.shape[:-1], v.dtype)

    def value_and_gradient(v: Any) -> Any:
        shapes = (scalar(v), jax.ShapeDtypeStruct(v.shape, v.dtype))
        return jax.pure_callback(host_gradient, shapes, v, vmap_method="expand_dims")

    @jax.custom_vjp
    def log_likelihood(v: Any) -> Any:
        return jax.pure_callback(host_value, scalar(v), v, vmap_method="expand_dims")

    log_likelihood.defvjp(value_and_gradient, lambda gradient, cotangent: (cotangent * gradient,))
    return log_likelihood
