"""Packages whose public names are imported on first use."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class LazyPackage(ModuleType):
    """A package in which a public name is never hidden by the submodule that is spelled like it.

    Importing ``package.calibrate`` binds the module as ``package.calibrate``, so that after a first use of the function
    of that name the second would find the module. Names in the package's ``__all__`` are left to its ``__getattr__``.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in self.__dict__.get("__all__", ()):
            return
        super().__setattr__(name, value)


def protect_names(package: str) -> None:
    """Make an imported package a `LazyPackage`; call it with ``__name__`` at the end of ``__init__.py``."""
    sys.modules[package].__class__ = LazyPackage
