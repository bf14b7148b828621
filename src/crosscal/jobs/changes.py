"""Changes of a job from outside its file: ``--set section.key=value`` and ``--workers``."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from crosscal.core.errors import ConfigError, closest
from crosscal.jobs.options import fields_at

#: The table of a job whose work is spread over processes.
COMPUTE = "compute"


def parse_change(text: str) -> tuple[str, Any]:
    """Split ``section.key=value``; the value is TOML, and anything that is not TOML is read as text without quotes.

    Examples
    --------
    >>> parse_change("sampling.draws=500"), parse_change("noise.kind=quoted")
    (('sampling.draws', 500), ('noise.kind', 'quoted'))

    Raises
    ------
    ConfigError
        If there is no key, or the value opens a list, table or text that it does not close.
    """
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not all(part.strip() for part in key.split(".")):
        raise ConfigError(f"--set {text}", expected="SECTION.KEY=VALUE, such as --set sampling.draws=500")
    try:
        found = tomllib.loads(f"value = {value}")
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        # A shell takes away the quotes around a text.
        if not value or value[0] in "[{\"'" or "\n" in value:
            raise ConfigError(
                f"not a TOML value ({error})", where=f"--set {text}", expected="a number, a text, a list or a table"
            ) from None
        return key, value
    if set(found) != {"value"}:
        raise ConfigError("more than one value", where=f"--set {key}", expected="one TOML value in one line")
    return key, found["value"]


def workers_change(model: type, workers: int) -> tuple[str, Any]:
    """Return the change that spreads a job over ``workers`` processes.

    Raises
    ------
    ConfigError
        If the part computes nothing in several processes.
    """
    if workers < 1:
        raise ConfigError(f"--workers {workers}", expected="a number >= 1")
    if COMPUTE not in {f.name for f in fields(model)}:
        raise ConfigError(
            "this kind of job uses one process, so a number of workers has no meaning",
            where=f"--workers {workers}",
            expected="no --workers",
        )
    return f"{COMPUTE}.workers", workers


def changed(model: type, content: Mapping[str, Any], changes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the content of a job file with other values; a number in a dotted key means an item of a list.

    Raises
    ------
    ConfigError
        If a dotted key passes through something that is not a table, with the closest known key.
    """
    result = copy.deepcopy(dict(content))
    for dotted, value in changes:
        *parents, last = dotted.split(".")
        place: Any = result
        for depth, key in enumerate(parents):
            place = _inside(model, place, parents[: depth + 1], key, dotted)
        if isinstance(place, list):
            place[_index(place, last, dotted)] = value
        else:
            place[last] = value
    return result


def _inside(model: type, place: Any, path: Sequence[str], key: str, dotted: str) -> Any:
    """Return the table or list under a key of a table, made if it can stand there."""
    if isinstance(place, list):
        inner = place[_index(place, key, dotted)]
    else:
        known = fields_at(model, [k for k in path[:-1] if not k.isdigit()])
        if key not in known and key not in place:
            raise ConfigError(f"unknown table {key!r}", where=f"--set {dotted}", expected=closest(key, known))
        inner = place.setdefault(key, {})
    if not isinstance(inner, dict | list):
        raise ConfigError(f"{'.'.join(path)} is not a table", where=f"--set {dotted}", expected="SECTION.KEY=VALUE")
    return inner


def _index(place: list[Any], key: str, dotted: str) -> int:
    if not key.isdigit() or int(key) >= len(place):
        raise ConfigError(
            f"{key!r} is not an item of the list", where=f"--set {dotted}", expected=f"a number below {len(place)}"
        )
    return int(key)
