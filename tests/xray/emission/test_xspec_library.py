"""What happens around the XSPEC library, without it: messages, and the parser of its parameter table."""

import builtins

import numpy as np
import pytest

from crosscal.core.errors import InputError, MissingDependencyError, UnknownNameError
from crosscal.xray.emission import xspec, xspec_library, xspec_process, xspec_worker
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

    def call(self, function, edges, parameters, flux, abundances, strings):
        self.calls += [tuple(row) for row in parameters]
        self.state += [abundances, *strings.items()]
        return flux + (parameters[:, :1] if self.value is None else self.value)


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
        xspec_library.library()
    assert xspec_worker.respond({"ask": "definitions"}, np.zeros(0)) == ({"missing": True}, None)


def test_other_errors_of_the_package_are_not_hidden(failing_import):
    failing_import(RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        xspec_library.library()


@pytest.fixture
def remote(monkeypatch):
    """A fresh client whose worker runs a small program instead of XSPEC's."""
    made = []

    def start(body):
        monkeypatch.setattr(xspec_process, "find_spec", lambda name: name)
        program = f"import os, signal, sys\nfrom crosscal.xray.emission.xspec_process import *\n{body}"
        monkeypatch.setattr(xspec_process, "_PROGRAM", program)
        made.append(xspec_process.RemoteLibrary())
        return made[-1]

    yield start
    for client in made:
        if client._worker is not None:
            xspec_process._end(client._worker)


ANSWER = "header, array = receive(sys.stdin.buffer)\n"


def test_a_package_that_is_absent_or_broken_is_named(monkeypatch, remote):
    client = remote(ANSWER + "send(sys.stdout.buffer, {'missing': True})")
    with pytest.raises(MissingDependencyError, match="crosscal"):
        _ = client.definitions
    monkeypatch.setattr(xspec_process, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="crosscal"):
        xspec_process.RemoteLibrary()


def test_messages_hold_headers_and_numbers(remote):
    client = remote(
        "while True:\n    " + ANSWER.replace("\n", "\n    ") + "send(sys.stdout.buffer, {}, 2 * array[-6:])"
    )
    flux = np.arange(6.0).reshape(2, 3)
    for _ in range(2):
        out = client.call("C_f", np.arange(1.0, 5.0), np.ones((2, 1)), flux, "angr", {})
        assert out == pytest.approx(2 * flux)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "Segmentation fault"),
        ("sys.exit(3)", "exit code 3"),
        ("sys.stdout.buffer.write(b'half')", "exit code 0"),
    ],
)
def test_a_worker_that_dies_is_told_and_replaced(remote, end, words):
    client = remote(ANSWER + end)
    for _ in range(2):
        with pytest.raises(xspec_process.WorkerDied, match=words):
            client.call("C_f", np.arange(1.0, 5.0), np.ones((1, 1)), np.zeros((1, 3)), "angr", {})


def test_what_the_library_cannot_do_is_an_input_error(remote):
    client = remote(ANSWER + "send(sys.stdout.buffer, {'error': 'no such function'})")
    with pytest.raises(InputError, match="XSPEC library: no such function"):
        client.call("C_f", np.arange(1.0, 5.0), np.ones((1, 1)), np.zeros((1, 3)), "angr", {})


def test_the_worker_answers_for_the_library(monkeypatch):
    class Library:
        definitions_path = "model.dat"
        state = ()

        def use_data(self, directory):
            self.state = (*self.state, directory)

        def set_abundances(self, table):
            self.state = (*self.state, table)

        def set_string(self, key, value):
            self.state = (*self.state, key, value)

        def call(self, function, edges, parameters, flux):
            return np.full(flux.size, sum(parameters)) + flux

    fake = Library()
    monkeypatch.setattr(xspec_library, "library", lambda: fake)
    monkeypatch.delenv("HEADAS", raising=False)
    assert xspec_worker.respond({"ask": "definitions"}, np.zeros(0))[0] == {"path": "model.dat"}
    header = {"ask": "call", "function": "C_f", "shape": [2, 2, 4], "abundances": "aspl", "strings": {"APECROOT": "x"}}
    content = np.concatenate([np.arange(4.0), [1.0, 2.0, 3.0, 4.0], np.arange(6.0)])
    answer, out = xspec_worker.respond(header, content)
    assert answer == {}
    assert out.tolist() == [[3, 4, 5], [10, 11, 12]]
    assert fake.state == ("", "aspl", "APECROOT", "x")
    monkeypatch.setattr(Library, "call", lambda *_: getattr(fake, "absent"))  # noqa: B009
    assert "absent" in xspec_worker.respond(header, content)[0]["error"]


def test_model_data_of_an_installed_heasoft(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADAS", str(tmp_path / "x86_64"))
    assert xspec_worker.model_data() == ""
    (tmp_path / "x86_64").mkdir()
    (tmp_path / "spectral/modelData").mkdir(parents=True)
    assert xspec_worker.model_data() == str(tmp_path / "spectral/modelData")


def test_a_model_whose_process_dies_says_what_it_lacks(fake, monkeypatch, tmp_path):
    def die(*_):
        raise xspec_process.WorkerDied("Segmentation fault")

    monkeypatch.setattr(fake, "call", die)
    for variable in ("ATOMDB", "CROSSCAL_DATA"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(
        InputError, match=r"'cutoffpl': XSPEC's function ended its process \(Segm.*expected XSPEC's model"
    ):
        Model("cutoffpl").spectrum(EDGES)
    fake.definitions["bvapec"] = fake.definitions["cutoffpl"]
    monkeypatch.setattr(xspec, "known_models", lambda: {"bvapec": "add"})
    with pytest.raises(InputError, match=r"expected AtomDB's apec_v\*_line\.fits .* variable ATOMDB"):
        Model("bvapec").spectrum(EDGES)
    (tmp_path / "apec_v3.0.9_line.fits").touch()
    monkeypatch.setenv("ATOMDB", str(tmp_path))
    with pytest.raises(InputError, match=r"parameters that it can use with apec_v3\.0\.9 of AtomDB"):
        Model("bvapec").spectrum(EDGES)


@pytest.mark.parametrize(
    ("text", "components"),
    [
        ("const*pow", ("constant", "powerlaw")),
        ("po", ("powerlaw",)),
        ("tb*(ap+ga)", ("TBabs", "apec", "gaussian")),
        ("PHABS*BREM", ("phabs", "bremss")),
    ],
)
def test_names_may_be_shortened_as_in_xspec(text, components):
    assert Model(text).components == components


def test_what_a_short_name_can_mean():
    assert xspec.full_name("bb") == "bbody"
    assert xspec.full_name("wab") == "wabs"
    with pytest.raises(
        InputError, match="'pex' is the beginning of several models; expected pexmon or pexrav or pexriv"
    ):
        xspec.full_name("pex")
    with pytest.raises(UnknownNameError, match="unknown model 'zzz'"):
        xspec.full_name("zzz")


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
