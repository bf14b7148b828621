"""Parsing of expressions and the Model built on them."""

import pickle
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosscal.core.errors import InputError, UnknownNameError
from crosscal.xray.emission.component import Settings
from crosscal.xray.emission.expression import Model, parse
from crosscal.xray.emission.registry import MODELS
from crosscal.xray.emission.syntax import Leaf, Number, Product, Sum, leaves
from crosscal.xray.emission.tablefile import plasma_table

EDGES = np.geomspace(0.3, 10, 100)


def test_tree():
    tree = parse("TBabs*(apec + 0.5*powerlaw)")
    assert tree == Product(
        (Leaf("TBabs", 1), Sum((Leaf("apec", 8), Product((Number(0.5, 15), Leaf("powerlaw", 19)), 15)), 8)), 1
    )
    assert [leaf.name for leaf in leaves(tree)] == ["TBabs", "apec", "powerlaw"]


def test_call_form_is_a_product():
    assert parse("phabs(apec)") == Product((Leaf("phabs", 1), Leaf("apec", 7)), 1)
    both = (Model(text, nH=0.3, kT=2.0).spectrum(EDGES) for text in ("phabs(apec)", " phabs * apec "))
    assert np.array_equal(*both)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "empty model expression"),
        ("   ", "empty model expression"),
        ("TBabs*", r"position 7: the expression ends early; expected a model name, a number or '\('"),
        ("TBabs**apec", r"position 7: '\*' does not fit"),
        ("TBabs*(apec", r"position 12: the expression ends early; expected '\)'"),
        ("apec)", r"position 5: '\)' does not fit; expected '\+', '\*' or the end"),
        ("()", r"position 2: '\)' does not fit"),
        ("a b", "position 3: 'b' does not fit"),
        ("apec-powerlaw", "position 5: '-' does not fit"),
        ("apec/2", "position 5: '/' does not fit"),
        ("2apec", "position 1: '2' does not fit"),
        ("__import__('os').system('x')", "position 12"),
        ("apec[0]", "position 5"),
        ("apec\n;", "position 6"),
        ("apec*" * 500 + "apec", "characters; expected at most 2000"),
        ("(" * 60 + "apec" + ")" * 60, "at most 50 nested parentheses"),
    ],
)
def test_bad_expressions_show_the_position(expression, message):
    with pytest.raises(InputError, match=message):
        parse(expression)


def test_expression_that_is_no_text():
    with pytest.raises(InputError, match="empty model expression"):
        parse(3)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("TBabs", "the expression emits nothing"),
        ("3", "the expression emits nothing"),
        ("apec*powerlaw", "position 1: two sources are multiplied"),
        ("apec+TBabs", "position 1: a sum mixes sources and factors"),
        ("1+apec", "position 1: a sum mixes sources and factors"),
        ("TBabs*(phabs+apec)", "position 8: a sum mixes"),
        ("apec*zashift", "position 1: a convolution has nothing to act on"),
        ("zashift*TBabs", "a convolution has nothing to act on"),
        ("zashift+apec", "a sum mixes sources and factors"),
    ],
)
def test_expressions_without_meaning(expression, message):
    with pytest.raises(InputError, match=message):
        Model(expression)


@pytest.mark.thorough
@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="apec TB+*()1.2e-_'\"[]{}\\;:,\n", max_size=40))
def test_any_text_parses_or_is_refused(text):
    # Whatever else escapes fails the test.
    with suppress(InputError):
        assert isinstance(parse(text), Leaf | Number | Product | Sum)


def test_unknown_component_offers_the_closest():
    with pytest.raises(UnknownNameError, match=r"position 7: unknown model 'apecc'; expected .*'apec'"):
        Model("TBabs*apecc")


def test_repeated_names_are_numbered_in_order():
    model = Model("TBabs*(apec+apec+powerlaw)")
    assert model.names == (
        *("nH", "kT", "Abundanc", "Redshift", "norm"),
        *("kT_2", "Abundanc_2", "Redshift_2", "norm_2", "PhoIndex", "norm_3"),
    )
    assert model.components == ("TBabs", "apec", "apec", "powerlaw")
    two = model.spectrum(EDGES, nH=0.1, kT=1.0, kT_2=5.0, norm_3=0.0)
    parts = [Model("TBabs*apec", nH=0.1, kT=kT).spectrum(EDGES) for kT in (1.0, 5.0)]
    assert two == pytest.approx(sum(parts), rel=1e-12)


def test_free_fixed_and_replace():
    model = Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05)
    assert model.free == ("kT", "norm")
    assert model.fixed == {"nH": 0.05, "Abundanc": 0.3, "Redshift": 0.05}
    other = model.replace(nH=0.1, free=("kT", "norm", "Abundanc"), interp="xspec")
    assert other.free == ("kT", "norm", "Abundanc")
    assert other.fixed == {"nH": 0.1, "Redshift": 0.05}
    assert other.options["interp"] == "xspec"
    assert model.fixed["nH"] == 0.05
    assert model.parameter("kT").scale == "log"


def test_linear_and_nodes():
    model = Model("TBabs*(apec+powerlaw)")
    assert model.linear == ("Abundanc", "norm", "norm_2")
    assert model.nodes("nH") is None
    assert model.interpolation("PhoIndex") is None
    assert model.nodes("kT").size == 31
    assert model.interpolation("kT") == "log-cubic"
    assert Model("apec", interp="xspec").interpolation("kT") == "linear"
    assert "Fe" in Model("vapec").linear
    with pytest.raises(UnknownNameError):
        model.nodes("T")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kt": 3.0}, "unknown parameter 'kt'; expected 'kT'"),
        ({"free": ("kT", "Z")}, "unknown parameter 'Z'"),
        ({"abundances": "anders"}, "unknown abundance table 'anders'"),
        ({"interp": "cubic"}, "unknown temperature interpolation 'cubic'"),
        ({"Abundanc": -0.1}, r"Abundanc = -0\.1 is out of range; expected 0 to 5"),
        ({"nH": np.nan}, "nH = nan is out of range"),
        ({"table": "/nowhere/table.npz"}, "no such plasma table"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        Model("TBabs*apec", **options)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 3.0}, "unknown parameter 'temperature'"),
        ({"norm": [1.0, -1.0]}, "norm = -1 is out of range"),
        ({"norm": np.nan}, "norm = nan is out of range"),
        ({"kT": np.ones(3), "norm": np.ones(2)}, r"shapes do not broadcast: kT \(3,\), norm \(2,\)"),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(InputError, match=message):
        Model("TBabs*apec").spectrum(EDGES, **values)


@pytest.mark.parametrize("edges", [[1.0], [[1.0, 2.0]], [2.0, 1.0], [0.0, 1.0], [1.0, np.nan], [1.0, 1.0]])
def test_bad_edges(edges):
    with pytest.raises(InputError, match="energy edges"):
        Model("powerlaw").spectrum(edges)


def test_quantities_are_accepted():
    u = pytest.importorskip("astropy.units")
    plain = Model("TBabs*bapec", nH=0.05, Velocity=300.0).spectrum(EDGES, kT=[2.0, 3.0])
    model = Model("TBabs*bapec", nH=5e20 / u.cm**2, Velocity=3e5 * u.m / u.s)
    assert model.fixed["nH"] == pytest.approx(0.05)
    assert model.spectrum(EDGES * 1e3 * u.eV, kT=[2000.0, 3000.0] * u.eV) == pytest.approx(plain, rel=1e-9)
    with pytest.raises(InputError, match=r"kT: a quantity in s; expected one in keV"):
        model.spectrum(EDGES, kT=3 * u.s)


def test_shapes_broadcast():
    model = Model("TBabs*(apec+powerlaw)")
    assert model.spectrum(EDGES).shape == (99,)
    assert model.spectrum(EDGES, kT=np.ones(4), PhoIndex=np.ones((3, 1))).shape == (3, 4, 99)
    assert model.spectrum(EDGES, norm=np.ones((2, 0))).shape == (2, 0, 99)


def test_describe_lists_every_parameter():
    rows = Model("TBabs*apec", nH=0.2).describe()
    assert [row["name"] for row in rows] == ["nH", "kT", "Abundanc", "Redshift", "norm"]
    assert rows[0] == {
        "name": "nH",
        "component": "TBabs",
        "value": 0.2,
        "unit": "1e22 / cm2",
        "low": 0.0,
        "high": 1e6,
        "free": False,
        "description": "equivalent hydrogen column",
    }


def test_repr_and_pickle():
    model = Model("TBabs*apec", nH=0.05, kT=3.0, interp="xspec", free=("kT",))
    assert repr(model).startswith("Model('TBabs*apec', nH=0.05")
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.free, copy.fixed, copy.options) == (model.free, model.fixed, model.options)
    assert np.array_equal(copy.spectrum(EDGES), model.spectrum(EDGES))


def test_every_registered_model_describes_itself():
    components = {name: MODELS.get(name)(Settings(load_table=plasma_table)) for name in MODELS.names()}
    for name, component in components.items():
        assert type(component).__doc__, name
        assert component.kind in ("additive", "multiplicative", "convolution"), name
    assert [p.name for p in components["apec"].parameters] == ["kT", "Abundanc", "Redshift", "norm"]
    assert components["TBabs"].kind == "multiplicative"
