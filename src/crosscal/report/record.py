"""What a run directory holds, as the report reads it: plain files, no part is imported."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from crosscal.core.check import Check
from crosscal.core.errors import DataFileError
from crosscal.core.files import is_partial, sha256, write_text
from crosscal.core.reading import parsing

OUTCOME, LOG, REPORT = "outcome.json", "run.log", "report.html"
#: Where a run works, and where its files are while they take the place of the former run's.
PENDING, PUBLISHING = ".pending", ".publishing"
#: Files that may change without making the run another one.
_LOOSE = {LOG, OUTCOME, REPORT}


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Attributes
    ----------
    directory : Path
    part, answer : str
    warnings : tuple of str
    diagnostics : str
        Text, as the result prints it.
    checks : list of Check
    figures : list of mappings
        Keys ``name``, ``title``, ``caption``, ``axes``; files are ``figures/NAME.svg`` and ``figures/NAME.png``.
    citations : tuple of str
        Keys of `crosscal.report.citations.BIBLIOGRAPHY`.
    seconds : float
    identity : str
        Fingerprint of part, settings and inputs.
    source : str
        The job file; empty for a demonstration or a call from Python.
    files : mapping of str to str
        What the run wrote: relative name to checksum.
    """

    directory: Path
    part: str
    answer: str
    warnings: tuple[str, ...] = ()
    diagnostics: str = ""
    checks: list[Check] = field(default_factory=list)
    figures: list[Mapping[str, Any]] = field(default_factory=list)
    citations: tuple[str, ...] = ()
    seconds: float = 0.0
    identity: str = ""
    source: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the run directory, also while its files are still in the pending place."""
        place = self.directory.resolve()
        return place.parent.name if place.name in (PENDING, PUBLISHING) else place.name

    def require_whole(self) -> None:
        """Check that the directory holds what the run has written, and nothing of another run in its place.

        Raises
        ------
        DataFileError
            Naming the files that are missing or not the run's.
        """
        if changed := changed_files(self.directory, self.files):
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise DataFileError(
                f"{', '.join(changed[:3])}{more} missing or changed since the run finished",
                where=str(self.directory),
                expected="the files of one run: run the job again",
            )

    def write(self) -> Path:
        """Write ``outcome.json`` into the directory."""
        content = asdict(self)
        del content["directory"]
        return write_text(self.directory / OUTCOME, json.dumps(content, indent=1, default=str) + "\n")

    @classmethod
    def read(cls, directory: str | Path) -> RunRecord:
        """Read a run directory.

        Raises
        ------
        DataFileError
            If the directory holds no finished run.
        """
        path = Path(directory) / OUTCOME
        if not path.is_file():
            raise DataFileError(
                "not a directory of a finished run", where=str(directory), expected=f"a run directory with {OUTCOME}"
            )
        with parsing("the files that describe the run are damaged", where=path, expected="run again"):
            content = json.loads(path.read_text(encoding="utf-8"))
            for key in ("warnings", "citations"):
                content[key] = tuple(content.get(key, ()))
            content["checks"] = [Check(**check) for check in content.get("checks", [])]
            record = cls(Path(directory), **content)
            record._check()
        return record

    def _check(self) -> None:
        """Raise ValueError unless everything has the type that sections rely on."""
        if not isinstance(self.figures, list) or not isinstance(self.files, dict):
            raise ValueError("figures or files are not a list")
        texts = [self.part, self.answer, self.diagnostics, self.identity, self.source, *self.warnings, *self.citations]
        texts += [text for check in self.checks for text in (check.name, check.why)]
        texts += [text for entry in self.files.items() for text in entry]
        if not all(isinstance(check.passed, bool) for check in self.checks):
            raise ValueError("a verdict is neither true nor false")
        texts += [f.get(key, "") for f in self.figures for key in ("title", "caption", "axes_json")]
        names = [f["name"] for f in self.figures]
        if not all(isinstance(text, str) for text in [*texts, *names]):
            raise ValueError("a value that should be text is not")
        if any(not name or set(name) & set("/\\\0") for name in names):
            raise ValueError("the name of a figure is a path")
        if isinstance(self.seconds, bool) or not isinstance(self.seconds, int | float):
            raise ValueError("the duration is not a number")

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Content of ``provenance.json``; empty for a demonstration without one."""
        path = self.directory / "provenance.json"
        content = _json(path)
        with parsing("damaged provenance", where=path, expected="run again"):
            for entry in content.get("inputs", {}).values():
                entry["path"], entry["sha256"]
            content.get("versions", {}).items()
        return content

    @cached_property
    def job_text(self) -> str:
        """The job file as run."""
        return _text(self.directory / "job.toml")

    @cached_property
    def job(self) -> dict[str, Any]:
        """The job file as run, parsed."""
        with parsing("damaged job file", where=self.directory / "job.toml", expected="run again"):
            return tomllib.loads(self.job_text)

    @cached_property
    def log(self) -> str:
        """The run's log."""
        return _text(self.directory / "run.log")

    def tables(self) -> dict[str, Any]:
        """Return the ECSV tables of the directory by name, ``summary`` first."""
        from astropy.table import Table

        found = {}
        tables = (path for path in self.directory.glob("*.ecsv") if not is_partial(path.name))
        for path in sorted(tables, key=lambda p: (p.stem != "summary", p.stem)):
            with parsing("damaged table", where=path, expected="run again"):
                found[path.stem] = Table.read(path, format="ascii.ecsv")
        return found

    def listing(self) -> list[tuple[str, int]]:
        """Return the run's files with their sizes in bytes; stores and folders count as one thing."""
        rows = []
        for name in sorted({name.split("/")[0] for name in self.files}):
            path = self.directory / name
            size = sum(f.lstat().st_size for f in (path.rglob("*") if path.is_dir() else (path,)))
            rows.append((name + ("/" if path.is_dir() else ""), size))
        return rows


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    with parsing("damaged JSON", where=path, expected="run again", told=False):
        content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def inventory(directory: Path) -> dict[str, str]:
    """Return what a run directory holds: relative name to checksum; a store counts as one thing and checks itself."""
    return {name: "store" if path.is_dir() else sha256(path) for path, name in walk(directory) if name not in _LOOSE}


def changed_files(directory: Path, files: Mapping[str, str]) -> list[str]:
    """Return the files of an inventory that are missing or not what they were."""
    found = []
    for name, digest in files.items():
        path = directory / name
        if not path.exists() or (digest != "store" and (path.is_dir() or sha256(path) != digest)):
            found.append(name)
    return found


def walk(directory: Path, prefix: str = "") -> Iterator[tuple[Path, str]]:
    """Yield the files and stores of a run directory with their relative names; hidden places are the run's own."""
    for path in sorted(directory.iterdir()):
        name = f"{prefix}{path.name}"
        if not prefix and path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink() and path.suffix != ".zarr":
            yield from walk(path, f"{name}/")
        else:
            yield path, name
