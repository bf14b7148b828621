"""Where data are looked for."""

from __future__ import annotations

import difflib
import os
from pathlib import Path, PurePosixPath

from crosscal.core.errors import DataFileError, InputError, closest

VARIABLE = "CROSSCAL_DATA"
PREFIX = "data:"


def builtin_directory() -> Path:
    """The data that ship with the package."""
    return Path(__file__).parent / "data"


def cache_directory() -> Path:
    """The user's cache: ``$CROSSCAL_CACHE``, else the platform's cache directory for ``crosscal``."""
    import platformdirs

    return Path(os.environ.get("CROSSCAL_CACHE") or platformdirs.user_cache_dir("crosscal"))


def search_path() -> dict[str, Path]:
    """Return the directories searched, in order, by name; CROSSCAL_DATA only where it is set.

    Raises
    ------
    InputError
        If CROSSCAL_DATA names no directory.
    """
    path: dict[str, Path] = {}
    if value := os.environ.get(VARIABLE):
        if not Path(value).is_dir():
            raise InputError(f"{value!r} is not a directory", where=VARIABLE, expected="an existing directory")
        path[VARIABLE] = Path(value)
    path["cache"] = cache_directory() / "data"
    path["built-in"] = builtin_directory()
    return path


def listing() -> dict[str, str]:
    """Return every data name found, with the directory of the search path that provides it."""
    found: dict[str, str] = {}
    for where, directory in search_path().items():
        if not directory.is_dir():
            continue
        for file in sorted(directory.rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                found.setdefault(file.relative_to(directory).as_posix(), where)
    return dict(sorted(found.items()))


def find(name: str, *, directory: bool = False) -> Path:
    """Return the path of a data file by its name, following the search path.

    Parameters
    ----------
    name : str
    directory : bool
        Accept a directory as well (of AtomDB files, for instance).

    Raises
    ------
    InputError
        If the name is absolute or climbs out of the data directory.
    DataFileError
        If no directory of the search path holds it; the sentence offers close names, or says where was looked.
    """
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise InputError(f"{name!r} is not a data name", where="data", expected="a relative path such as 'xray/x.arf'")
    path = search_path()
    for place in path.values():
        candidate = place / pure
        if candidate.is_file() or (directory and candidate.is_dir()):
            return candidate
    hint = "" if VARIABLE in path else f" (the environment variable {VARIABLE} is not set)"
    near = difflib.get_close_matches(name, listing(), cutoff=0.8)
    expected = closest(name, near) if near else f"it in {' or '.join(str(p) for p in path.values())}"
    raise DataFileError(f"no such data file{hint}", where=f"data:{name}", expected=expected)


def resolve(path: str | os.PathLike[str], *, directory: bool = False) -> Path:
    """Return a path for a job file's entry: ``data:NAME`` through the search path, anything else as it is.

    ``directory`` also accepts a directory of that name.
    """
    text = str(path)
    return find(text.removeprefix(PREFIX), directory=directory) if text.startswith(PREFIX) else Path(text)
