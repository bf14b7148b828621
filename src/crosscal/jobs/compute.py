"""Where the units of work of a job are computed; the table [compute] of job files."""

from __future__ import annotations

from inspect import signature
from typing import Any, ClassVar

from crosscal.core.errors import UnknownNameError
from crosscal.core.options import OpenTable, option, options


@options
class Compute(OpenTable):
    """Where the job is computed; the remaining keys are the executor's options.

    Attributes
    ----------
    executor : str
        See `crosscal list executors`.
    """

    examples: ClassVar[dict[str, Any]] = {}

    executor: str = option(default="local", shown=True)

    def __post_init__(self) -> None:
        from crosscal.compute import EXECUTORS

        known = signature(EXECUTORS.get(self.executor)).parameters
        for name in self.rest:
            if name not in known:
                raise UnknownNameError("option", name, known, where=f"executor {self.executor!r}")
