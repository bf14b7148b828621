"""ZTF alerts as brokers give them in CSV files."""

from __future__ import annotations

import numpy as np

from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.formats.layouts.ztf import BANDS
from crosscal.lightcurves.formats.raw import RawTable
from crosscal.lightcurves.timesystem import TimeSystem

CORRECTED = Layout(
    name="ztf",
    source="ZTF alerts with corrected magnitudes, and forced photometry, of ALeRCE (Forster et al. 2021, AJ 161, 242)",
    needs=(
        ("mjd",),
        ("fid",),
        ("magpsf_corr", "mag_corr"),
        ("sigmapsf_corr_ext", "sigmapsf_corr", "e_mag_corr_ext", "e_mag_corr"),
    ),
    time=("mjd",),
    system=TimeSystem("mjd", scale="utc", frame="geocentric"),
    magnitude=("magpsf_corr", "mag_corr"),
    magnitude_error=("sigmapsf_corr_ext", "sigmapsf_corr", "e_mag_corr_ext", "e_mag_corr"),
    band=("fid",),
    bands=BANDS,
    keep=(Keep("corrected", "is", ("true", "1", "t")), Keep("dubious", "is", ("false", "0", "f"))),
)


def _signed(table: RawTable) -> RawTable:
    """Difference fluxes in uJy, negative where the source is fainter than in the reference image."""
    size = 3631e6 * 10 ** (-0.4 * table.numbers("magpsf"))
    positive = np.isin(np.char.lower(table.words("isdiffpos")), ["t", "1", "true", "1.0"])
    error = size * table.numbers("sigmapsf") * np.log(10) / 2.5
    return table.with_columns(ujy=np.where(positive, size, -size), dujy=error)


DIFFERENCE = Layout(
    name="ztf",
    source="ZTF alert packets, candidate records (Masci et al. 2019, PASP 131, 018003)",
    needs=(("jd", "mjd"), ("fid",), ("magpsf",), ("sigmapsf",), ("isdiffpos",)),
    lacks=("magpsf_corr",),
    time=("jd", "mjd"),
    system=TimeSystem("jd", scale="utc", frame="geocentric"),
    flux=("ujy",),
    flux_error=("dujy",),
    flux_unit="uJy",
    prefer="flux",
    band=("fid",),
    bands=BANDS,
    difference=True,
    prepare=_signed,
    notes=("only detections are in alerts: epochs without one are missing, which biases faint difference fluxes",),
)

LASAIR = Layout(
    name="ztf",
    source="ZTF light curves of the broker Lasair, CSV download (Smith et al. 2019, RNAAS 3, 26)",
    needs=(("mjd",), ("filter",), ("unforced_mag",), ("forced_ujy",), ("forced_ujy_error",)),
    time=("mjd",),
    system=TimeSystem("mjd", scale="utc", frame="geocentric"),
    flux=("forced_ujy",),
    flux_error=("forced_ujy_error",),
    flux_unit="uJy",
    prefer="flux",
    band=("filter",),
    bands={"g": "zg", "r": "zr", "i": "zi"},
    difference=True,
    notes=("forced difference fluxes are read, not the magnitudes of alerts",),
)
