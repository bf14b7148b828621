"""Modifiers from job files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crosscal.core.errors import ConfigError
from crosscal.core.reading import parsing
from crosscal.xray.modifiers.base import Modifier
from crosscal.xray.modifiers.registry import MODIFIERS


def build_from_options(choice: Any) -> Modifier:
    """Build a modifier from a name, or from a table of a name and options: ``{ name = "gaussian", n = 2 }``.

    Raises
    ------
    ConfigError
        If it is anything else, or an option has a wrong type; UnknownNameError for unknown names.
    """
    if isinstance(choice, str):
        choice = {"name": choice}
    if not isinstance(choice, Mapping) or not isinstance(choice.get("name"), str):
        raise ConfigError(
            f"{choice!r:.60} is not a modifier", expected='a name, or a table such as { name = "gaussian" }'
        )
    options = {k: v for k, v in choice.items() if k != "name"}
    family = MODIFIERS.get(choice["name"])
    where = f"modifier {choice['name']!r}"
    with parsing("options of a wrong type", where=where, error=ConfigError, unchecked=True):
        return family.from_options(options, build_from_options)
