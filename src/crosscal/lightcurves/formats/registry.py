"""The layouts of survey tables by name; other packages add theirs through ``crosscal.lightcurve_layouts``."""

from __future__ import annotations

from crosscal.core.registry import Registry
from crosscal.lightcurves.formats.layout import Layout
from crosscal.lightcurves.formats.raw import RawTable

LAYOUTS = Registry(
    "lightcurve_layout",
    {
        "asassn": "crosscal.lightcurves.formats.layouts.asassn:SKY_PATROL",
        "asassn-v2": "crosscal.lightcurves.formats.layouts.asassn:SKY_PATROL_2",
        "asassn-client": "crosscal.lightcurves.formats.layouts.asassn:CLIENT",
        "ztf": "crosscal.lightcurves.formats.layouts.ztf:LIGHT_CURVES",
        "ztf-forced": "crosscal.lightcurves.formats.layouts.ztf:FORCED",
        "ztf-alerts": "crosscal.lightcurves.formats.layouts.alerts:CORRECTED",
        "ztf-alerts-difference": "crosscal.lightcurves.formats.layouts.alerts:DIFFERENCE",
        "ztf-lasair": "crosscal.lightcurves.formats.layouts.alerts:LASAIR",
        "atlas": "crosscal.lightcurves.formats.layouts.atlas:FORCED",
        "gaia": "crosscal.lightcurves.formats.layouts.gaia:EPOCHS",
        "gaia-alerts": "crosscal.lightcurves.formats.layouts.gaia:ALERTS",
        "crts": "crosscal.lightcurves.formats.layouts.crts:CATALINA",
        "panstarrs": "crosscal.lightcurves.formats.layouts.panstarrs:DETECTIONS",
        "aavso": "crosscal.lightcurves.formats.layouts.aavso:DOWNLOAD",
        "aavso-extended": "crosscal.lightcurves.formats.layouts.aavso:EXTENDED",
        "swift-uvot": "crosscal.lightcurves.formats.layouts.swift:MAGHIST",
        "rubin-difference": "crosscal.lightcurves.formats.layouts.rubin:DIFFERENCE",
        "rubin": "crosscal.lightcurves.formats.layouts.rubin:FORCED",
        "neowise": "crosscal.lightcurves.formats.layouts.wise:EXPOSURES",
        "fermi-lat": "crosscal.lightcurves.formats.layouts.fermi:REPOSITORY",
        "tess-kepler": "crosscal.lightcurves.formats.layouts.tess:LIGHT_CURVE",
    },
)


def layout_of(table: RawTable) -> Layout | None:
    """Return the layout of a table by its columns; None where it has that of no survey."""
    for name in LAYOUTS:
        layout: Layout = LAYOUTS.get(name)
        if layout.fits(table):
            return layout
    return None
