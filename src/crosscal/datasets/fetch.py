"""Downloads, used only when their SHA-256 matches."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from crosscal.core.errors import DataFileError, InputError, UnknownNameError
from crosscal.core.files import atomic_path, sha256
from crosscal.core.sizes import VARIABLE, largest_file
from crosscal.datasets.search import cache_directory


@dataclass(frozen=True)
class Download:
    """One file that can be fetched.

    Attributes
    ----------
    name : str
        Data name under which it is found afterwards.
    url : str
    sha256 : str
        Empty where the publisher gives none: then the user must state it.
    purpose : str
    """

    name: str
    url: str
    sha256: str
    purpose: str


#: Known downloads by short name; parts add theirs.
DOWNLOADS: dict[str, Download] = {}


def fetch(
    name: str,
    *,
    url: str | None = None,
    checksum: str | None = None,
    known: dict[str, Download] | None = None,
) -> Path:
    """Download a file into the user cache and return its path; a file that is there and right is not fetched again.

    Parameters
    ----------
    name : str
        A known download, or with ``url`` any data name.
    url, checksum : str, optional
        Address (also ``file:``) and SHA-256, where the download is not a known one.

    Raises
    ------
    UnknownNameError
        If the download is not known and no address is given.
    InputError
        If no SHA-256 is known, or the address is not http(s), ftp or file.
    DataFileError
        If the download fails or its SHA-256 differs; nothing is kept then.
    """
    table = DOWNLOADS if known is None else known
    if url is None:
        if name not in table:
            raise UnknownNameError("download", name, table, where="data fetch")
        entry = table[name]
        target, url, digest = entry.name, entry.url, checksum or entry.sha256
    else:
        target, digest = name, checksum or ""
    if not _is_sha256(digest):
        raise InputError(
            "the SHA-256 of the file is not known", where=f"download {name!r}", expected="its 64 hexadecimal digits"
        )
    if not url.startswith(("https://", "http://", "ftp://", "file:")):
        raise InputError(f"address {url!r}", where=f"download {name!r}", expected="https, http, ftp or file")
    path = cache_directory() / "data" / target
    if path.is_file() and sha256(path) == digest.lower():
        return path
    _download(url, path, digest.lower())
    return path


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdefABCDEF" for c in text)


def _download(url: str, path: Path, digest: str) -> None:
    import urllib.error
    import urllib.request

    limit = largest_file()
    with atomic_path(path) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=60) as source, open(temporary, "wb") as sink:
                size = 0
                while block := source.read(1 << 20):
                    size += len(block)
                    if size > limit:
                        raise DataFileError(
                            f"the download is larger than {limit / 2**30:.3g} GiB",
                            where=url,
                            expected=f"less; the environment variable {VARIABLE} raises the limit",
                        )
                    sink.write(block)
        except DataFileError:
            raise
        except (urllib.error.URLError, TimeoutError, ValueError) as error:
            raise DataFileError(f"the download failed ({error})", where=url, expected="a reachable file") from error
        found = sha256(temporary)
        if found != digest:
            size = os.path.getsize(temporary)
            raise DataFileError(
                f"the download ({size} bytes) has SHA-256 {found}", where=url, expected=f"SHA-256 {digest}"
            )
