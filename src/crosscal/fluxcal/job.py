"""``job = "fluxcal"``: read frames and calibrate them, one stage a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.core.errors import DataFileError, InputError
from crosscal.core.files import sha256
from crosscal.core.random import generator
from crosscal.datasets import resolve
from crosscal.fluxcal.calibrator import Calibrator
from crosscal.fluxcal.curve.curve import MAG
from crosscal.fluxcal.demo import demo_truth, write_demo
from crosscal.fluxcal.frames.red import retyped
from crosscal.fluxcal.frames.source import FrameFile
from crosscal.fluxcal.job_options import CatalogueTable, FluxcalJob
from crosscal.fluxcal.night.arms import calibrate_exposure
from crosscal.fluxcal.night.night import NightCalibration, fall_back
from crosscal.fluxcal.night.shared import is_shared, share_plate
from crosscal.fluxcal.night.spread import FOLDER, FrameTask, spread_frames
from crosscal.fluxcal.night.targets import compare_targets
from crosscal.fluxcal.result import FluxCalibration
from crosscal.fluxcal.stars.catalogue import read_catalogue
from crosscal.fluxcal.stars.dust import read_dust_map, with_dust
from crosscal.fluxcal.stars.filters import load_filter, read_filter
from crosscal.fluxcal.stars.photometry import Filter
from crosscal.fluxcal.stars.selection import select_standards
from crosscal.fluxcal.stars.template_files import load_templates, read_spectrum
from crosscal.fluxcal.stars.xp import read_xp
from crosscal.fluxcal.types import Catalogue, Frame
from crosscal.jobs.options import depends_on
from crosscal.jobs.parts import Part
from crosscal.jobs.stages import Stages


def run(job: FluxcalJob, stages: Stages) -> NightCalibration:
    """Calibrate the frames of a job.

    A frame that cannot be read or calibrated is reported and does not stop the others.

    Raises
    ------
    InputError
        If catalogue, filters or templates cannot be used, or no frame can be read.
    """
    with stages.progress.stage("Reading catalogue and templates", total=1) as advance:
        calibrator = make_calibrator(job)
        advance(1)
    night = calibrate_files(calibrator, job, stages)
    if not night.results:
        name, why = night.unread[0]
        raise DataFileError(f"no frame could be read ({why})", where=name, expected="RED frames")
    return night


def make_calibrator(job: FluxcalJob) -> Calibrator:
    """Read what all frames of a job share."""
    catalogue = read_stars(job.catalogue)
    filters = _filters(list(job.catalogue.bands), [resolve(f) for f in job.filters.files])
    file = resolve(job.templates.file) if job.templates.file else None
    name = job.templates.library
    if file is not None and file.name == "grid.ecsv":
        name, file = "grid", file.parent
    library = load_templates(name, file, refine=job.templates.refine, correct=job.templates.correct)
    known = {k.star: read_spectrum(resolve(k.path)) for k in job.known}
    options = replace(job.method, extinction_table=job.method.site)
    xp = {name: one for path in job.catalogue.xp for name, one in read_xp(resolve(path)).items()}
    return Calibrator(catalogue, library, filters, options, job.quality, known, xp)


def read_stars(table: CatalogueTable) -> Catalogue:
    """Read the catalogue of a job, with E(B-V) from maps where it names some."""
    choices = {k: v for k, v in asdict(table).items() if k not in ("path", "dust_map", "dust_factor", "xp")}
    catalogue = read_catalogue(resolve(table.path), **choices)
    if not table.dust_map:
        return catalogue
    return with_dust(catalogue, read_dust_map([resolve(f) for f in table.dust_map], factor=table.dust_factor))


def _filters(names: Sequence[str], files: Sequence[Path]) -> list[Filter]:
    own = {path.stem: path for path in files}
    return [read_filter(own[name], name) if name in own else load_filter(name) for name in names]


def calibrate_files(calibrator: Calibrator, job: FluxcalJob, stages: Stages) -> NightCalibration:
    """Calibrate files one after another, or on an executor; failures to read are collected."""
    results: list[FluxCalibration] = []
    unread: list[tuple[str, str]] = []
    spread = job.compute.executor != "serial"
    found = _by_frame(job, _spread(job, stages) if spread else _in_turn(calibrator, job, stages))
    names = ["Frames"] if spread else []
    for path, made in zip(job.data.frames, found, strict=True):
        if isinstance(made, str):
            unread.append((str(path), made))
            stages.progress.message(f"{path.name}: {made}")
            continue
        # The file may lie elsewhere now than when the stage was finished.
        file = replace(job.data.file(resolve(path)), targets=_targets(made))
        results.append(replace(made, info=made.info.at(file)))
        names += [] if spread else [f"Frame {path.name}"]
    if is_shared(calibrator.options) and results and not job.data.arms:
        results = _share(calibrator, job, results, names, stages)
    finished = fall_back(results) if job.fallback else results
    c = calibrator
    compared = [
        replace(r, targets=compare_targets(r, _targets(r), c.catalogue, c.filters, c.options)) for r in finished
    ]
    return NightCalibration(tuple(compared), tuple(unread))


#: The result of a frame, or why it could not be read; of the arms of an exposure one of these each.
Made = FluxCalibration | str
Unit = Made | tuple[Made, ...]


def _in_turn(calibrator: Calibrator, job: FluxcalJob, stages: Stages) -> list[Unit]:
    """The results of each frame or exposure, a stage each, or why it could not be read."""
    found: list[Unit] = []
    units = job.data.exposures()
    with stages.progress.stage("Calibrating frames", total=len(units)) as advance:
        for number, unit in enumerate(units):
            name = job.data.frames[unit[0]].name
            stage = f"Exposure of {name}" if job.data.arms else f"Frame {name}"
            try:
                found.append(
                    stages.run(stage, key=_unit_key(job, unit), work=partial(_numbered, calibrator, job, number))
                )
            except InputError as error:
                found.append(str(error))
            advance(1)
    return found


def _spread(job: FluxcalJob, stages: Stages) -> list[Unit]:
    """The same on the job's executor."""
    task = FrameTask(job, stages.directory / FOLDER, make_calibrator, _numbered)
    units = job.data.exposures()
    keys = [_unit_key(job, unit) for unit in units]
    names = [job.data.frames[unit[0]].name for unit in units]
    return spread_frames(task, names, {"frames": keys}, stages, job.compute.executor, dict(job.compute.rest))


def _by_frame(job: FluxcalJob, found: Sequence[Unit]) -> list[Made]:
    """The result of each frame of a job, in its order."""
    made: dict[int, Made] = {}
    for unit, own in zip(job.data.exposures(), found, strict=True):
        made |= dict(zip(unit, own if isinstance(own, tuple) else [own] * len(unit), strict=True))
    return [made[k] for k in range(len(job.data.frames))]


def _numbered(calibrator: Calibrator, job: FluxcalJob, number: int) -> Unit:
    """The results of a frame or exposure by its number; stars of frames that share a field are held out later."""
    if job.data.arms:
        return _exposure(calibrator, job, job.data.exposures()[number])
    frame, file = _read(job, number, number)
    return calibrator.calibrate(frame, loo=job.leave_one_out and not is_shared(calibrator.options), file=file)


def _read(job: FluxcalJob, number: int, drawn: int) -> tuple[Frame, FrameFile]:
    """A frame of a job without the standards that are set aside, which ``drawn`` chooses, and how it is read again."""
    file = job.data.file(resolve(job.data.frames[number]))
    frame = file.read()
    aside = set_aside(frame, job.data.targets, job.seed + drawn)
    return retyped(frame, aside, "P"), replace(file, targets=tuple(aside.tolist()))


def _exposure(calibrator: Calibrator, job: FluxcalJob, unit: tuple[int, ...]) -> tuple[Made, ...]:
    """The results of the arms of an exposure; arms that cannot be read do not stop the others, which say so."""
    found: dict[int, Made] = {}
    read: dict[int, tuple[Frame, FrameFile]] = {}
    for k in unit:
        try:
            # The same stars are set aside in all arms.
            read[k] = _read(job, k, unit[0])
        except InputError as error:
            found[k] = str(error)
    lost = ", ".join(job.data.frames[k].name for k in found)
    frames, files = [f for f, _ in read.values()], [f for _, f in read.values()]
    try:
        if len(read) > 1:
            made = calibrate_exposure(calibrator, frames, files, job.leave_one_out)
        else:
            made = tuple(calibrator.calibrate(*frames, loo=job.leave_one_out, file=f) for f in files)
    except InputError as error:
        return tuple(found.get(k, str(error)) for k in unit)
    note = (f"calibrated without {lost}, which could not be read",) if lost else ()
    found |= dict(zip(read, (replace(m, notes=(*m.notes, *note)) for m in made), strict=True))
    return tuple(found[k] for k in unit)


def _targets(result: FluxCalibration) -> tuple[int, ...]:
    return () if result.info.file is None else result.info.file.targets


def _unit_key(job: FluxcalJob, unit: tuple[int, ...]) -> Any:
    """What the results of a frame, or of the arms of an exposure, depend on."""
    keys = [_key(job, job.data.file(resolve(job.data.frames[k])), unit[0]) for k in unit]
    return keys[0] if len(keys) == 1 else {"arms": keys}


def _key(job: FluxcalJob, file: FrameFile, number: int) -> Any:
    """What one frame's result depends on: its content, and all settings but the names of the frames."""
    tables = depends_on(job, "leave_one_out", "catalogue", "filters", "templates", "known", "method", "quality")
    reading = {
        "exposure": file.exposure,
        "airmass": file.airmass,
        "medium": file.medium,
        "wavela": file.wavela,
        "layout": file.layout,
    }
    drawn = [job.data.targets, job.seed + number] if job.data.targets else []
    return {**tables, "frame": [file.path.name, sha256(file.path)], "reading": reading, "targets": drawn}


def _share(
    calibrator: Calibrator, job: FluxcalJob, results: list[FluxCalibration], names: list[str], stages: Stages
) -> list[FluxCalibration]:
    """The results under the field over the plate that they share."""

    def work() -> list[FluxCalibration]:
        aside = [_star_names(r, calibrator) for r in results]
        made = share_plate(calibrator, results, aside, loo=job.leave_one_out, progress=stages.progress)
        # Where no field was found, the stars, vectors and curves are those of the frames' own stages.
        return [_without(m) if m.curve is r.curve else m for m, r in zip(made, results, strict=True)]

    found = stages.run(
        "Fields over the plate", key=depends_on(job, "leave_one_out", "method", "quality"), work=work, after=names
    )
    made = [
        replace(r, held_out=m.held_out, quality=m.quality) if m.curve is None else m
        for m, r in zip(found, results, strict=True)
    ]
    return [replace(m, info=r.info) for m, r in zip(made, results, strict=True)]


def _without(result: FluxCalibration) -> FluxCalibration:
    """A result without stars, vectors and curve."""
    return replace(result, stars=(), vectors=(), curve=None)


def _star_names(result: FluxCalibration, calibrator: Calibrator) -> set[str]:
    """Catalogue names of the stars that were set aside as targets."""
    fibres = np.array(_targets(result), dtype=int)
    if not fibres.size:
        return set()
    radius = calibrator.options.radius
    stars = select_standards(retyped(result.frame, fibres, "C"), calibrator.catalogue, radius=radius)
    return {s.name for s in stars if s.fibre in fibres}


def set_aside(frame: Frame, fraction: float, seed: int) -> NDArray[np.int64]:
    """Numbers (0-based) of a fraction of the standards, chosen at random, to be calibrated as targets."""
    standards = np.flatnonzero(frame.fibres.type == "C")
    chosen = generator(seed, "targets").choice(standards, round(fraction * standards.size), replace=False)
    return np.sort(chosen)


def truth(night: NightCalibration, directory: Path) -> str:
    """Compare the curve of the demonstration with what was simulated, at the mean loss of the fibres."""
    result = night.results[0]
    curve, true = result.curve, demo_truth(directory)
    assert curve is not None
    clean = curve.covered & ~result.options.masked(curve.wavelength, result.info.medium)
    offset = np.log(curve.value / true)[clean]
    sd = np.sqrt(np.sum(curve.modes**2, axis=0))[clean]
    loss = float(np.std(curve.coefficients[:, 0] * MAG, ddof=1))
    return (
        f"The curve differs from the true curve by {100 * np.median(offset):+.1f} % (median); its quoted error of "
        f"{100 * np.median(sd):.1f} % is consistent with {100 * loss:.0f} % fibre-to-fibre scatter averaged over "
        f"{len(curve.names)} stars."
    )


PART = Part("fluxcal", FluxcalJob, run, write_demo, truth)
