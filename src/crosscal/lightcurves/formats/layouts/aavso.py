"""AAVSO International Database."""

from __future__ import annotations

from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.timesystem import TimeSystem

DOWNLOAD = Layout(
    name="aavso",
    source="AAVSO International Database, data download (comma- or tab-separated)",
    needs=(("jd",), ("magnitude",), ("uncertainty",), ("band",), ("observer_code",)),
    time=("jd",),
    system=TimeSystem("jd", scale="utc", frame="geocentric"),
    magnitude=("magnitude",),
    magnitude_error=("uncertainty",),
    band=("band",),
    apart=("observer_code",),
    keep=(Keep("validation_flag", "is", ("V", "Z", "P", "U")),),
)
