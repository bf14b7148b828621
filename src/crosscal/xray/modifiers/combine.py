"""Products and sums of families are families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from crosscal.core.errors import ConfigError, InputError
from crosscal.core.parameter import Parameter
from crosscal.xray.modifiers.base import COMBINATIONS, Build, Modifier, Theta, checked_options

if TYPE_CHECKING:
    from crosscal.xray.instrument.response import Response


@dataclass(frozen=True, eq=False)
class _Combined(Modifier):
    parts: tuple[Modifier, ...]

    def __post_init__(self) -> None:
        flat: list[Modifier] = []
        for part in self.parts:
            if not isinstance(part, Modifier):
                raise InputError(
                    f"a {type(part).__name__}", where=f"modifier {self.name!r}", expected="modifiers to combine"
                )
            flat += part.parts if type(part) is type(self) else [part]  # type: ignore[attr-defined]
        if len(flat) < 2:
            raise InputError(f"{len(flat)} parts", where=f"modifier {self.name!r}", expected="two or more")
        object.__setattr__(self, "parts", tuple(flat))

    @classmethod
    def from_options(cls, options: Mapping[str, Any], build: Build) -> Modifier:
        """Build from ``parts``: names of families, or tables of a name and options."""
        plan = checked_options(cls.name, options, ("parts",), required=("parts",))
        if not isinstance(plan["parts"], list | tuple):
            raise ConfigError(
                f"parts are {plan['parts']!r}",
                where=f"modifier {cls.name!r}",
                expected='["grey", { name = "gaussian" }]',
            )
        return cls(tuple(build(part) for part in plan["parts"]))

    @property
    def acts_on(self) -> str:  # type: ignore[override]
        """Whether all parts change the area only."""
        return "matrix" if any(part.acts_on == "matrix" for part in self.parts) else "area"

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        """A name per part: of several parts of one family the second is gaussian2, and so on."""
        seen: dict[str, int] = {}
        labels = []
        for part in self.parts:
            seen[part.name] = seen.get(part.name, 0) + 1
            base = part.name.replace("-", "_")
            labels.append(base + (str(seen[part.name]) if seen[part.name] > 1 else ""))
        return tuple(labels)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:  # type: ignore[override]
        """All parts' parameters in order; a name that occurs twice is preceded by its family (gaussian2_A)."""
        bare = [p.name for part in self.parts for p in part.parameters]
        found = []
        for label, part in zip(self._labels, self.parts, strict=True):
            for p in part.parameters:
                name = f"{label}_{p.name}" if bare.count(p.name) > 1 else p.name
                found.append(replace(p, name=name))
        return tuple(found)

    @property
    def null(self) -> tuple[float, ...]:
        """The parts' null parameters."""
        return tuple(value for part in self.parts for value in part.null)

    def split(self, theta: Any) -> list[Any]:
        """Cut theta (..., d) into the parts' parameters."""
        ends = np.cumsum([0] + [len(part.names) for part in self.parts])
        return [theta[..., a:b] for a, b in pairwise(ends)]


@dataclass(frozen=True, eq=False)
class Product(_Combined):
    """Product of families: phi = phi_1 phi_2 ..., applied from left to right."""

    name: ClassVar[str] = "product"

    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        total: Any = 1.0
        for part, values in zip(self.parts, self.split(theta), strict=True):
            total = total * part._factor(energy, values, xp)
        return total

    def apply(self, response: Response, theta: Theta = None) -> Response:
        """Let the parts change the response one after the other."""
        values = self._one(theta)
        for part, piece in zip(self.parts, self.split(values), strict=True):
            response = part.apply(response, piece)
        return response


@dataclass(frozen=True, eq=False)
class Sum(_Combined):
    """Sum of families' deviations: phi = 1 + (phi_1 - 1) + (phi_2 - 1) + ...; linear if all parts are."""

    name: ClassVar[str] = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in self.parts:
            if part.acts_on == "matrix":
                raise InputError(
                    f"the modifier {part.name!r} changes the matrix, not the area",
                    where="modifier 'sum'",
                    expected="a product with it",
                )

    @property
    def linear(self) -> bool:
        """Whether all parts are."""
        return all(part.linear for part in self.parts)

    def offset(self, energy: ArrayLike) -> np.ndarray:
        """Return 1 + the sum of the parts' (offset - 1)."""
        self._require_linear()
        return 1.0 + np.sum([part.offset(energy) - 1.0 for part in self.parts], axis=0)

    def basis(self, energy: ArrayLike) -> np.ndarray:
        """Return the parts' basis functions, shape (d, n)."""
        self._require_linear()
        return np.concatenate([part.basis(energy) for part in self.parts])

    def _factor(self, energy: Any, theta: Any, xp: ModuleType) -> Any:
        total: Any = 1.0
        for part, values in zip(self.parts, self.split(theta), strict=True):
            total = total + (part._factor(energy, values, xp) - 1.0)
        return total


COMBINATIONS.update(product=Product, sum=Sum)
