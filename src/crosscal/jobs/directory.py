"""A run directory: at every moment its settings, results and report are those of one finished run.

A run works in ``.pending`` inside the directory. When everything is there, the place is renamed to ``.publishing`` and
its files take the place of the former run's; ``outcome.json``, which lists them with their checksums, comes last. A run
that is killed on the way leaves either the former run or a publication that the next command completes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from crosscal.core.errors import ConfigError, DataFileError, InputError
from crosscal.core.files import open_own, remove_partials
from crosscal.report.record import OUTCOME, PENDING, PUBLISHING, walk

LOCK = ".lock"


class RunDirectory:
    """The directory of one run.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pending = path / PENDING

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one run at a time, and complete a publication that was interrupted.

        Raises
        ------
        ConfigError
            If another run is working in the directory.
        DataFileError
            If the directory cannot be made or locked.
        """
        make_directory(self.path)
        with open_own(self.path / LOCK) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(
                    "another run is working in this directory", where=str(self.path), expected="another output"
                ) from None
            remove_partials(self.path)
            self._complete()
            yield

    def finished(self) -> dict[str, Any] | None:
        """Return the outcome of the finished run that the directory holds, None if there is none or it is damaged."""
        try:
            outcome = json.loads((self.path / OUTCOME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return outcome if isinstance(outcome, dict) and isinstance(outcome.get("part"), str) else None

    def open_pending(self, keep: set[str]) -> Path:
        """Make the place where a run works; of what an interrupted run left there, only stages' files stay."""
        self.pending.mkdir(exist_ok=True)
        for path, name in list(walk(self.pending)):
            if name not in keep:
                _remove(path)
        return self.pending

    def publish(self) -> None:
        """Let the finished pending run take the place of the former one."""
        os.replace(self.pending, self.path / PUBLISHING)
        self._complete()

    def _complete(self) -> None:
        place = self.path / PUBLISHING
        if not place.is_dir():
            return
        former = self.finished() or {}
        if (place / OUTCOME).is_file():
            # From here on the directory holds no finished run until the new one is whole.
            with suppress(FileNotFoundError):
                (self.path / OUTCOME).unlink()
            fresh = {name for _, name in walk(place)}
            for name in set(former.get("files", {})) - fresh:
                target = self.path / name
                if _is_inside(target, self.path):
                    _remove(target)
            for path, name in list(walk(place)):
                if name != OUTCOME:
                    _move(path, self.path / name)
            os.replace(place / OUTCOME, self.path / OUTCOME)
        shutil.rmtree(place)
        _drop_empty_folders(self.path)


def make_directory(path: Path) -> None:
    """Make a run directory, if it is not there.

    Raises
    ------
    InputError
        If a file stands in its place; DataFileError if it cannot be made.
    """
    if path.exists() and not path.is_dir():
        raise InputError("the output is a file", where=str(path), expected="a directory")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataFileError(f"cannot make the run directory ({error.strerror})", where=str(path)) from error


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    os.replace(source, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_inside(path: Path, directory: Path) -> bool:
    return Path(os.path.normpath(path)).is_relative_to(os.path.normpath(directory))


def _drop_empty_folders(directory: Path) -> None:
    for name in ("figures", "frames", "stages", "input"):
        with suppress(OSError):
            (directory / name).rmdir()
