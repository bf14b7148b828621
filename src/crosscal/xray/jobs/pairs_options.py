"""The job file of ``job = "xray"``: library, emulator, inference from pairs of temperatures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Lt

from crosscal.core.errors import ConfigError
from crosscal.core.options import NotNegative, OpenTable, Positive, option, options
from crosscal.datasets import resolve
from crosscal.jobs.compute import Compute
from crosscal.jobs.options import AxisTable, Job, validate_value
from crosscal.xray.correction.observations_io import listed_files
from crosscal.xray.correction.pairs_responses import listed_responses
from crosscal.xray.jobs.options import Count, ModifierChoice, Sampling, Simulation, Source, Telescope, Trusted


@options
class Library(OpenTable):
    """The library: simulate with the modified, fit with the nominal calibration.

    The remaining keys are the axes of the modifier's parameters.

    Attributes
    ----------
    modifier : table
        Family of changes (see `crosscal list modifiers`), with options { name = "gaussian", n = 2 }.
    design : str
        Points in the space of the modifier's parameters.
    points : int
        Points of a quasi-random design.
    kT : axis
        True temperatures, keV.
    counts : float
        Expected counts in the band.
    noise : str
        "asimov" fits the expected counts, "poisson" adds Poisson noise.
    realisations : int
        Draws for each point, for Poisson noise.
    free : tuple of str
        Free parameters of the fits.
    """

    examples: ClassVar[dict[str, Any]] = {
        "A": {"min": -0.2, "max": 0.2, "n": 9},
        "mu": {"min": 0.7, "max": 7.0, "n": 11},
        "sigma": {"min": 0.3, "max": 2.0, "n": 7},
    }

    modifier: ModifierChoice = option(default=ModifierChoice(), example="gaussian", shown=True)
    design: Literal["grid", "sobol", "latin-hypercube"] = "grid"
    points: Count = 1024
    kT: AxisTable = option(example={"min": 1.0, "max": 15.0, "n": 20, "scale": "log"})
    counts: Positive = option(default=5e4, shown=True)
    noise: Literal["asimov", "poisson"] = option(default="asimov", shown=True)
    realisations: Count = 1
    free: tuple[str, ...] = option(default=("kT", "norm"), example=["kT", "norm", "Abundanc"], shown=True)

    def __post_init__(self) -> None:
        self.theta_design()
        if not any(validate_value(AxisTable, raw).axis(name).values.size > 1 for name, raw in self.rest.items()):
            from crosscal.xray.modifiers.examples import job_lines

            lines = job_lines(self.modifier.name)[1:] or ["scale = { min = 0.8, max = 1.2, n = 9 }"]
            raise ConfigError(
                f"no parameter of the modifier {self.modifier.name!r} varies",
                expected=f"a range for one or more, such as {lines[0]}",
            )

    def theta_design(self, seed: int = 0) -> Any:
        """Return the design over the modifier's parameters."""
        modifier = self.modifier.modifier()
        specs: dict[str, AxisTable] = {}
        for name, raw in self.rest.items():
            modifier.parameter(name)
            specs[name] = validate_value(AxisTable, raw)
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


@options
class Emulation:
    """The emulator of the library.

    Attributes
    ----------
    kind : str
        See `crosscal list emulators`; "auto" selects the one with the smallest error on held-out points.
    validation : int
        Number of newly simulated off-grid points.
    """

    kind: str = option(default="auto", shown=True)
    validation: Annotated[int, Ge(0)] = 200


@options
class Inference(Sampling):
    """From pairs of temperatures to the posterior of the modifier's parameters.

    Attributes
    ----------
    pairs : Path
        Table of N sources (ECSV, CSV, FITS): source, kT_NAME, kT_err_NAME (or kT_err_lo_, kT_err_hi_), ...; nH, z,
        arf_NAME and rmf_NAME of each source are used by exact fits.
    confidence : float
        Level of the errors of the table, such as 0.9; by default what its columns or comments state, or 68 %.
    observations : Path
        Instead of pairs, a table of spectra: source, telescope, pha, arf, rmf, background, nH, Redshift, ...; all
        are fitted first.
    quantities : tuple of str
        By default all quantities that both pairs and emulator have.
    sampler : str
        See `crosscal list samplers`; "auto" chooses by the number of parameters.
    latent : str
        Whether true temperatures are integrated out or sampled.
    scatter : float
        Scale of the prior of the intrinsic scatter; 0 for no scatter.
    cross_norm : float
        Prior sd of ln of the relative normalisation; 0 fixes it at 1.
    tau : float or str
        Prior sd of the effective area, or a telescope of the IACHEC matrix; by default that of the telescope's name.
    prior_correction : Path
        correction.nc of another run (a function of energy), used as an independent measurement.
    """

    pairs: Path | None = option(default=None, example="clusters.ecsv", shown=True)
    confidence: Annotated[float, Gt(0), Lt(1)] | None = option(default=None, example=0.9)
    observations: Path | None = option(default=None, example="observations.ecsv")
    quantities: tuple[Literal["kT", "norm", "Abundanc"], ...] | None = option(default=None, example=["kT", "norm"])
    sampler: str = "auto"
    latent: Literal["marginal", "sampled"] = "marginal"
    scatter: NotNegative = 0.03
    cross_norm: NotNegative = 0.1
    tau: float | str | None = option(default=None, example=0.05)
    prior_correction: Path | None = option(default=None, example="runs/concordance/correction_acis.nc")

    def __post_init__(self) -> None:
        from crosscal.inference.registry import SAMPLERS

        if self.sampler != "auto":
            SAMPLERS.get(self.sampler)
        elif self.options:
            raise ConfigError(f"{', '.join(self.options)} need a named sampler, not 'auto'")


@options
class XrayJob(Job):
    """Infer the correction of a telescope's effective area from sources that a reference telescope also observed.

    Attributes
    ----------
    ensemble : int
        Number of corrected ARFs drawn from the posterior.
    """

    job: Literal["xray"] = "xray"
    ensemble: Annotated[int, Ge(0)] = 100
    telescope: Telescope
    trusted: Trusted | None = None
    model: Source = Source()
    library: Library
    emulator: Emulation = Emulation()
    inference: Inference = Inference()
    simulation: Simulation | None = None
    compute: Compute = Compute()

    inputs: ClassVar[tuple[str, ...]] = (
        "telescope.arf",
        "telescope.rmf",
        "trusted.arf",
        "trusted.rmf",
        "inference.pairs",
        "inference.observations",
        "inference.prior_correction",
        "library.modifier.path",
        "library.modifier.parts.path",
        "library.modifier.scaling.path",
    )

    def linked_inputs(self) -> Mapping[str, Path]:
        """Return the files of the user's own functions, and those that the table of pairs or spectra names."""
        code = {f"library.modifier: {text}": path for text, path in self.library.modifier.code().items()}
        if self.inference.pairs is not None:
            named = listed_responses(resolve(self.inference.pairs))
            return {**code, **{f"inference.pairs: {role}": path for role, path in named.items()}}
        if self.inference.observations is None:
            return code
        files = listed_files(resolve(self.inference.observations))
        return {**code, **{f"inference.observations: {role}": path for role, path in files.items()}}

    def __post_init__(self) -> None:
        given = (self.inference.pairs, self.inference.observations, self.simulation)
        if sum(one is not None for one in given) != 1:
            raise ConfigError("give one of inference.pairs, inference.observations or a [simulation] table")
        if self.inference.observations is not None and not (
            self.telescope.name and self.trusted is not None and self.trusted.name
        ):
            raise ConfigError("give telescope.name and trusted.name, as the table of observations names them")
        if self.simulation is not None and (self.trusted is None or self.trusted.arf is None):
            raise ConfigError("a [simulation] needs a [trusted] telescope with its arf")
