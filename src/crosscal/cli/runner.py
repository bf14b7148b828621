"""One run directory for all parts: lock, log, job, provenance, results, figures."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from crosscal.compute.progress import display
from crosscal.config import JobModel, JobResult, Part, input_paths, toml_text, write_toml
from crosscal.core.check import Check
from crosscal.core.errors import ConfigError, DataFileError, FitError, InputError
from crosscal.core.files import refuse_inputs_inside, refuse_overwriting
from crosscal.core.progress import SILENT, Advance, Progress
from crosscal.core.provenance import record, write_provenance
from crosscal.datasets import CORRECTION_FILE, cache_directory, resolve, write_correction
from crosscal.joins import write_corrected_arfs
from crosscal.report.html import write_report
from crosscal.report.record import RunRecord

#: What every run writes into its directory.
WRITTEN = ("job.toml", "provenance.json", "outcome.json", "run.log", "report.html", ".lock", "stages.json")


@dataclass
class Logged:
    """Passes progress on and keeps stages and messages with their times for ``run.log``."""

    inner: Progress
    path: Path
    started: float = field(default_factory=time.monotonic)

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Open a stage and log its duration."""
        begin = time.monotonic()
        with self.inner.stage(name, total) as advance:
            yield advance
        self._write(f"{name}: {time.monotonic() - begin:.1f} s")

    def message(self, text: str) -> None:
        """Pass on and log a message."""
        self.inner.message(text)
        self._write(text)

    def _write(self, text: str) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as stream:
                stream.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
        except OSError as error:
            raise DataFileError(f"cannot write the log ({error.strerror})", where=str(self.path)) from error


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a run directory for one run at a time.

    Raises
    ------
    ConfigError
        If another run is working in the directory.
    DataFileError
        If the directory cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = open(directory / ".lock", "w")  # noqa: SIM115 - held for the whole run
    except OSError as error:
        raise DataFileError(f"cannot make the run directory ({error.strerror})", where=str(directory)) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                "another run is working in this directory", where=str(directory), expected="another output"
            ) from None
        yield


def refuse_other_run(directory: Path, part: str) -> None:
    """Check that a directory holds no run of another part: the files of both would mix, in the report too.

    Raises
    ------
    ConfigError
        Naming the other part.
    """
    found = None
    with suppress(OSError, ValueError):
        found = json.loads((directory / "outcome.json").read_text(encoding="utf-8"))
    other = found.get("part") if isinstance(found, dict) else None
    if isinstance(other, str) and other != part:
        raise ConfigError(
            f"the directory holds a run of job {other!r}", where=str(directory), expected="another output"
        )


def prepare_jax() -> None:
    """Switch JAX to double precision and keep compiled programs in the user's cache."""
    from crosscal.inference.jaxconfig import enable_compilation_cache, enable_x64

    enable_x64()
    try:
        enable_compilation_cache(cache_directory() / "jax")
    except OSError as error:
        click.echo(f"crosscal: note: compiled programs are not cached ({error})", err=True)


def existing_inputs(job: JobModel, source: Path | None) -> dict[str, Path]:
    """Return the inputs that a job names, by key; ``data:`` names are found on the search path.

    Raises
    ------
    InputError
        If files do not exist: one sentence with every key.
    DataFileError
        If there is no such data.
    """
    inputs = {key: resolve(path, directory=True) for key, path in input_paths(job).items()}
    if missing := [f"{key} = {str(path)!r}" for key, path in inputs.items() if not path.exists()]:
        raise InputError(
            f"no such file: {', '.join(missing)}", where=str(source or "job"), expected="the names of your files"
        )
    return inputs


def run_job(part: Part, job: JobModel, *, quiet: bool = False, source: Path | None = None) -> JobResult:
    """Run a validated job, read from the job file ``source``, into its output directory and tell the answer.

    Raises
    ------
    InputError
        If an input does not exist or lies in the output directory, where the run could overwrite it, or if the run
        would overwrite its job file with other content.
    """
    inputs = existing_inputs(job, source)
    output = job.output
    if output.exists() and not output.is_dir():
        raise InputError("the output is a file", where=str(output), expected="a directory")
    # A link under one of these names would lead what is written through it to an input.
    refuse_overwriting([output / name for name in WRITTEN], inputs.values())
    refuse_inputs_inside(output, inputs)
    if source is not None and source.read_bytes() != toml_text(job).encode():
        refuse_overwriting([output / name for name in WRITTEN], [source])
    provenance = record(inputs=inputs, config=job.model_dump(mode="json"), seed=job.seed)

    def work(progress: Progress) -> JobResult:
        write_toml(output / "job.toml", job)
        return part.run(job, output, progress)

    return execute(part.name, work, output, provenance=provenance, quiet=quiet)


def execute(
    part: str,
    work: Callable[[Progress], JobResult],
    output: Path,
    *,
    provenance: Mapping[str, Any],
    quiet: bool = False,
) -> JobResult:
    """Run ``work`` in a locked directory with progress and log, draw its figures, report, and print the answer.

    ``provenance`` is the record of the run; that of the result stands in it as "result".
    """
    prepare_jax()
    start = time.monotonic()
    with locked(output):
        refuse_other_run(output, part)
        progress = Logged(SILENT if quiet else display(), output / "run.log")
        write_provenance(output, provenance)
        result = work(progress)
        write_provenance(output, {**provenance, "result": getattr(result, "provenance", {})})
        write_corrected_arfs(result, output, progress)
        _write_correction(result, output, progress)
        figures = draw(result, output, progress)
        outcome = RunRecord(
            output,
            part,
            result.answer,
            tuple(result.warnings),
            diagnostics=str(getattr(result, "diagnostics", "")),
            checks=[Check(g["gate"], g["passed"], g.get("why", "")) for g in getattr(result, "gates", ())],
            figures=list(figures),
            citations=tuple(getattr(result, "citations", ())),
            seconds=time.monotonic() - start,
        )
        outcome.write()
        report = write_report(output)
    tell(outcome, report)
    return result


def _write_correction(result: JobResult, output: Path, progress: Progress) -> None:
    """Write ``correction.nc``, by which runs of any part are compared; a run that found none leaves none behind."""
    path = output / CORRECTION_FILE
    try:
        correction = result.correction
    except FitError as error:
        progress.message(f"no correction: {error}")
        correction = None
    if correction is None:
        path.unlink(missing_ok=True)
    else:
        write_correction(path, correction)


def draw(result: JobResult, output: Path, progress: Progress) -> list[Mapping[str, Any]]:
    """Write the result's figures into ``output/figures`` and describe them for the report."""
    from crosscal.plot import describe_axes, save_figures

    captions: Mapping[str, str] = getattr(result, "captions", {})
    entries: list[Mapping[str, Any]] = []
    drawn = result.figures()
    with progress.stage("Drawing figures", total=len(drawn)) as advance:
        for name, figure in drawn.items():
            save_figures({name: figure}, output / "figures")
            entries.append(
                {
                    "name": name,
                    "title": name.replace("_", " ").capitalize(),
                    "caption": captions.get(name, ""),
                    "axes_json": json.dumps(describe_axes(figure)),
                }
            )
            advance(1)
    return entries


def tell(outcome: RunRecord, report: Path) -> None:
    """Print the answer, the warnings that matter, and where everything is."""
    click.echo()
    click.echo(outcome.answer)
    for warning in outcome.warnings:
        click.echo(f"  warning: {warning}")
    click.echo()
    click.echo(f"Results in {outcome.directory} ({len(outcome.figures)} figures, {outcome.seconds:.0f} s).")
    click.echo(f"Report: {report}")


def demo_output(name: str, given: str | None) -> Path:
    """Return the directory of a demonstration: the given one, or ``crosscal-demo-NAME`` here."""
    return Path(given) if given else Path(f"crosscal-demo-{name}")
