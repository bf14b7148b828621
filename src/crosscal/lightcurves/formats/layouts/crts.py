"""Catalina Real-Time Transient Survey."""

from __future__ import annotations

from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.timesystem import TimeSystem

CATALINA = Layout(
    name="crts",
    source="Catalina Surveys Data Release 2, CSV of the photometry service (Drake et al. 2009, ApJ 696, 870)",
    needs=(("masterid",), ("mag",), ("magerr",), ("mjd",), ("blend",)),
    time=("mjd",),
    system=TimeSystem("mjd", scale="utc", frame="geocentric"),
    magnitude=("mag",),
    magnitude_error=("magerr",),
    apart=("masterid",),
    keep=(Keep("blend", "==", 0.0),),
    notes=("unfiltered magnitudes, scaled to V",),
)
