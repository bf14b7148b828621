"""Outputs that are whole or absent, files that a run keeps open, checksums, paths that overwrite no input."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from crosscal.core.errors import DataFileError, InputError
from crosscal.core.sizes import refuse_oversized

#: How names of files begin that are being written; a process that was killed leaves some behind.
PARTIAL = ".partial-"
#: As `tempfile` makes them, with the name of the target behind; of older stores without one.
_LEFTOVER = re.compile(re.escape(PARTIAL) + r"([a-z0-9_]{8}(-.*)?|.+-[a-z0-9_]{8})", re.DOTALL)


def is_partial(path: str | os.PathLike[str]) -> bool:
    """Whether a file, or a folder above it, is one that is being written: readers of directories leave it out."""
    return any(part.startswith(PARTIAL) for part in Path(path).parts)


def remove_partials(directory: str | os.PathLike[str]) -> list[Path]:
    """Remove what killed processes have left half-written below a directory, and return the paths.

    Links are not followed. Call it only while no other process writes there.

    Raises
    ------
    DataFileError
        If something cannot be removed.
    """
    removed = []
    for place, folders, files in os.walk(directory):
        for name in [n for n in (*folders, *files) if _LEFTOVER.fullmatch(n)]:
            path = Path(place) / name
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise DataFileError(
                    f"incomplete files of an earlier run cannot be removed ({error.strerror})", where=str(path)
                ) from error
            removed.append(path)
        folders[:] = [n for n in folders if not _LEFTOVER.fullmatch(n)]
    return removed


def open_own(path: str | os.PathLike[str], *, append: bool = False) -> IO[str]:
    """Open a file that a run keeps open and writes line by line (its lock, its log), and nothing that a link leads to.

    The file is made if it is absent. It is not emptied: ``append`` writes at its end, else writing begins at its start.

    Raises
    ------
    DataFileError
        If it cannot be opened, is a symbolic link or not a regular file, or has another name (a hard link).
    """
    target = Path(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_APPEND if append else 0)
    advice = "a regular file written by the run: remove it, or choose another output"
    try:
        number = os.open(target, flags, 0o666)
    except OSError as error:
        if target.is_symlink():
            raise DataFileError("the file is a symbolic link", where=str(target), expected=advice) from error
        raise DataFileError(f"the file cannot be opened ({error.strerror})", where=str(target)) from error
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(number)
        what = "the file has a second hard link" if stat.S_ISREG(found.st_mode) else "not a regular file"
        raise DataFileError(what, where=str(target), expected=advice)
    return os.fdopen(number, "a" if append else "r+", encoding="utf-8")


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
        raise DataFileError("the output already exists", where=str(target), expected="a new file name")
    if target.is_dir():
        raise DataFileError("the output is a directory", where=str(target), expected="a file name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=PARTIAL, suffix="-" + target.name)
        os.close(handle)
        os.chmod(name, 0o666 & ~_umask())
    except OSError as error:
        raise DataFileError(f"cannot create the file ({error.strerror})", where=str(target)) from error
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
    """Write ``text`` to ``path`` atomically and return the path.

    Raises
    ------
    DataFileError
        If it cannot be written, or names a file or directory whose name is not UTF-8.
    """
    content = require_utf8(text, where=path).encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def require_utf8(text: str | os.PathLike[str], *, where: object) -> str:
    """Return text, or a path as text, that can be told in files.

    Raises
    ------
    DataFileError
        If it holds the name of a file or directory whose bytes are not UTF-8.
    """
    text = os.fspath(text)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text[text.rfind("\n", 0, error.start) + 1 :].splitlines()[0]
        raise DataFileError(
            f"the name of a file or directory is not UTF-8 ({line[:200]})", where=str(where), expected="names in UTF-8"
        ) from error
    return text


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
        If ``path`` is not a path or ``content`` is not of the kind; swapped arguments are named.
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
    with open(existing_file(path, limited=False), "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def existing_file(
    path: str | os.PathLike[str], *, what: str = "file", where: str | None = None, limited: bool = True
) -> Path:
    """Return ``path`` if it is a readable file, and not larger (unpacked) than `sizes.largest_file`.

    ``limited`` is False where the content is only passed on block by block.

    Raises
    ------
    DataFileError
        If there is no such file, it is a directory, a pipe or a device, or it cannot be opened or is too large.
    """
    target = Path(path)
    place = (f"{where}: " if where else "") + str(target)
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a null character
        raise DataFileError(f"no such {what}", where=place, expected="an existing file") from error
    except OSError as error:
        raise DataFileError(f"the {what} cannot be read ({error.strerror})", where=place) from error
    if stat.S_ISDIR(mode):
        raise DataFileError(f"the {what} is a directory", where=place, expected="a file")
    if not stat.S_ISREG(mode):
        raise DataFileError(f"the {what} is a pipe or a device", where=place, expected="a regular file")
    if not os.access(target, os.R_OK):
        raise DataFileError(f"the {what} cannot be read", where=place, expected="read permission")
    if limited:
        refuse_oversized(target)
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
