"""Several arms of one exposure together: the same stars and templates, and losses that are continuous over them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.keywords import keywords
from crosscal.fluxcal.calibrator import Calibrator
from crosscal.fluxcal.frames.source import FrameFile
from crosscal.fluxcal.result import FluxCalibration
from crosscal.fluxcal.stars.selection import select_standards
from crosscal.fluxcal.types import Frame, StarFit, StarStatus

#: Statuses of a star that another arm of the exposure can make good.
_OF_ONE_ARM = {StarStatus.NO_SIGNAL, StarStatus.LOW_SNR}
#: What the results of arms say where a single frame would have been tried with a field over the plate.
WITHOUT_FIELD = 'position = "auto" has no effect: no field over the plate is fitted to arms calibrated together.'


@keywords
def calibrate_arms(calibrator: Calibrator, frames: Sequence[Frame], *, loo: bool = True) -> tuple[FluxCalibration, ...]:
    """Calibrate the arms of one exposure together.

    The counts/s of star s in arm a are y_sa = m_s T_a exp(sum_k c_sk P_k) + noise: one template, velocity and scale
    m_s, and one set of losses c_s with polynomials P_k over the wavelengths of all arms, so that the curves 1 / T_a
    agree where arms overlap and colours across arms are as good as colours within one. The result has one calibration
    for each frame, each with its own curve; a held-out star is held out of all arms.

    Parameters
    ----------
    calibrator : Calibrator
        A field over the plate is not fitted; with ``position = "auto"`` the results say so.
    frames : sequence of Frame
        One for each arm, in the order of their wavelengths, with the same fibres.
    loo : bool
        Hold out each star in turn.

    Raises
    ------
    InputError
        If the fibres differ, arms are not in the order of their wavelengths, a frame is calibrated already, or the
        options ask for a field over the plate or for the mean of vectors.

    Examples
    --------
    >>> blue, red = fluxcal.calibrate_arms(calibrator, [blue_frame, red_frame])  # doctest: +SKIP
    """
    return calibrate_exposure(calibrator, frames, [None] * len(frames), loo)


def calibrate_exposure(
    calibrator: Calibrator, frames: Sequence[Frame], files: Sequence[FrameFile | None], loo: bool
) -> tuple[FluxCalibration, ...]:
    """:func:`calibrate_arms`; of frames with files the results do not keep the spectra."""
    _check(frames, calibrator)
    options = replace(calibrator.options, position=False)
    # The copy remembers convolved templates in the same place.
    own = copy(calibrator)
    own.options = options
    covered = own.library.coverage(own.filters) >= options.coverage
    choice: dict[str, Any] = {
        "snr_floor": options.snr_floor,
        "radius": options.radius,
        "match": options.match,
        "usable": covered,
    }
    stars = shared_status([select_standards(frame, own.catalogue, **choice) for frame in frames])
    made = own.calibrated(frames, stars, loo, files=files)
    note = (WITHOUT_FIELD,) if calibrator.options.position == "auto" else ()
    together = tuple(frame.name for frame in frames)
    return tuple(replace(one, notes=(*one.notes, *note), together=together) for one in made)


def shared_status(arms: Sequence[list[StarFit]]) -> list[list[StarFit]]:
    """Stars of all arms with one status each: a star that has signal in one arm is used in all."""
    made = [list(own) for own in arms]
    for k, star in enumerate(zip(*arms, strict=True)):
        known = [s.status for s in star]
        status = next((s for s in known if s not in {*_OF_ONE_ARM, StarStatus.USED}), None)
        status = status if status is not None else min(known, key=lambda s: s != StarStatus.USED)
        for own in made:
            own[k] = replace(own[k], status=status)
    return made


def _check(frames: Sequence[Frame], calibrator: Calibrator) -> None:
    """Whether frames are arms of one exposure that can be calibrated together."""
    options = calibrator.options
    if len(frames) < 2:
        raise InputError(f"{len(frames)} frame", where="calibrate_arms", expected="the frames of two arms or more")
    if options.position is True:
        raise InputError("position = true", where="calibrate_arms", expected='position = false or "auto" for arms')
    if options.method != "throughput":
        raise InputError(f"method = {options.method!r}", where="calibrate_arms", expected='method = "throughput"')
    first = frames[0]
    for one, other in pairwise(frames):
        if other.grid[0] <= one.grid[0] or other.grid[-1] <= one.grid[-1]:
            raise InputError(
                f"{other.name or 'a frame'} after {one.name or 'another'}", where="calibrate_arms",
                expected="arms in the order of their wavelengths",
            )  # fmt: skip
    for frame in frames:
        if frame.calibrated:
            raise InputError("the frame is flux calibrated already", where=frame.name or "frame", expected="counts")
        alike = all(np.array_equal(getattr(frame.fibres, k), getattr(first.fibres, k)) for k in ("name", "type"))
        if not alike:
            raise InputError(
                "other names or types of fibres than in the first arm", where=frame.name or "frame",
                expected="the same fibres in all arms of an exposure",
            )  # fmt: skip
