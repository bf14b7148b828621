"""The samplers, by name, and the one call that uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, TypedDict

from crosscal.core.errors import UnknownNameError
from crosscal.core.keywords import UnknownArgumentError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from crosscal.inference.posterior import Posterior
    from crosscal.inference.problem import Problem

SAMPLERS = Registry(
    "sampler",
    {
        "laplace": "crosscal.inference.laplace:laplace",
        "importance": "crosscal.inference.importance:importance",
        "nuts": "crosscal.inference.nuts:nuts",
        "population": "crosscal.inference.importance:population",
        "nested": "crosscal.inference.nested:nested",
        "gibbs": "crosscal.inference.gibbs:gibbs",
    },
)


class SamplerOptions(TypedDict, total=False):
    """What the samplers above can be asked for, each by some of them, so that type checkers know the names."""

    draws: int | None
    warmup: int
    chains: int
    start: Mapping[str, ArrayLike] | None
    starts: int
    proposals: int | None
    components: int
    rounds: int
    degrees: float
    coarse: Sequence[Problem]
    target_accept: float
    max_tree_depth: int
    dense_mass: bool
    adapt_mass: bool
    precondition: bool
    workers: int | None
    live_points: int | None
    dlogz: float
    method: str
    keep: tuple[str, ...] | None


def sample(
    problem: Problem, method: str = "nuts", *, seed: int = 0, progress: Progress = SILENT, **options: Any
) -> Posterior:
    """Sample a problem with the named back end; further options go to the back end.

    Raises
    ------
    UnknownNameError
        If there is no such sampler, or it has no such option.
    """
    own = options_of(method)
    for name in options:
        if own is not None and name not in own:
            raise UnknownNameError("option", name, own, where=f"sampler {method!r}")
    sampler = SAMPLERS.get(method)
    return sampler(problem, seed=seed, progress=progress, **options)


def options_of(method: str) -> list[str] | None:
    """Return the names of the options that a sampler has; None if it takes any name."""
    parameters = signature(SAMPLERS.get(method)).parameters
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values()):
        return None
    return [name for name in parameters if name not in ("problem", "seed", "progress")]


def check_options(function: Callable[..., Any], options: Iterable[str], method: str) -> None:
    """Check names that a function hands on to its sampler against its own arguments and those of the sampler.

    Parameters
    ----------
    function : callable
        With ``**options``; its own arguments are among the names that a message may offer.
    options : iterable of str
    method : str
        A sampler; any other word, such as "auto", stands for all of them.

    Raises
    ------
    UnknownArgumentError
        With the closest names.
    """
    named = [name for name, p in signature(function).parameters.items() if p.kind is not Parameter.VAR_KEYWORD]
    for one in (method,) if method in SAMPLERS else SAMPLERS:
        own = options_of(one)
        if own is None:
            return
        named += own
    for name in options:
        if name not in named:
            raise UnknownArgumentError("argument", name, set(named), where=function.__name__)
