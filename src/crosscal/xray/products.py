"""The tables and effective areas that a result leaves on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.files import write_ecsv
from crosscal.datasets import CORRECTION_FILE, write_correction
from crosscal.xray import columns


def write_result(result: Any, directory: Path, response: Any, draws: int) -> None:
    """Write summary, correction and bias tables (ECSV) and, given a response, the corrected ARF and its ensemble."""
    write_ecsv(directory / "summary.ecsv", result.summary())
    write_ecsv(directory / "correction.ecsv", correction_table(result.correction))
    write_correction(directory / CORRECTION_FILE, result.correction)
    if result.biases is not None:
        write_ecsv(directory / "bias.ecsv", result.temperature_bias().table())
    if response is not None:
        from crosscal.xray.instrument.ensemble import area_draws, write_arf_ensemble
        from crosscal.xray.instrument.ogip_write import write_arf

        stem = (response.name or "telescope").replace("/", "_")
        write_arf(directory / f"{stem}_corrected.arf", response.corrected(result.correction), history=result)
        areas = area_draws(response, result.correction, min(draws, len(result.correction.draws)))
        write_arf_ensemble(directory / f"{stem}_ensemble.arf", response, areas, history=result)


def correction_table(correction: Any) -> Any:
    """Return phi(E) as an astropy QTable: factor, sd of its logarithm, 68 and 95 % intervals."""
    import astropy.units as u
    from astropy.table import QTable

    from crosscal.core.tables import describe

    table = QTable({"energy": np.asarray(correction.coordinate) * u.Unit(correction.unit or "")})
    table["factor"], table["sd_ln"] = correction.factor, correction.sd
    for level in (0.68, 0.95):
        low, high = correction.interval(level)
        table[f"low{100 * level:.0f}"], table[f"high{100 * level:.0f}"] = low, high
    table.meta["target"] = correction.target
    return describe(table, columns.CORRECTION)
