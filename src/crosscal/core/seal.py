"""A checksum at the end of a file: damage is found before a parser meets it.

netCDF (HDF5) has no checksum over a whole file: a flipped bit is a wrong number, and scrambled bytes can keep its
library busy for ever. Its readers ignore what stands behind the end that the file itself declares, so a seal there
changes nothing for others.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from crosscal.core.errors import DataFileError

_MARK = b"\nSHA-256 of the file before this line: "


def seal(path: str | os.PathLike[str]) -> None:
    """Append the seal to a file that is being written."""
    with open(path, "r+b") as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()
        stream.write(_MARK + digest.encode() + b"\n")


def check_seal(path: str | os.PathLike[str], *, what: str = "file") -> None:
    """Check the seal of an existing file; one without a seal was written by another program and passes.

    Raises
    ------
    DataFileError
        If the content differs from what was sealed.
    """
    content = Path(path).read_bytes()
    body, mark, digest = content.rpartition(_MARK)
    if mark and digest != hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise DataFileError(
            f"the {what} is damaged: its checksum differs", where=str(path), expected=f"a {what} as it was written"
        )
