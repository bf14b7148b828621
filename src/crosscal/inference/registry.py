"""The samplers, by name, and the one call that uses them."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from crosscal.core.errors import UnknownNameError
from crosscal.core.progress import SILENT, Progress
from crosscal.core.registry import Registry

if TYPE_CHECKING:
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


def sample(
    problem: Problem, method: str = "nuts", *, seed: int = 0, progress: Progress = SILENT, **options: Any
) -> Posterior:
    """Sample a problem with the named back end; further options go to the back end.

    Raises
    ------
    UnknownNameError
        If there is no such sampler, or it has no such option.
    """
    sampler = SAMPLERS.get(method)
    known = signature(sampler).parameters
    if not any(p.kind is Parameter.VAR_KEYWORD for p in known.values()):
        own = [name for name in known if name not in ("problem", "seed", "progress")]
        for name in options:
            if name not in own:
                raise UnknownNameError("option", name, own, where=f"sampler {method!r}")
    return sampler(problem, seed=seed, progress=progress, **options)
