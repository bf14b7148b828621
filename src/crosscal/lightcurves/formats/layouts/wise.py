"""NEOWISE single exposures, both bands of each row."""

from __future__ import annotations

import numpy as np

from crosscal.lightcurves.formats.layout import Keep, Layout
from crosscal.lightcurves.formats.raw import RawTable, of_columns
from crosscal.lightcurves.timesystem import TimeSystem


def _by_band(table: RawTable) -> RawTable:
    """One row a band; rows without a magnitude or error of a band, which are limits there, are missing values."""
    bands = [band for band in ("w1", "w2") if f"{band}mpro" in table and f"{band}sigmpro" in table]
    rest = [key for key in table.columns if not key.startswith(("w1", "w2"))]
    columns = {key: np.concatenate([table.columns[key]] * len(bands)) for key in rest}
    columns["mag"] = np.concatenate([table.numbers(f"{band}mpro") for band in bands])
    columns["mag_err"] = np.concatenate([table.numbers(f"{band}sigmpro") for band in bands])
    columns["band"] = np.repeat([band.upper() for band in bands], len(table))
    return of_columns(columns, table.source, meta=table.meta)


EXPOSURES = Layout(
    name="wise",
    source="NEOWISE-R Single Exposure (L1b) Source Table, IRSA (NEOWISE Explanatory Supplement, section II.1.b)",
    needs=(("mjd",), ("w1mpro",), ("w1sigmpro",)),
    time=("mjd",),
    system=TimeSystem("mjd", scale="utc"),
    magnitude=("mag",),
    magnitude_error=("mag_err",),
    band=("band",),
    keep=(Keep("qual_frame", ">", 0.0), Keep("qi_fact", ">", 0.0), Keep("cc_flags", "is", ("0000", "0"))),
    own_zeropoint=False,
    prepare=_by_band,
    notes=("magnitudes of WISE are Vega magnitudes: fluxes are right up to a factor of each band",),
)
