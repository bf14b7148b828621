"""The parts that jobs can name; each is one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crosscal.core.errors import ConfigError
from crosscal.core.registry import Registry

if TYPE_CHECKING:
    # Names of parts are looked up before anything heavy is imported, so that a command answers at once.
    from crosscal.jobs.options import Job
    from crosscal.jobs.result import JobResult
    from crosscal.jobs.stages import Stages

PARTS = Registry(
    "part",
    {
        "xray": "crosscal.xray.jobs.pairs:PART",
        "xray-spectra": "crosscal.xray.jobs.spectra:PART",
        "xray-fit": "crosscal.xray.jobs.fit:PART",
        "concordance": "crosscal.concordance.job:PART",
        "lightcurves": "crosscal.lightcurves.job:PART",
        "lightcurves-survey": "crosscal.lightcurves.survey.job:PART",
        "fluxcal": "crosscal.fluxcal.job:PART",
    },
)
#: Readers of other programs' parameter files: ``recognise(first line)`` and ``read(path) -> job``.
FOREIGN_JOBS = Registry("job file of another program", {"pycali": "crosscal.lightcurves.compat.job:PYCALI"})

#: The first line of most job files.
_NAMES_JOB = re.compile(r"""\s*job\s*=\s*["'][\w-]+["']\s*(#.*)?$""")


@dataclass(frozen=True)
class Part:
    """One of the jobs that CrossCal does.

    Attributes
    ----------
    name : str
    model : type of Job
        Its options, which are the tables of its job file.
    run : callable
        ``run(job, stages) -> result``; what must survive an interruption is kept by the stages, nothing else is
        written.
    demo : mapping, or callable
        The content of a job file that runs offline on built-in data, without ``output``; or
        ``demo(directory) -> content``, which makes the input files in the directory first.
    truth : callable, optional
        ``truth(result, directory) -> sentence`` that compares a demonstration's result with what was simulated.
    """

    name: str
    model: type[Job]
    run: Callable[[Any, Stages], JobResult]
    demo: Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]
    truth: Callable[[Any, Path], str] | None = None

    @property
    def template(self) -> str:
        """A commented job file."""
        from crosscal.jobs.template import template

        return template(self.model)


class ForeignJob(NamedTuple):
    """How a parameter file of another program is recognised by its first line and turned into a job of a part."""

    part: str
    recognise: Callable[[str], bool]
    read: Callable[[str], Job]


def part_of(content: Mapping[str, Any], source: str) -> Part:
    """Return the part that a job file's ``job`` key names.

    Raises
    ------
    ConfigError
        If the key is missing; an unknown name raises UnknownNameError.
    """
    name = content.get("job")
    if not isinstance(name, str):
        raise ConfigError(
            "the key is missing or no text", where=f"{source}: key job", expected=f"one of {', '.join(PARTS.names())}"
        )
    return PARTS.get(name, where=f"{source}: key job")


def load_job(path: str, changes: Sequence[tuple[str, Any]] = ()) -> tuple[Part, Job]:
    """Read a job file, or a parameter file of another program, into its part and its job.

    Parameters
    ----------
    path : str
    changes : sequence of (str, object)
        Dotted key and the value that takes the place of the file's, in order. A relative path in it is meant as if it
        stood in the file.

    Raises
    ------
    ConfigError
        If the file or a change does not describe a possible job.
    """
    from crosscal.core.files import existing_file
    from crosscal.jobs.changes import changed
    from crosscal.jobs.options import plain, read_toml, validate

    with open(existing_file(path, what="job file"), encoding="utf-8", errors="replace") as stream:
        first = next((line for line in stream if line.strip() and not line.startswith("#")), "")
    source = f"{path} with --set" if changes else path
    # A file that names its job needs no other reader, whose import takes seconds.
    for name in () if _NAMES_JOB.match(first) else FOREIGN_JOBS:
        foreign: ForeignJob = FOREIGN_JOBS.get(name)
        if foreign.recognise(first):
            part, job = PARTS.get(foreign.part), foreign.read(path)
            if not changes:
                return part, job
            return part, validate(part.model, changed(part.model, plain(job), changes), source=source)
    content = read_toml(path)
    part = part_of(content, path)
    return part, validate(part.model, changed(part.model, content, changes), source=source)
