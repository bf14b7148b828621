"""What joins the X-ray part and concordance: corrected ARFs one way, band averages of ARF ensembles the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from crosscal.core.errors import InputError
from crosscal.core.files import refuse_overwriting, write_ecsv
from crosscal.core.progress import SILENT, Progress
from crosscal.jobs.result import JobResult

if TYPE_CHECKING:
    from crosscal.concordance.result import ConcordanceFit


def write_corrected_arfs(result: JobResult, output: Path, progress: Progress = SILENT) -> list[Path]:
    """Write a corrected ARF for each nominal one that a concordance job named; other results need none.

    Raises
    ------
    DataFileError
        If a nominal ARF cannot be read.
    InputError
        If an output would overwrite a nominal ARF.
    """
    if result.kind != "concordance":
        return []
    fit = cast("ConcordanceFit", result)
    arfs = dict(fit.arfs)
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
            correction = fit.correction_for(instrument)
            target = output / f"{instrument.replace(' ', '_').replace('/', '_')}_corrected.arf"
            refuse_overwriting([target], arfs.values())
            paths.append(write_arf(target, response.corrected(correction), history=correction))
            advance(1)
    return paths


def write_area_draws(
    output: Path, ensembles: Sequence[str], bands: Mapping[str, tuple[float, float]], *, index: float = 2.0
) -> Path:
    """Write band-averaged areas of ARF ensembles: a row per draw, a column of instruments, one per band.

    Parameters
    ----------
    ensembles : sequence of "NAME=FILE"

    Raises
    ------
    InputError
        If an entry has no name, or a band lies outside an effective area; DataFileError if a file cannot be read.
    """
    import numpy as np
    from astropy.table import Table

    from crosscal.xray import read_arf_ensemble

    names, areas = [], []
    for entry in ensembles:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise InputError(f"{entry!r}", where="ensembles", expected="NAME=FILE")
        refuse_overwriting([output], [path])
        means = read_arf_ensemble(path).band_means(bands, index=index)
        names += [name] * len(means)
        areas.append(means)
    table = Table({"instrument": names})
    for k, band in enumerate(bands):
        table[band] = np.concatenate(areas)[:, k]
        table[band].unit = "cm2"
    return write_ecsv(output, table)
