"""What the part leaves in a run directory beside the common files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.files import write_ecsv
from crosscal.core.netcdf import write_netcdf
from crosscal.core.tables import describe
from crosscal.lightcurves.compat.outputs import write_pycali_outputs
from crosscal.lightcurves.evidence import evidence_table
from crosscal.lightcurves.formats.pycali import write_pycali
from crosscal.lightcurves.result import Intercalibration

CORRECTION = {
    "telescope": "telescope",
    "scale": "calibrated flux = scale * flux - shift (lines: scale * flux)",
    "sd_ln_scale": "standard deviation of ln scale",
    "scale_q*": "quantile of scale: q16 to q84 holds 68 %",
    "shift": "posterior mean of the shift",
    "shift_sd": "standard deviation of shift",
}

RECONSTRUCTION = {
    "time": "as in the input",
    "mean": "posterior mean of the source's flux",
    "sd": "standard deviation of the source's flux",
}

OVERLAP = {
    "telescope": "telescope",
    "group": "telescopes of one number are connected by overlap in time",
    "tied_scale": "share of the information on ln scale that comes from other telescopes' data; empty where held",
    "tied_shift": "the same for the shift at given scale",
    "change": "largest change of ln scale with a time scale twice as long or short",
    "pairs_with_*": "points with a partner of that telescope within the window",
}

#: Joint draws written beside the independent errors.
WRITTEN_DRAWS = 200
#: Elements of joint draws written at most (draws x points).
_LARGEST = 20_000_000


def write(result: Intercalibration, directory: Path) -> None:
    """Write what only this part leaves: curves, calibrated and reconstructed, overlap, input and PyCALI's files."""
    write_ecsv(directory / "correction.ecsv", correction_table(result))
    write_ecsv(directory / "overlap.ecsv", overlap_table(result))
    for i, curve in enumerate(result.curves.files):
        stem = "continuum" if i == 0 else f"line{i}"
        write_ecsv(directory / f"calibrated_{stem}.ecsv", result.calibrated(file=i))
        write_ecsv(directory / f"reconstruction_{stem}.ecsv", _reconstruction_table(result, i))
        _joint(result, i, directory / f"calibrated_{stem}.nc")
        write_pycali(directory / "input" / f"{stem}.txt", curve)
    if result.kernels:
        write_ecsv(directory / "kernels.ecsv", evidence_table(result.kernels))
    write_pycali_outputs(result, directory / "pycali")


def correction_table(result: Intercalibration) -> Any:
    """Return the scale and shift of each telescope with the covariance of all factors, as an astropy QTable."""
    from astropy.table import QTable

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
    return describe(table, CORRECTION)


def overlap_table(result: Intercalibration) -> Any:
    """Return which telescopes overlap in time: group, and the number of points with a partner in each other one."""
    from astropy.table import QTable

    graph = result.diagnostics.overlap
    table = QTable({"telescope": list(graph.codes), "group": graph.component})
    tied = result.diagnostics.ties
    table["tied_scale"], table["tied_shift"], table["change"] = tied.scale, tied.shift, tied.change
    for b, code in enumerate(graph.codes):
        table[f"pairs_with_{code}"] = graph.pairs[:, b]
    table.meta["window"] = graph.window
    return describe(table, OVERLAP)


def _reconstruction_table(result: Intercalibration, i: int) -> Any:
    from astropy.table import QTable

    found = result.reconstruct(file=i)
    table = QTable({"time": found.time, "mean": found.mean, "sd": found.sd})
    table.meta.update(light_curve=found.name, reference=result.reference)
    return describe(table, RECONSTRUCTION)


def _joint(result: Intercalibration, i: int, path: Path) -> None:
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
