"""Gaia: epoch photometry of Data Release 3, and light curves of the science alerts."""

from __future__ import annotations

from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.timesystem import TimeSystem

EPOCHS = Layout(
    name="gaia",
    source="Gaia DR3 epoch photometry by DataLink (Gaia DR3 documentation, section 20.7, EPOCH_PHOTOMETRY)",
    needs=(("band",), ("time",), ("flux",), ("flux_error",), ("rejected_by_photometry",)),
    time=("time",),
    system=TimeSystem("jd", 2455197.5, "tcb", "barycentric"),
    flux=("flux",),
    flux_error=("flux_error",),
    flux_unit="electron / s",
    prefer="flux",
    band=("band",),
    apart=("source_id",),
    keep=(Keep("rejected_by_photometry", "is", ("false", "0", "0.0")),),
    notes=("transits with rejected_by_variability are used",),
)

ALERTS = Layout(
    name="gaia",
    source="Gaia Photometric Science Alerts, light curve (Hodgkin et al. 2021, A&A 652, A76)",
    needs=(("jd(tcb)", "jd_tcb", "jd_(tcb)"), ("averagemag",)),
    time=("jd(tcb)", "jd_tcb", "jd_(tcb)"),
    system=TimeSystem("jd", scale="tcb", frame="barycentric"),
    magnitude=("averagemag",),
    notes=("magnitudes of Gaia's G",),
)
