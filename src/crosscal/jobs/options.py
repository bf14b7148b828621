"""Strict job files: TOML in, a part's options out; strings become objects here and nowhere below.

A part states its job as a class with `core.options.options`, derived from `Job`; the fields are the tables of the file.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import tomli_w
from pydantic import TypeAdapter, ValidationError, model_validator

from crosscal.core.errors import ConfigError, InputError, closest
from crosscal.core.files import existing_file, sha256, write_text
from crosscal.core.grid import Axis
from crosscal.core.options import OpenTable, hints, meanings, option, options
from crosscal.datasets import resolve

#: Directory of the job file that is being read.
JOB_DIRECTORY: ContextVar[Path | None] = ContextVar("job directory", default=None)
#: In place of an input file: none, where one would otherwise be looked for.
NO_FILE = "none"


@options
class Job:
    """A complete job file. Paths are relative to the job file.

    Attributes
    ----------
    job : str
        The kind of job (see `crosscal list parts`).
    output : Path
        The run directory, relative to the current directory.
    seed : int
        Seed of all random numbers.
    """

    job: str
    output: Path
    seed: int = option(default=0, shown=True)

    #: Dotted names of keys that hold input paths; they are made absolute and protected from overwriting.
    inputs: ClassVar[tuple[str, ...]] = ()

    def linked_inputs(self) -> Mapping[str, Path]:
        """Return the files that inputs name in turn (a table of spectra, a header): "table.key: what" to path."""
        return {}


@options
class AxisTable:
    """An axis as a user writes it: ``{ min = 1.0, max = 15.0, n = 20, scale = "log" }`` or a list of values.

    Attributes
    ----------
    min, max : float
        First and last value.
    n : int
        Number of values.
    scale : str
        Spacing of the values.
    values : tuple of float
        The values themselves, instead of a range.
    """

    inline: ClassVar[bool] = True

    min: float | None = None
    max: float | None = None
    n: int | None = None
    scale: Literal["linear", "log"] = "linear"
    values: tuple[float, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_list(cls, raw: Any) -> Any:
        return {"values": raw} if isinstance(raw, list | tuple) else raw

    def __post_init__(self) -> None:
        ranged = None not in (self.min, self.max, self.n)
        if ranged == (self.values is not None):
            raise ConfigError("give either min, max and n, or a list of values")
        try:
            self.axis("")
        except InputError as error:
            # The key names the axis already.
            raise ConfigError(error.what, expected=error.expected) from None

    def axis(self, name: str, unit: str = "") -> Axis:
        """Return the axis under a name."""
        if self.values is not None:
            return Axis(name, np.array(self.values), unit, self.scale)
        low, high, n = (value or 0 for value in (self.min, self.max, self.n))
        return Axis.from_range(name, low, high, int(n), unit=unit, scale=self.scale)


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
    except RecursionError:
        raise ConfigError("tables or lists are nested too deeply", where=str(path), expected="a job file") from None
    except ValueError:
        # Python refuses to convert them.
        raise ConfigError(
            "an integer of thousands of digits", where=str(path), expected="a number in the range of a 64-bit computer"
        ) from None


@cache
def adapter(model: type) -> TypeAdapter[Any]:
    """Return the validator of an options class."""
    return TypeAdapter(model)


def validate(model: type, content: Mapping[str, Any], *, source: str | Path = "job") -> Any:
    """Turn the content of a job file into its options; relative input paths are taken from the file's directory.

    Raises
    ------
    ConfigError
        Naming the file, the key, what is wrong and what was expected (with the closest known key).
    """
    base = Path(source).resolve().parent
    resolved = _resolve_paths(model, dict(content), base)
    token = JOB_DIRECTORY.set(base)
    try:
        return adapter(model).validate_python(resolved)
    except ValidationError as error:
        raise _config_error(model, error, str(source)) from None
    finally:
        JOB_DIRECTORY.reset(token)


#: How an error inside a table's free keys says where it is.
_KEY = "key "


def validate_value(kind: Any, value: Any) -> Any:
    """Turn a value of a job file into a type.

    Raises
    ------
    ConfigError
        Saying what is wrong with it.
    """
    try:
        return adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        where = f"{_KEY}{place}" if (place := ".".join(str(k) for k in first["loc"])) else None
        if isinstance(cause, InputError):
            raise ConfigError(cause.what, where=cause.where or where, expected=cause.expected) from None
        message = f"{first['msg'][:1].lower()}{first['msg'][1:]}, got {first['input']!r:.60}"
        raise ConfigError(message, where=where) from None


def plain(value: Any) -> Any:
    """Return options as TOML can hold them: tables, lists, texts and numbers; what is None is left out."""
    if is_dataclass(value) and not isinstance(value, type):
        content = {f.name: getattr(value, f.name) for f in fields(value)}
        return plain({**content, **(value.rest if isinstance(value, OpenTable) else {})})
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def toml_text(job: Any) -> str:
    """Return a job with all defaults filled in as TOML."""
    return tomli_w.dumps(plain(job))


def write_toml(path: str | Path, job: Any) -> Path:
    """Write a job with all defaults filled in, such that reading it back gives the same job."""
    return write_text(path, toml_text(job))


def input_paths(job: Job) -> dict[str, Path]:
    """Return the input files that a job names: dotted key (with an index for lists) to path."""
    found: dict[str, Path] = {}
    content = plain(job)
    for dotted in type(job).inputs:
        for table, last, name in _tables_at(content, dotted):
            value = table.get(last)
            if isinstance(value, str) and value != NO_FILE:
                found[name] = Path(value)
            elif isinstance(value, list):
                found |= {f"{name}[{k}]": Path(v) for k, v in enumerate(value)}
    return found


def depends_on(job: Job, *names: str) -> dict[str, Any]:
    """Return what a stage depends on that uses these keys and tables of a job: settings, and what the inputs hold.

    Input files, and those that they name, count by their content, not by where they lie.
    """
    content = {name: plain(getattr(job, name)) for name in names}
    for dotted in type(job).inputs:
        for table, last, _ in _tables_at(content, dotted):
            value = table.get(last)
            if isinstance(value, str):
                table[last] = _content(value)
            elif isinstance(value, list):
                table[last] = [_content(v) for v in value]
    linked = {k: _content(str(p)) for k, p in job.linked_inputs().items() if k.split(".")[0] in names}
    return {**content, **({"linked": linked} if linked else {})}


def _content(path: str) -> str:
    if path == NO_FILE:
        return path
    found = resolve(path, directory=True)
    return sha256(found) if found.is_file() else str(found)


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


def _resolve_paths(model: type, content: dict[str, Any], base: Path) -> dict[str, Any]:
    content = copy.deepcopy(content)
    for dotted in getattr(model, "inputs", ()):
        for table, last, _ in _tables_at(content, dotted):
            value = table.get(last)
            if isinstance(value, str):
                table[last] = _absolute(value, base)
            elif isinstance(value, list):
                table[last] = [_absolute(v, base) if isinstance(v, str) else v for v in value]
    return content


def _absolute(text: str, base: Path) -> str:
    """Expand ``data:`` (the data search path) and relative paths.

    The job file that a run leaves names its inputs by absolute paths. Where such a file is no longer there but lies
    beside the job file, as in a copied or moved analysis, that one is meant.
    """
    if text.startswith("data:") or text == NO_FILE:
        return text
    path = Path(text).expanduser()
    if not path.is_absolute():
        return str(base / path)
    if path.exists() or any(c in text for c in "*?["):
        return str(path)
    beside = (base.joinpath(*path.parts[-k:]) for k in range(1, len(path.parts)))
    return str(next((candidate for candidate in beside if candidate.exists()), path))


def _config_error(model: type, error: ValidationError, source: str) -> ConfigError:
    problems = error.errors()
    # An unknown key often causes the others ("missing"), so it is told first.
    first = min(problems, key=lambda p: p["type"] != "unexpected_keyword_argument")
    names = _known_names(model)
    # Members of unions add their own names to a place, which no user wrote.
    keys = [str(k) for k in first["loc"] if isinstance(k, int) or str(k) in names or k == first["loc"][-1]]
    keys = [k for k in keys if not k.startswith(("function-", "tuple[", "list[", "dict[", "constrained-"))]
    dotted = ".".join(keys) or "top level"
    where = f"{source}: key {dotted}"
    others = [".".join(str(k) for k in p["loc"]) or "top level" for p in problems if p is not first]
    named = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
    more = f" (and {len(others)} more problem{'s' if len(others) > 1 else ''}: {named})" if others else ""
    if first["type"] == "unexpected_keyword_argument":
        known = fields_at(model, keys[:-1])
        return ConfigError(f"unknown key {keys[-1]!r}{more}", where=where, expected=closest(keys[-1], known))
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        if (cause.where or "").startswith(_KEY):
            inner = f"{where}.{str(cause.where).removeprefix(_KEY)}"
        else:
            inner = f"{where}: {cause.where}" if cause.where else where
        return ConfigError(cause.what + more, where=inner, expected=cause.expected)
    if first["type"].startswith("missing"):
        return ConfigError(f"the key is missing{more}", where=where, expected=_describe(model, keys))
    what = first["msg"].removeprefix("Value error, ").replace("a dictionary or an instance of", "a table, not")
    given = f", got {first['input']!r}" if first["type"] not in ("value_error", "dataclass_type") else ""
    if len(given) > 80:
        given = ""
    if first["type"] == "dataclass_type":
        what = f"not a table, got {first['input']!r:.60}"
    return ConfigError(f"{what[:1].lower()}{what[1:]}{given}{more}", where=where)


def tables_in(annotation: Any) -> list[type]:
    """Return the options classes that an annotation mentions."""
    if isinstance(annotation, type) and is_dataclass(annotation):
        return [annotation]
    return [table for argument in get_args(annotation) for table in tables_in(argument)]


def _known_names(model: type) -> set[str]:
    """Return every key that a job file of this kind knows, at any depth."""
    return {f.name for f in fields(model)} | {
        name for f in fields(model) for table in tables_in(hints(model)[f.name]) for name in _known_names(table)
    }


def _tables_for(model: type, keys: list[str]) -> list[type]:
    """Return the options classes at a place, through optional and union types."""
    found = [model]
    for key in keys:
        deeper = [t for m in found if key in hints(m) for t in tables_in(hints(m)[key])]
        found = deeper or found
    return found


def fields_at(model: type, keys: list[str]) -> list[str]:
    """Return the known keys of the table at a place."""
    return sorted({f.name for table in _tables_for(model, keys) for f in fields(table)})


def _describe(model: type, keys: list[str]) -> str | None:
    for table in _tables_for(model, keys[:-1]):
        if text := meanings(table).get(keys[-1]):
            return text.rstrip(".")
    return None
