"""ZTF: light curves of IRSA (CSV and IPAC tables) and forced photometry on demand."""

from __future__ import annotations

import numpy as np

from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.formats.raw import RawTable
from crosscal.lightcurves.timesystem import TimeSystem

BANDS = {
    "zg": "zg",
    "zr": "zr",
    "zi": "zi",
    "ztf_g": "zg",
    "ztf_r": "zr",
    "ztf_i": "zi",
    "1": "zg",
    "2": "zr",
    "3": "zi",
}

LIGHT_CURVES = Layout(
    name="ztf",
    source="ZTF light curves, IRSA (ZTF Science Data System Explanatory Supplement, light-curve queries)",
    needs=(("hjd",), ("mag",), ("magerr",), ("catflags",), ("filtercode",)),
    time=("hjd",),
    system=TimeSystem("jd", scale="utc", frame="heliocentric"),
    magnitude=("mag",),
    magnitude_error=("magerr",),
    band=("filtercode",),
    apart=("oid",),
    keep=(Keep("catflags", "==", 0.0),),
    errlimit=0.1,
    own_zeropoint=True,
)


def _fluxes(table: RawTable) -> RawTable:
    """Difference fluxes in uJy: f_AB = f_DN 10^(-0.4 zpdiff), one is 3631 Jy (the service's guide, section 6)."""
    per_dn = 10 ** (-0.4 * table.numbers("zpdiff")) * 3631e6
    columns = {name: table.numbers(f"forcediffimflux{end}") * per_dn for name, end in (("ujy", ""), ("dujy", "unc"))}
    return table.with_columns(**{k: np.asarray(v) for k, v in columns.items()})


FORCED = Layout(
    name="ztf",
    source="ZTF forced photometry service (Masci et al. 2023, arXiv:2305.16279, with the cuts of section 6)",
    needs=(("forcediffimflux",), ("forcediffimfluxunc",), ("zpdiff",), ("jd",), ("filter",)),
    time=("jd",),
    system=TimeSystem("jd", scale="utc", frame="geocentric"),
    flux=("ujy",),
    flux_error=("dujy",),
    flux_unit="uJy",
    prefer="flux",
    band=("filter",),
    bands=BANDS,
    apart=("field", "ccdid", "qid"),
    keep=(
        Keep("procstatus", "is", ("0", "0.0")),
        Keep("infobitssci", "<", 33554432.0),
        Keep("scisigpix", "<=", 25.0),
        Keep("sciinpseeing", "<=", 4.0),
    ),
    difference=True,
    prepare=_fluxes,
)
