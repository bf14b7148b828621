"""Builders that other tests have already: their modules by path."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from types import ModuleType

TESTS = Path(__file__).parents[1]


@lru_cache
def sibling(path: str) -> ModuleType:
    """Load ``tests/PATH`` under a name of its own."""
    spec = importlib.util.spec_from_file_location(
        "robustness_" + path.replace("/", "_").removesuffix(".py"), TESTS / path
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
