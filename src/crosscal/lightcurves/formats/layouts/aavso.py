"""AAVSO International Database."""

from __future__ import annotations

from crosscal.core.errors import DataFileError
from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.formats.raw import RawTable
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


def _dates(table: RawTable) -> RawTable:
    """The dates under the name of what they count, by the header's ``#DATE=``."""
    kind = str(table.meta.get("date", "JD")).strip().lower()
    if kind not in ("jd", "hjd"):
        raise DataFileError(f"#DATE={kind.upper()}", where=table.source, expected="#DATE=JD or HJD")
    return table.with_columns(**{kind: table.numbers("date")})


EXTENDED = Layout(
    name="aavso",
    source="AAVSO Extended File Format, as observers upload it (aavso.org/aavso-extended-file-format)",
    needs=(("date",), ("mag",), ("merr",), ("filt",), ("mtype",)),
    time=("hjd", "jd"),
    system=TimeSystem("jd", scale="utc"),
    magnitude=("mag",),
    magnitude_error=("merr",),
    band=("filt",),
    apart=("name",),
    keep=(Keep("mtype", "is", ("std",)),),
    prepare=_dates,
)
