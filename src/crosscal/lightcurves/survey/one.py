"""One source of a survey: from its files to a record of factors, quality and warnings, whatever happens."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosscal.compute.layout import ChunkLayout
from crosscal.core.errors import CrossCalError, DataFileError, FitError, InputError
from crosscal.core.random import integer_seed
from crosscal.lightcurves.formats.selection import Selection
from crosscal.lightcurves.intercalibration import intercalibrate
from crosscal.lightcurves.result import Intercalibration
from crosscal.lightcurves.seasons import split_seasons
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.survey.sources import Source
from crosscal.lightcurves.types import LightCurves

#: What became of a source: the first three have factors.
GOOD, WARNED, NOT_CONVERGED, UNREADABLE, REFUSED, NOT_FITTED, BROKEN = range(7)
STATUS = ("good", "warned", "not converged", "unreadable", "refused", "not fitted", "broken")
#: Bytes kept of the record of a source.
RECORD_SIZE = 1 << 16

Record = dict[str, Any]


@dataclass(frozen=True)
class SurveyTask:
    """The work of a survey: ``task(chunk)`` does the sources of one chunk.

    Attributes
    ----------
    sources : tuple of Source
    selection, settings
        How light curves are read and modelled.
    time_range, season_gap, unit, time_unit
        See the options of the job.
    sampler, draws, seed
        Every source has a seed of its own, made of this one and its name.
    chunk : int
        Sources of a chunk.
    """

    sources: tuple[Source, ...]
    selection: Selection
    settings: Settings
    time_range: tuple[float, float] | None
    season_gap: float | None
    unit: str
    time_unit: str
    sampler: str
    draws: int
    seed: int
    chunk: int

    @property
    def layout(self) -> ChunkLayout:
        """How the sources are cut into chunks."""
        return ChunkLayout.of({"source": len(self.sources)}, self.chunk)

    def __call__(self, chunk: int) -> dict[str, NDArray[Any]]:
        """Return status, seconds and record of the sources of a chunk."""
        places = self.layout.flat(chunk)
        status, seconds = np.empty(len(places), dtype=np.int16), np.empty(len(places))
        records = np.zeros((len(places), RECORD_SIZE), dtype=np.uint8)
        for k, place in enumerate(places):
            begin = time.process_time()
            status[k], record = self.attempt(self.sources[place])
            content = json.dumps(record).encode()
            if len(content) > RECORD_SIZE:
                status[k], record = BROKEN, {"error": f"{len(record['codes'])} telescopes are too many for a survey"}
                content = json.dumps(record).encode()
            records[k, : len(content)] = np.frombuffer(content, dtype=np.uint8)
            seconds[k] = time.process_time() - begin
        return {"status": status, "seconds": seconds, "record": records}

    def attempt(self, source: Source) -> tuple[int, Record]:
        """Calibrate one source; what goes wrong is its status and a sentence."""
        try:
            result = self.intercalibrated(source)
            record = record_of(result)
        except DataFileError as error:
            return UNREADABLE, {"error": str(error)}
        except InputError as error:
            return REFUSED, {"error": str(error)}
        except FitError as error:
            return NOT_FITTED, {"error": str(error)}
        except (CrossCalError, ValueError, ArithmeticError, LookupError, OSError, MemoryError) as error:
            return BROKEN, {"error": f"{type(error).__name__}: {error}"}
        if not record["converged"]:
            return NOT_CONVERGED, record
        return (WARNED if record["warnings"] else GOOD), record

    def curves(self, source: Source) -> LightCurves:
        """Read the light curves of a source, cut and split into seasons.

        Raises
        ------
        InputError
            Naming the file.
        """
        curves = replace(source.curves(self.selection, self.unit), time_unit=self.time_unit)
        if self.time_range is not None:
            curves = curves.between(*self.time_range)
        if self.settings.reference is not None:
            curves = curves.reordered(self.settings.reference)
        if self.season_gap is not None:
            curves = split_seasons(curves, gap=self.season_gap)
        return curves

    def intercalibrated(self, source: Source) -> Intercalibration:
        """Return the intercalibration of one source: the same bits wherever it is made."""
        return intercalibrate(
            self.curves(source), settings=self.settings, sampler=self.sampler, draws=self.draws,
            seed=integer_seed(self.seed, "survey", source.name),
        )  # fmt: skip


def record_of(result: Intercalibration) -> Record:
    """Return what a survey keeps of a result: numbers and words."""
    f, found = result.factors, result.diagnostics
    pair = np.concatenate([f.scale, f.shift], axis=1)
    level = result.model.norm.shift_to_physical
    logs = np.concatenate([np.log(f.scale), f.shift / level], axis=1)
    ln_errscale = np.log(f.errscale[:, 0]).mean(axis=-1)
    return {
        "codes": list(f.codes),
        "reference": result.reference,
        "unit": result.curves.continuum.unit,
        "points": np.sum([curve.counts for curve in result.curves.files], axis=0).tolist(),
        "scale": f.scale.mean(0).tolist(),
        "shift": f.shift.mean(0).tolist(),
        "covariance": np.cov(pair, rowvar=False).tolist(),
        "level": level,
        "log_mean": logs.mean(0).tolist(),
        "log_covariance": np.cov(logs, rowvar=False).tolist(),
        "ln_errscale": ln_errscale.mean(0).tolist(),
        "ln_errscale_sd": ln_errscale.std(0).tolist(),
        "syserr": f.syserr[:, 0].mean(0).mean(-1).tolist(),
        "errscale": f.errscale[:, 0].mean(0).mean(-1).tolist(),
        "tied": [_number(value) for value in found.ties.scale],
        "kernel": str(result.model.settings.kernel),
        "sampler": found.route,
        "ess": found.effective_size,
        "khat": _number(found.khat),
        "log_evidence": _number(found.log_evidence),
        "outliers": int(sum(len(points) for points in found.outliers.values())),
        "converged": bool(result.draws.posterior.converged),
        "warnings": list(found.warnings),
        "notes": list(result.curves.notes),
        "choices": list(result.choices),
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
