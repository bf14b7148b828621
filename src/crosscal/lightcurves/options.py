"""The job file of the part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from crosscal.core.errors import ConfigError
from crosscal.core.options import Band, Positive, option, options
from crosscal.datasets import resolve
from crosscal.jobs.options import Job
from crosscal.lightcurves import reading
from crosscal.lightcurves.formats.pycali import read_pycali
from crosscal.lightcurves.formats.selection import Selection
from crosscal.lightcurves.kernels.registry import process as gaussian_process
from crosscal.lightcurves.seasons import split_seasons
from crosscal.lightcurves.settings import ModelChoice, Prior, Settings
from crosscal.lightcurves.types import LightCurves

Files = tuple[Path, ...]


@options
class Data:
    """The light curves of one source: PyCALI's block files, or tables of surveys and others, to be merged.

    Attributes
    ----------
    continuum : Path
        PyCALI's blocks "# CODE N" with rows "time flux error [flag]".
    lines : list of Path
        Emission lines in the same form: same telescopes, same scale factors.
    files : list of Path
        Tables of any kind; the format is recognised from their content (see `crosscal list layouts`).
    ztf, asassn, atlas : list of Path
        Tables of these surveys.
    columns : list of Path
        Tables of one telescope each: named columns, or time, flux, error.
    column_codes : list of str
        Name of the telescope of each file in columns.
    selection : table
        Cuts, units and choices for tables.
    time_range : (start, stop)
        Range of times to use, after subtraction of time_start (table selection).
    season_gap : float
        Fit a new scale and shift after every gap longer than this (not for the reference).
    season_edges : list of float
        Or fit a new scale and shift at each of these times.
    unit : str
        Unit of the fluxes, such as "1e-15 erg / (s cm2 Angstrom)"; others are converted.
    time_unit : str
        Unit of the times, for labels.
    """

    continuum: Path | None = option(default=None, example="continuum.txt", shown=True)
    lines: Files = option(default=(), example=["line.txt"])
    files: Files = option(default=(), example=["a.csv", "b.txt"])
    ztf: Files = option(default=(), example=["ztf.csv"])
    asassn: Files = option(default=(), example=["asassn.csv"])
    atlas: Files = option(default=(), example=["atlas.txt"])
    columns: Files = option(default=(), example=["mine.txt"])
    column_codes: tuple[str, ...] = option(default=(), example=["mine"])
    selection: Selection = Selection()
    time_range: Band | None = option(default=None, example=[8000.0, 9000.0])
    season_gap: Positive | None = option(default=None, example=60.0)
    season_edges: tuple[float, ...] = option(default=(), example=[8200.0])
    unit: str = ""
    time_unit: str = "d"

    def __post_init__(self) -> None:
        tables = sum(map(len, (self.files, self.ztf, self.asassn, self.atlas, self.columns)))
        if (self.continuum is None) == (tables == 0):
            raise ConfigError("give either continuum (a PyCALI file) or tables (files, ztf, asassn, atlas, columns)")
        if self.lines and self.continuum is None:
            raise ConfigError("lines need a continuum file in PyCALI's format")
        if len(self.columns) != len(self.column_codes):
            raise ConfigError("column_codes names one telescope per file in columns")
        if self.season_gap is not None and self.season_edges:
            raise ConfigError("give season_gap or season_edges, not both")

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
        cuts = self.selection
        groups: list[Any] = [reading.read_ztf(resolve(p), cuts) for p in self.ztf]
        groups += [reading.read_asassn(resolve(p), cuts) for p in self.asassn]
        groups += [reading.read_atlas(resolve(p), cuts) for p in self.atlas]
        pairs = zip(self.columns, self.column_codes, strict=True)
        groups += [reading.read_columns(resolve(p), code, cuts) for p, code in pairs]
        groups += [resolve(p) for p in self.files]
        return replace(reading.read(*groups, selection=cuts, unit=self.unit), time_unit=self.time_unit)


@options
class Sampling:
    """The sampler and its options.

    Attributes
    ----------
    sampler : str
        "auto" uses importance sampling if its diagnostics are good, otherwise NUTS; or "laplace", "nested".
    draws : int
        Posterior draws; 4000 by default, 1000 above 20000 points.
    warmup, chains : int
        Draws discarded before those of each chain, and number of chains, of NUTS and of Student-t errors (500 and 4);
        with sampler "auto" they ask for NUTS.
    remove_outliers : float
        Exclude points with leave-one-out residuals above this many standard deviations, and sample again.
    compare_kernels : list of str
        Compare the log evidences of these kernels.
    """

    sampler: Literal["auto", "importance", "laplace", "nuts", "nested"] = "auto"
    draws: Annotated[int, Ge(100), Le(100_000)] | None = option(default=None, example=4000)
    warmup: Annotated[int, Ge(0)] | None = option(default=None, example=500)
    chains: Annotated[int, Ge(1)] | None = option(default=None, example=4)
    remove_outliers: Positive | None = option(default=None, example=5.0)
    compare_kernels: tuple[str, ...] = option(default=(), example=["drw", "matern32"])

    def __post_init__(self) -> None:
        for name in self.compare_kernels:
            gaussian_process(name, where="compare_kernels")


@options
class LightcurvesJob(Job):
    """Intercalibrate light curves of one source: scale and shift of each telescope, and the merged light curve.

    Examples
    --------
    >>> run = crosscal.run("job.toml")  # doctest: +SKIP
    """

    job: Literal["lightcurves"] = "lightcurves"
    data: Data
    model: ModelChoice = ModelChoice()
    prior: Prior = Prior()
    sampling: Sampling = Sampling()

    inputs: ClassVar[tuple[str, ...]] = (
        "data.continuum", "data.lines", "data.files", "data.ztf", "data.asassn", "data.atlas", "data.columns",
    )  # fmt: skip

    def __post_init__(self) -> None:
        self.settings()

    def settings(self) -> Settings:
        """Return the model settings."""
        return Settings(**vars(self.model), **vars(self.prior))
