"""Tables of a result: ECSV and netCDF files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crosscal.core.files import write_ecsv, write_text
from crosscal.core.netcdf import write_netcdf
from crosscal.core.provenance import write_provenance
from crosscal.datasets import CORRECTION_FILE, write_correction
from crosscal.lightcurves import columns
from crosscal.lightcurves.compat.options import Options

if TYPE_CHECKING:
    from crosscal.lightcurves.result import Result

#: Joint draws written beside the independent errors.
WRITTEN_DRAWS = 200
#: Elements of joint draws written at most (draws x points).
_LARGEST = 20_000_000


def calibrated_table(result: Result, i: int) -> Any:
    """Return the merged light curve of file ``i`` as an astropy TimeSeries (QTable where the time system is unknown).

    Columns: time, flux, error (total of each point alone), error_measurement (independent), error_calibration (common
    to the telescope: it does not average out), telescope, flag, measured flux and error, leave-one-out z.
    """
    from astropy.time import Time
    from astropy.timeseries import TimeSeries

    from crosscal.core.tables import ResultTable, describe

    curves, curve = result.curves, result.curves.files[i]
    found = result.curve(i)
    content = {
        "flux": found.flux,
        "error": found.error,
        "error_measurement": found.measurement,
        "error_calibration": found.calibration,
        "telescope": np.array(curve.codes)[curve.code],
        "flag": np.array([curve.flag_labels[c][k] for c, k in zip(curve.code, curve.flag, strict=True)]),
        "measured_flux": curve.flux,
        "measured_error": curve.error,
        "leave_one_out_z": result.leave_one_out(i).z,
    }
    meta = {
        "light_curve": curve.name,
        "reference": result.reference,
        "flux_unit": curve.unit,
        "note": "error_calibration is common to all points of a telescope; see calibrated.nc for joint draws",
    }
    if curves.time_format:
        time = Time(curve.time, curves.time_zero, format=curves.time_format, scale=curves.time_scale or "utc")
        table = TimeSeries(time=time, data=content)
    else:
        table = ResultTable({"time": curve.time, **content})
    table.meta.update(meta)
    return describe(table, columns.CALIBRATED)


def write_result(result: Result, directory: Path) -> list[Path]:
    """Write summary, correction, posterior, calibrated and reconstructed curves, overlap graph and PyCALI's files."""
    from crosscal.lightcurves.compat.outputs import write_pycali_outputs

    written = [result.posterior_draws.write(directory / "posterior.nc")]
    written.append(write_ecsv(directory / "summary.ecsv", result.summary()))
    written.append(write_ecsv(directory / "correction.ecsv", correction_table(result)))
    written.append(write_correction(directory / CORRECTION_FILE, result.correction))
    written.append(write_provenance(directory, result.provenance))
    written.append(write_ecsv(directory / "overlap.ecsv", overlap_table(result)))
    for i in range(len(result.curves.files)):
        stem = "continuum" if i == 0 else f"line{i}"
        written.append(write_ecsv(directory / f"calibrated_{stem}.ecsv", calibrated_table(result, i)))
        written.append(write_ecsv(directory / f"reconstruction_{stem}.ecsv", _reconstruction_table(result, i)))
        written.append(_joint(result, i, directory / f"calibrated_{stem}.nc"))
    written.append(write_text(directory / "diagnostics.txt", f"{result.answer}\n{result.diagnostics}\n"))
    written += write_pycali_outputs(result, directory / "pycali", _options(result))
    return written


def _options(result: Result) -> Options | None:
    given = result.provenance.get("pycali_options") if result.provenance else None
    return given if isinstance(given, Options) else None


def correction_table(result: Result) -> Any:
    """Return the scale and shift of each telescope with the covariance of all factors, as an astropy QTable."""
    from astropy.table import QTable

    from crosscal.core.tables import describe

    f = result.factors
    correction = result.correction
    low, high = correction.interval(0.68)
    table = QTable({"telescope": list(f.codes), "scale": correction.factor, "sd_ln_scale": correction.sd})
    table["scale_q16"], table["scale_q84"] = low, high
    table["shift"], table["shift_sd"] = f.shift.mean(0), f.shift.std(0, ddof=1)
    pair = np.concatenate([f.scale, f.shift], axis=1)
    table.meta["reference"] = result.reference
    table.meta["rule"] = "calibrated flux = scale * flux - shift (lines: scale * flux)"
    table.meta["covariance_of_scales_then_shifts"] = np.cov(pair, rowvar=False).tolist()
    return describe(table, columns.CORRECTION)


def overlap_table(result: Result) -> Any:
    """Return which telescopes overlap in time: group, and the number of points with a partner in each other one."""
    from astropy.table import QTable

    from crosscal.core.tables import describe

    graph = result.diagnostics.overlap
    table = QTable({"telescope": list(graph.codes), "group": graph.component})
    for b, code in enumerate(graph.codes):
        table[f"pairs_with_{code}"] = graph.pairs[:, b]
    table.meta["window"] = graph.window
    return describe(table, columns.OVERLAP)


def _reconstruction_table(result: Result, i: int) -> Any:
    from astropy.table import QTable

    from crosscal.core.tables import describe

    found = result.reconstruct(file=i)
    table = QTable({"time": found.time, "mean": found.mean, "sd": found.sd})
    table.meta.update(light_curve=found.name, reference=result.reference)
    return describe(table, columns.RECONSTRUCTION)


def _joint(result: Result, i: int, path: Path) -> Path:
    """Write joint draws and the low-rank covariance of calibrated fluxes."""
    import xarray

    curve, found = result.curves.files[i], result.curve(i)
    n = max(20, min(WRITTEN_DRAWS, _LARGEST // len(curve)))
    k = list(curve.codes)
    data = xarray.Dataset(
        {
            "time": ("point", curve.time),
            "telescope": ("point", curve.code),
            "flux": ("point", found.flux),
            "error_measurement": ("point", found.measurement),
            "draws": (("draw", "point"), result.calibrated(draws=n, file=i)),
            "design": (("point", "factor_kind"), found.design),
            "factor_covariance": (("factor", "factor_"), found.factor_covariance),
        },
        coords={"factor_kind": ["scale", "shift"], "factor": [f"scale {c}" for c in k] + [f"shift {c}" for c in k]},
        attrs={
            "covariance": "diag(error_measurement^2) + B factor_covariance B', with B[j, scale or shift of the "
            "telescope of j] = design[j]",
            "codes": k,
            "reference": result.reference,
        },
    )
    write_netcdf(path, data)
    return path
