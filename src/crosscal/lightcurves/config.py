"""The job file of the part: strict tables that become objects here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainSerializer, model_validator

from crosscal.config import Band, JobModel, StrictModel
from crosscal.core.errors import InputError
from crosscal.datasets import resolve
from crosscal.lightcurves.formats import survey
from crosscal.lightcurves.formats.pycali import read_pycali
from crosscal.lightcurves.seasons import split_seasons
from crosscal.lightcurves.settings import Settings
from crosscal.lightcurves.types import LightCurves

Files = Annotated[tuple[Path, ...], PlainSerializer(lambda paths: [str(p) for p in paths])]


class SelectionTable(StrictModel):
    """Cuts and units of survey tables."""

    zeropoint: float | dict[str, float] | None = None
    unit: float = 1.0
    time_start: float = 0.0
    time_range: Band | None = None
    rebin: float | None = None
    errlimit: float | Literal["auto"] | None = "auto"
    keylabel: str = ""
    codes: tuple[str, ...] = ()
    error: float | None = None
    merge_objects: bool = False
    by_camera: bool = False
    use_flux: bool = False
    time_format: str = ""
    position: tuple[float, float] | None = None
    columns: dict[str, str] = Field(default_factory=dict)

    def selection(self) -> survey.Selection:
        """Return the cuts."""
        return survey.Selection(**self.model_dump())


class DataTable(StrictModel):
    """Where the light curves are: PyCALI block files, or survey tables that are merged."""

    continuum: Path | None = None
    lines: Files = ()
    asassn: Files = ()
    ztf: Files = ()
    atlas: Files = ()
    columns: Files = ()
    files: Files = ()
    column_codes: tuple[str, ...] = ()
    selection: SelectionTable = SelectionTable()
    time_range: Band | None = None
    season_gap: float | None = None
    season_edges: tuple[float, ...] = ()
    unit: str = ""
    time_unit: str = "d"

    @model_validator(mode="after")
    def _one_source(self) -> DataTable:
        tables = len(self.asassn) + len(self.ztf) + len(self.atlas) + len(self.columns) + len(self.files)
        if (self.continuum is None) == (tables == 0):
            raise ValueError(
                "give either continuum (a PyCALI file) or survey tables (files, asassn, ztf, atlas, columns)"
            )
        if self.lines and self.continuum is None:
            raise ValueError("lines need a continuum file in PyCALI's format")
        if len(self.columns) != len(self.column_codes):
            raise ValueError("column_codes names one telescope per file in columns")
        if self.season_gap is not None and self.season_edges:
            raise ValueError("give season_gap or season_edges, not both")
        return self

    def read(self, reference: str | None) -> LightCurves:
        """Read, merge, cut and split into seasons; the reference is not split."""
        if self.continuum is not None:
            curves = read_pycali(
                resolve(self.continuum), [resolve(p) for p in self.lines], unit=self.unit, time_unit=self.time_unit
            )
        else:
            curves = self._merged()
        if self.time_range is not None:
            curves = curves.between(*self.time_range)
        if reference is not None:
            curves = curves.reordered(reference)
        if self.season_gap is not None or self.season_edges:
            curves = split_seasons(curves, gap=self.season_gap, edges=self.season_edges)
        return curves

    def _merged(self) -> LightCurves:
        cuts = self.selection.selection()
        groups: list[Any] = [survey.read_ztf(resolve(p), cuts) for p in self.ztf]
        groups += [survey.read_asassn(resolve(p), cuts) for p in self.asassn]
        groups += [survey.read_atlas(resolve(p), cuts) for p in self.atlas]
        pairs = zip(self.columns, self.column_codes, strict=True)
        groups += [survey.read_columns(resolve(p), code, cuts) for p, code in pairs]
        groups += [resolve(p) for p in self.files]
        return replace(survey.read(*groups, selection=cuts, unit=self.unit), time_unit=self.time_unit)


class ModelTable(StrictModel):
    """The model; defaults are those of `Settings`."""

    kernel: str = "drw"
    reference: str | None = None
    systematic_error: bool = False
    error_scale: bool = False
    errors: Literal["gaussian", "student-t"] = "gaussian"
    degrees: float = 4.0
    fixed_scale: bool = False
    fixed_shift: bool = False
    fixed_codes: tuple[str, ...] = ()
    fixed_scale_codes: tuple[str, ...] = ()
    normalisation: Literal["mean", "none", "spread"] = "mean"


class PriorTable(StrictModel):
    """Prior ranges in normalised flux units."""

    scale: Band = Settings.scale
    shift: Band = Settings.shift
    syserr: Band = Settings.syserr
    errscale: Band = Settings.errscale
    sigma: Band = Settings.sigma
    tau: Band = Settings.tau


class SamplingTable(StrictModel):
    """How to sample."""

    sampler: Literal["auto", "importance", "laplace", "nuts", "nested"] = "auto"
    draws: int | None = Field(default=None, ge=100, le=100_000)
    remove_outliers: float | None = Field(default=None, gt=0)
    compare_kernels: tuple[str, ...] = ()


class LightcurvesJob(JobModel):
    """Intercalibrate light curves of one source."""

    inputs: ClassVar[tuple[str, ...]] = (
        "data.continuum", "data.lines", "data.asassn", "data.ztf", "data.atlas", "data.columns", "data.files",
    )  # fmt: skip

    job: Literal["lightcurves"] = "lightcurves"
    output: Path
    seed: int = 0
    data: DataTable
    model: ModelTable = ModelTable()
    prior: PriorTable = PriorTable()
    sampling: SamplingTable = SamplingTable()

    @model_validator(mode="after")
    def _possible(self) -> LightcurvesJob:
        try:
            self.settings()
            self.data.selection.selection()
        except InputError as error:
            raise ValueError(str(error).rstrip(".")) from error
        return self

    def settings(self) -> Settings:
        """Return the model settings."""
        return Settings(**self.model.model_dump(exclude={"reference"}), **self.prior.model_dump())
