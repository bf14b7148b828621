"""Writing netCDF so that a full disk is an error and nothing worse."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from crosscal.core.files import atomic_path
from crosscal.core.seal import seal


def write_netcdf(path: str | os.PathLike[str], data: Any, *, sealed: bool = False) -> Path:
    """Write an xarray Dataset or DataTree as netCDF-4 and return the path.

    The file is made in memory and written in one piece: where libhdf5 itself meets a full disk, its half-open file
    brings the interpreter down when it is collected.

    Parameters
    ----------
    sealed : bool
        Append a checksum, which readers look at first; see `crosscal.core.seal`.
    """
    content = io.BytesIO()
    data.to_netcdf(content, engine="h5netcdf")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())
        if sealed:
            seal(temporary)
    return Path(path)
