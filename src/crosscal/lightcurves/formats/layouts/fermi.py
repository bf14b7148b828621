"""Fermi LAT Light Curve Repository."""

from __future__ import annotations

from crosscal.lightcurves.formats.layout import Layout
from crosscal.lightcurves.timesystem import TimeSystem

_FLUX = ("photon_flux_[0_1_100_gev]", "photon_flux")

REPOSITORY = Layout(
    name="fermi",
    source="Fermi LAT Light Curve Repository, CSV download (Abdollahi et al. 2023, ApJS 265, 31)",
    needs=(("julian_date",), ("ts",), _FLUX, ("photon_flux_error",)),
    time=("julian_date",),
    system=TimeSystem("jd", scale="utc", frame="geocentric"),
    flux=_FLUX,
    flux_error=("photon_flux_error",),
    flux_unit="photon / (s cm2)",
    prefer="flux",
    notes=("photon fluxes of 0.1 to 100 GeV",),
)
