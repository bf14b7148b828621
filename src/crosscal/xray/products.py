"""The tables and effective areas that X-ray results leave on disk, beside what every run leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crosscal.core.files import write_ecsv
from crosscal.xray.correction.pairs_io import write_pairs
from crosscal.xray.instrument.ensemble import area_draws, write_arf_ensemble
from crosscal.xray.instrument.ogip_write import write_arf, write_rmf

if TYPE_CHECKING:
    from crosscal.xray.correction.result import CalibrationResult
    from crosscal.xray.instrument.response import Response
    from crosscal.xray.jobs.outcome import XrayOutcome


def write_correction_tables(result: CalibrationResult, directory: Path) -> None:
    """Write the bias of temperatures, bias.ecsv, and of spectra the stacked ratio, stacked.ecsv."""
    if result.biases is not None:
        write_ecsv(directory / "bias.ecsv", result.temperature_bias().table())
    if result.stacked is not None:
        write_ecsv(directory / "stacked.ecsv", result.stacked.table())


def write_outcome(outcome: XrayOutcome, directory: Path) -> None:
    """Write bias.ecsv, the corrected ARF with its ensemble and, of simulated sources, the corrected pairs."""
    write_correction_tables(outcome.calibration, directory)
    write_corrected(outcome.calibration, outcome.response, directory, outcome.ensemble)
    if outcome.clusters is not None:
        write_pairs(directory / "clusters_corrected.ecsv", outcome.refitted)


def write_corrected(result: CalibrationResult, response: Response, directory: Path, draws: int) -> None:
    """Write NAME_corrected.arf and NAME_ensemble.arf with ``draws`` areas of the posterior.

    Of a telescope whose area and matrix are one file (an RSP) write NAME_corrected.rsp as well, and NAME.rmf, the
    matrix without its area that belongs to the ARFs: with the original RSP they would count the area twice.
    """
    stem = (response.name or "telescope").replace("/", "_")
    if "rsp" in response.files:
        corrected = response.corrected(result.correction)
        write_rmf(directory / f"{stem}_corrected.rsp", corrected, with_area=True, history=result)
        matrix = write_rmf(directory / f"{stem}.rmf", response)
        response = replace(response, files={"rmf": str(matrix)})
    write_arf(directory / f"{stem}_corrected.arf", response.corrected(result.correction), history=result)
    areas = area_draws(response, result.correction, min(draws, len(result.theta)))
    write_arf_ensemble(directory / f"{stem}_ensemble.arf", response, areas, history=result)
