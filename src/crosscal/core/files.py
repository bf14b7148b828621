"""Outputs that are either whole or absent, checksums, and paths that do not overwrite inputs."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from crosscal.core.errors import DataFileError, InputError


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success rename it to ``path``, on failure remove it.

    The temporary name keeps the suffixes of the target, because writers choose formats by suffix.

    Raises
    ------
    DataFileError
        If the directory cannot be created or written, the disk is full, or ``path`` exists and
        ``overwrite`` is false.
    """
    target = Path(path)
    if not overwrite and target.exists():
        raise DataFileError("the output exists already", where=str(target), expected="a new file name")
    if target.is_dir():
        raise DataFileError("the output is a directory", where=str(target), expected="a file name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".partial-", suffix="-" + target.name)
        os.close(handle)
        os.chmod(name, 0o666 & ~_umask())
    except OSError as error:
        raise DataFileError(f"cannot write here ({error.strerror})", where=str(target)) from error
    temporary = Path(name)
    try:
        yield temporary
        # Without this a crash of the machine can leave a renamed, empty file.
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise DataFileError(f"writing failed ({error.strerror or error})", where=str(target)) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write ``text`` to ``path`` atomically and return the path."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_ecsv(path: str | os.PathLike[str], table: Any) -> Path:
    """Write an astropy table as ECSV atomically and return the path."""
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
    return Path(path)


def check_path_first(path: object, content: object, kind: type, *, where: str) -> None:
    """Refuse arguments of a writing function that are not ``(path, content)``.

    Raises
    ------
    InputError
        If ``path`` is no path or ``content`` is not of the kind; swapped arguments are named.
    """
    name = kind.__name__
    if isinstance(content, kind) and isinstance(path, str | os.PathLike):
        return
    what = (
        "the arguments are swapped"
        if isinstance(path, kind)
        else f"a {type(path).__name__} and a {type(content).__name__}"
    )
    raise InputError(what, where=where, expected=f"a path, then a {name}")


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(existing_file(path), "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def existing_file(path: str | os.PathLike[str], *, what: str = "file", where: str | None = None) -> Path:
    """Return ``path`` if it is a readable file.

    Raises
    ------
    DataFileError
        If there is no such file, it is a directory, or it cannot be opened.
    """
    target = Path(path)
    prefix = f"{where}: " if where else ""
    if not target.exists():
        raise DataFileError(f"no such {what}", where=prefix + str(target), expected="an existing file")
    if target.is_dir():
        raise DataFileError(f"the {what} is a directory", where=prefix + str(target), expected="a file")
    if not os.access(target, os.R_OK):
        raise DataFileError(f"the {what} cannot be read", where=prefix + str(target), expected="read permission")
    return target


def refuse_inputs_inside(directory: str | os.PathLike[str], inputs: Mapping[str, str | os.PathLike[str]]) -> None:
    """Check that no input (role to path) lies below a directory that a run will write into, links in it included.

    Raises
    ------
    InputError
        Naming the first input that a run could destroy there.
    """
    # os.path.realpath: Path.resolve raises on a link that leads to itself.
    root = Path(os.path.realpath(directory))
    roots = [root]
    with suppress(OSError):
        roots += [Path(os.path.realpath(p)) for p in root.iterdir() if p.is_symlink() and p.is_dir()]
    for role, path in inputs.items():
        if any(Path(os.path.realpath(path)).is_relative_to(place) for place in roots):
            raise InputError(
                f"the input {role} lies inside the run directory {directory}",
                where=str(path),
                expected="another output, so that no input is overwritten",
            )


def refuse_overwriting(outputs: Iterable[str | os.PathLike[str]], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Check that no output is one of the inputs, by its name, a link or a second name (hard link).

    Raises
    ------
    InputError
        Naming the first output that would destroy an input.
    """
    given = [Path(path) for path in inputs]
    protected = {os.path.realpath(path) for path in given} | {_inode(path) for path in given} - {None}
    for output in outputs:
        if os.path.realpath(output) in protected or _inode(Path(output)) in protected:
            raise InputError("this output would overwrite an input", where=str(output), expected="another path")


def _inode(path: Path) -> tuple[int, int] | None:
    """Device and number of an existing file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
