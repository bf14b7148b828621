"""ASAS-SN: Sky Patrol v1 (web), Sky Patrol v2 (web), and the tables of its Python client."""

from __future__ import annotations

from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.timesystem import TimeSystem

SKY_PATROL = Layout(
    name="asas",
    source="ASAS-SN Sky Patrol v1.0, CSV download (Kochanek et al. 2017, PASP 129, 104502)",
    needs=(("hjd",), ("mag",), ("mag_err", "mag_error"), ("flux", "flux_mjy"), ("camera",), ("filter",)),
    time=("hjd",),
    system=TimeSystem("jd", scale="utc", frame="heliocentric"),
    magnitude=("mag",),
    magnitude_error=("mag_err", "mag_error"),
    flux=("flux", "flux_mjy"),
    flux_error=("flux_err", "flux_error"),
    flux_unit="mJy",
    band=("filter",),
    camera=("camera",),
    keep=(Keep("mag_err", "<", 99.0), Keep("mag_error", "<", 99.0)),
    errlimit=0.1,
    own_zeropoint=True,
)

SKY_PATROL_2 = Layout(
    name="asas",
    source="ASAS-SN Sky Patrol v2.0, CSV download (Hart et al. 2023, arXiv:2304.03791)",
    needs=(("jd",), ("mag",), ("mag_error",), ("flux",), ("flux_error",), ("quality",), ("camera",), ("filter",)),
    time=("jd",),
    system=TimeSystem("jd", scale="utc"),
    magnitude=("mag",),
    magnitude_error=("mag_error",),
    flux=("flux",),
    flux_error=("flux_error",),
    flux_unit="mJy",
    band=("filter",),
    camera=("camera",),
    keep=(Keep("quality", "is", ("G",)), Keep("mag_error", "<", 99.0)),
    errlimit=0.1,
    own_zeropoint=True,
)

CLIENT = Layout(
    name="asas",
    source="ASAS-SN Sky Patrol v2.0, light curves of the Python client (Hart et al. 2023, arXiv:2304.03791)",
    needs=(("jd",), ("mag",), ("mag_err",), ("flux",), ("flux_err",), ("quality",), ("camera",), ("phot_filter",)),
    time=("jd",),
    system=TimeSystem("jd", scale="utc"),
    magnitude=("mag",),
    magnitude_error=("mag_err",),
    flux=("flux",),
    flux_error=("flux_err",),
    flux_unit="mJy",
    band=("phot_filter",),
    apart=("asas_sn_id",),
    camera=("camera",),
    keep=(Keep("quality", "is", ("G",)), Keep("mag_err", "<", 99.0)),
    errlimit=0.1,
    own_zeropoint=True,
)
