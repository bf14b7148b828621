"""Frozen values on disk: dataclasses of numbers, texts, arrays and other such values, in one NumPy file.

Stages of a run keep their products this way. Nothing that is read is executed: classes are looked up by name among
CrossCal's own dataclasses.
"""

from __future__ import annotations

import enum
import json
import math
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.errors import DataFileError
from crosscal.core.files import atomic_path, existing_file
from crosscal.core.reading import parsing

_PLAIN = (str, bool, int, type(None))

#: Arrays by their place in memory, shape, strides and type; each with its number in the file.
_Arrays = dict[tuple[Any, ...], tuple[int, np.ndarray]]


def save_value(path: str | os.PathLike[str], value: Any) -> Path:
    """Write a value of dataclasses, enumerations, mappings, tuples, lists, arrays, paths, numbers and texts.

    Raises
    ------
    TypeError
        For anything else: a mistake of the caller.
    """
    arrays: _Arrays = {}
    tree = json.dumps(_encode(value, arrays))
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        content: dict[str, Any] = {"tree": np.array(tree), **{f"a{k}": a for k, a in arrays.values()}}
        np.savez(stream, **content)
    return Path(path)


def load_value(path: str | os.PathLike[str]) -> Any:
    """Read what `save_value` wrote.

    Raises
    ------
    DataFileError
        If the file is absent or damaged.
    """
    source = existing_file(path)
    with (
        parsing("damaged record of a stage", where=source, expected="run again", unchecked=True),
        np.load(source, allow_pickle=False) as content,
    ):
        tree = json.loads(str(content["tree"]))
        return _decode(tree, {name: content[name] for name in content.files if name != "tree"})


def _encode(value: Any, arrays: _Arrays) -> Any:
    """A value as JSON; ``arrays`` is filled. Values that share an array share it in the file."""
    if isinstance(value, enum.Enum):
        return {"enum": _name(type(value)), "member": value.name}
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError("an array of objects cannot be stored")
        place = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str)
        number, _ = arrays.setdefault(place, (len(arrays), array))
        return {"array": number, "scalar": isinstance(value, np.generic)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, tuple | list):
        return {type(value).__name__ if type(value) in (tuple, list) else "tuple": [_encode(v, arrays) for v in value]}
    if isinstance(value, Mapping):
        return {"mapping": [[_encode(k, arrays), _encode(v, arrays)] for k, v in value.items()]}
    if is_dataclass(value) and not isinstance(value, type):
        content = {f.name: _encode(getattr(value, f.name), arrays) for f in fields(value) if f.init}
        return {"class": _name(type(value)), "fields": content}
    raise TypeError(f"a {type(value).__name__} cannot be stored")


def _name(cls: type) -> str:
    if not cls.__module__.startswith("crosscal."):
        raise TypeError(f"a {cls.__qualname__} of {cls.__module__} cannot be stored")
    return f"{cls.__module__}:{cls.__qualname__}"


def _decode(tree: Any, arrays: Mapping[str, Any]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        array = arrays[f"a{tree['array']}"]
        return array[()] if tree["scalar"] else array
    if "float" in tree:
        return float(tree["float"])
    if "path" in tree:
        return Path(tree["path"])
    if "tuple" in tree:
        return tuple(_decode(v, arrays) for v in tree["tuple"])
    if "list" in tree:
        return [_decode(v, arrays) for v in tree["list"]]
    if "mapping" in tree:
        return {_decode(k, arrays): _decode(v, arrays) for k, v in tree["mapping"]}
    if "enum" in tree:
        return _class(tree["enum"])[tree["member"]]
    found = _class(tree["class"])
    if unknown := set(tree["fields"]) - {f.name for f in fields(found)}:
        raise _foreign(f"{tree['class']} has no {', '.join(sorted(unknown))}")
    return found(**{k: _decode(v, arrays) for k, v in tree["fields"].items()})


def _class(name: str) -> Any:
    module, _, attribute = name.partition(":")
    # `crosscal.__main__` would run the command line.
    if not module.startswith("crosscal.") or "__" in name:
        raise _foreign(f"a foreign class {name!r}")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        raise _foreign(f"no class {name!r}") from None
    if not (isinstance(found, type) and (is_dataclass(found) or issubclass(found, enum.Enum))):
        raise _foreign(f"{name!r} is not a record")
    return found


def _foreign(what: str) -> DataFileError:
    return DataFileError(what, where="record of a stage", expected="run again")
