"""Corrected ARFs of results that adjust effective areas: the one step that joins two parts, so it is done here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crosscal.core.files import refuse_overwriting
from crosscal.core.progress import SILENT, Progress


def write_corrected_arfs(result: Any, output: Path, progress: Progress = SILENT) -> list[Path]:
    """Write a corrected ARF for each nominal one that the job named; results without ``arfs`` need none.

    The result gives ``arfs`` (instrument to path) and ``correction_for(instrument)`` (against energy in keV).

    Raises
    ------
    DataFileError
        If a nominal ARF cannot be read.
    InputError
        If an output would overwrite a nominal ARF.
    """
    arfs = dict(getattr(result, "arfs", {}) or {})
    if not arfs:
        return []
    from scipy.sparse import eye_array

    from crosscal.xray import Response, read_arf, write_arf

    paths = []
    with progress.stage("Writing corrected ARFs", total=len(arfs)) as advance:
        for instrument, source in arfs.items():
            arf = read_arf(source)
            # An ARF says nothing of channels; one channel per energy bin stands in for them and is not written.
            ideal = eye_array(len(arf.area), format="csr")
            response = Response(
                arf.energy_lo, arf.energy_hi, arf.area, ideal, arf.energy_lo, arf.energy_hi, name=instrument,
                files={"arf": str(source)}, mission=arf.mission,
            )  # fmt: skip
            correction = result.correction_for(instrument)
            target = output / f"{instrument.replace(' ', '_').replace('/', '_')}_corrected.arf"
            refuse_overwriting([target], arfs.values())
            paths.append(write_arf(target, response.corrected(correction), history=correction))
            advance(1)
    return paths
