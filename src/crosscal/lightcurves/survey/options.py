"""The job file of a survey of sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from crosscal.core.errors import ConfigError
from crosscal.core.options import Band, Positive, option, options
from crosscal.datasets import resolve
from crosscal.jobs.compute import Compute
from crosscal.jobs.options import Job
from crosscal.lightcurves.formats.selection import Selection
from crosscal.lightcurves.settings import ModelChoice, Prior, Settings
from crosscal.lightcurves.survey.sources import Source, joint_sources, listed_sources, table_files


@options
class SurveyData:
    """The light curves of many sources: a table of sources and files, or one table of all points.

    Attributes
    ----------
    sources : Path
        One row per file: source, file (relative to this table) and, if the files do not name it, telescope.
    table : Path
        One table of all points with a column of sources, or a folder of Parquet files.
    source_column : str
        Name of that column.
    selection : table
        Cuts, units and choices for tables.
    time_range : (start, stop)
        Range of times to use, after subtraction of time_start (table selection).
    season_gap : float
        Fit a new scale and shift after every gap longer than this (not for the reference).
    unit : str
        Unit of the fluxes; fluxes in other known units are converted to it.
    time_unit : str
        Unit of the times, for labels.
    """

    sources: Path | None = option(default=None, example="sources.csv", shown=True)
    table: Path | None = option(default=None, example="points.parquet")
    source_column: str = "source"
    selection: Selection = Selection()
    time_range: Band | None = option(default=None, example=[58000.0, 59000.0])
    season_gap: Positive | None = option(default=None, example=60.0)
    unit: str = ""
    time_unit: str = "d"

    def __post_init__(self) -> None:
        if (self.sources is None) == (self.table is None):
            raise ConfigError("give either sources (a table of sources and files) or table (of all points)")

    def listed(self) -> tuple[Source, ...]:
        """Return the sources."""
        if self.sources is not None:
            return listed_sources(resolve(self.sources))
        assert self.table is not None
        return joint_sources(resolve(self.table, directory=True), self.source_column)


@options
class SurveySampling:
    """How each source is sampled.

    Attributes
    ----------
    sampler : str
        "auto" uses importance sampling if its diagnostics are good, otherwise NUTS; "laplace" is fast and approximate.
    draws : int
        Posterior draws of each source.
    chunk : int
        Sources per chunk of work: an interrupted run repeats at most one chunk per worker.
    """

    sampler: Literal["auto", "importance", "laplace", "nuts"] = "auto"
    draws: Annotated[int, Ge(100), Le(100_000)] = 1000
    chunk: Annotated[int, Ge(1), Le(10_000)] = 10


@options
class SurveyOutput:
    """What is written in addition to the table of results.

    Attributes
    ----------
    curves : bool
        Write the merged light curve of every source into the folder curves.
    worst : int
        Number of sources whose light curves are drawn: those with the most serious warnings.
    shared_prior : bool
        Estimate the distribution of each telescope's factors over all sources (mean and scatter of ln scale, shift per
        unit flux and ln error scale; at least 10 sources) and use it as the prior of each source. Sources of few points
        then take the factors of the others, which is wrong where sources differ for a reason, such as their colour.
    """

    curves: bool = False
    worst: Annotated[int, Ge(0), Le(50)] = 4
    shared_prior: bool = False


@options
class SurveyJob(Job):
    """Intercalibrate light curves of many sources, one by one, on any executor: one table of factors for all."""

    job: Literal["lightcurves-survey"] = "lightcurves-survey"
    data: SurveyData
    model: ModelChoice = ModelChoice()
    prior: Prior = Prior()
    sampling: SurveySampling = SurveySampling()
    compute: Compute = Compute()
    results: SurveyOutput = SurveyOutput()

    inputs: ClassVar[tuple[str, ...]] = ("data.sources", "data.table")

    def __post_init__(self) -> None:
        self.settings()

    def settings(self) -> Settings:
        """Return the model settings."""
        return Settings(**vars(self.model), **vars(self.prior))

    def linked_inputs(self) -> Mapping[str, Path]:
        """Return the files of the sources that exist: a missing one is a failure of its source, not of the job."""
        if self.data.sources is not None:
            table = resolve(self.data.sources)
            if not table.is_file():
                return {}
            files = [path for source in listed_sources(table) for path, _ in source.files]
            return {f"data.sources: {path}": Path(path) for path in files if Path(path).is_file()}
        assert self.data.table is not None
        folder = resolve(self.data.table, directory=True)
        return {f"data.table: {file.name}": file for file in table_files(folder)} if folder.is_dir() else {}
