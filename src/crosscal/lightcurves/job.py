"""``job = "lightcurves"``: read, intercalibrate, write the run directory."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.config import Part
from crosscal.core.files import write_ecsv
from crosscal.core.progress import SILENT, Progress
from crosscal.lightcurves.compat.options import data_path, read_param_file
from crosscal.lightcurves.config import LightcurvesJob
from crosscal.lightcurves.formats.pycali import read_pycali, write_pycali
from crosscal.lightcurves.intercalibrate import compare_kernels, intercalibrate
from crosscal.lightcurves.outliers import remove_outliers
from crosscal.lightcurves.result import Result
from crosscal.lightcurves.synthetic import simulate

TEMPLATE = """\
# Intercalibration of light curves of one source: scale and shift of each telescope, and the merged light curve.
job = "lightcurves"
output = "runs/lightcurves"
seed = 1

[data]                           # PyCALI block files ...
continuum = "continuum.txt"      # blocks "# CODE N" with rows "time flux error [flag]"
# lines = ["line.txt"]           # emission lines: same codes, same scale factors
# ... or survey tables, merged:
# ztf = ["ztf.csv"]
# asassn = ["asassn.csv"]        # Sky Patrol V2 or the older format
# atlas = ["atlas.txt"]          # forced photometry; difference fluxes want normalisation = "spread"
# files = ["a.csv", "b.txt"]     # tables of any kind: the format is found by looking into them
# columns = ["mine.txt"]         # one telescope a file: named columns, or time, flux, error
# column_codes = ["mine"]        # one name per file in columns
# time_range = [8000.0, 9000.0]  # after the reader's time_start
# season_gap = 60.0              # a new scale and shift after every gap longer than this (not for the reference)
# season_edges = [8200.0]        # or at these times
# unit = "1e-15 erg / (s cm2 Angstrom)"
# time_unit = "d"

# [data.selection]               # for survey tables
# zeropoint = 3.92e-9            # flux of magnitude zero, or a table per filter: { V = 3.6e-9, zg = 4.8e-9 }
# unit = 1e-15                   # fluxes are divided by it
# time_start = 2450000.0         # subtracted from the times
# time_range = [2458000.0, 2459000.0]    # as in the tables
# rebin = 1.0                    # days; leave out to keep every point
# errlimit = 0.1                 # largest error in magnitudes; "auto" is that for ASAS-SN and ZTF, none elsewhere
# keylabel = "a_"                # put before the name of every telescope
# error = 0.02                   # of points for which a table gives none, which are left out by default
# merge_objects = false          # join object ids, fields and observers of one filter
# time_format = "mjd"            # of tables that do not say what their times count
# position = [12.34, 56.78]      # of the source in degrees: joins heliocentric times with others
# columns = { flux = "f_nu" }    # columns that are not found by their names
# by_camera = false              # ASAS-SN: one code per camera and filter
# use_flux = false               # ASAS-SN: take the flux column instead of magnitudes
# codes = ["ztf_zg", "asas_g"]   # only these

[model]
# kernel = "drw"                 # see `crosscal list kernels`: drw+jitter, two-drw, matern32, matern52, sho, carma21
# reference = "A"                # the telescope whose flux scale is kept; the first one by default
# systematic_error = false       # add a systematic error per telescope and flag
# error_scale = false            # scale the given errors per telescope and flag
# errors = "gaussian"            # "student-t" resists outliers
# degrees = 4.0                  # of freedom of Student-t errors
# fixed_scale = false            # hold all (normalised) scales
# fixed_shift = false            # hold all shifts
# fixed_codes = ["B"]            # fluxes of these telescopes are used as they are
# fixed_scale_codes = ["C"]      # (normalised) scale held for these
# normalisation = "mean"         # "none", or "spread" for difference fluxes

[prior]                          # in normalised flux
# scale = [0.5, 2.0]             # log-uniform
# shift = [-1.0, 1.0]            # uniform
# syserr = [0.0, 0.2]            # uniform
# errscale = [0.1, 2.0]          # log-uniform
# sigma = [1e-4, 1.0]            # log-uniform
# tau = [1.0, 1e4]               # log-uniform, cut to [span / N, span]

[sampling]
# sampler = "auto"               # importance sampling where it can be trusted, else NUTS; or "laplace", "nested"
# draws = 4000                   # 1000 above 20000 points
# remove_outliers = 5.0          # drop points beyond so many sigma of leave-one-out, and sample again
# compare_kernels = ["drw", "matern32"]    # table of log evidences
"""


def run(job: LightcurvesJob, output: Path, progress: Progress = SILENT) -> Result:
    """Run a job and write its tables, posterior and PyCALI files into ``output``.

    Raises
    ------
    InputError
        If the data or the settings are not possible.
    """
    with progress.stage("Reading light curves", total=1) as advance:
        curves = job.data.read(job.model.reference)
        for i, curve in enumerate(curves.files):
            write_pycali(Path(output) / "input" / ("continuum.txt" if i == 0 else f"line{i}.txt"), curve)
        advance(1)
    for note in curves.notes:
        progress.message(note)
    for line in (
        f"{curve.name}: {len(curve)} points of {int((curve.counts > 0).sum())} codes" for curve in curves.files
    ):
        progress.message(line)
    settings = job.settings()
    options: dict[str, Any] = {"draws": job.sampling.draws, "seed": job.seed, "progress": progress}
    result = intercalibrate(curves, settings=settings, sampler=job.sampling.sampler, **options)
    if job.sampling.remove_outliers is not None:
        few = result.draws.vectors[:: max(1, len(result.draws.vectors) // 50)]
        curves, removed = remove_outliers(curves, result.model, few, job.sampling.remove_outliers)
        dropped = sum(len(points) for points in removed)
        progress.message(f"{dropped} outliers removed")
        if dropped:
            result = intercalibrate(curves, settings=settings, sampler=job.sampling.sampler, **options)
    result = replace(result, provenance={**result.provenance, "config": job.model_dump(mode="json")})
    _write(result, Path(output), progress)
    if job.sampling.compare_kernels:
        with progress.stage("Comparing kernels", total=1) as advance:
            table = compare_kernels(curves, job.sampling.compare_kernels, settings=settings, seed=job.seed)
            write_ecsv(Path(output) / "kernels.ecsv", table)
            advance(1)
    return result


def _write(result: Result, output: Path, progress: Progress) -> None:
    with progress.stage("Writing tables", total=1) as advance:
        result.write(output)
        advance(1)


def demo(output: Path, progress: Progress = SILENT) -> Result:
    """Intercalibrate three simulated telescopes with a continuum and a line, whose factors are known, offline.

    The run directory is ``output``.
    """
    from astropy.table import QTable

    curves, truth = simulate(seed=11, codes=("A", "B", "C"), points=(90, 60, 40), lines=1, syserr=(0.0, 0.03, 0.0))
    for curve in curves.files:
        write_pycali(Path(output) / "input" / f"{curve.name}.txt", curve)
    known = QTable({"telescope": list(curves.codes), "true_scale": truth.scale, "true_shift": truth.shift})
    write_ecsv(Path(output) / "truth.ecsv", known)
    result = intercalibrate(curves, systematic_error=True, seed=11, progress=progress)
    _write(result, Path(output), progress)
    low, high = np.quantile(result.factors.scale, [0.025, 0.975], axis=0)
    inside = int(np.sum((truth.scale >= low) & (truth.scale <= high))) - 1
    progress.message(f"The true scale lies in the 95 % interval for {inside} of {len(truth.scale) - 1} telescopes.")
    return result


def job_from_param_file(path: str | os.PathLike[str]) -> LightcurvesJob:
    """Turn a PyCALI parameter file into a job, so that it runs as it is; the output goes to ``FILE-crosscal``.

    Data files are looked for in the working directory, as PyCALI does, then beside the parameter file.

    Raises
    ------
    ConfigError, DataFileError
        If the file or its data are not what PyCALI accepts.
    """
    options = read_param_file(path)
    continuum = data_path(options.fcont, path)
    lines = [data_path(name, path) for name in options.fline]
    curves = read_pycali(continuum, lines)
    settings = options.settings(curves)
    ranges = {name: list(getattr(settings, name)) for name in ("scale", "shift", "syserr", "errscale", "sigma", "tau")}
    return LightcurvesJob.model_validate(
        {
            "job": "lightcurves",
            "output": Path(path).with_suffix("").name + "-crosscal",
            "data": {"continuum": continuum.resolve(), "lines": [line.resolve() for line in lines]},
            "model": {
                "systematic_error": settings.systematic_error,
                "error_scale": settings.error_scale,
                "fixed_scale": settings.fixed_scale,
                "fixed_shift": settings.fixed_shift,
                "fixed_codes": settings.fixed_codes,
                "fixed_scale_codes": settings.fixed_scale_codes,
                "normalisation": settings.normalisation,
            },
            "prior": ranges,
            "sampling": {"draws": int(np.clip(options.nmcmc, 500, 20000))},
        }
    )


PART = Part("lightcurves", LightcurvesJob, run, demo, TEMPLATE)
