"""Modifiers as JSON and back, so that an emulator's file says which family it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from crosscal.core.errors import DataFileError


def describe_modifier(modifier: Any) -> dict[str, Any] | None:
    """Return a JSON-like description, or None where there is none (a user's function, a member not registered)."""
    from crosscal.xray.modifiers.registry import MODIFIERS

    if modifier is None or modifier.name not in MODIFIERS or not isinstance(modifier, MODIFIERS.get(modifier.name)):
        return None
    settings = {}
    for item in fields(modifier):
        if item.init:
            value = _encode(getattr(modifier, item.name))
            if value is _UNKNOWN:
                return None
            settings[item.name] = value
    return {"name": modifier.name, "settings": settings}


def build_modifier(facts: Mapping[str, Any] | None, *, where: str | None = None) -> Any:
    """Rebuild a modifier from `describe_modifier`; None gives None.

    Raises
    ------
    DataFileError
        If the description does not fit the family; UnknownNameError if no family has this name.
    """
    from crosscal.xray.modifiers.registry import MODIFIERS

    if facts is None:
        return None
    try:
        name, settings = facts["name"], {k: _decode(v, where) for k, v in facts["settings"].items()}
        return MODIFIERS.get(name, where=where)(**settings)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataFileError("the description of the modifier is damaged", where=where, expected="as written") from error


_UNKNOWN = object()


def _encode(value: Any) -> Any:
    from crosscal.xray.instrument.pca_library import PcaLibrary
    from crosscal.xray.modifiers.base import Modifier

    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    if isinstance(value, (tuple, list)):
        items = [_encode(v) for v in value]
        return _UNKNOWN if any(i is _UNKNOWN for i in items) else {"tuple": items}
    if isinstance(value, Modifier):
        facts = describe_modifier(value)
        return _UNKNOWN if facts is None else {"modifier": facts}
    if is_dataclass(value) and isinstance(value, PcaLibrary):
        return {"pca": {f.name: _encode(getattr(value, f.name)) for f in fields(value)}}
    return _UNKNOWN


def _decode(value: Any, where: str | None) -> Any:
    from crosscal.xray.instrument.pca_library import PcaLibrary

    if not isinstance(value, Mapping):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return np.array(content, dtype=float)
    if kind == "tuple":
        return tuple(_decode(v, where) for v in content)
    if kind == "modifier":
        return build_modifier(content, where=where)
    if kind == "pca":
        return PcaLibrary(**{k: _decode(v, where) for k, v in content.items()})
    raise KeyError(kind)
