"""What a run directory holds, as the report reads it: plain files, no part is imported."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from crosscal.core.errors import DataFileError
from crosscal.core.files import write_text

OUTCOME = "outcome.json"


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
    quality : list of mappings
        Gates with keys ``gate``, ``passed``, ``why``.
    figures : list of mappings
        Keys ``name``, ``title``, ``caption``, ``axes``; files are ``figures/NAME.svg`` and ``figures/NAME.png``.
    citations : tuple of str
        Keys of `crosscal.report.citations.BIBLIOGRAPHY`.
    seconds : float
    """

    directory: Path
    part: str
    answer: str
    warnings: tuple[str, ...] = ()
    diagnostics: str = ""
    quality: list[Mapping[str, Any]] = field(default_factory=list)
    figures: list[Mapping[str, Any]] = field(default_factory=list)
    citations: tuple[str, ...] = ()
    seconds: float = 0.0

    def write(self) -> Path:
        """Write ``outcome.json`` into the directory."""
        content = {k: v for k, v in self.__dict__.items() if k != "directory" and not k.startswith("_")}
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
                "no finished run here", where=str(directory), expected=f"a run directory with {OUTCOME}"
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            for key in ("warnings", "citations"):
                content[key] = tuple(content.get(key, ()))
            return cls(Path(directory), **content)
        except (ValueError, TypeError) as error:
            raise DataFileError("the record of the run is damaged", where=str(path), expected="run again") from error

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Content of ``provenance.json``; empty for a demonstration without one."""
        return _json(self.directory / "provenance.json")

    @cached_property
    def job_text(self) -> str:
        """The job file as run."""
        path = self.directory / "job.toml"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    @cached_property
    def job(self) -> dict[str, Any]:
        """The job file as run, parsed."""
        return tomllib.loads(self.job_text)

    @cached_property
    def log(self) -> str:
        """The run's log."""
        path = self.directory / "run.log"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def tables(self) -> dict[str, Any]:
        """Return the ECSV tables of the directory by name, ``summary`` first."""
        from astropy.table import Table

        paths = sorted(self.directory.glob("*.ecsv"), key=lambda p: (p.stem != "summary", p.stem))
        return {path.stem: Table.read(path, format="ascii.ecsv") for path in paths}

    def files(self) -> list[tuple[str, int]]:
        """Return the result files with their sizes in bytes, stores counted as one."""
        rows = []
        for path in sorted(self.directory.iterdir()):
            if path.name.startswith(".") or path.name in {"report.html", OUTCOME}:
                continue
            size = path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*"))
            rows.append((path.name + ("/" if path.is_dir() else ""), size))
        return rows


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataFileError("damaged JSON", where=str(path), expected="run again") from error
    return content if isinstance(content, dict) else {}
