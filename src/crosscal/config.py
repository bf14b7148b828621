"""Strict job files: TOML in, validated models out; strings become objects here and nowhere below.

A part defines its job as a pydantic model derived from `JobModel` and offers a `Part`; the command line needs no
more to run, describe and demonstrate it.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, get_args

import numpy as np
import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from crosscal.core.correction import Correction
from crosscal.core.errors import ConfigError, CrossCalError, InputError, closest
from crosscal.core.files import existing_file, write_text
from crosscal.core.grid import Axis
from crosscal.core.progress import Progress


class StrictModel(BaseModel):
    """A table of a job file: unknown keys are errors, values are not changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, protected_namespaces=())


class JobModel(StrictModel):
    """A whole job file. Relative paths are meant from the job file's directory.

    Attributes
    ----------
    job : str
        Name of the part.
    output : Path
        The run directory.
    seed : int
        Seed of all random numbers of the run.
    """

    job: str
    output: Path
    seed: int = 0

    #: Dotted names of keys that hold input paths; they are made absolute and protected from overwriting.
    inputs: ClassVar[tuple[str, ...]] = ()


class AxisSpec(StrictModel):
    """An axis as a user writes it: ``{ min = 1.0, max = 15.0, n = 20, scale = "log" }`` or a list of values."""

    min: float | None = None
    max: float | None = None
    n: int | None = None
    scale: Literal["linear", "log"] = "linear"
    values: tuple[float, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_list(cls, raw: Any) -> Any:
        return {"values": raw} if isinstance(raw, list | tuple) else raw

    @model_validator(mode="after")
    def _complete(self) -> AxisSpec:
        ranged = None not in (self.min, self.max, self.n)
        if ranged == (self.values is not None):
            raise ValueError("give either min, max and n, or a list of values")
        try:
            self.axis("")
        except InputError as error:
            # The key names the axis already.
            raise InputError(error.what, expected=error.expected) from None
        return self

    def axis(self, name: str, unit: str = "") -> Axis:
        """Return the axis under a name."""
        if self.values is not None:
            return Axis(name, np.array(self.values), unit, self.scale)
        low, high, n = (value or 0 for value in (self.min, self.max, self.n))
        return Axis.from_range(name, low, high, int(n), unit=unit, scale=self.scale)


def _band(value: Any) -> tuple[float, float]:
    numbers = list(value) if isinstance(value, list | tuple) else []
    if len(numbers) != 2 or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers):
        raise ValueError(f"two numbers low < high, got {value!r:.60}")
    low, high = map(float, numbers)
    if not low < high:
        raise ValueError(f"low < high, got {low}, {high}")
    return low, high


#: Two increasing numbers, such as an energy band in keV.
Band = Annotated[tuple[float, float], BeforeValidator(_band), PlainSerializer(list)]


class JobResult(Protocol):
    """What the command line needs of a part's result."""

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user must know before trusting it, one sentence each."""
        ...

    @property
    def correction(self) -> Correction | None:
        """What to multiply by, with its covariance; None where the job corrects nothing.

        Raises
        ------
        FitError
            If the data gave none.
        """
        ...

    def figures(self) -> Mapping[str, Any]:
        """Figures by name, in the order they should be seen; the first one goes with the answer."""
        ...


@dataclass(frozen=True)
class Part:
    """One of the jobs that CrossCal does.

    Attributes
    ----------
    name : str
    model : type of JobModel
    run : callable
        ``run(job, output, progress) -> result``; writes the run directory.
    demo : callable
        ``demo(output, progress) -> result``; the same on built-in data, offline.
    template : str
        A commented job file.
    """

    name: str
    model: type[JobModel]
    run: Callable[[Any, Path, Progress], JobResult]
    demo: Callable[[Path, Progress], JobResult]
    template: str


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    DataFileError
        If the file is absent or unreadable.
    ConfigError
        If it is not TOML; the sentence names line and column.
    """
    source = existing_file(path, what="job file")
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError("the job file is not text", where=str(path), expected="a TOML file in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML ({error})", where=str(path), expected="TOML") from error


def validate(model: type[JobModel], content: Mapping[str, Any], *, source: str | Path = "job") -> Any:
    """Turn the content of a job file into the model; relative input paths are taken from the file's directory.

    Raises
    ------
    ConfigError
        Naming the file, the key, what is wrong and what was expected (with the closest known key).
    """
    resolved = _resolve_paths(model, dict(content), Path(source).resolve().parent)
    try:
        return model.model_validate(resolved)
    except ValidationError as error:
        raise _config_error(model, error, str(source)) from None


def write_toml(path: str | Path, job: BaseModel) -> Path:
    """Write a job with all defaults filled in, such that reading it back gives the same job."""
    return write_text(path, toml_text(job))


def toml_text(job: BaseModel) -> str:
    """Return a job with all defaults filled in as TOML."""
    return tomli_w.dumps(_plain(job.model_dump(mode="python")))


def _plain(value: Any) -> Any:
    """Make content that TOML can hold: no None, no tuples, no paths, no NumPy numbers."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def input_paths(job: JobModel) -> dict[str, Path]:
    """Return the input files that a job names: dotted key (with an index for lists) to path."""
    found: dict[str, Path] = {}
    content = job.model_dump(mode="python")
    for dotted in type(job).inputs:
        for table, last, name in _tables_at(content, dotted):
            value = table.get(last)
            if isinstance(value, str | Path):
                found[name] = Path(value)
            elif isinstance(value, list | tuple):
                found |= {f"{name}[{k}]": Path(v) for k, v in enumerate(value)}
    return found


def _tables_at(content: Any, dotted: str) -> list[tuple[Any, str, str]]:
    """Return (table, key, name) for each place that a dotted name means, through lists of tables."""
    *parents, last = dotted.split(".")
    tables = [(content, "")]
    for key in parents:
        deeper = []
        for table, name in tables:
            value = table.get(key) if isinstance(table, Mapping) else None
            if isinstance(value, list | tuple):
                deeper += [(item, f"{name}{key}[{k}].") for k, item in enumerate(value)]
            else:
                deeper.append((value, f"{name}{key}."))
        tables = deeper
    return [(table, last, name + last) for table, name in tables if isinstance(table, Mapping)]


def _resolve_paths(model: type[JobModel], content: dict[str, Any], base: Path) -> dict[str, Any]:
    content = copy.deepcopy(content)
    for dotted in model.inputs:
        for table, last, _ in _tables_at(content, dotted):
            value = table.get(last)
            if isinstance(value, str):
                table[last] = _absolute(value, base)
            elif isinstance(value, list):
                table[last] = [_absolute(v, base) if isinstance(v, str) else v for v in value]
    return content


def _absolute(text: str, base: Path) -> str:
    """Expand ``data:`` (the data search path) and relative paths."""
    if text.startswith("data:"):
        return text
    path = Path(text).expanduser()
    return str(path if path.is_absolute() else base / path)


def _config_error(model: type[BaseModel], error: ValidationError, source: str) -> ConfigError:
    problems = error.errors()
    # An unknown key often causes the others ("missing"), so it is told first.
    first = min(problems, key=lambda p: p["type"] != "extra_forbidden")
    keys = [str(k) for k in first["loc"] if not str(k).startswith(("function-", "tuple[", "list["))]
    dotted = ".".join(keys) or "top level"
    where = f"{source}: key {dotted}"
    others = [".".join(str(k) for k in p["loc"]) or "top level" for p in problems if p is not first]
    named = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
    more = f" (and {len(others)} more problem{'s' if len(others) > 1 else ''}: {named})" if others else ""
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, keys[:-1])
        return ConfigError(f"unknown key {keys[-1]!r}{more}", where=where, expected=closest(keys[-1], known))
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        inner = f"{where}: {cause.where}" if cause.where else where
        return ConfigError(cause.what + more, where=inner, expected=cause.expected)
    if first["type"] == "missing":
        return ConfigError(f"the key is missing{more}", where=where, expected=_describe(model, keys))
    what = first["msg"].removeprefix("Value error, ")
    given = f", got {first['input']!r}" if first["type"] != "value_error" else ""
    if len(given) > 80:
        given = ""
    return ConfigError(f"{what[:1].lower()}{what[1:]}{given}{more}", where=where)


def _fields_at(model: type[BaseModel], keys: list[str]) -> list[str]:
    """Return the known keys of the table at a place, through optional and union types."""
    candidates = [model]
    for key in keys:
        deeper: list[type[BaseModel]] = []
        for candidate in candidates:
            field = candidate.model_fields.get(key)
            if field is not None:
                deeper += _models_in(field.annotation)
            elif key in {m.__name__ for m in candidates}:
                deeper.append(candidate)
        candidates = deeper or candidates
    return sorted({name for candidate in candidates for name in candidate.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _describe(model: type[BaseModel], keys: list[str]) -> str | None:
    parents = [model]
    for key in keys[:-1]:
        parents = [m for p in parents if key in p.model_fields for m in _models_in(p.model_fields[key].annotation)]
    for parent in parents:
        field = parent.model_fields.get(keys[-1])
        if field is not None and field.description:
            return field.description
    return None


def as_value_error(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a converter for use as a pydantic validator: CrossCal's own errors become the key's error."""

    def convert(value: Any) -> Any:
        try:
            return call(value)
        except CrossCalError as error:
            raise ValueError(str(error).rstrip(".")) from error

    return convert
