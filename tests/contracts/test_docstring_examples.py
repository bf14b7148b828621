"""Every public function and class shows how it is used, and what the examples name exists.

The examples are not run here (most need data); their imports, attributes and keywords are looked up.
"""

import ast
import doctest
import importlib
import importlib.util
import inspect
from pathlib import Path

import pytest

from crosscal.core.registry import Registry

PACKAGES = ("crosscal", "crosscal.xray", "crosscal.concordance", "crosscal.lightcurves", "crosscal.fluxcal")
_spec = importlib.util.spec_from_file_location("pages", Path(__file__).parents[1] / "docs" / "test_pages.py")
PAGES = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(PAGES)
IMPORTS = "import crosscal\nfrom crosscal import xray, concordance, lightcurves, fluxcal\n"


def public(package):
    """Names and objects of a package that are called or made."""
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value) and not isinstance(value, Registry) and not inspect.ismodule(value):
            yield name, value


CASES = [pytest.param(value, id=f"{package}.{name}") for package in PACKAGES for name, value in public(package)]


def test_there_are_public_names():
    assert len(CASES) > 150


@pytest.mark.parametrize("value", CASES)
def test_a_public_name_has_an_example_that_names_what_exists(value):
    found = doctest.DocTestParser().get_examples(inspect.getdoc(value) or "")
    assert found, "no line >>> in its docstring"
    code = "".join(example.source for example in found)
    PAGES.Names().visit(ast.parse(IMPORTS + code))


def test_an_example_of_what_does_not_exist_is_found():
    for wrong in ("xray.read_arff('a.arf')", "concordance.fit(data, taau=0.05)"):
        with pytest.raises(AssertionError):
            PAGES.Names().visit(ast.parse(f"{IMPORTS}{wrong}\n"))
