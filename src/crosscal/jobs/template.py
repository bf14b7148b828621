"""The commented job file that ``crosscal init`` writes, made from a part's options: values, units and meanings."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tomli_w

from crosscal.core.options import default_of, hints, meanings
from crosscal.jobs.options import Job, plain, tables_in

WIDTH = 118
#: Where comments begin, if the value leaves room.
COLUMN = 36


def template(model: type[Job]) -> str:
    """Return a job file in which every key stands with its meaning: set where it must be, else as a comment.

    A key shows its ``example`` or its default; a table that is optional is a comment as a whole.
    """
    lines = [f"# {line}" for line in textwrap.wrap(_summary(model), WIDTH - 2)]
    lines += _keys(model, "")
    for f, table, many, optional in _tables(model):
        lines += ["", *_table(table, f.name, comment="# " if optional else "", many=many)]
    return "\n".join(lines) + "\n"


def _table(table: type, name: str, *, comment: str, many: bool) -> list[str]:
    head = f"[[{name}]]" if many else f"[{name}]"
    lines = [_with_comment(head, _summary(table), comment)]
    lines += _keys(table, comment)
    for f, inner, several, optional in _tables(table):
        inner_comment = comment or ("# " if optional or not _is_set(f) else "")
        lines += ["", *_table(inner, f"{name}.{f.name}", comment=inner_comment, many=several)]
    return lines


def _keys(table: type, comment: str) -> list[str]:
    """Return the lines of a table's own keys, and of the example of its open ones."""
    lines = []
    before = ""
    for f in fields(table):
        if _table_of(hints(table)[f.name]) is not None and not f.metadata.get("example"):
            continue
        value = _shown_value(table, f)
        key = f"{f.name} = {value}"
        meaning = _meaning(table, f)
        # Keys that are explained together are explained once.
        shown = "" if meaning == before else meaning
        before = meaning
        lines.append(_with_comment(key, shown, comment if _is_set(f) or comment else "# "))
    for name, value in getattr(table, "examples", {}).items():
        lines.append(f"{comment}{name} = {_toml(value)}")
    return lines


def _is_set(f: Field[Any]) -> bool:
    return default_of(f) is MISSING or bool(f.metadata.get("shown")) or f.name == "job"


def _shown_value(table: type, f: Field[Any]) -> str:
    example, default = f.metadata.get("example"), default_of(f)
    if example is not None:
        return _toml(example)
    if f.name == "job":
        return _toml(get_args(hints(table)["job"])[0])
    if f.name == "output" and issubclass(table, Job):
        return _toml(f"runs/{get_args(hints(table)['job'])[0]}")  # type: ignore[arg-type]
    if default is MISSING or default is None:
        return _placeholder(hints(table)[f.name])
    return _toml(default)


def _placeholder(annotation: Any) -> str:
    """Return a value of the type, for a key without example or default."""
    for kind in _members(annotation):
        if get_origin(kind) is Literal:
            return _toml(get_args(kind)[0])
        if kind in (float, int):
            return "1.0" if kind is float else "1"
        if get_origin(kind) in (tuple, list):
            return "[]"
        if get_origin(kind) is dict:
            return "{}"
    return '""'


def _meaning(table: type, f: Field[Any]) -> str:
    text = meanings(table).get(f.name, "").rstrip(".")
    if f.name in ("job", "output") and issubclass(table, Job):
        return "" if f.name == "job" else "the run directory, relative to where you start crosscal"
    choices = [c for kind in _members(hints(table)[f.name]) if get_origin(kind) is Literal for c in get_args(kind)]
    if len(choices) > 1 and not all(_toml(c) in text for c in choices):
        listed = ", ".join(_toml(c) for c in choices)
        text = f"{text} (choices: {listed})" if text else listed
    return text


def _members(annotation: Any) -> Iterator[Any]:
    kind = get_origin(annotation)
    if kind in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    elif kind is Annotated:
        yield from _members(get_args(annotation)[0])
    else:
        yield annotation


def _table_of(annotation: Any) -> type | None:
    """Return the options class of a key that is a table or a list of tables."""
    for kind in _members(annotation):
        if (found := tables_in(kind)) and not getattr(found[0], "inline", False):
            return found[0]
    return None


def _tables(table: type) -> Iterator[tuple[Field[Any], type, bool, bool]]:
    """Yield the tables inside a table: field, class, whether there may be many, whether it is optional."""
    for f in fields(table):
        inner = _table_of(hints(table)[f.name])
        if inner is None or f.metadata.get("example"):
            continue
        many = any(get_origin(kind) in (tuple, list) for kind in _members(hints(table)[f.name]))
        yield f, inner, many, many or default_of(f) is None


def _summary(table: type) -> str:
    return inspect.cleandoc(table.__doc__ or "").splitlines()[0].rstrip(".")


def _toml(value: Any) -> str:
    """Return a value in one line of TOML."""
    value = plain(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").strip()


def _key(name: str) -> str:
    return tomli_w.dumps({name: 1}).removesuffix(" = 1\n")


def _with_comment(code: str, text: str, comment: str) -> str:
    """Return a line with its comment behind it, or above it where it does not fit."""
    line = f"{comment}{code}"
    if not text:
        return line
    beside = f"{line:<{COLUMN}} # {text}"
    if len(beside) <= WIDTH:
        return beside
    above = textwrap.wrap(text, WIDTH - 2 - len(comment), break_on_hyphens=False)
    return "\n".join([*(f"# {part}" for part in above), line])
