"""A finished run, as Python sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosscal.core.check import Check
from crosscal.core.correction import Correction
from crosscal.core.display import Words, answer_html
from crosscal.core.progress import SILENT, Progress
from crosscal.datasets import cache_directory, read_correction
from crosscal.inference.posterior import Posterior
from crosscal.jobs.parts import load_job
from crosscal.jobs.result import JobResult
from crosscal.jobs.stages import Stages
from crosscal.report.record import RunRecord


@dataclass(frozen=True)
class Run:
    """A finished run: what it found, and where its files are.

    Attributes
    ----------
    directory : Path
    part : str
    answer : str
        The result in one sentence.
    warnings : tuple of str
    checks : tuple of Check
    diagnostics : str
    seconds : float
        Time of all tries together.
    citations : tuple of str
        Keys of what to cite.
    captions : mapping of str to str
        One sentence for each figure.
    repeated : bool
        Whether the run had been finished before, so that nothing was done now.

    Examples
    --------
    >>> run = crosscal.run("job.toml")  # doctest: +SKIP
    >>> run.answer, run.passed, run.report  # doctest: +SKIP
    """

    directory: Path
    part: str
    answer: str
    warnings: tuple[str, ...]
    checks: tuple[Check, ...]
    diagnostics: str
    seconds: float
    citations: tuple[str, ...] = ()
    captions: Mapping[str, str] = field(default_factory=dict)
    repeated: bool = False
    _results: tuple[JobResult, ...] = field(default=(), repr=False, compare=False)

    _repr_html_ = answer_html

    @property
    def kind(self) -> str:
        """The kind of result: the part."""
        return self.part

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Inputs with their checksums, settings, seed and versions: the content of provenance.json."""
        return RunRecord.read(self.directory).provenance

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.directory / "report.html"

    @cached_property
    def result(self) -> JobResult:
        """The part's own result; of a run that had been finished before it is made from what its stages kept."""
        if self._results:
            return self._results[0]
        part, job = load_job(str(self.directory / "job.toml"))
        prepare_jax()
        return part.run(job, Stages(self.directory, complete=True))

    @property
    def correction(self) -> Correction | None:
        """What to multiply by, with its covariance; None where the job corrects nothing."""
        path = self.directory / "correction.nc"
        return read_correction(path) if path.exists() else None

    @property
    def posterior_draws(self) -> Posterior:
        """The draws.

        Raises
        ------
        DataFileError
            If the run left none.
        """
        return Posterior.read(self.directory / "posterior.nc")

    @property
    def posterior(self) -> Any:
        """The draws as an xarray DataTree (arviz)."""
        return self.posterior_draws.tree

    def summary(self) -> Any:
        """Return the numbers as an astropy QTable."""
        from astropy.table import QTable

        return QTable.read(self.directory / "summary.ecsv", format="ascii.ecsv")

    def figures(self) -> Mapping[str, Any]:
        """Return the figures by name."""
        return self.result.figures()

    def write(self, directory: str | os.PathLike[str]) -> Path:
        """Write the result's tables, draws and correction into another directory."""
        return self.result.write(directory)


if TYPE_CHECKING:
    #: A run has the members of a result.
    _RESULT: type[JobResult] = Run


def as_run(found: RunRecord, *, repeated: bool = False, results: tuple[JobResult, ...] = ()) -> Run:
    """Return the run of a record; ``results`` is the part's own result, where it is in memory."""
    return Run(
        found.directory, found.part, found.answer, found.warnings, tuple(found.checks), Words(found.diagnostics),
        found.seconds, found.citations, {f["name"]: f.get("caption", "") for f in found.figures}, repeated, results,
    )  # fmt: skip


def prepare_jax(progress: Progress = SILENT) -> None:
    """Switch JAX to double precision and keep compiled programs in the user's cache."""
    from crosscal.inference.jaxconfig import enable_compilation_cache, enable_x64

    enable_x64()
    try:
        enable_compilation_cache(cache_directory() / "jax")
    except OSError as error:
        progress.message(f"Compiled programs are not cached ({error}).")
