"""Public names: each is what it says whatever was imported before, and each says what it is."""

import ast
import importlib
import inspect
import pkgutil
import re

import pytest

#: Packages whose ``__all__`` is public, in the order of the reference pages.
PACKAGES = (
    "crosscal",
    "crosscal.xray",
    "crosscal.concordance",
    "crosscal.lightcurves",
    "crosscal.fluxcal",
    "crosscal.compute",
    "crosscal.emulator",
    "crosscal.datasets",
    "crosscal.plot",
    "crosscal.report",
)
NAMES = [
    (package, name)
    for package in PACKAGES
    for name in importlib.import_module(package).__all__
    if not name.startswith("__")
]


def public(package: str, name: str):
    return getattr(importlib.import_module(package), name)


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_no_public_name_is_hidden_by_a_submodule(package):
    module = importlib.import_module(package)
    for found in pkgutil.iter_modules(module.__path__):
        if not found.name.startswith("_"):
            importlib.import_module(f"{package}.{found.name}")
    hidden = [name for name in module.__all__ if inspect.ismodule(getattr(module, name))]
    assert not hidden


def test_a_function_stays_a_function_when_it_is_used_twice():
    from crosscal import fluxcal, lightcurves

    for package, name in ((lightcurves, "intercalibrate"), (lightcurves, "read"), (fluxcal, "calibrate")):
        assert callable(getattr(package, name))
        assert getattr(package, name) is getattr(package, name)


def own_methods(cls: type) -> dict[str, object]:
    """Public methods and properties that a class itself defines, unwrapped."""
    found = {}
    for name, member in vars(cls).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            found[name] = member.fget
        elif isinstance(member, classmethod | staticmethod):
            found[name] = member.__func__
        elif inspect.isroutine(member) or hasattr(member, "func"):
            found[name] = getattr(member, "func", member)
    return found


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[f"{p}.{n}".removeprefix("crosscal.") for p, n in NAMES])
def test_every_public_name_has_a_docstring(package, name):
    member = public(package, name)
    if inspect.ismodule(member) or inspect.isclass(member) or inspect.isroutine(member):
        assert inspect.getdoc(member)
    if inspect.isclass(member):
        assert not (member.__doc__ or "").startswith(f"{member.__name__}("), "a dataclass's own signature says nothing"
        silent = [method for method, function in own_methods(member).items() if not inspect.getdoc(function)]
        assert not silent


#: Arguments that mean the same everywhere, or whose type says all.
PLAIN = {
    "self", "cls", "progress", "seed", "path", "paths", "data", "model", "emulator", "pairs", "response", "result",
    "curves", "store", "options", "filename",
}  # fmt: skip


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[f"{p}.{n}".removeprefix("crosscal.") for p, n in NAMES])
def test_the_docstring_of_a_function_names_its_arguments_and_errors(package, name):
    function = public(package, name)
    if not inspect.isfunction(function):
        return
    text = inspect.getdoc(function) or ""
    silent = [p for p in inspect.signature(function).parameters if p not in PLAIN and not re.search(rf"\b{p}\b", text)]
    assert not silent
    body = [node for node in ast.walk(ast.parse(inspect.getsource(function))) if isinstance(node, ast.Raise)]
    assert not body or "Raises" in text


def test_names_of_earlier_versions_are_found_but_not_listed():
    from crosscal import xray
    from crosscal.xray import _EARLIER

    for name in _EARLIER:
        assert getattr(xray, name).__name__ == name
        assert name not in dir(xray)
