"""Functions that write an object into a file take the path first."""

import inspect
from importlib import import_module

import pytest

from crosscal.core.errors import InputError
from crosscal.core.files import check_path_first

PARTS = ("xray", "concordance", "lightcurves", "fluxcal")
WRITERS = [
    (part, name)
    for part in PARTS
    for name in import_module(f"crosscal.{part}").__all__
    if name.startswith("write_") and callable(getattr(import_module(f"crosscal.{part}"), name))
]


@pytest.mark.parametrize(("part", "name"), WRITERS)
def test_path_first(part, name):
    writer = getattr(import_module(f"crosscal.{part}"), name)
    assert next(iter(inspect.signature(writer).parameters)) == "path"


def test_there_are_writers():
    assert {"write_pairs", "write_xcalforge", "write_frame", "write_pycali", "write_arf"} <= {n for _, n in WRITERS}


@pytest.mark.parametrize("name", ["write_pairs", "write_xcalforge", "write_frame"])
def test_swapped_arguments_are_told(name, tmp_path):
    from crosscal import fluxcal, xray

    kinds = {"write_pairs": xray.PairedSources, "write_xcalforge": xray.Library, "write_frame": fluxcal.Frame}
    kind = kinds[name]
    writer = getattr(fluxcal if name == "write_frame" else xray, name)
    with pytest.raises(InputError, match=f"{name}: the arguments are swapped; expected a path, then a {kind.__name__}"):
        writer(object.__new__(kind), tmp_path / "out")
    with pytest.raises(InputError, match=f"{name}: a str and a int; expected a path, then a {kind.__name__}"):
        writer("out", 3)


def test_right_arguments_pass(tmp_path):
    check_path_first(tmp_path, 3, int, where="here")
