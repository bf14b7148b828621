"""The tables of X-ray job files, and the objects they stand for.

Everything that is a string in a job file becomes an object here; below, nothing knows about TOML.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt
from pydantic import model_validator

from crosscal.core.errors import ConfigError
from crosscal.core.options import Band, OpenTable, Positive, option, options
from crosscal.datasets import resolve
from crosscal.jobs.options import JOB_DIRECTORY, validate_value

if TYPE_CHECKING:
    from crosscal.xray.emission.expression import Model
    from crosscal.xray.instrument.response import Response
    from crosscal.xray.modifiers.base import Modifier

Count = Annotated[int, Gt(0)]


@options
class Telescope:
    """The telescope to correct.

    Attributes
    ----------
    name : str
        Name in the table of sources; a row of the IACHEC uncertainty matrix (acis, pn, mos, ...) sets its prior.
    arf : Path
        OGIP ARF, relative to this file; "data:NAME" looks in the data search path.
    rmf : Path
        OGIP RMF.
    band : (low, high)
        Channels used, keV.
    """

    name: str = option(default="", example="acis", shown=True)
    arf: Path = option(example="acis.arf")
    rmf: Path | None = option(default=None, example="acis.rmf", shown=True)
    band: Band = option(default=(0.7, 7.0), shown=True)

    def response(self) -> Response:
        """Read the response."""
        from crosscal.xray.instrument.ogip import read_response

        response = read_response(resolve(self.arf), None if self.rmf is None else resolve(self.rmf))
        return replace(response, name=self.name) if self.name else response


@options
class Trusted(Telescope):
    """The reference telescope, whose calibration is assumed correct; its files are needed to simulate sources.

    Attributes
    ----------
    name : str
        Name in the table of sources; not needed if the table has only one telescope besides the one to correct.
    """

    name: str = option(default="", example="pn", shown=True)
    arf: Path | None = option(default=None, example="pn.arf", shown=True)  # type: ignore[assignment]
    rmf: Path | None = option(default=None, example="pn.rmf", shown=True)

    def response(self) -> Response:
        """Read the response.

        Raises
        ------
        ConfigError
            If no ARF is named.
        """
        if self.arf is None:
            raise ConfigError("no arf", where="[trusted]", expected="the ARF of the reference telescope")
        return super().response()

    def responses(self, corrected: Response, name: str) -> dict[str, Response]:
        """Return the responses that the job names, by telescope: of the corrected one and, where given, of this."""
        given = self.arf is not None and self.rmf is not None
        return {name: corrected, **({self.name: self.response()} if given else {})}


@options
class Source(OpenTable):
    """The spectral model; the remaining keys are parameters with their XSPEC names, fixed at the given values.

    Attributes
    ----------
    expression : str
        An expression of XSPEC models (see `crosscal list models`).
    abundances, absorption_abundances : str
        Solar abundances of the plasma, and of the absorber.
    interp : str
        Interpolation between plasma temperatures; "xspec" is linear, as in XSPEC.
    plasma : str
        "built-in", a table of `crosscal data build-plasma`, or a directory of AtomDB files.
    free : tuple of str
        Free parameters.
    """

    examples: ClassVar[dict[str, Any]] = {"nH": 0.05, "Abundanc": 0.3, "Redshift": 0.05}

    expression: str = option(default="TBabs*apec", shown=True)
    abundances: str = "angr"
    absorption_abundances: str = "wilm"
    interp: Literal["spline", "xspec"] = "spline"
    plasma: str = "built-in"
    free: tuple[str, ...] | None = option(default=None, example=["kT", "norm", "Abundanc"])

    def __post_init__(self) -> None:
        self.model(check_only=True)

    def model(self, *, check_only: bool = False) -> Model:
        """Build the model; ``check_only`` does not look for the plasma table."""
        from crosscal.xray.emission.expression import Model

        values = validate_value(dict[str, float], self.rest)
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


def _place_functions(options: dict[str, Any]) -> None:
    """Give a user's function, "module:name", the directory of the job file if the module lies there."""
    text, base = options.get("function"), JOB_DIRECTORY.get()
    if isinstance(text, str) and base is not None:
        module = text.partition(":")[0]
        if (base / f"{module}.py").is_file():
            options["function"] = str(base / text)
    for part in options.get("parts", ()) if isinstance(options.get("parts"), list) else ():
        if isinstance(part, dict):
            _place_functions(part)


@options
class ModifierChoice(OpenTable):
    """A family of modifiers by name with its options: ``{ name = "gaussian", convention = "xcalforge" }``.

    Attributes
    ----------
    name : str
        The family.
    """

    inline: ClassVar[bool] = True

    name: str = "gaussian"

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, raw: Any) -> Any:
        return {"name": raw} if isinstance(raw, str) else raw

    def __post_init__(self) -> None:
        _place_functions(vars(self))
        self.modifier()

    def modifier(self) -> Modifier:
        """Build the modifier."""
        from crosscal.xray.modifiers.build import build_from_options

        return build_from_options({"name": self.name, **self.rest})

    def code(self) -> dict[str, Path]:
        """Return the files of the user's functions in it: their content decides the results as an input's does."""
        return {text: path for text in _functions(self.rest) if (path := _source_of(text)) is not None}


def _functions(options: Any) -> list[str]:
    """Return each "module:function" in the options of a modifier and of its parts."""
    if isinstance(options, dict):
        own = [options["function"]] if isinstance(options.get("function"), str) else []
        return own + [text for value in options.values() for text in _functions(value)]
    return [text for value in options for text in _functions(value)] if isinstance(options, list | tuple) else []


def _source_of(text: str) -> Path | None:
    place = Path(text.rpartition(":")[0])
    beside = place.with_name(f"{place.name}.py")
    if beside.is_file():
        return beside
    spec = find_spec(place.name)
    return Path(spec.origin) if spec is not None and spec.origin else None


def modifier_choice(content: Any) -> ModifierChoice:
    """Return the choice that a job file would write: a name, or a table with options."""
    return validate_value(ModifierChoice, content)


@options
class Injected(OpenTable):
    """An error injected into the effective area of simulated data; the remaining keys are the modifier's parameters.

    Attributes
    ----------
    modifier : table
        Family of the error.
    """

    inline: ClassVar[bool] = True

    modifier: ModifierChoice = ModifierChoice()

    def theta(self) -> dict[str, float]:
        """Return the parameters of the error by name."""
        return validate_value(dict[str, float], self.rest)

    def __post_init__(self) -> None:
        self.modifier.modifier().check(self.theta())


@options
class Simulation:
    """Simulated instead of real clusters, observed with the reference telescope and with one with an injected error.

    Attributes
    ----------
    sources : int
        Number of clusters.
    kT : (low, high)
        Their temperatures, keV.
    counts, trusted_counts : float
        Expected counts of each cluster in the corrected and in the reference telescope.
    injected : table
        The injected error: family and parameters.
    """

    sources: Annotated[int, Ge(2)] = 40
    kT: tuple[float, float] = (2.0, 12.0)
    counts: Positive = 5e4
    trusted_counts: Positive | None = option(default=None, example=5e4)
    injected: Injected = option(example={"modifier": "gaussian", "A": 0.1, "mu": 1.8, "sigma": 1.0})


@options
class Sampling:
    """Options of the sampler; by default those of the chosen sampler.

    Attributes
    ----------
    draws, warmup, chains : int
        Draws kept and warm-up draws discarded in each chain, and number of chains.
    """

    draws: Count | None = option(default=None, example=1000)
    warmup: Count | None = option(default=None, example=1000)
    chains: Count | None = option(default=None, example=4)

    @property
    def options(self) -> dict[str, Any]:
        """Options for the sampler that were given."""
        return {k: v for k in ("draws", "warmup", "chains") if (v := getattr(self, k)) is not None}
