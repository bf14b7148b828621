"""Rubin Observatory: sources of difference images, and forced photometry of objects."""

from __future__ import annotations

from dataclasses import replace

from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.timesystem import TimeSystem

TIMES = ("midpointmjdtai", "expmidptmjd")

FORCED = Layout(
    name="rubin",
    source="Rubin data products, DiaSource.scienceFlux and ForcedSource.psfFlux (LSE-163, Data Products Definition)",
    needs=(TIMES, ("band",), ("scienceflux", "psfflux"), ("sciencefluxerr", "psffluxerr")),
    time=TIMES,
    system=TimeSystem("mjd", scale="tai", frame="geocentric"),
    flux=("scienceflux", "psfflux"),
    flux_error=("sciencefluxerr", "psffluxerr"),
    flux_unit="nJy",
    prefer="flux",
    band=("band",),
    apart=("diaobjectid", "objectid"),
    keep=(Keep("psfflux_flag", "is", ("false", "0", "0.0")), Keep("pixelflags_bad", "is", ("false", "0", "0.0"))),
)

DIFFERENCE = replace(
    FORCED,
    source="Rubin data products, DiaSource.psfFlux (LSE-163, Data Products Definition)",
    needs=(TIMES, ("band",), ("psfflux",), ("psffluxerr",), ("diasourceid",)),
    lacks=("scienceflux",),
    flux=("psfflux",),
    flux_error=("psffluxerr",),
    difference=True,
)
