"""A learned map from named inputs to named outputs that knows where it is valid and how good it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.emulator.table import Input

Floats = NDArray[np.float64]

#: Points evaluated at once: intermediate arrays then stay in the processor's cache (3 times faster than one block).
BLOCK = 1024
#: Above this many points, compiling the map pays.
COMPILE_ABOVE = 8192

OUTSIDE = ("refuse", "flag", "clip")


@dataclass(frozen=True, eq=False)
class Emulator(ABC):
    """The map y = f(x), x of shape (d,) in physical units.

    Attributes
    ----------
    inputs : tuple of Input
        Names, units, scales and the training domain.
    outputs : tuple of str
    residual_sd : array (k,)
        Root mean square error on points that were not used in training.
    report : mapping
        JSON-like: how it was trained, which candidates were compared, validation figures.
    provenance : mapping
        JSON-like: where the training values come from.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    residual_sd: Floats
    report: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    provenance: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    kind: ClassVar[str]

    @abstractmethod
    def _evaluate(self, unit: Any, xp: Any) -> Any:
        """Map unit coordinates (n, d) in [-1, 1] to outputs (n, k), using ``xp`` (numpy or jax.numpy) only."""

    @abstractmethod
    def arrays(self) -> dict[str, Floats]:
        """Return the learned numbers by name."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], settings: Mapping[str, Any], **facts: Any) -> Emulator:
        """Rebuild from `arrays` and `settings`; ``facts`` are the attributes that all kinds share."""

    @abstractmethod
    def select(self, columns: Sequence[int]) -> Emulator:
        """Return the emulator of some outputs, by their numbers."""

    def _selected(self, columns: Sequence[int], **arrays: Any) -> Emulator:
        outputs = tuple(self.outputs[c] for c in columns)
        return replace(self, outputs=outputs, residual_sd=self.residual_sd[list(columns)], **arrays)

    def settings(self) -> dict[str, Any]:
        """Return what beside `arrays` describes the map, JSON-like."""
        return {}

    @property
    def names(self) -> tuple[str, ...]:
        """Input names in order."""
        return tuple(i.name for i in self.inputs)

    @property
    def domain(self) -> dict[str, tuple[float, float]]:
        """Training range of each input."""
        return {i.name: (i.low, i.high) for i in self.inputs}

    def with_report(self, residual_sd: ArrayLike, **report: Any) -> Emulator:
        """Return a copy that knows its errors and how they were found."""
        return replace(self, residual_sd=np.asarray(residual_sd, dtype=float), report={**self.report, **report})

    def stack(self, points: ArrayLike | Mapping[str, ArrayLike], xp: Any = np) -> Any:
        """Return points as an array (..., d); a mapping of names may hold arrays that broadcast.

        Raises
        ------
        InputError
            For a wrong last axis or a missing name; UnknownNameError for a name that is not an input.
        """
        if isinstance(points, Mapping):
            for name in points:
                if name not in self.names:
                    raise UnknownNameError("emulator input", str(name), self.names)
            missing = [name for name in self.names if name not in points]
            if missing:
                raise InputError(f"no value for {missing[0]!r}", where="emulator", expected=", ".join(self.names))
            return xp.stack(xp.broadcast_arrays(*[xp.asarray(points[n], dtype=float) for n in self.names]), axis=-1)
        array = xp.asarray(points, dtype=float)
        if array.ndim == 0 or array.shape[-1] != len(self.names):
            raise InputError(
                f"points of shape {array.shape}",
                where="emulator",
                expected=f"a last axis of {len(self.names)}: {', '.join(self.names)}",
            )
        return array

    def inside(self, points: ArrayLike | Mapping[str, ArrayLike]) -> NDArray[np.bool_]:
        """Say which points lie in the training domain, shape (...)."""
        array = self.stack(points)
        low, high = np.array([(i.low, i.high) for i in self.inputs]).T
        slack = 1e-9 * (high - low)
        return np.all((array >= low - slack) & (array <= high + slack), axis=-1)

    def __call__(self, points: Any) -> Any:
        """Evaluate with JAX, points (..., d) -> (..., k): differentiable, jit- and vmap-able.

        Inputs outside the training domain are moved to its border, because values cannot be checked while
        tracing; check with `inside` where it matters.
        """
        import jax.numpy as jnp

        array = self.stack(points, jnp)
        flat = self._unit(array.reshape(-1, len(self.names)), jnp)
        return self._evaluate(jnp.clip(flat, -1.0, 1.0), jnp).reshape(*array.shape[:-1], len(self.outputs))

    def at(self, first: Any, last: Any) -> Any:
        """Evaluate with JAX at many values of the last input, the others fixed: (d - 1,), (n,) -> (n, k).

        Kinds that can contract the fixed inputs once override this.
        """
        import jax.numpy as jnp

        fixed = jnp.broadcast_to(jnp.asarray(first), (*jnp.shape(last), len(self.names) - 1))
        return self(jnp.concatenate([fixed, jnp.asarray(last)[..., None]], axis=-1))

    def predict(self, points: ArrayLike | Mapping[str, ArrayLike], *, outside: str = "refuse") -> Floats:
        """Evaluate points (..., d) in physical units, returning (..., k).

        Parameters
        ----------
        outside : "refuse", "flag" or "clip"
            What happens beyond the training domain: an error, NaN, or the value at the border.

        Raises
        ------
        InputError
            Naming the first input that leaves its range, if ``outside`` is "refuse".
        """
        if outside not in OUTSIDE:
            raise UnknownNameError("way to treat points outside", outside, OUTSIDE)
        array = self.stack(points)
        if not np.all(np.isfinite(array)):
            raise InputError("points are not finite", where="emulator", expected="finite numbers")
        inside = self.inside(array)
        if outside == "refuse" and not inside.all():
            self._refuse(array)
        flat = array.reshape(-1, len(self.names))
        if outside != "refuse":
            low, high = np.array([(i.low, i.high) for i in self.inputs]).T
            flat = np.clip(flat, low, high)
        values = self._in_blocks(flat).reshape(*array.shape[:-1], len(self.outputs))
        if outside == "flag":
            values[~inside] = np.nan
        return values

    def predict_named(self, **values: ArrayLike) -> dict[str, Floats]:
        """Evaluate named, broadcastable inputs; return one array per output."""
        result = self.predict(values)
        return {name: result[..., k] for k, name in enumerate(self.outputs)}

    def _refuse(self, array: Floats) -> None:
        flat = array.reshape(-1, len(self.names))
        for k, item in enumerate(self.inputs):
            slack = 1e-9 * (item.high - item.low)
            bad = (flat[:, k] < item.low - slack) | (flat[:, k] > item.high + slack)
            if bad.any():
                raise InputError(
                    f"{item.name} = {flat[bad, k][0]:g} is outside the training domain ({int(bad.sum())} points)",
                    where="emulator",
                    expected=f"{item.low:g} to {item.high:g} {item.unit}".strip(),
                )

    def _unit(self, flat: Any, xp: Any) -> Any:
        low, high, log = self._scaling
        safe = xp.where(log, xp.where(flat > 0, flat, 1e-300), 1.0)
        x = xp.where(log, xp.log(safe), flat) if log.any() else flat
        return (x - 0.5 * (low + high)) * (2.0 / (high - low))

    @cached_property
    def _scaling(self) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        log = np.array([i.scale == "log" for i in self.inputs])
        ends = np.array([(i.low, i.high) for i in self.inputs])
        ends = np.where(log[:, None], np.log(np.where(log[:, None], ends, 1.0)), ends)
        return ends[:, 0], ends[:, 1], log

    def _in_blocks(self, flat: Floats) -> Floats:
        if len(flat) > COMPILE_ABOVE and _double_precision():
            n, d = len(flat), flat.shape[1]
            padded = np.concatenate([flat, np.repeat(flat[-1:], -n % BLOCK, axis=0)])
            return np.asarray(self._compiled(padded.reshape(-1, BLOCK, d))).reshape(-1, len(self.outputs))[:n].copy()
        blocks = [self._evaluate(self._unit(flat[k : k + BLOCK], np), np) for k in range(0, max(len(flat), 1), BLOCK)]
        return np.concatenate(blocks)

    @cached_property
    def _compiled(self) -> Any:
        import jax
        import jax.numpy as jnp

        return jax.jit(lambda blocks: jax.lax.map(lambda b: self._evaluate(self._unit(b, jnp), jnp), blocks))


def _double_precision() -> bool:
    import sys

    # Only where the host program uses JAX already, in double precision; NumPy gives the same numbers, slower.
    jax = sys.modules.get("jax")
    return bool(jax is not None and jax.config.jax_enable_x64)
