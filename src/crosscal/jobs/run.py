"""A run, once for all parts: lock, log, stages, figures, report; the command line only prints and exits."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crosscal import __version__
from crosscal.core.errors import ConfigError, DataFileError, InputError
from crosscal.core.files import open_own, refuse_inputs_inside, refuse_overwriting, require_utf8
from crosscal.core.keywords import keywords
from crosscal.core.progress import SILENT, Advance, Progress
from crosscal.core.provenance import fingerprint, record, write_provenance
from crosscal.core.registry import Registry
from crosscal.datasets import resolve
from crosscal.jobs.directory import RunDirectory, make_directory
from crosscal.jobs.finished import Run, as_run, prepare_jax
from crosscal.jobs.options import Job, input_paths, plain, toml_text, validate, write_toml
from crosscal.jobs.parts import PARTS, Part, load_job, part_of
from crosscal.jobs.plan import Plan, plan_stages
from crosscal.jobs.result import JobResult
from crosscal.jobs.stages import Stages, stage_files
from crosscal.report.html import write_report
from crosscal.report.record import LOG, RunRecord, changed_files, inventory

_LOG = logging.getLogger("crosscal.run")

#: What joins parts, done after a job: ``join(result, directory, progress)``.
JOINS = Registry("joint product", {"corrected-arfs": "crosscal.joins:write_corrected_arfs"})


@keywords
def run(
    job: str | os.PathLike[str] | Mapping[str, Any] | Job,
    *,
    output: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    progress: Progress = SILENT,
    overwrite: bool = False,
) -> Run:
    """Run a job: the same as ``crosscal run`` on the command line.

    Parameters
    ----------
    job : path, mapping or Job
        A job file, its content, or the options of a part.
    output : path, optional
        Run directory, instead of the job's ``output``.
    seed : int, optional
        Seed, instead of the job's.
    progress : Progress
        Receives the progress of the work.
    overwrite : bool
        Replace the finished run of another job in the directory, and repeat completed work.

    Returns
    -------
    Run
        With ``answer``, ``checks``, ``warnings``, ``correction``, ``posterior``, ``summary()`` and ``figures()``.

    Raises
    ------
    ConfigError
        If the job is invalid, another run is working in the directory, or it holds the run of another job.
    InputError
        If an input does not exist or would be overwritten.
    CrossCalError
        Naming what is wrong with the data.

    Examples
    --------
    >>> run = crosscal.run("job.toml", output="runs/second", seed=2)  # doctest: +SKIP
    >>> print(run.answer)  # doctest: +SKIP
    """
    part, loaded, source = _loaded(job)
    changes: dict[str, Any] = {} if output is None else {"output": Path(output)}
    if seed is not None:
        changes["seed"] = seed
    return run_job(part, replace(loaded, **changes), source=source, progress=progress, overwrite=overwrite)


def _loaded(job: str | os.PathLike[str] | Mapping[str, Any] | Job) -> tuple[Part, Job, Path | None]:
    if isinstance(job, Job):
        return PARTS.get(job.job), job, None
    if isinstance(job, Mapping):
        part = part_of(job, "job")
        return part, validate(part.model, job, source=Path.cwd() / "job"), None
    part, loaded = load_job(os.fspath(job))
    return part, loaded, Path(job)


def demo(part: Part, output: Path, *, progress: Progress = SILENT, overwrite: bool = False) -> Run:
    """Run a part on built-in data; what its demonstration simulates is put into ``output/data`` first."""
    former = RunDirectory(output).finished()
    if former is not None and former["part"] == part.name and not overwrite and (output / "job.toml").is_file():
        job = replace(load_job(str(output / "job.toml"))[1], output=output)
    else:
        make_directory(output)
        content = dict(part.demo(output / "data") if callable(part.demo) else part.demo)
        job = validate(part.model, {"job": part.name, **content, "output": str(output)}, source="demo")
    finished = run_job(part, job, source=None, progress=progress, overwrite=overwrite)
    if part.truth is not None and not finished.repeated:
        progress.message(part.truth(finished.result, output / "data"))
    return finished


def existing_inputs(job: Job, source: Path | None) -> dict[str, Path]:
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
            f"no such file: {', '.join(missing)}",
            where=str(source or "job"),
            expected="existing files: edit these paths in the job file",
        )
    linked = dict(job.linked_inputs())
    if missing := [f"{key} = {str(path)!r}" for key, path in linked.items() if not path.exists()]:
        raise InputError(f"no such file: {', '.join(missing)}", where=str(source or "job"), expected="existing files")
    return {**inputs, **linked}


def run_job(part: Part, job: Job, *, source: Path | None, progress: Progress = SILENT, overwrite: bool = False) -> Run:
    """Run the job of a part, read from the job file ``source``; see `run`."""
    require_utf8(job.output, where="output")
    directory = RunDirectory(job.output)
    inputs = existing_inputs(job, source)
    _refuse_losses(job, inputs, source)
    with directory.locked():
        provenance = record(inputs=inputs, config=plain(job), seed=job.seed)
        for role, entry in provenance["inputs"].items():
            _LOG.debug("%s: %s, sha256 %s", role, entry.get("path"), entry["sha256"])
        identity = _identity(part, job, provenance)
        former = directory.finished()
        if former is not None and not overwrite:
            if former.get("identity") == identity and not changed_files(job.output, former.get("files", {})):
                return as_run(RunRecord.read(job.output), repeated=True)
            _refuse_other_job(former, part, source, job.output)
        prepare_jax(progress)
        return _work(part, job, directory, provenance, identity, source, progress, fresh=overwrite)


def plan_job(part: Part, job: Job, *, source: Path | None, overwrite: bool = False) -> Plan:
    """Say what `run_job` would do, without doing or writing it: which stages it would skip, and which it would run.

    Raises
    ------
    CrossCalError
        What `run_job` would raise before its first work: of settings, inputs, and the directory.
    """
    inputs = existing_inputs(job, source)
    _refuse_losses(job, inputs, source)
    directory = RunDirectory(job.output)
    former = None if overwrite else directory.finished()
    if former is not None:
        provenance = record(inputs=inputs, config=plain(job), seed=job.seed)
        same = former.get("identity") == _identity(part, job, provenance)
        if same and not changed_files(job.output, former.get("files", {})):
            return Plan(job.output, complete=True)
        _refuse_other_job(former, part, source, job.output)
    prepare_jax()
    places = [] if overwrite else [p for p in (directory.pending, directory.path) if p.is_dir()]
    return plan_stages(part.run, job, job.output, places)


def _work(
    part: Part, job: Job, directory: RunDirectory, provenance: Mapping[str, Any], identity: str, source: Path | None,
    progress: Progress, *, fresh: bool,
) -> Run:  # fmt: skip
    """Do the work in the pending place and publish it."""
    start = time.monotonic()
    place = directory.open_pending(set() if fresh else {"stages.json", LOG, *stage_files(directory.pending)})
    logged = Logged(progress, place / LOG)
    stages = Stages(place, None if fresh or directory.finished() is None else directory.path, logged)
    result = part.run(job, stages)
    stages.forget_unused()
    with logged.stage("Writing results", total=1) as advance:
        write_toml(place / "job.toml", job)
        result.write(place)
        write_provenance(place, {**provenance, "result": result.provenance})
        advance(1)
    for name in JOINS:
        JOINS.get(name)(result, place, logged)
    figures = draw(result, place, logged)
    seconds = time.monotonic() - start + stages.seconds_before
    outcome = RunRecord(
        place, part.name, result.answer, tuple(result.warnings), str(result.diagnostics), list(result.checks), figures,
        tuple(result.citations), seconds, identity=identity, source=_name(source), files=inventory(place),
    )  # fmt: skip
    outcome.write()
    write_report(place)
    # A result that reads from a store would look for it in the pending place; it is made anew where it is wanted.
    kept = () if stages.uses_stores else (result,)
    directory.publish()
    return as_run(replace(outcome, directory=directory.path), results=kept)


def _identity(part: Part, job: Job, provenance: Mapping[str, Any]) -> str:
    """What makes two runs the same: part, settings, content of the inputs, version; not where the results go."""
    inputs = input_paths(job)
    settings = _without_paths({k: v for k, v in plain(job).items() if k != "output"}, {str(p) for p in inputs.values()})
    digests = {role: entry["sha256"] for role, entry in provenance["inputs"].items()}
    return fingerprint({"part": part.name, "settings": settings, "inputs": digests, "version": __version__})


def _without_paths(value: Any, paths: set[str]) -> Any:
    """Leave input paths out of settings: their content counts, not where they lie."""
    if isinstance(value, Mapping):
        return {k: _without_paths(v, paths) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_paths(v, paths) for v in value]
    return os.path.basename(value) if isinstance(value, str) and value in paths else value


def _name(source: Path | None) -> str:
    return "" if source is None else os.path.realpath(source)


def _refuse_losses(job: Job, inputs: Mapping[str, Path], source: Path | None) -> None:
    """Check that nothing the run writes can be an input or the job file.

    Raises
    ------
    InputError
        Naming the file.
    """
    own = [
        job.output / name for name in ("job.toml", "provenance.json", "outcome.json", LOG, "report.html", "stages.json")
    ]
    # A link under one of these names would lead what is written through it to an input.
    refuse_overwriting(own, inputs.values())
    refuse_inputs_inside(job.output, {k: p for k, p in inputs.items() if not _is_simulated(p, job.output)})
    # Comments of the user would be lost; the job file that a run has left holds none.
    if source is not None and source.read_bytes() != toml_text(job).encode():
        refuse_overwriting(own, [source])


def _is_simulated(path: Path, output: Path) -> bool:
    """Whether an input is one that a demonstration has made for itself."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(output / "data"))


def _refuse_other_job(former: Mapping[str, Any], part: Part, source: Path | None, output: Path) -> None:
    """Check that a directory does not hold the finished run of another job.

    A job file that was edited since is the same job: its stages determine what must be repeated.

    Raises
    ------
    ConfigError
        Naming the other job.
    """
    own = os.path.realpath(output / "job.toml")
    if (former["part"] == part.name and former.get("source", "") in (_name(source), own)) or _name(source) == own:
        return
    what = former.get("source") or f"a demonstration of {former['part']!r}"
    raise ConfigError(
        f"the directory holds the finished run of another job ({what}, {former['part']})",
        where=str(output),
        expected="another output, or --overwrite to replace that run",
    )


@dataclass
class Logged:
    """Passes progress on and keeps stages and messages with their times for ``run.log``."""

    inner: Progress
    path: Path

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Open a stage and log its duration."""
        begin = time.monotonic()
        with self.inner.stage(name, total) as advance:
            yield advance
        text = f"{name}: {time.monotonic() - begin:.1f} s"
        _LOG.debug(text)
        self._write(text)

    def message(self, text: str) -> None:
        """Pass on and log a message."""
        self.inner.message(text)
        self._write(text)

    def _write(self, text: str) -> None:
        try:
            with open_own(self.path, append=True) as stream:
                stream.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
        except OSError as error:
            raise DataFileError(f"cannot write the log ({error.strerror})", where=str(self.path)) from error


def draw(result: JobResult, directory: Path, progress: Progress) -> list[Mapping[str, Any]]:
    """Write the result's figures into ``directory/figures`` and describe them for the report."""
    from crosscal.plot import describe_axes, save_figures

    captions = result.captions
    entries: list[Mapping[str, Any]] = []
    drawn = result.figures()
    with progress.stage("Drawing figures", total=len(drawn)) as advance:
        for name, figure in drawn.items():
            save_figures({name: figure}, directory / "figures")
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
