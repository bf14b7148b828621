"""What a survey leaves beside the common files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.files import atomic_path, write_ecsv, write_text
from crosscal.core.tables import ResultTable, describe
from crosscal.lightcurves.survey.one import Record
from crosscal.lightcurves.survey.result import SurveyResult

CURVE = {
    "time": "as in the input",
    "flux": "flux on the scale of the reference",
    "error": "total error of the point alone",
    "error_calibration": "its part from scale and shift, common to the telescope: it does not average out",
    "telescope": "telescope",
    "measured_flux": "flux as measured",
    "measured_error": "error as given",
}


def write(result: SurveyResult, directory: Path) -> None:
    """Write covariances of all factors of each source, the table as Parquet, and merged light curves on request."""
    content = {
        name: {"codes": record["codes"], "covariance_of_scales_then_shifts": record["covariance"]}
        for name, record in zip(result.names, result.records, strict=True)
        if "codes" in record
    }
    write_text(directory / "covariances.json", json.dumps(content) + "\n")
    _parquet(result.summary(), directory / "summary.parquet")
    if result.curves:
        for k in np.flatnonzero(result.fitted):
            name = f"{k:06d}-{re.sub('[^A-Za-z0-9.+-]+', '_', result.names[k])[:80]}.ecsv"
            write_ecsv(directory / "curves" / name, merged(result, int(k)))


def merged(result: SurveyResult, k: int) -> Any:
    """Return the merged light curve of source ``k`` from its factors.

    F = phi f - G, with variance phi^2 (b^2 e^2 + eps^2) + d'Vd, d = (f, -1), V the covariance of phi and G.
    """
    source, record = result.task.sources[k], result.records[k]
    curve = result.task.curves(source).continuum
    flux, own, common = calibrated(curve.code, curve.flux, curve.error, record)
    table = ResultTable(
        {
            "time": curve.time, "flux": flux, "error": np.hypot(own, common), "error_calibration": common,
            "telescope": np.array(curve.codes)[curve.code], "measured_flux": curve.flux, "measured_error": curve.error,
        }
    )  # fmt: skip
    table.meta.update(source=source.name, reference=record["reference"], flux_unit=curve.unit)
    return describe(table, CURVE)


def calibrated(code: Any, f: Any, e: Any, record: Record) -> tuple[Any, Any, Any]:
    """Return calibrated fluxes, their own errors and those of the calibration from the factors of a record."""
    scale, shift, syserr, errscale = (np.array(record[name])[code] for name in ("scale", "shift", "syserr", "errscale"))
    covariance, n = np.array(record["covariance"]), len(record["codes"])
    variance = f**2 * covariance[code, code] - 2 * f * covariance[code, n + code] + covariance[n + code, n + code]
    return scale * f - shift, scale * np.hypot(errscale * e, syserr), np.sqrt(np.maximum(variance, 0.0))


def _parquet(table: Mapping[str, Any], path: Path) -> None:
    """Write the table for those who read Parquet, where pyarrow is installed; the ECSV file holds the same."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError:
        return
    columns = {name: np.asarray(table[name]) for name in table.colnames}  # type: ignore[attr-defined]
    with atomic_path(path) as temporary:
        parquet.write_table(pa.table({name: values.tolist() for name, values in columns.items()}), temporary)
