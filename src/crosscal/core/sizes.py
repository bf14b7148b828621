"""Files that are small and unpack to more than a computer holds: told by one sentence before a reader meets them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from crosscal.core.broken import is_broken_content
from crosscal.core.errors import ConfigError, DataFileError
from crosscal.core.seal import check_seal

#: Environment variable for the largest input in bytes, unpacked; K, M, G and T (powers of 1024) may follow the number.
VARIABLE = "CROSSCAL_LARGEST_FILE"
DEFAULT = "2G"
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
#: No deflate stream unpacks to more than this many times its size.
_DEFLATE = 1032
_BLOCK = 1 << 20
#: Bytes that a number of a table takes.
_NUMBER = 8
#: More than any limit.
_ENDLESS = 1 << 62
#: Answers by path, time and size: an input is looked at again by each of its readers and checksums.
_seen: dict[tuple[str, int, int, int], int] = {}


def largest_file() -> int:
    """Return the largest size in bytes, unpacked, of a file that is read.

    Raises
    ------
    ConfigError
        If the environment variable holds no size.
    """
    text = os.environ.get(VARIABLE) or DEFAULT
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if found is None:
        raise ConfigError(f"{text!r} is not a size", where=VARIABLE, expected="a number of bytes, such as 500M or 8G")
    return int(float(found[1]) * 1024 ** _UNITS[found[2].upper()])


def refuse_oversized(path: str | os.PathLike[str]) -> None:
    """Check that a file is not, and does not unpack to, more than the largest size.

    Looked at are the file itself; streams of gzip, bzip2 and xz; members of zip archives (npz); data sets of HDF5 and
    netCDF files; columns of Parquet files; repetitions in the header of an ECSV table.

    Raises
    ------
    DataFileError
        With both sizes and how to raise the limit.
    """
    limit = largest_file()
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return
        key = (os.fspath(path), found.st_mtime_ns, found.st_size, limit)
        if key not in _seen:
            with open(path, "rb") as stream:
                _seen[key] = max(found.st_size, _unpacked(path, stream, found.st_size, limit))
    except OSError:
        return  # what cannot be opened is told by the reader
    if _seen[key] > limit:
        size = "without end" if _seen[key] >= _ENDLESS else f"of {_seen[key] / 2**30:.3g} GiB or more"
        raise DataFileError(
            f"the content is {size}, unpacked",
            where=str(path),
            expected=f"at most {limit / 2**30:.3g} GiB; the environment variable {VARIABLE} (now "
            f"{os.environ.get(VARIABLE) or DEFAULT}) raises the limit",
        )


@contextmanager
def _damage_left_to_the_reader() -> Iterator[None]:
    """Leave the block where content is damaged: the file's reader tells of that."""
    try:
        yield
    except Exception as error:
        if not is_broken_content(error):
            raise


def _unpacked(path: str | os.PathLike[str], stream: IO[bytes], size: int, limit: int) -> int:
    """Size in bytes that the content of an open file takes, or the first one found beyond the limit."""
    head = stream.read(8)
    stream.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return size if size * _DEFLATE <= limit else _streamed(gzip.GzipFile(fileobj=stream), limit)
    if head.startswith(b"BZh"):
        return _streamed(bz2.BZ2File(stream), limit)
    if head.startswith(b"\xfd7zXZ\x00"):
        return _streamed(lzma.LZMAFile(stream), limit)
    if head.startswith(b"PK\x03\x04"):
        with _damage_left_to_the_reader(), zipfile.ZipFile(stream) as archive:
            return sum(member.file_size for member in archive.infolist())
    elif head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _hdf5(path)
    elif head.startswith(b"PAR1"):
        return _parquet(stream)
    elif head.startswith(b"# %ECSV"):
        return _ecsv(stream)
    return 0


def _streamed(stream: Any, limit: int) -> int:
    """Count what a stream unpacks to, keeping nothing, until the limit is passed."""
    total = 0
    with _damage_left_to_the_reader(), stream:
        while total <= limit and (block := stream.read(_BLOCK)):
            total += len(block)
    return total


def _hdf5(path: str | os.PathLike[str]) -> int:
    """Sum of the data sets: a few bytes describe any number of equal values."""
    import h5py

    try:
        check_seal(path)
    except DataFileError:
        return 0  # scrambled bytes can keep the library busy for ever

    total = 0

    def add(_: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            total += math.prod(int(n) for n in item.shape) * max(1, int(item.dtype.itemsize))

    with _damage_left_to_the_reader(), h5py.File(path, "r") as file:
        file.visititems(add)
    return total


def _parquet(stream: IO[bytes]) -> int:
    """Numbers of a Parquet file, eight bytes each: equal ones are stored once."""
    try:
        from pyarrow import parquet
    except ImportError:
        return 0
    with _damage_left_to_the_reader():
        found = parquet.ParquetFile(stream).metadata
        return _NUMBER * found.num_rows * found.num_columns
    return 0


def _ecsv(stream: IO[bytes]) -> int:
    """Size of the header with its aliases, each of which repeats what its anchor names, written out; 0 without any."""
    lines = []
    for line in stream:
        if not line.startswith(b"#"):
            break
        lines.append(line[2:].rstrip(b"\r\n").decode("utf-8", "replace"))
    text = "\n".join(lines[1:])
    if not (re.search(r"(?:^|[\s\[{,:-])&\w", text) and re.search(r"(?:^|[\s\[{,:-])\*\w", text)):
        return 0
    from astropy.io.misc import yaml

    with _damage_left_to_the_reader():
        return _NUMBER * _length(yaml.load(text), {})
    return 0


def _length(value: Any, known: dict[int, int]) -> int:
    """Number of values of nested lists and mappings, shared ones counted each time they occur."""
    inside: Iterator[Any] | None = None
    if isinstance(value, dict):
        inside = iter((*value.keys(), *value.values()))
    elif isinstance(value, list | tuple | set):
        inside = iter(value)
    if inside is None:
        return 1
    if id(value) not in known:
        known[id(value)] = _ENDLESS  # one that holds itself has no end
        known[id(value)] = 1 + sum(_length(item, known) for item in inside)
    return known[id(value)]
