"""The rows of a table of photometry, before telescopes are told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError
from crosscal.lightcurves.formats.raw import RawTable
from crosscal.lightcurves.timesystem import TimeSystem

#: Error in magnitudes of a flux with a relative error of 1.
MAGNITUDE = 2.5 / np.log(10)
#: Values and errors of magnitudes from which on they stand for no measurement.
NO_MAGNITUDE = 90.0


@dataclass(frozen=True, eq=False)
class Photometry:
    """The rows of a table in order: what has been found before telescopes are told apart.

    Attributes
    ----------
    time, value, error : arrays (n,)
        ``error`` is NaN where the table gives none.
    is_magnitude : bool
    system : TimeSystem
    unit : str
        Of fluxes.
    telescope, band : arrays of str (n,)
    apart : arrays of str (n,)
        What is kept apart within one telescope and filter.
    limit : bool array (n,)
        Rows that are upper or lower limits.
    refused : list of (bool array (n,), str)
        Rows that a rule of quality drops, with the reason.
    notes : list of str
    """

    time: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    is_magnitude: bool
    system: TimeSystem
    unit: str
    telescope: NDArray[np.str_]
    band: NDArray[np.str_]
    apart: NDArray[np.str_]
    limit: NDArray[np.bool_]
    refused: list[tuple[NDArray[np.bool_], str]]
    notes: list[str]
    position: tuple[float, float] | None = None
    difference: bool = False


def position_of(table: RawTable) -> tuple[float, float] | None:
    """Median position of the rows, or that of the header, in degrees."""
    for ra, dec in (("ra", "dec"), ("raj2000", "dej2000"), ("ra_deg", "dec_deg"), ("ra_obj", "dec_obj")):
        try:
            if ra in table and dec in table:
                values = np.nanmedian(table.numbers(ra)), np.nanmedian(table.numbers(dec))
            elif ra in table.meta and dec in table.meta:
                values = float(table.meta[ra]), float(table.meta[dec])
            else:
                continue
        except (DataFileError, ValueError, TypeError):
            continue  # sexagesimal, or no position at all
        if 0 <= values[0] <= 360 and -90 <= values[1] <= 90:
            return float(values[0]), float(values[1])
    return None
