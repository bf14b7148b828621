"""The tables of concordance job files, and the objects they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from crosscal.concordance.priors import Tau, covariance_from_draws
from crosscal.concordance.tables import iachec_tau, read_area_draws, read_matrix, read_table, read_tau_matrix
from crosscal.concordance.types import Comparison
from crosscal.config import Band, JobModel, StrictModel
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.datasets import resolve


class Range(StrictModel):
    """Rows whose number lies in a range (inclusive)."""

    min: float = float("-inf")
    max: float = float("inf")


Names = str | tuple[str, ...]


class Data(StrictModel):
    """Where the measurements are: a long table (one row each) or a matrix."""

    path: Path = Field(description="a table (CSV, ECSV, FITS, Parquet)")
    kind: Literal["table", "matrix"] = "table"
    # long table
    instrument: Names = "instrument"
    source: Names = "source"
    band: Names | None = None
    flux: str | None = None
    counts: str | None = None
    log_flux: str | None = None
    error: str | float | None = None
    log_error: str | None = None
    exposure: str | None = None
    time: str | None = None
    campaign: Names | None = None
    select: dict[str, Range | list[str | float] | str | float] = Field(default_factory=dict)
    rename: dict[str, str] = Field(default_factory=dict)
    flux_unit: str = ""
    time_unit: str = ""
    # matrix
    rows: Literal["sources", "instruments"] = "sources"
    names: str | None = None
    instruments: tuple[str, ...] | None = None
    logarithmic: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Data:
        if self.kind == "table" and isinstance(self.error, float):
            raise ValueError("error is the name of a column in a long table")
        if self.kind == "matrix" and isinstance(self.error, str):
            raise ValueError("error is one fractional number for a matrix")
        return self

    def read(self) -> Comparison:
        """Read the comparison."""
        path = resolve(self.path)
        if self.kind == "matrix":
            return read_matrix(
                path, orientation=self.rows, names=self.names, instruments=self.instruments,
                logarithmic=self.logarithmic, error=self.error,  # type: ignore[arg-type]
            )  # fmt: skip
        rules = {k: v.model_dump() if isinstance(v, Range) else v for k, v in self.select.items()}
        columns = ("instrument", "source", "band", "flux", "counts", "log_flux", "error", "log_error", "exposure")
        return read_table(
            path,
            **{name: getattr(self, name) for name in columns},
            time=self.time,
            campaign=self.campaign,
            select=rules,
            rename=self.rename,
            flux_unit=self.flux_unit,
            time_unit=self.time_unit,
        )


class PriorTable(StrictModel):
    """What is believed of the areas: tau by number, name or matrix; or Monte Carlo draws of areas."""

    tau: float | dict[str, float] | Literal["iachec"] = 0.05
    tau_matrix: Path | None = None
    mean: float | dict[str, float] = 0.0
    names: dict[str, str] = Field(default_factory=dict)
    area_draws: Path | None = None
    shrink: bool = True
    floor: float = Field(default=0.0, ge=0)

    def taus(self, bands: dict[str, tuple[float, float]]) -> Tau:
        """Return tau as the fit takes it."""
        if self.tau_matrix is not None:
            return read_tau_matrix(resolve(self.tau_matrix)).with_names(self.names, bands)
        return iachec_tau(self.names, bands) if self.tau == "iachec" else self.tau

    def covariance(self, data: Comparison) -> tuple[Any, dict[str, float]]:
        """Return the covariance from draws of areas and its shrinkage per instrument, or (None, {})."""
        if self.area_draws is None:
            return None, {}
        return covariance_from_draws(
            data, read_area_draws(resolve(self.area_draws)), shrink=self.shrink, floor=self.floor
        )


class Noise(StrictModel):
    """The scatter of the measurements."""

    kind: Literal["log-normal", "log-t", "poisson", "gamma-poisson"] = "log-normal"
    variance: Literal["quoted", "unknown", "quoted+excess"] | None = None
    df: float = Field(default=1.5, gt=0)
    beta: float | None = Field(default=None, gt=0)
    nu: float = Field(default=4.0, gt=0)


class Sources(StrictModel):
    """How sources and instruments change with time."""

    variability: bool = False
    drift: float | None = Field(default=None, gt=0)


class Sampling(StrictModel):
    """How the posterior is explored."""

    route: Literal["auto", "closed-form", "map", "gibbs", "slice", "nuts", "full-nuts"] = "auto"
    draws: int = Field(default=2000, ge=10)
    warmup: int = Field(default=500, ge=0)
    chains: int = Field(default=4, ge=1)


class CheckTable(StrictModel):
    """Which checks are made."""

    leave_one_out: bool | None = None
    predictive: int = Field(default=200, ge=0)


class Arfs(StrictModel):
    """Nominal effective areas of instruments, to be corrected."""

    instruments: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @model_validator(mode="after")
    def _paired(self) -> Arfs:
        if len(self.instruments) != len(self.files):
            raise ValueError(f"{len(self.files)} files for {len(self.instruments)} instruments")
        return self


class ConcordanceJob(JobModel):
    """Adjust the effective areas of N instruments from sources that they share."""

    job: Literal["concordance"] = "concordance"
    data: Data
    prior: PriorTable = PriorTable()
    noise: Noise = Noise()
    sources: Sources = Sources()
    sampling: Sampling = Sampling()
    checks: CheckTable = CheckTable()
    bands: dict[str, Band] = Field(default_factory=dict)
    arf: Arfs = Arfs()

    inputs: ClassVar[tuple[str, ...]] = ("data.path", "prior.tau_matrix", "prior.area_draws", "arf.files")

    def require_known(self, data: Comparison) -> None:
        """Check names that only the data can confirm.

        Raises
        ------
        InputError
            If an ARF is given for an unknown instrument, a band has energies and no data, or an ARF needs bands that
            have none.
        """
        for band in self.bands:
            if band not in data.bands:
                raise UnknownNameError("band", band, data.bands, where="table [bands]")
        for name in self.arf.instruments:
            if name not in data.instruments:
                raise InputError(
                    f"an ARF is given for {name!r}", where="key arf.instruments", expected=", ".join(data.instruments)
                )
            own = [band for instrument, band in data.channels if instrument == name]
            missing = [band for band in own if band not in self.bands]
            if len(own) > 1 and missing:
                raise InputError(
                    f"band {missing[0]!r} has no energies",
                    where="table [bands]",
                    expected=f"{missing[0]!r} = [lo, hi] in keV",
                )
