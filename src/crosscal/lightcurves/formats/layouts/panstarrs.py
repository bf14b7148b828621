"""Pan-STARRS 1, detections of Data Release 2."""

from __future__ import annotations

from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.timesystem import TimeSystem

DETECTIONS = Layout(
    name="ps1",
    source="Pan-STARRS DR2 Detection table, MAST catalogues interface (Flewelling et al. 2020, ApJS 251, 7)",
    needs=(("obstime",), ("filterid", "filtertype"), ("psfflux",), ("psffluxerr",)),
    time=("obstime",),
    system=TimeSystem("mjd", scale="tai", frame="geocentric"),
    flux=("psfflux",),
    flux_error=("psffluxerr",),
    flux_unit="Jy",
    prefer="flux",
    band=("filterid", "filtertype"),
    bands={"1": "g", "2": "r", "3": "i", "4": "z", "5": "y"},
    apart=("objid",),
    keep=(Keep("psfqfperfect", ">", 0.9), Keep("psfflux", ">", 0.0)),
)
