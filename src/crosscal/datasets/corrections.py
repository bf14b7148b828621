"""Corrections on disk: one netCDF file with factor, covariance and draws, the same for every part."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.correction import Correction
from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import existing_file
from crosscal.core.keywords import keywords
from crosscal.core.netcdf import write_netcdf
from crosscal.core.reading import parsing
from crosscal.core.seal import check_seal

#: The file's name in a run directory.
CORRECTION_FILE = "correction.nc"


def write_correction(path: str | os.PathLike[str], correction: Correction) -> Path:
    """Write a correction as netCDF-4; the content is that of `as_dataset`.

    Raises
    ------
    DataFileError
        If the file cannot be written.
    """
    return write_netcdf(path, as_dataset(correction), sealed=True)


def as_dataset(correction: Correction) -> Any:
    """Return a correction as an xarray Dataset.

    Variables ``factor`` (n,), ``log_covariance`` (n, n), where there are any ``draws`` (n_draws, n), against the
    coordinate named by the correction's axis; attributes ``axis``, ``units``, ``target``, ``provenance`` (JSON).
    """
    import xarray

    axis = correction.axis
    coordinate = correction.coordinate if correction.numeric else correction.coordinate.astype(str)
    # A dimension that is named twice has no meaning in xarray, so the second one of the covariance has its own name.
    content: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "factor": ((axis,), correction.factor),
        "log_covariance": ((axis, f"{axis}_2"), correction.covariance),
    }
    if correction.draws is not None:
        content["draws"] = (("draw", axis), correction.draws)
    return xarray.Dataset(
        content,
        coords={axis: (axis, coordinate, {"units": correction.unit})},
        attrs={
            "axis": axis,
            "target": correction.target,
            "provenance": json.dumps(dict(correction.provenance), default=str),
        },
    )


@keywords
def read_correction(path: str | os.PathLike[str]) -> Correction:
    """Read what `write_correction` wrote: the file, or a run directory that holds it.

    Raises
    ------
    DataFileError
        If the file is absent, no netCDF, or holds no valid correction.

    Examples
    --------
    >>> first, second = crosscal.read_correction("runs/a"), crosscal.read_correction("runs/b")  # doctest: +SKIP
    >>> print(first.compare(second))  # doctest: +SKIP
    """
    import xarray

    source = Path(path)
    if source.is_dir():
        source = source / CORRECTION_FILE
    source = existing_file(source, what="correction")
    check_seal(source, what="correction file")
    expected = "a netCDF file written by CrossCal"
    try:
        with parsing("not a correction file", where=source, expected=expected, told=False):
            with xarray.open_dataset(source, engine="h5netcdf") as data:
                data.load()
            axis = str(data.attrs["axis"])
            coordinate = data[axis].values
            provenance = json.loads(data.attrs["provenance"])
            return Correction(
                coordinate if coordinate.dtype.kind in "fiu" else coordinate.astype(str),
                data["factor"].values,
                data["log_covariance"].values,
                axis,
                unit=str(data[axis].attrs.get("units", "")),
                target=str(data.attrs["target"]),
                draws=data["draws"].values if "draws" in data else None,
                provenance=dict(provenance),
            )
    except DataFileError:
        raise
    except InputError as error:
        raise DataFileError(f"no valid correction ({error})", where=str(source)) from error
