"""Stages of a run that are skipped when they were finished with the same inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from crosscal.core.files import sha256, write_text
from crosscal.core.progress import SILENT, Progress
from crosscal.core.provenance import fingerprint

T = TypeVar("T")

RECORD = "stages.json"


@dataclass
class Stages:
    """The finished stages of a run directory, remembered in ``stages.json``.

    Parameters
    ----------
    directory : Path
        The run directory.
    progress : Progress
        Told which stages are skipped.
    """

    directory: Path
    progress: Progress = SILENT
    _keys: dict[str, str] = field(default_factory=dict)

    def run(
        self,
        name: str,
        *,
        key: Any,
        files: Sequence[str],
        work: Callable[[], T],
        save: Callable[[T], Any],
        load: Callable[[], T],
        after: Sequence[str] = (),
    ) -> T:
        """Return the stage's product: loaded if it was finished with the same key, else worked out and saved.

        Parameters
        ----------
        name : str
        key : JSON-like
            Everything the product depends on, except other stages.
        files : sequence of str
            Files in the run directory that ``save`` writes; a changed or missing one makes the stage run again.
        work, save, load : callables
        after : sequence of str
            Stages whose products this one uses; when they ran again, so does this one.
        """
        full = fingerprint({"key": key, "after": [self._keys.get(stage) for stage in after], "files": list(files)})
        self._keys[name] = full
        if self._is_finished(name, full, files):
            self.progress.message(f"{name}: finished before, not done again")
            return load()
        product = work()
        save(product)
        record = self._read()
        record[name] = {"fingerprint": full, "files": {f: sha256(self.directory / f) for f in files}}
        write_text(self.directory / RECORD, json.dumps(record, indent=1) + "\n")
        return product

    def _is_finished(self, name: str, full: str, files: Sequence[str]) -> bool:
        entry = self._read().get(name)
        if not isinstance(entry, dict) or entry.get("fingerprint") != full:
            return False
        digests = entry.get("files")
        if not isinstance(digests, dict):
            return False
        return all((self.directory / f).is_file() and sha256(self.directory / f) == digests.get(f) for f in files)

    def _read(self) -> dict[str, Any]:
        path = self.directory / RECORD
        if not path.is_file():
            return {}
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return {}  # a damaged memory only costs the time to do the stages again
        return record if isinstance(record, dict) else {}
