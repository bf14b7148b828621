"""``job = "fluxcal"``: read frames, calibrate them, write the run directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosscal.config import Part
from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import refuse_overwriting, write_ecsv
from crosscal.core.progress import SILENT, Progress
from crosscal.core.random import generator
from crosscal.datasets import resolve
from crosscal.fluxcal.calibrate import Calibrator
from crosscal.fluxcal.config import FluxcalJob
from crosscal.fluxcal.curve.curve import MAG
from crosscal.fluxcal.frames.red import read_frame, retyped
from crosscal.fluxcal.night.night import Night, fall_back
from crosscal.fluxcal.night.shared import is_shared, share_plate
from crosscal.fluxcal.night.targets import compare_targets
from crosscal.fluxcal.products import write_night
from crosscal.fluxcal.result import Result
from crosscal.fluxcal.stars.catalogue import read_catalogue
from crosscal.fluxcal.stars.dust import read_dust_map, with_dust
from crosscal.fluxcal.stars.filters import load_filter, read_filter
from crosscal.fluxcal.stars.photometry import Filter
from crosscal.fluxcal.stars.selection import select_standards
from crosscal.fluxcal.stars.template_files import load_templates, read_spectrum
from crosscal.fluxcal.types import Frame

TEMPLATE = """\
# Flux calibration of fibre spectra from standard stars: counts to 1e-17 erg/s/cm2/Angstrom.
job = "fluxcal"
output = "runs/fluxcal"
seed = 1
# fallback = true                # frames that fail take the curve of neighbouring frames of the run
# leave_one_out = true           # hold out each star in turn and compare it with the catalogue

[data]
frames = ["red_0027.fits"]       # 2dfdr or KSPECDR RED frames; patterns such as "night/*red.fits" work
# exposure = 1800.0              # s, where the header does not say
# airmass = 1.2
# medium = "air"                 # of the wavelengths; or "vacuum"
# wavela = "rebuild"             # scrunched frame whose WAVELA is stale: "rebuild", "refuse", "trust"
# targets = 0.0                  # calibrate this fraction of the standards as targets, compare with the catalogue

[catalogue]
path = "stars.csv"               # CSV, ECSV, FITS, VOTable; positions in degrees
bands = { "decam2014-g" = "mag_g", "decam2014-r" = "mag_r", "decam2014-i" = "mag_i" }    # filter = column
# errors = { "decam2014-g" = "err_g" }
# error = 0.02                   # mag, where there is no error
# columns = { name = "ID", ra = "RA", dec = "DEC", pm_ra = "pmRA", pm_dec = "pmDE", ebv = "EBV" }
# system = "AB"                  # or "Vega" (known bands), or a table per filter
# missing = [0.0, 99.0]          # values that mean "not measured"
# epoch = 2000.0                 # of the positions, for proper motions
# dust_map = ["SFD_dust_4096_ngp.fits", "SFD_dust_4096_sgp.fits"]    # E(B-V) where the catalogue has none
# dust_factor = 0.86             # of the map (Schlafly & Finkbeiner 2011)

[filters]
# files = ["filters/DES_g.dat"]  # two columns; the band is called like the file; other bands come from speclite

[templates]
# library = "kurucz-sdss"        # see `crosscal list templates`; "bosz", "kurucz93", "grid", "demo"
# file = "grid/grid.ecsv"        # the published file, or the table of a grid
# refine = true                  # fill the grid by interpolation

# [[known]]                      # a standard whose spectrum is known
# star = "BD+17 4708"
# path = "bd_17d4708_stisnic_007.fits"

[method]
# match = "position"             # "index" pairs fibres and rows in order: only if you are sure
# radius = 1.5                   # arcsec
# snr_floor = 3.0                # least median signal-to-noise ratio per pixel
# fwhm = 4.0                     # Angstrom, or [[3700, 3.5], [5800, 4.1]]; default SPECFWHM, else 3.4 pixels
# metric = "chi2"                # or "huber"
# continuum_terms = 0            # free continuum of the first pass (0: automatic)
# second_terms = 3               # of the second pass, after the first throughput; 0 switches it off
# template_error = 0.03          # fractional
# mag_floor = 0.015              # mag
# photometric_weight = 50.0      # of colours against the spectrum in the choice of templates
# coverage = 0.995               # part of a band that must be covered
# rv_limit = 600.0               # km/s: largest velocity searched
# rv_spread = 200.0              # km/s: prior standard deviation of the stars' velocities
# rv_required = false            # true: reject stars without a significant velocity; else they are used at rest
# ebv = 0.0                      # E(B-V) where the catalogue has none
# law = "fitzpatrick99"          # Galactic extinction with R = 3.1; or "odonnell94"
# colour_limit = 0.15            # mag
# mask = [[7585.0, 7710.0]]      # masked ranges, Angstrom; default: telluric bands, interstellar lines, 5577
# method = "throughput"          # or "ivar-mean" (biased at low signal-to-noise ratio)
# smooth = "spline"              # "savgol", "none"
# smooth_scale = 120.0           # Angstrom
# n_sigma = 4.0
# slope_order = 2                # chromatic differences between stars: polynomial order
# position = false               # losses that vary smoothly over the plate
# position_sd = 0.08             # prior of the chromatic field, mag/1000 A
# position_grey_sd = 0.0         # prior of the grey field, mag; 0: none
# position_scale = 0.3           # correlation length, of the plate's half size (0.2 m)
# position_shared = true         # the frames of the job learn from one another what they have in common of it
# position_gradient = [0.0, 0.0] # prior mean of its gradient in x and y: what other frames of the instrument show
# common_grey = 0.01             # mag: error that all stars share
# common_slope = 0.005           # mag/1000 A
# extinction_table = "paranalextinct.dat"    # correct to zero airmass
# grey_sigma = 5.0
# slope_sigma = 5.0

[quality]                        # a frame that misses one of these fails, with the reason
# min_stars = 1
# matched_fraction = 0.5
# colour_residual = 0.1          # mag
# rms = 0.3                      # FCALRMS
# loo_grey = 0.8                 # mag
# loo_slope = 0.5                # mag/1000 A
# coverage = 0.8
"""


def run(job: FluxcalJob, output: Path, progress: Progress = SILENT) -> Night:
    """Calibrate the frames of a job and write the run directory.

    A frame that cannot be read or calibrated is reported and does not stop the others.

    Raises
    ------
    InputError
        If catalogue, filters or templates cannot be used, or no frame can be read.
    """
    with progress.stage("Reading catalogue and templates", total=3) as advance:
        table = job.catalogue
        choices = table.model_dump(exclude={"path", "dust_map", "dust_factor"})
        catalogue = read_catalogue(resolve(table.path), **choices)
        if table.dust_map:
            dust = read_dust_map([resolve(f) for f in table.dust_map], factor=table.dust_factor)
            catalogue = with_dust(catalogue, dust)
        advance(1)
        filters = _filters(list(table.bands), [resolve(f) for f in job.filters.files])
        advance(1)
        file = resolve(job.templates.file) if job.templates.file else None
        name = job.templates.library
        if file is not None and file.name == "grid.ecsv":
            name, file = "grid", file.parent
        library = load_templates(name, file, refine=job.templates.refine)
        advance(1)
    known = {k.star: read_spectrum(resolve(k.path)) for k in job.known}
    calibrator = Calibrator(catalogue, library, filters, job.method.options(), job.quality.limits(), known)
    paths = [resolve(path) for path in job.data.frames]
    refuse_overwriting([output / "frames" / f"{p.name.split('.fits')[0]}_cal.fits" for p in paths], paths)
    night = calibrate_files(calibrator, paths, job, progress)
    if not night.results:
        name, why = night.unread[0]
        raise DataFileError(f"no frame could be read ({why})", where=name, expected="RED frames")
    with progress.stage("Writing frames", total=1) as advance:
        write_night(night, output, inputs=tuple(paths))
        advance(1)
    return night


def _filters(names: Sequence[str], files: Sequence[Path]) -> list[Filter]:
    own = {path.stem: path for path in files}
    return [read_filter(own[name], name) if name in own else load_filter(name) for name in names]


def calibrate_files(
    calibrator: Calibrator, paths: Sequence[Path], job: FluxcalJob, progress: Progress = SILENT
) -> Night:
    """Calibrate files one after another; failures to read are collected."""
    results: list[Result] = []
    pooled = is_shared(calibrator.options)
    unread: list[tuple[str, str]] = []
    set_asides: dict[int, NDArray[np.int64]] = {}
    data = job.data
    with progress.stage("Calibrating frames", total=len(paths)) as advance:
        for number, path in enumerate(paths):
            try:
                frame = read_frame(
                    path, exposure=data.exposure, airmass=data.airmass, medium=data.medium, wavela=data.wavela
                )
                aside = set_aside(frame, data.targets, job.seed + number)
                loo = job.leave_one_out and not pooled
                results.append(calibrator.calibrate(retyped(frame, aside, "P"), loo=loo))
                set_asides[id(results[-1].frame)] = aside
            except InputError as error:
                unread.append((str(path), str(error)))
                progress.message(f"{path.name}: {error}")
            advance(1)
    if pooled:
        names = [_names(r.frame, set_asides[id(r.frame)], calibrator) for r in results]
        results = share_plate(calibrator, results, names, loo=job.leave_one_out, progress=progress)
    finished = fall_back(results) if job.fallback else results
    c = calibrator
    compared = [
        replace(r, targets=compare_targets(r, set_asides[id(r.frame)], c.catalogue, c.filters, c.options))
        for r in finished
    ]
    return Night(tuple(compared), tuple(unread))


def _names(frame: Frame, fibres: NDArray[np.int64], calibrator: Calibrator) -> set[str]:
    """Catalogue names of the stars in some fibres (0-based numbers)."""
    stars = select_standards(retyped(frame, fibres, "C"), calibrator.catalogue, radius=calibrator.options.radius)
    return {s.name for s in stars if s.fibre in fibres}


def set_aside(frame: Frame, fraction: float, seed: int) -> NDArray[np.int64]:
    """Numbers (0-based) of a fraction of the standards, chosen at random, to be calibrated as targets."""
    standards = np.flatnonzero(frame.fibres.type == "C")
    chosen = generator(seed, "targets").choice(standards, round(fraction * standards.size), replace=False)
    return np.sort(chosen)


def as_targets(frame: Frame, fraction: float, seed: int) -> Frame:
    """The frame in which the standards of :func:`set_aside` are program fibres (P)."""
    return retyped(frame, set_aside(frame, fraction, seed), "P")


def demo(output: Path, progress: Progress = SILENT) -> Night:
    """Calibrate a simulated frame whose throughput is known, offline, and compare with the truth."""
    from astropy.table import QTable

    from crosscal.fluxcal.demo import demo_filters, demo_library, simulate
    from crosscal.fluxcal.options import Options

    with progress.stage("Simulating a frame", total=1) as advance:
        truth = simulate(seed=3)
        advance(1)
    options = Options(fwhm=5.0, ebv=0.02, mag_floor=0.01)
    with progress.stage("Calibrating", total=1) as advance:
        result = Calibrator(truth.catalogue, demo_library(), demo_filters(), options).calibrate(truth.frame)
        advance(1)
    night = Night((replace(result),))
    write_night(night, Path(output))
    known = QTable({"wavelength": truth.frame.grid, "true_factor": truth.curve})
    write_ecsv(Path(output) / "truth.ecsv", known)
    curve = result.curve
    assert curve is not None
    clean = curve.covered & ~options.masked(curve.wavelength)
    offset = np.log(curve.value / truth.curve)[clean]
    sd = np.sqrt(np.sum(curve.modes**2, axis=0))[clean]
    loss = float(np.std(curve.coefficients[:, 0] * MAG, ddof=1))
    progress.message(
        f"The curve differs from the truth by {np.median(offset):+.1%} (median); its error is {np.median(sd):.1%}: "
        f"fibres lose {loss:.0%} more or less light, and {len(curve.names)} stars average that."
    )
    return night


PART = Part("fluxcal", FluxcalJob, run, demo, TEMPLATE)
