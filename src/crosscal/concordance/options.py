"""The tables of concordance job files, and the objects they stand for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar, Literal

from crosscal.concordance.priors import AreaPrior, Tau, covariance_from_draws, make_prior
from crosscal.concordance.reading import read_table
from crosscal.concordance.reading_priors import iachec_tau, read_area_draws, read_tau_matrix
from crosscal.concordance.reading_wide import read_matrix
from crosscal.concordance.settings import Checks, Noise, Sampling, Sources
from crosscal.concordance.types import Comparison
from crosscal.core.errors import ConfigError, InputError, UnknownNameError
from crosscal.core.options import Band, Fraction, NotNegative, option, options
from crosscal.datasets import resolve
from crosscal.jobs.options import Job

Names = str | tuple[str, ...]
#: Keys of ``data`` that have no meaning for the other kind of file.
_MATRIX_ONLY = frozenset({"value", "ignore", "rows", "names", "instruments", "logarithmic"})
_TABLE_ONLY = frozenset({
    "instrument", "source", "flux", "counts", "log_flux", "log_error", "to", "repeats", "exposure", "time", "band",
    "campaign", "select", "rename", "unit", "time_unit",
})  # fmt: skip


def _default(field: dataclasses.Field[Any]) -> Any:
    """The default of a field."""
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


@options
class Range:
    """Rows whose number lies in a range.

    Attributes
    ----------
    min, max : float
        Both included.
    """

    inline: ClassVar[bool] = True

    min: float = float("-inf")
    max: float = float("inf")


@options
class Data:
    """Where the measurements are: a long table (one row each), or a matrix or wide table (one row a source).

    Attributes
    ----------
    path : Path
        CSV, ECSV, FITS, Parquet, LaTeX, CDS or machine-readable table; "data:NAME" looks in the data search path.
    kind : str
        "table" has one row per measurement, "matrix" one row per source or instrument.
    instrument : str or list
        Column, or a list of columns that together name the instrument.
    source : str or list
        Column, or a list; simultaneous measurements of one source share its name.
    flux : str
        Column of one of flux, counts and log_flux (natural logarithm); by default whichever of these the table has.
    counts, log_flux : str
        Instead of flux.
    error : str, list or float
        Column of the standard errors of flux or counts, or two columns [below, above]; omit if unknown. For a
        matrix the pattern of the error columns, two patterns, or one fraction for all.
    bounds : bool
        Whether two error columns hold the ends of the interval about the value instead of errors.
    log_error : str
        Column of standard errors of the natural logarithm.
    scale : str
        Scale of the values: "linear" fluxes, "ln", "log10", "magnitude", or "additive" values such as clock offsets.
    confidence : float
        Confidence level of the (two-sided) errors, such as 0.9; by default they are standard errors.
    limit : str
        Column that flags upper limits by 1, lower limits by -1; of a matrix the pattern of such columns,
        "{inst}_LIMIT".
    limit_confidence : float
        One-sided level of limits without errors; 0.99865 (three standard errors) by default.
    missing : list
        Values that mark a missing cell, such as -99.
    value : str
        Pattern of the value columns of a matrix, such as "{inst}_FLUX".
    ignore : list
        Columns of a matrix that are not measurements.
    to : str or list
        Column of the instrument in the denominator, where ``flux`` holds ratios of pairs of instruments.
    known : table
        Sources of known flux with its standard error, { "G21.5-0.9" = [5.5e-11, 1e-12] }.
    repeats : bool
        Treat several measurements of one source by one instrument as independent measurements of the same flux.
    exposure : str
        Column of the exposure factor T; the values compared are c / T.
    time : str
        Column of times, for drift and variability.
    band : str or list
        Column of energy bands, if there are several.
    campaign : str or list
        Column that groups measurements of a variable source that are close in time.
    select : table
        Rows to keep: a column with a value, a list, or a range { min, max }.
    rename : table
        Map from names of instruments in the data to other names.
    unit : str
        Column with the unit of each row's flux and error.
    flux_unit, time_unit : str
        Units in astropy's notation; fluxes in other units are converted.
    rows : str
        Rows of a matrix: "sources" or "instruments".
    names : str
        Column of a matrix with the names of the rows.
    instruments : list
        Names of the instruments of a matrix, if the file does not give them.
    logarithmic : bool
        Whether a matrix contains natural logarithms (true) or fluxes (false), if scale is not set.
    """

    path: Path = option(example="fluxes.csv")
    kind: Literal["table", "matrix"] = "table"
    instrument: Names = option(default="instrument", shown=True)
    source: Names = option(default="source", shown=True)
    flux: str | None = option(default=None, example="flux", shown=True)
    counts: str | None = option(default=None, example="counts")
    log_flux: str | None = option(default=None, example="log_flux")
    error: str | tuple[str, str] | float | None = option(default=None, example="flux_err", shown=True)
    bounds: bool | None = option(default=None, example=False)
    log_error: str | None = option(default=None, example="log_err")
    scale: Literal["linear", "ln", "log10", "magnitude", "additive"] | None = option(default=None, example="linear")
    confidence: Fraction | None = option(default=None, example=0.9)
    limit: str | None = option(default=None, example="limit")
    limit_confidence: Fraction | None = option(default=None, example=0.95)
    missing: tuple[float | str, ...] | None = option(default=None, example=[-99])
    value: str | None = option(default=None, example="{inst}_FLUX")
    ignore: tuple[str, ...] = option(default=(), example=["RA", "DEC"])
    to: Names | None = option(default=None, example="reference")
    known: dict[str, tuple[float, float]] = option(factory=dict, example={"G21.5-0.9": [5.5e-11, 1e-12]})
    repeats: bool = False
    exposure: str | None = option(default=None, example="exposure")
    time: str | None = option(default=None, example="mjd")
    band: Names | None = option(default=None, example="band")
    campaign: Names | None = option(default=None, example="campaign")
    select: dict[str, Range | list[str | float] | str | float] = option(
        factory=dict, example={"quality": "good", "mjd": {"min": 55000.0}}
    )
    rename: dict[str, str] = option(factory=dict, example={"EPN": "pn"})
    unit: str | None = option(default=None, example="flux_unit")
    flux_unit: str = option(default="", example="erg / (s cm2)")
    time_unit: str = option(default="", example="d")
    rows: Literal["sources", "instruments"] = "sources"
    names: str | None = option(default=None, example="source")
    instruments: tuple[str, ...] | None = option(default=None, example=["pn", "MOS1"])
    logarithmic: bool | None = option(default=None, example=True)

    def __post_init__(self) -> None:
        if self.kind == "table" and isinstance(self.error, float):
            raise ConfigError("error is the name of a column in a long table")
        ignored = _MATRIX_ONLY if self.kind == "table" else _TABLE_ONLY
        for field in dataclasses.fields(self):
            if field.name in ignored and getattr(self, field.name) != _default(field):
                raise ConfigError(
                    f"{field.name} is given for a {self.kind}", where="data",
                    expected=f'it only with kind = "{"matrix" if self.kind == "table" else "table"}"',
                )  # fmt: skip

    def read(self) -> Comparison:
        """Read the comparison."""
        data = self._read()
        return data.with_known(self.known) if self.known else data

    def _read(self) -> Comparison:
        path = resolve(self.path)
        shared = ("limit", "scale", "confidence", "limit_confidence", "missing", "flux_unit", "bounds")
        same: dict[str, Any] = {name: getattr(self, name) for name in shared}
        if self.kind == "matrix":
            return read_matrix(
                path, orientation=self.rows, names=self.names, instruments=self.instruments, value=self.value,
                error=self.error, ignore=self.ignore, logarithmic=self.logarithmic, **same,  # type: ignore[arg-type]
            )  # fmt: skip
        rules = {k: {"min": v.min, "max": v.max} if isinstance(v, Range) else v for k, v in self.select.items()}
        columns = (
            "instrument", "source", "band", "flux", "counts", "log_flux", "error", "log_error", "exposure", "time",
            "campaign", "rename", "unit", "repeats", "time_unit", "to",
        )  # fmt: skip
        return read_table(path, **{name: getattr(self, name) for name in columns}, select=rules, **same)


@options
class Prior:
    """The prior of the effective areas.

    Attributes
    ----------
    tau : float, table or str
        Fractional uncertainty of the areas: a number (0.05 by default), a table { pn = 0.02, MOS1 = 0.06 }, "iachec",
        or "estimate" from the data; inf is a flat prior, 0 marks a reference. For additive values in their unit.
    areas : str
        "t" allows single instruments to be far from their prior.
    tau_matrix : Path
        Your own table in percent, with one row per instrument and columns "lo-hi" in keV.
    mean : float or table
        Expected ln area relative to nominal.
    names : table
        Map from names of instruments in the data to names in the tau table.
    area_draws : Path
        Monte Carlo draws of areas over bands: correlated priors.
    shrink : bool
        Shrink their covariance (needed for few draws).
    floor : float
        Additional independent fractional uncertainty, added in quadrature.
    """

    tau: float | dict[str, float] | Literal["iachec", "estimate"] | None = option(
        default=None, example=0.05, shown=True
    )
    areas: Literal["normal", "t"] = "normal"
    tau_matrix: Path | None = option(default=None, example="tau.csv")
    mean: float | dict[str, float] = 0.0
    names: dict[str, str] = option(factory=dict, example={"pn": "XMM pn"})
    area_draws: Path | None = option(default=None, example="draws.csv")
    shrink: bool = True
    floor: NotNegative = 0.0

    def build(self, data: Comparison, bands: dict[str, tuple[float, float]]) -> tuple[AreaPrior, dict[str, float]]:
        """Return the prior of the areas, and by how much the covariance of area draws was shrunk."""
        tau: Tau | None = self.tau  # type: ignore[assignment]
        if self.tau_matrix is not None:
            tau = read_tau_matrix(resolve(self.tau_matrix)).with_names(self.names, bands)
        elif self.tau == "iachec":
            tau = iachec_tau(self.names, bands)
        covariance = None
        shrinkage: dict[str, float] = {}
        if self.area_draws is not None:
            draws = read_area_draws(resolve(self.area_draws))
            covariance, shrinkage = covariance_from_draws(data, draws, shrink=self.shrink, floor=self.floor)
        return make_prior(data, tau, mean=self.mean, covariance=covariance, areas=self.areas), shrinkage


@options
class Arfs:
    """Nominal effective areas to correct.

    Attributes
    ----------
    instruments : tuple of str
        Instruments of the data.
    files : tuple of Path
        Their nominal ARFs.
    """

    instruments: tuple[str, ...] = option(default=(), example=["pn"])
    files: tuple[Path, ...] = option(default=(), example=["pn.arf"])

    def __post_init__(self) -> None:
        if len(self.instruments) != len(self.files):
            raise ConfigError(f"{len(self.files)} files for {len(self.instruments)} instruments")


@options
class ConcordanceJob(Job):
    """Calibration concordance: adjust the effective areas of N instruments with M common sources.

    Attributes
    ----------
    bands : table
        Energies of the bands, keV: { hard = [2.5, 10.0] }.

    Examples
    --------
    >>> run = crosscal.run("job.toml")  # doctest: +SKIP
    """

    job: Literal["concordance"] = "concordance"
    bands: dict[str, Band] = option(factory=dict, example={"hard": [2.5, 10.0]})
    data: Data
    prior: Prior = Prior()
    noise: Noise = Noise()
    sources: Sources = Sources()
    sampling: Sampling = Sampling()
    checks: Checks = Checks()
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
