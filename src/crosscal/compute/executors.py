"""Where chunks are computed: the registry of executors.

A member is a class whose constructor takes its options and that has ``run(job, chunks)``
(:class:`crosscal.compute.job.Executor`). Other packages add theirs through the entry-point group
``crosscal.executors``.
"""

from __future__ import annotations

import inspect
from typing import Any

from crosscal.compute.job import Executor
from crosscal.core.errors import ConfigError, UnknownNameError
from crosscal.core.registry import Registry

EXECUTORS = Registry(
    "executor",
    {
        "serial": "crosscal.compute.serial:Serial",
        "local": "crosscal.compute.local:Local",
        "dask": "crosscal.compute.cluster:DaskExecutor",
    },
)


def make_executor(executor: str | Executor, **options: Any) -> Executor:
    """Return an executor by name with its options, or the given object itself.

    Raises
    ------
    UnknownNameError
        If there is no such executor, or it has no such option.
    ConfigError
        If options are given with an object, or do not fit.
    """
    if not isinstance(executor, str):
        if options:
            raise ConfigError(
                f"options {', '.join(options)} with an executor object",
                where="sweep",
                expected="options with a name only",
            )
        return executor
    kind = EXECUTORS.get(executor)
    known = inspect.signature(kind).parameters
    for name in options:
        if name not in known:
            raise UnknownNameError("option", name, known, where=f"executor {executor!r}")
    return kind(**options)
