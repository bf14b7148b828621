"""Stages of a run: each product is stored with a record of its inputs, and loaded if they have not changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from crosscal import __version__
from crosscal.core.errors import DataFileError
from crosscal.core.files import sha256, write_text
from crosscal.core.frozen import load_value, save_value
from crosscal.core.progress import SILENT, Progress
from crosscal.core.provenance import fingerprint

T = TypeVar("T")

RECORD = "stages.json"
#: Where products without files of their own are kept.
FOLDER = "stages"


@dataclass
class Stages:
    """The stages of a run, remembered in ``stages.json``.

    Parameters
    ----------
    directory : Path
        Where the run works; a job writes the files of its stages here.
    previous : Path, optional
        The finished run whose products may be taken over (as hard links) where they depend on the same things.
    progress : Progress
        Told which stages are skipped.
    complete : bool
        Whether this is a finished run, whose stages are only loaded.
    """

    directory: Path
    previous: Path | None = None
    progress: Progress = SILENT
    complete: bool = False
    _keys: dict[str, str] = field(default_factory=dict)
    _earlier: float = 0.0

    def run(
        self,
        name: str,
        *,
        key: Any,
        work: Callable[[], T],
        files: Sequence[str] | None = None,
        save: Callable[[T], Any] | None = None,
        load: Callable[[], T] | None = None,
        after: Sequence[str] = (),
        resumes: bool = False,
    ) -> T:
        """Return the stage's product: loaded if it was finished with the same key, else made and saved.

        Parameters
        ----------
        name : str
        key : JSON-like
            Everything the product depends on, except other stages.
        work : callable
            Makes the product.
        files : sequence of str, optional
            Files or stores in the run directory that ``save`` (or ``work`` itself) writes; a changed or missing one
            makes the stage run again. By default the product is a value that `core.frozen.save_value` can hold.
        save, load : callables, optional
        after : sequence of str
            Stages whose products this one uses; when they ran again, so does this one.
        resumes : bool
            Whether ``work`` goes on with files of the same key that an interrupted run has left.
        """
        own = f"{FOLDER}/{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.npz"
        names = [own] if files is None else list(files)
        if files is None:
            save = partial(save_value, self.directory / own)
            load = partial(load_value, self.directory / own)
        full = fingerprint(
            {"key": key, "after": [self._keys.get(stage) for stage in after], "files": names, "version": __version__}
        )
        self._keys[name] = full
        if load is not None and self._have(name, full):
            self.progress.message(f"{name}: already complete, skipped")
            return load()
        if self.complete:
            raise DataFileError(
                f"files of the stage {name} are missing or changed", where=str(self.directory), expected="run again"
            )
        self._begin(name, full, names, resumes)
        start = time.monotonic()
        try:
            product = work()
            if save is not None:
                save(product)
        except BaseException:
            # The time of an interrupted try counts, where the next one goes on.
            self._spend(name, time.monotonic() - start)
            raise
        self._note(name, full, names, time.monotonic() - start)
        return product

    @property
    def seconds_before(self) -> float:
        """Time that stages took in earlier tries whose products were used."""
        return self._earlier

    @property
    def uses_stores(self) -> bool:
        """Whether a stage of this run keeps its product in a store, from which results read later."""
        return any((self.directory / f).is_dir() for f in stage_files(self.directory))

    def _have(self, name: str, full: str) -> bool:
        """Whether the product is here, or can be taken over from the finished run."""
        if entry := _finished(self.directory, name, full):
            self._earlier += float(entry.get("seconds", 0.0))
            return True
        if self.previous is None or not (entry := _finished(self.previous, name, full)):
            return False
        for file in entry["files"]:
            _take_over(self.previous / file, self.directory / file)
        self._write(name, entry)
        self._earlier += float(entry.get("seconds", 0.0))
        return True

    def _begin(self, name: str, full: str, files: Sequence[str], resumes: bool) -> None:
        """Remove files of another key; files of an unfinished stage with this key stay if the stage can resume."""
        entry = _read(self.directory).get(name, {})
        known = entry or (_read(self.previous).get(name, {}) if self.previous else {})
        if known and known.get("fingerprint") != full:
            self.progress.message(f"{name}: repeated, because its inputs have changed")
        goes_on = resumes and entry.get("fingerprint") == full
        if not goes_on:
            for file in files:
                _remove(self.directory / file)
        seconds = float(entry.get("seconds", 0.0)) if goes_on else 0.0
        begun = {"fingerprint": full, "files": dict.fromkeys(files, ""), "finished": False, "seconds": seconds}
        self._write(name, begun)
        self._earlier += seconds

    def _spend(self, name: str, seconds: float) -> None:
        entry = _read(self.directory).get(name, {})
        if entry:
            self._write(name, {**entry, "seconds": seconds + float(entry.get("seconds", 0.0))})

    def _note(self, name: str, full: str, files: Sequence[str], seconds: float) -> None:
        spent = seconds + float(_read(self.directory).get(name, {}).get("seconds", 0.0))
        digests = {f: _digest(self.directory / f) for f in files}
        self._write(name, {"fingerprint": full, "files": digests, "finished": True, "seconds": spent})

    def _write(self, name: str, entry: dict[str, Any]) -> None:
        record = _read(self.directory)
        record[name] = entry
        write_text(self.directory / RECORD, json.dumps(record, indent=1) + "\n")

    def forget_unused(self) -> None:
        """Drop stages that this run did not use, with their files."""
        record = _read(self.directory)
        kept = {f for name in self._keys for f in record.get(name, {}).get("files", {})}
        for name in set(record) - set(self._keys):
            for file in set(record.pop(name)["files"]) - kept:
                _remove(self.directory / file)
        write_text(self.directory / RECORD, json.dumps(record, indent=1) + "\n")


def stage_files(directory: Path) -> set[str]:
    """Return the files and stores of all stages that a directory records, including unfinished ones."""
    return {f for entry in _read(directory).values() for f in entry["files"]}


def recorded_names(directory: Path) -> list[str]:
    """Return the names of the stages that a directory remembers, in the order in which they ran."""
    return list(_read(directory))


def begun_stages(directory: Path) -> dict[str, str]:
    """Return the stages that an interrupted run has started: name to fingerprint."""
    return {k: str(v.get("fingerprint")) for k, v in _read(directory).items() if not v.get("finished")}


def _finished(directory: Path, name: str, full: str) -> dict[str, Any]:
    """Return the entry of a stage that was finished with this fingerprint and whose files are unchanged, else {}."""
    entry = _read(directory).get(name, {})
    if not entry.get("finished") or entry.get("fingerprint") != full:
        return {}
    unchanged = all((directory / f).exists() and _digest(directory / f) == d for f, d in entry["files"].items())
    return entry if unchanged else {}


def _digest(path: Path) -> str:
    """Return the checksum of a file; a store checks its own content when it is opened."""
    return "store" if path.is_dir() else sha256(path)


def _read(directory: Path) -> dict[str, Any]:
    """Return the record of a directory; a damaged one only costs the time to do its stages again."""
    try:
        record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(record, dict):
        return {}
    return {k: v for k, v in record.items() if isinstance(v, dict) and isinstance(v.get("files"), dict)}


def _take_over(source: Path, target: Path) -> None:
    """Make a product of the finished run a product of this one: files are never changed in place, so a link will do."""
    _remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link)
    else:
        _link(source, target)


def _link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> str | os.PathLike[str]:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
