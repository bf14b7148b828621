"""Light-curve files of TESS and Kepler."""

from __future__ import annotations

import numpy as np

from crosscal.core.errors import DataFileError
from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.formats.raw import RawTable
from crosscal.lightcurves.timesystem import TimeSystem


def _dates(table: RawTable) -> RawTable:
    """Barycentric Julian Date from the zero in the header; the mission and its sector or quarter name the telescope."""
    whole, part = table.meta.get("bjdrefi"), table.meta.get("bjdreff", 0.0)
    if not isinstance(whole, int | float) or not isinstance(part, int | float):
        raise DataFileError("no keyword BJDREFI", where=table.source, expected="the zero of the times")
    name = str(table.meta.get("telescop", "tess")).strip().lower()
    part_name = next((f"{k[0]}{table.meta[k]}" for k in ("sector", "quarter", "campaign") if k in table.meta), "")
    label = f"{name}_{part_name}" if part_name else name
    return table.with_columns(bjd=whole + (part + table.numbers("time")), mission=np.full(len(table), label))


LIGHT_CURVE = Layout(
    name="",
    source="TESS Science Data Products Description Document, EXP-TESS-ARC-ICD-0014; Kepler Archive Manual, section 2.3",
    needs=(("time",), ("sap_flux",), ("sap_flux_err",), ("pdcsap_flux",)),
    time=("bjd",),
    system=TimeSystem("jd", scale="tdb", frame="barycentric"),
    flux=("pdcsap_flux",),
    flux_error=("pdcsap_flux_err",),
    flux_unit="electron / s",
    prefer="flux",
    band=("mission",),
    keep=(Keep("quality", "==", 0.0), Keep("sap_quality", "==", 0.0)),
    prepare=_dates,
    notes=("PDCSAP_FLUX, in which slow changes of the source may have been removed; SAP_FLUX keeps them",),
)
