"""The tables of X-ray job files, and the objects they stand for.

Everything that is a string in a job file becomes an object here; below, nothing knows about TOML.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, model_validator

from crosscal.config import AxisSpec, Band, JobModel, StrictModel
from crosscal.core.errors import ConfigError, UnknownNameError
from crosscal.core.reading import parsing
from crosscal.datasets import resolve


class OpenModel(StrictModel):
    """A table whose remaining keys are names that the table itself knows (parameters, axes)."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    @property
    def rest(self) -> dict[str, Any]:
        """The remaining keys."""
        return dict(self.model_extra or {})


class Telescope(StrictModel):
    """One telescope: its files and the band in which its spectra are used."""

    arf: Path = Field(description="an OGIP ARF")
    rmf: Path | None = Field(None, description="an OGIP RMF")
    name: str = ""
    band: Band = (0.7, 7.0)

    def response(self) -> Any:
        """Read the response."""
        from crosscal.xray import read_response

        response = read_response(resolve(self.arf), None if self.rmf is None else resolve(self.rmf))
        return replace(response, name=self.name) if self.name else response


class Source(OpenModel):
    """A spectral model: expression, options, and values of its parameters under their XSPEC names."""

    expression: str = "TBabs*apec"
    abundances: str = "angr"
    absorption_abundances: str = "wilm"
    interp: Literal["spline", "xspec"] = "spline"
    plasma: str = Field(
        "built-in", description="'built-in', a table of `crosscal data build-plasma`, or an AtomDB directory"
    )
    free: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _known(self) -> Source:
        self.model(check_only=True)
        return self

    def model(self, *, check_only: bool = False) -> Any:
        """Build the model; ``check_only`` does not look for the plasma table."""
        from crosscal.xray import Model

        values = TypeAdapter(dict[str, float]).validate_python(self.rest)
        table = None if check_only or self.plasma == "built-in" else resolve(self.plasma, directory=True)
        return Model(
            self.expression,
            abundances=self.abundances,
            absorption_abundances=self.absorption_abundances,
            interp=self.interp,
            table=table,
            free=self.free,
            **values,
        )


class ModifierChoice(OpenModel):
    """A family of modifiers by name with its options: ``{ name = "gaussian", convention = "xcalforge" }``."""

    name: str = "gaussian"

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, raw: Any) -> Any:
        return {"name": raw} if isinstance(raw, str) else raw

    @model_validator(mode="after")
    def _known(self) -> ModifierChoice:
        self.modifier()
        return self

    def modifier(self) -> Any:
        """Build the modifier."""
        from inspect import signature

        from crosscal.xray import MODIFIERS

        family = MODIFIERS.get(self.name)
        known = signature(family).parameters
        for option in self.rest:
            if option not in known:
                raise UnknownNameError("option", option, known, where=f"modifier {self.name!r}")
        where = f"modifier {self.name!r}"
        with parsing("options of a wrong type", where=where, error=ConfigError, unchecked=True):
            return family(**{k: tuple(v) if isinstance(v, list) else v for k, v in self.rest.items()})


class Library(OpenModel):
    """The library: which changes of the calibration, which temperatures, how many counts.

    The remaining keys are the axes of the modifier's parameters.
    """

    modifier: ModifierChoice = ModifierChoice()
    design: Literal["grid", "sobol", "latin-hypercube"] = "grid"
    points: int = Field(1024, gt=0, description="points of a quasi-random design")
    kT: AxisSpec
    counts: float = Field(5e4, gt=0)
    noise: Literal["asimov", "poisson"] = "asimov"
    realisations: int = Field(1, gt=0)
    free: tuple[str, ...] = ("kT", "norm")

    @model_validator(mode="after")
    def _axes_known(self) -> Library:
        self.theta_design()
        return self

    def theta_design(self, seed: int = 0) -> Any:
        """Return the design over the modifier's parameters."""
        modifier = self.modifier.modifier()
        specs = {}
        for name, raw in self.rest.items():
            modifier.parameter(name)
            specs[name] = TypeAdapter(AxisSpec).validate_python(raw)
        if self.design == "grid":
            return modifier.grid(**{name: spec.axis(name) for name, spec in specs.items()})
        limits = {}
        for name, spec in specs.items():
            values = spec.axis(name).values
            limits[name] = (float(values[0]), float(values[-1]))
        return modifier.scatter(self.points, method=self.design, seed=seed, **limits)

    def temperatures(self) -> Any:
        """Return the axis of true temperatures."""
        return self.kT.axis("kT", "keV")


class Emulation(StrictModel):
    """Which emulator; "auto" keeps the better of the suitable kinds on points it has not seen."""

    kind: str = "auto"
    validation: int = Field(200, ge=0, description="off-grid points simulated afresh")


class Planted(OpenModel):
    """An effective-area error put into simulated data; the remaining keys are the modifier's parameters."""

    modifier: ModifierChoice = ModifierChoice()

    def theta(self) -> dict[str, float]:
        """Return the planted parameters by name."""
        return TypeAdapter(dict[str, float]).validate_python(self.rest)

    @model_validator(mode="after")
    def _known(self) -> Planted:
        self.modifier.modifier().check(self.theta())
        return self


class Simulation(StrictModel):
    """Simulated clusters seen by a trusted and by the other telescope, whose area is not what is believed."""

    sources: int = Field(40, ge=2)
    kT: tuple[float, float] = (2.0, 12.0)
    counts: float = Field(5e4, gt=0)
    trusted_counts: float | None = Field(None, gt=0)
    planted: Planted


class Inference(StrictModel):
    """From pairs to the posterior of the modifier's parameters; unset keys take the sampler's own defaults."""

    pairs: Path | None = Field(None, description="a table of paired sources (ECSV, CSV or FITS)")
    quantities: tuple[Literal["kT", "norm", "Abundanc"], ...] | None = None
    sampler: str = "auto"
    latent: Literal["marginal", "sampled"] = "marginal"
    scatter: float = Field(0.03, ge=0, description="scale of the intrinsic scatter; 0 leaves it out")
    cross_norm: float = Field(0.1, ge=0, description="prior sd of ln of the relative normalisation; 0 leaves it out")
    tau: float | str | None = Field(None, description="prior sd of the area, or a telescope of the IACHEC matrix")
    prior_correction: Path | None = Field(None, description="correction.nc of another run, against energy")
    draws: int | None = Field(None, gt=0)
    warmup: int | None = Field(None, gt=0)
    chains: int | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _sampler_known(self) -> Inference:
        from crosscal.inference.registry import SAMPLERS

        if self.sampler != "auto":
            SAMPLERS.get(self.sampler)
        elif self.options:
            raise ValueError(f"{', '.join(self.options)} need a named sampler, not 'auto'")
        return self

    @property
    def options(self) -> dict[str, int]:
        """Options for the sampler that were given."""
        return {k: v for k in ("draws", "warmup", "chains") if (v := getattr(self, k)) is not None}


class Compute(OpenModel):
    """Where the library is computed; the remaining keys are the executor's options."""

    executor: str = "local"

    @model_validator(mode="after")
    def _known(self) -> Compute:
        from inspect import signature

        from crosscal.compute import EXECUTORS

        known = signature(EXECUTORS.get(self.executor)).parameters
        for option in self.rest:
            if option not in known:
                raise UnknownNameError("option", option, known, where=f"executor {self.executor!r}")
        return self


class XrayJob(JobModel):
    """Learn the correction of a telescope's effective area from paired temperatures."""

    job: Literal["xray"] = "xray"
    telescope: Telescope
    trusted: Telescope | None = None
    model: Source = Source()
    library: Library
    emulator: Emulation = Emulation()
    simulation: Simulation | None = None
    inference: Inference = Inference()
    compute: Compute = Compute()
    ensemble: int = Field(100, ge=0, description="number of corrected ARFs drawn from the posterior")

    inputs: ClassVar[tuple[str, ...]] = (
        "telescope.arf",
        "telescope.rmf",
        "trusted.arf",
        "trusted.rmf",
        "inference.pairs",
        "inference.prior_correction",
    )

    @model_validator(mode="after")
    def _one_source_of_pairs(self) -> XrayJob:
        if (self.inference.pairs is None) == (self.simulation is None):
            raise ValueError("give either inference.pairs or a [simulation] table")
        if self.simulation is not None and self.trusted is None:
            raise ValueError("a [simulation] needs a [trusted] telescope")
        return self
