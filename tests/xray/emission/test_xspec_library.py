"""What happens around the XSPEC library, without it: messages, and the parser of its parameter table."""

import builtins

import numpy as np
import pytest

from crosscal.core.errors import InputError, MissingDependencyError
from crosscal.xray.emission import xspec, xspec_library
from crosscal.xray.emission.expression import Model

EDGES = np.geomspace(0.3, 10, 20)
TABLE = """\
cutoffpl       2   0.         1.e20          C_cutoffPowerLaw    add  0
PhoIndex " "    1.   -3.     -2.     9.      10.     0.01
HighECut keV    15.   0.01    1.     500.    500.    0.01

zshift         1  0.  1.e20  C_shift  con  0
Redshift " "    0.   -0.999  -0.999   10.       10.       -0.01
odd  4  0.  1e20  xsodd  mul 0
$switch    2
*scale "m s" 3.5
nounit 1.0 0.0 0.0 2.0 2.0 0.1
wide  "km/s "  0.0 -1e38 0. 5. 1e38 -0.01
"""


class FakeLibrary:
    """Counts calls; the 'model' is its first parameter in every bin."""

    def __init__(self, value=None):
        self.definitions = xspec_library.read_definitions(TABLE)
        self.calls, self.state, self.value = [], [], value

    def set_abundances(self, table):
        self.state.append(table)

    def set_string(self, key, value):
        self.state.append((key, value))

    def call(self, function, edges, parameters, flux):
        self.calls.append(tuple(parameters))
        return flux + (parameters[0] if self.value is None else self.value)


@pytest.fixture
def fake(monkeypatch):
    library = FakeLibrary()
    monkeypatch.setattr(xspec, "library", lambda: library)
    names = {"cutoffpl": "add", "zshift": "con", "odd": "mul", "pileup": "acn"}
    monkeypatch.setattr(xspec, "known_models", lambda: names)
    return library


def test_parameter_table():
    models = xspec_library.read_definitions(TABLE)
    cutoff = models["cutoffpl"]
    assert (cutoff["function"], cutoff["type"]) == ("C_cutoffPowerLaw", "add")
    index, fold = cutoff["parameters"]
    assert (index.name, index.default, index.low, index.high, index.free) == ("PhoIndex", 1.0, -3.0, 10.0, True)
    assert (fold.unit, fold.default) == ("keV", 15.0)
    assert "keV" in fold.description
    assert not models["zshift"]["parameters"][0].free
    switch, scale, nounit, wide = models["odd"]["parameters"]
    assert (switch.name, switch.default) == ("switch", 2.0)
    assert (scale.name, scale.default) == ("scale", 3.5)
    assert (nounit.default, nounit.high, nounit.unit) == (1.0, 2.0, "")
    assert (wide.low, wide.high, wide.unit) == (-np.inf, np.inf, "km/s")


class NoLibXSPEC(Exception):
    """Named as the error of the package whose shared library does not load."""


@pytest.fixture
def failing_import(monkeypatch):
    """Make the import of the package raise."""
    real = builtins.__import__

    def set_error(error):
        def without(name, *args, **kwargs):
            if name == "xspectrampoline":
                raise error
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)

    xspec_library.library.cache_clear()
    yield set_error
    xspec_library.library.cache_clear()


@pytest.mark.parametrize("error", [ImportError("absent"), NoLibXSPEC("broken")])
def test_missing_package_is_named(failing_import, error):
    failing_import(error)
    with pytest.raises(MissingDependencyError, match=r"pip install 'crosscal\[xspec\]'"):
        Model("TBabs*cutoffpl")


def test_other_errors_of_the_package_are_not_hidden(failing_import):
    failing_import(RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        Model("TBabs*cutoffpl")


def test_every_model_of_xspec_is_known_by_name():
    names = xspec.known_models()
    assert {"apec", "TBabs", "cutoffpl", "bbody", "zashift", "pileup"} <= set(names)
    assert set(names.values()) <= {"add", "mul", "con", "acn"}


def test_library_models_join_an_expression(fake):
    model = Model("odd*(cutoffpl+powerlaw)", abundances="aspl", absorption_abundances="angr")
    assert model.names[:2] == ("switch", "scale")
    spectrum = model.spectrum(EDGES, PhoIndex=[[1.0], [2.0], [2.0]], norm_2=[0.0, 0.0], switch=3.0)
    assert spectrum.shape == (3, 2, 19)
    # factor 3 times index times norm 1
    assert spectrum[:, 0, 0] == pytest.approx([3.0, 6.0, 6.0])
    assert len(fake.calls) == 3  # one of the factor, two of the distinct indices
    assert fake.state == ["angr", "aspl"]


def test_library_convolution_gets_its_input(fake):
    model = Model("zshift*powerlaw", Redshift=0.5, PhoIndex=2.0)
    assert model.spectrum(EDGES) == pytest.approx(Model("powerlaw", PhoIndex=2.0).spectrum(EDGES) + 0.5)


def test_path_of_atomdb_is_passed_on(fake, tiny):
    Model("cutoffpl", table=tiny.directory).spectrum(EDGES)
    assert ("APECROOT", str(tiny.directory.resolve() / "apec_v9.9.9")) in fake.state


def test_library_models_of_other_types(fake):
    with pytest.raises(InputError, match="pileup is of type 'acn'; expected type add, mul or con"):
        Model("pileup*powerlaw")


@pytest.mark.parametrize(("value", "message"), [(np.nan, "not finite"), (-1.0, "no photons")])
def test_library_that_fails(fake, value, message):
    fake.value = value if np.isnan(value) else 0.0
    with pytest.raises(InputError, match=f"model 'cutoffpl': the XSPEC library returned .*{message}|{message}"):
        Model("cutoffpl").spectrum(EDGES)
