"""The samplers, by name, and the one call that uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        If there is no such sampler.
    """
    return SAMPLERS.get(method)(problem, seed=seed, progress=progress, **options)
