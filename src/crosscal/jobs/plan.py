"""What a run would do: which of its stages would be skipped, and which would be the first to run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosscal.core.progress import SILENT, Progress
from crosscal.jobs.stages import Stages, begun_stages, recorded_names

SKIP, RUN, RESUME = "skip", "run", "resume"


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    output : Path
        The run directory.
    complete : bool
        Whether this very run is already there, so that nothing would be done.
    stages : tuple of (str, str)
        Name of each stage that is known, and what would become of it: "skip" (its product is there), "resume"
        (an interrupted run has left a part of it) or "run".
    follows : tuple of str
        Stages that the last run had after the first one to run. Whether they run depends on what it gives.
    """

    output: Path
    complete: bool
    stages: tuple[tuple[str, str], ...] = ()
    follows: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.complete:
            return f"The run in {self.output} is already complete: nothing would be done."
        words = {SKIP: "already complete, would be skipped", RUN: "would run", RESUME: "would resume"}
        lines = [f"  {name}: {words[what]}" for name, what in self.stages]
        lines += [f"  {name}: depends on the stages before it" for name in self.follows]
        if not lines or self.stages[-1][1] == SKIP:
            lines.append("  All stages are complete: only results, figures and report would be written.")
        elif not self.follows:
            lines.append("  Then: the stages that depend on it, results, figures and report.")
        return "\n".join(lines)


class _FirstToRun(BaseException):
    """Ends a planned run at the first stage that has work to do; no handler of errors in a batch may take it."""


class PlannedStages(Stages):
    """Stages that load what is there and end the run at the first one whose product is not.

    Parameters
    ----------
    scratch : Path
        An empty directory, into which products are linked to be loaded.
    places : sequence of Path
        Directories whose products a run would use, the interrupted run's before the finished one's.
    """

    def __init__(self, scratch: Path, places: Sequence[Path], progress: Progress = SILENT) -> None:
        super().__init__(scratch, progress=progress)
        self.places = tuple(places)
        self.planned: list[tuple[str, str]] = []

    def _have(self, name: str, full: str) -> bool:
        for place in self.places:
            self.previous = place
            if super()._have(name, full):
                self.planned.append((name, SKIP))
                return True
        return False

    def _begin(self, name: str, full: str, files: Sequence[str], resumes: bool) -> None:
        begun = resumes and any(begun_stages(place).get(name) == full for place in self.places)
        self.planned.append((name, RESUME if begun else RUN))
        raise _FirstToRun


def plan_stages(run: Any, job: Any, output: Path, places: Sequence[Path]) -> Plan:
    """Plan the stages of a job: read its data, load what is complete, and stop before the first work.

    Parameters
    ----------
    run : callable
        ``run(job, stages)`` of the part.
    job : Job
    output : Path
    places : sequence of Path
        See `PlannedStages`.
    """
    with tempfile.TemporaryDirectory(dir=output if output.is_dir() else None, prefix=".partial-") as scratch:
        stages = PlannedStages(Path(scratch), places)
        try:
            run(job, stages)
        except _FirstToRun:
            planned = {name for name, _ in stages.planned}
            earlier = list(dict.fromkeys(name for place in places for name in recorded_names(place)))
            return Plan(output, False, tuple(stages.planned), tuple(n for n in earlier if n not in planned))
    return Plan(output, False, tuple(stages.planned))
