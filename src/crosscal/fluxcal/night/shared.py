"""Frames that are calibrated together: what they share of the losses over the plate."""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np

from crosscal.core.keywords import keywords
from crosscal.core.progress import SILENT, Progress
from crosscal.core.threads import one_thread
from crosscal.fluxcal.calibrator import Calibrator
from crosscal.fluxcal.curve.curve import MAG
from crosscal.fluxcal.curve.loo import plate_prior, tangent_of
from crosscal.fluxcal.curve.shared_plate import FrameStars, Placements, SharedPlate, fit_shared, gather
from crosscal.fluxcal.night.night import NightCalibration, same_arm
from crosscal.fluxcal.options import Options
from crosscal.fluxcal.result import FluxCalibration
from crosscal.fluxcal.types import Frame


@keywords
def calibrate_frames(calibrator: Calibrator, frames: Sequence[Frame], *, loo: bool = True) -> NightCalibration:
    """Calibrate frames together.

    With the options ``position`` and ``position_shared``, frames of an arm share the part of the field over the plate
    that does not change between plate configurations; otherwise each frame stands alone. A star that is held out is
    held out of every frame.

    Parameters
    ----------
    calibrator : Calibrator
    frames : sequence of Frame
        Of one or several arms, nights and fields of one instrument.
    loo : bool
        Hold out each star in turn.

    Raises
    ------
    InputError
        If a frame is calibrated already or the library does not cover it.

    Examples
    --------
    >>> night = fluxcal.calibrate_frames(calibrator, [fluxcal.read_frame(path) for path in paths])  # doctest: +SKIP
    """
    pooled = is_shared(calibrator.options)
    results = [calibrator.calibrate(frame, loo=loo and not pooled) for frame in frames]
    return NightCalibration(tuple(share_plate(calibrator, results, loo=loo) if pooled else results))


def is_shared(options: Options) -> bool:
    """Whether frames that are calibrated together learn from one another."""
    wanted = bool(options.position) and options.position_shared
    return wanted and options.slope_order >= 1 and options.method == "throughput"


def share_plate(
    calibrator: Calibrator,
    results: Sequence[FluxCalibration],
    aside: Sequence[Set[str]] | None = None,
    *,
    loo: bool = True,
    progress: Progress = SILENT,
) -> list[FluxCalibration]:
    """Fit the field that results of one arm share and combine their stars again under it.

    Parameters
    ----------
    calibrator : Calibrator
    results : sequence of Result
        Made without holding out stars, which is done here.
    aside : sequence of sets of str, optional
        Names of stars whose measurements in other frames a frame must not use: its targets.
    loo : bool
    """
    finished = list(results)
    with progress.stage("Fields over the plate", total=len(finished)) as advance:
        for group in _arms(results):
            members = [results[k] for k in group]
            shared = fit_results(members, calibrator.options)
            for number, k in enumerate(group):
                if shared is not None:
                    hidden = frozenset(aside[k]) if aside is not None else frozenset()
                    finished[k] = calibrator.recombine(results[k], shared, number, hidden, loo=loo)
                elif loo:
                    finished[k] = calibrator.held_out(results[k])
                advance(1)
    return finished


@one_thread
def fit_results(results: Sequence[FluxCalibration], options: Options) -> SharedPlate | None:
    """The field that results of one arm share, or None; failed results do not enter."""
    # tan z = 1 at an airmass of sqrt 2: each configuration has its own.
    prior = plate_prior(options, float(np.sqrt(2.0)))
    return fit_shared(gather_results(results, options), prior)


def gather_results(results: Sequence[FluxCalibration], options: Options) -> Placements:
    """Coefficients of the stars of results of one arm, averaged over the exposures of each plate configuration."""
    return gather([_stars(r, options.slope_order + 1) for r in results])


def _stars(result: FluxCalibration, n_orders: int) -> FrameStars:
    """Coefficients of a result's used stars; none where it failed."""
    curve, tangent = result.curve, tangent_of(result.info.airmass)
    if curve is None or not result.passed or curve.coefficients.shape[1] != n_orders:
        return FrameStars((), np.zeros((0, 2)), np.zeros((0, n_orders)), np.zeros((0, n_orders)), tangent)
    row = {name: k for k, name in enumerate(curve.names)}
    index = [row[v.star] for v in result.vectors]
    return FrameStars(
        tuple(v.star for v in result.vectors),
        np.array([(v.x, v.y) for v in result.vectors], dtype=float).reshape(-1, 2),
        curve.coefficients[index] * MAG,
        curve.coefficient_errors[index] * MAG,
        tangent,
    )


def _arms(results: Sequence[FluxCalibration]) -> list[list[int]]:
    """Numbers of results whose grids agree, together."""
    groups: list[list[int]] = []
    for k, result in enumerate(results):
        for group in groups:
            if same_arm(results[group[0]], result):
                group.append(k)
                break
        else:
            groups.append([k])
    return groups
