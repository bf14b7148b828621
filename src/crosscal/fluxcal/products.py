"""What a flux calibration writes beside the files of every run: calibrated frames, and tables of frames and targets."""

from __future__ import annotations

from pathlib import Path

from crosscal.core.files import refuse_overwriting, write_ecsv, write_text
from crosscal.fluxcal.frames.red import mark_failed
from crosscal.fluxcal.night.night import NightCalibration
from crosscal.fluxcal.result import FluxCalibration
from crosscal.fluxcal.tables import curve_table, frame_table, star_table, target_table


def write(result: FluxCalibration, directory: Path) -> None:
    """Write ``<frame>_cal.fits`` and the curve against wavelength of one frame."""
    _write_frame(result, directory)
    if result.curve is not None:
        write_ecsv(directory / "correction.ecsv", curve_table(result))


def write_night(night: NightCalibration, directory: Path) -> None:
    """Write ``frames.ecsv`` and each frame's files in ``frames/``; ``targets.ecsv`` where standards were targets.

    ``correction.ecsv`` holds the first curve. Frames that failed are listed with their reason; their copies say
    FLUXCAL = F and why.
    """
    for result in night.results:
        write_frame_files(result, directory / "frames")
    if night.results:
        write_ecsv(directory / "frames.ecsv", frame_table(night.results))
    first = next((r for r in night.results if r.curve is not None), None)
    if first is not None:
        write_ecsv(directory / "correction.ecsv", curve_table(first))
    if any(r.targets for r in night.results):
        write_ecsv(directory / "targets.ecsv", target_table(night.results))


def write_frame_files(result: FluxCalibration, directory: Path) -> None:
    """Write ``<frame>_cal.fits``, ``<frame>-stars.ecsv``, ``<frame>-curve.ecsv`` and ``<frame>-quality.txt``."""
    name = stem(result)
    write_ecsv(directory / f"{name}-stars.ecsv", star_table(result))
    write_text(directory / f"{name}-quality.txt", f"{result.diagnostics}\n{result.answer}\n")
    if result.curve is not None:
        write_ecsv(directory / f"{name}-curve.ecsv", curve_table(result))
    _write_frame(result, directory)


def stem(result: FluxCalibration) -> str:
    """The name of a frame without its suffix."""
    return result.info.name.split(".fits")[0] or "frame"


def _write_frame(result: FluxCalibration, directory: Path) -> None:
    """The calibrated frame; of a failed one a copy of its file with FLUXCAL = F and the reason."""
    target, file = directory / f"{stem(result)}_cal.fits", result.info.file
    if file is not None:
        refuse_overwriting([target], [file.path])
    if result.passed:
        result.apply().write(target)
    elif file is not None:
        mark_failed(file.path, target, result.quality.reason or "no calibration curve")
