"""One statement of a posterior, with the views that samplers need.

A `Problem` is a set of independent priors and a log likelihood. Samplers see it as

- a density over an unconstrained vector (NUTS, Laplace, importance sampling),
- a unit cube and a likelihood (nested sampling),
- named conditionals (Gibbs).

No model is written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.inference.jaxconfig import require_x64

Params = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """Independent priors and a log likelihood.

    Parameters
    ----------
    priors : mapping of str to numpyro distribution
        The prior of each parameter; batch and event shape give the parameter's shape. The order defines the
        flat vector.
    log_likelihood : callable
        ``log_likelihood(params) -> scalar``, written with ``jax.numpy`` so that it can be differentiated.
    derived : callable, optional
        ``derived(params) -> dict`` of further quantities stored with each draw.
    pointwise : callable, optional
        ``pointwise(params) -> array (n_data,)`` log likelihood of each datum, for leave-one-out.
    simulate : callable, optional
        ``simulate(generator, params) -> data`` for predictive checks and simulation-based calibration.
    dims : mapping of str to sequence of str
        Dimension names of the parameters and derived quantities.
    coords : mapping of str to sequence
        Coordinate values of the dimensions.
    units : mapping of str to str
        Units of the parameters.
    conditionals : mapping, optional
        For Gibbs: block name to ``update(generator, state) -> dict`` of new values.

    Raises
    ------
    InputError
        If there are no priors or a dimension is named for an unknown parameter.
    """

    priors: Mapping[str, Any]
    log_likelihood: Callable[[Params], Any]
    derived: Callable[[Params], Mapping[str, Any]] | None = None
    pointwise: Callable[[Params], Any] | None = None
    simulate: Callable[[np.random.Generator, Params], Any] | None = None
    dims: Mapping[str, Sequence[str]] = field(default_factory=dict)
    coords: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    conditionals: Mapping[str, Callable[[np.random.Generator, dict[str, Any]], Params]] | None = None

    def __post_init__(self) -> None:
        if not self.priors:
            raise InputError("a problem without parameters", expected="at least one prior")
        if self.derived is None:
            for name in self.dims:
                if name not in self.priors:
                    raise UnknownNameError("parameter", name, self.priors, where="dims")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Parameter names in the order of the flat vector."""
        return tuple(self.priors)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter."""
        return {name: tuple(prior.batch_shape + prior.event_shape) for name, prior in self.priors.items()}

    @cached_property
    def _transforms(self) -> dict[str, Any]:
        from numpyro.distributions import biject_to

        return {name: biject_to(prior.support) for name, prior in self.priors.items()}

    @cached_property
    def _slices(self) -> dict[str, tuple[slice, tuple[int, ...]]]:
        slices, start = {}, 0
        for name in self.names:
            shape = tuple(self._transforms[name].inverse_shape(self.shapes[name]))
            size = int(np.prod(shape, dtype=int))
            slices[name] = (slice(start, start + size), shape)
            start += size
        return slices

    @cached_property
    def size(self) -> int:
        """Length of the unconstrained vector."""
        return max(part.stop for part, _ in self._slices.values())

    def labels(self) -> list[str]:
        """Name of each element of the constrained parameters, flattened: ``["T[0]", "T[1]", "scatter"]``."""
        labels = []
        for name in self.names:
            shape = self.shapes[name]
            if shape == ():
                labels.append(name)
            else:
                labels += [f"{name}[{', '.join(map(str, i))}]" for i in np.ndindex(*shape)]
        return labels

    def constrain(self, vector: Any) -> dict[str, Any]:
        """Map an unconstrained vector (size,) to named parameters."""
        return {
            name: self._transforms[name](vector[part].reshape(shape)) for name, (part, shape) in self._slices.items()
        }

    def unconstrain(self, params: Params) -> Any:
        """Map named parameters to the unconstrained vector (size,)."""
        import jax.numpy as jnp

        return jnp.concatenate([self._transforms[n].inv(jnp.asarray(params[n])).ravel() for n in self.names])

    def log_prior(self, params: Params) -> Any:
        """Log density of the priors at named parameters."""
        return sum(self.priors[name].log_prob(params[name]).sum() for name in self.names)

    def log_density(self, vector: Any) -> Any:
        """Log posterior (unnormalised) of an unconstrained vector, with the Jacobian of the transform."""
        import jax.numpy as jnp

        total = jnp.zeros(())
        params = {}
        for name, (part, shape) in self._slices.items():
            raw = vector[part].reshape(shape)
            params[name] = self._transforms[name](raw)
            total += self._transforms[name].log_abs_det_jacobian(raw, params[name]).sum()
        return total + self.log_prior(params) + self.log_likelihood(params)

    def from_unit(self, cube: Any) -> dict[str, Any]:
        """Map the unit cube (one number per element, in the order of `labels`) to parameters through the priors.

        Raises
        ------
        InputError
            If a prior has no inverse cumulative distribution.
        """
        params, start = {}, 0
        for name, prior in self.priors.items():
            shape = self.shapes[name]
            size = int(np.prod(shape, dtype=int))
            while hasattr(prior, "base_dist") and hasattr(prior, "reinterpreted_batch_ndims"):
                prior = prior.base_dist  # Independent only regroups dimensions
            try:
                params[name] = prior.icdf(cube[start : start + size].reshape(shape))
            except NotImplementedError:
                raise InputError(
                    f"the prior {type(prior).__name__} has no inverse cumulative distribution",
                    where=f"parameter {name!r}",
                    expected="a prior with icdf, for nested sampling",
                ) from None
            start += size
        return params

    def draw_prior(self, seed: int, n: int) -> dict[str, NDArray[np.float64]]:
        """Draw ``n`` samples from the priors: name to array ``(n, *shape)``."""
        import jax

        require_x64()

        def sample(keys: Any) -> dict[str, Any]:
            return {name: self.priors[name].sample(key, (n,)) for name, key in zip(self.names, keys, strict=True)}

        # One compiled program: drawn operation by operation, the first draw compiles some eighty of them.
        drawn = jax.jit(sample)(jax.random.split(jax.random.PRNGKey(seed), len(self.names)))
        return {name: np.asarray(drawn[name]) for name in self.names}
