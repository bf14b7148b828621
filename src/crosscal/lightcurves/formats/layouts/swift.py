"""Swift UVOT light curves of the task uvotmaghist."""

from __future__ import annotations

import numpy as np

from crosscal.core.errors import DataFileError
from crosscal.lightcurves.formats.layout import Layout
from crosscal.lightcurves.formats.raw import RawTable
from crosscal.lightcurves.timesystem import TimeSystem


def _dates(table: RawTable) -> RawTable:
    """Mission elapsed time (s) to MJD by the reference time in the header (OGIP/93-003)."""
    whole, part = table.meta.get("mjdrefi"), table.meta.get("mjdreff", 0.0)
    if not isinstance(whole, int | float) or not isinstance(part, int | float):
        raise DataFileError(
            "no keyword MJDREFI", where=table.source, expected="the reference time of the mission clock"
        )
    met = table.numbers(table.first(("met", "time")) or "met")
    columns = {"mjd_tt": whole + (part + met / 86400.0)}
    if "filter" not in table:
        columns["filter"] = np.full(len(table), str(table.meta.get("filter", "")).strip() or "UVOT")
    return table.with_columns(**columns)


MAGHIST = Layout(
    name="uvot",
    source="Swift UVOT, uvotmaghist (The Swift UVOT Software Guide; OGIP/93-003 for times)",
    needs=(("met", "time"), ("flux_aa",), ("flux_aa_err",), ("mag",), ("mag_err",)),
    time=("mjd_tt",),
    system=TimeSystem("mjd", scale="tt", frame="geocentric"),
    flux=("flux_aa",),
    flux_error=("flux_aa_err",),
    flux_unit="erg / (s cm2 Angstrom)",
    prefer="flux",
    band=("filter",),
    prepare=_dates,
)
