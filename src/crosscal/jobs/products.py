"""The files that every run leaves, written once for all parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from crosscal.core.correction import Correction
from crosscal.core.errors import FitError, InputError
from crosscal.core.files import write_ecsv, write_text
from crosscal.core.provenance import write_provenance
from crosscal.core.tables import describe
from crosscal.datasets import CORRECTION_FILE, write_correction
from crosscal.jobs.result import JobResult

T = TypeVar("T")

#: What the columns of a correction's table mean.
COLUMNS = {
    "energy": "photon energy",
    "wavelength": "wavelength",
    "instrument": "instrument",
    "telescope": "telescope",
    "factor": "multiply the nominal quantity by it",
    "sd_ln": "standard deviation of ln factor; the covariance is in correction.nc",
    "low68": "lower end of the 68 % interval of factor",
    "high68": "upper end of the 68 % interval",
    "low95": "lower end of the 95 % interval",
    "high95": "upper end of the 95 % interval",
}


def write_common(result: JobResult, directory: Path) -> None:
    """Write summary.ecsv, correction.ecsv and .nc, posterior.nc, diagnostics.txt and provenance.json of a result.

    A result whose data gave no correction or no draws leaves none.
    """
    write_ecsv(directory / "summary.ecsv", result.summary())
    # Files of an earlier result in the same place would pass for this one's.
    for name in (CORRECTION_FILE, "correction.ecsv", "posterior.nc"):
        (directory / name).unlink(missing_ok=True)
    if (correction := _where_there_is_one(lambda: result.correction)) is not None:
        write_correction(directory / CORRECTION_FILE, correction)
        write_ecsv(directory / "correction.ecsv", correction_table(correction))
    if (draws := _where_there_is_one(lambda: result.posterior_draws)) is not None:
        draws.write(directory / "posterior.nc")
    write_text(directory / "diagnostics.txt", f"{result.answer}\n{result.diagnostics}\n")
    write_provenance(directory, result.provenance)


def nothing_more(result: JobResult, directory: Path) -> None:
    """Write no files beyond the common ones."""


def _where_there_is_one(get: Callable[[], T]) -> T | None:
    try:
        return get()
    except FitError:
        return None


def write_correction_file(path: str | os.PathLike[str], correction: Correction) -> Path:
    """Write a correction as netCDF or as a table, by the suffix.

    Raises
    ------
    InputError
        For another suffix; DataFileError if the file cannot be written.
    """
    target = Path(path)
    if target.suffix == ".nc":
        return write_correction(target, correction)
    if target.suffix == ".ecsv":
        write_ecsv(target, correction_table(correction))
        return target
    raise InputError(f"a correction with suffix {target.suffix!r}", where=str(path), expected=".nc or .ecsv")


def correction_table(correction: Correction, meanings: Mapping[str, str] = COLUMNS) -> Any:
    """Return a correction as an astropy QTable: factor, sd of its logarithm, 68 and 95 % intervals."""
    import astropy.units as u
    from astropy.table import QTable

    coordinate: Any = np.asarray(correction.coordinate)
    if correction.numeric and correction.unit:
        coordinate = coordinate * u.Unit(correction.unit)
    table = QTable({correction.axis: coordinate})
    table["factor"], table["sd_ln"] = correction.factor, correction.sd
    for level in (0.68, 0.95):
        low, high = correction.interval(level)
        table[f"low{100 * level:.0f}"], table[f"high{100 * level:.0f}"] = low, high
    table.meta["target"] = correction.target
    return describe(table, meanings)
