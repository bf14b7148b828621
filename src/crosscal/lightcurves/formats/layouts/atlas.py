"""ATLAS forced photometry, of difference or reduced images."""

from __future__ import annotations

from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.timesystem import TimeSystem

FORCED = Layout(
    name="atlas",
    source="ATLAS forced photometry server, plain text (Shingles et al. 2021, TNS AstroNote 2021-7)",
    needs=(("mjd",), ("ujy",), ("dujy",), ("f",)),
    time=("mjd",),
    system=TimeSystem("mjd", scale="utc", frame="geocentric"),
    flux=("ujy",),
    flux_error=("dujy",),
    flux_unit="uJy",
    prefer="flux",
    band=("f",),
    keep=(Keep("err", "==", 0.0), Keep("chi_n", "<", 10.0)),
    own_zeropoint=True,
)
